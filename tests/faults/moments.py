"""Moments at which an audit's worker is killed, drawn from a seed."""

import os
import random
from collections import Counter
from dataclasses import dataclass

from unit.links.httpsite import Request

SEED = int(os.environ.get("GAPLESS_TEST_SEED") or 14)
"""Set it to have other moments."""
PHASES = ("fetch", "seal", "verdict", "report")
MOMENTS = 10
WRITTEN = {"verdict": ("claims.json", "verdict.json"), "report": ("report.html",)}
"""The report's other files are first written with the crawl, when the agent's submission may be on its way still: a kill
then leaves it held for a person, as that of any task."""
STALLS = {
    "fetch": ("before:serve",),
    "seal": ("after:serve",),
    "report": ("before:report_in_lane",),
}
AUDITOR = "Gapless/"
"""Begins its user agent; the agent beside it has another one."""


@dataclass(frozen=True)
class Moment:
    """One moment: the site's n-th request of the auditor, or what the worker itself does then.

    Attributes:
        phase: one of PHASES.
        request: the number of the request at which the worker is killed, or 0.
        stall: where it is held up to be killed, or kills itself; see `worker_process`.
    """

    phase: str
    request: int = 0
    stall: str = ""

    @property
    def agent(self) -> bool:
        """Whether an agent is asked, too: its own submission is not to be killed here, that is held."""
        return self.phase in WRITTEN


class Asked:
    """Counts what the auditor asks a site for.

    Attributes:
        requests: all of them.
        crawling: those for the crawl. What is broken is asked for twice there, and a third time for the verdict.
    """

    def __init__(self) -> None:
        self.requests = self.crawling = 0
        self._paths: Counter[str] = Counter()

    def count(self, request: Request) -> int:
        """Take a request of anybody, and return how many of the auditor there were."""
        if request.headers.get("user-agent", "").startswith(AUDITOR):
            self._paths[request.path] += 1
            self.crawling += self._paths[request.path] < 3 and self.crawling == self.requests
            self.requests += 1
        return self.requests


def draw(seed: int, *, segments: int, crawling: int, requests: int) -> list[Moment]:
    """Draw moments, at least one of each phase.

    Args:
        seed: equal ones give equal moments.
        segments: how many are sealed at least.
        crawling: requests of the crawl.
        requests: of the crawl and of the verdict.
    """
    dice = random.Random(seed)

    def moment(phase: str) -> Moment:
        where = dice.choice(("before", "during", "after"))
        written = [f"{where}:{name}:1" for name in WRITTEN.get(phase, ())]
        if phase == "seal":
            written = [f"{where}:segment:{number}" for number in range(1, segments + 1)]
        stall = dice.choice([*written, *STALLS.get(phase, ())])
        if phase == "fetch" and dice.random() < 0.9:
            return Moment(phase, request=dice.randint(1, crawling))
        if phase == "verdict" and dice.random() < 0.5:
            return Moment(phase, request=dice.randint(crawling + 1, requests))
        return Moment(phase, stall=stall)

    return [moment(phase) for phase in (*PHASES, *dice.choices(PHASES, k=MOMENTS - len(PHASES)))]
