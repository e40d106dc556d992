"""Runs of tools on sites, in turns, and what is typical of them."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from common import say
from links import measure
from links.accuracy import Score, score
from links.certificate import Certificate
from links.measure import Usage
from links.nginx import Server
from links.sites import Site
from links.tools import Job, Tool

FOREIGN = 0.18
"""Share of the machine's CPU time above which others have spoilt a run."""
TRIES = 3
PATIENCE = 20.0
"""Seconds that a run waits at most until others leave the machine alone."""


class Case(NamedTuple):
    """A tool on a site."""

    site: Site
    tool: Tool

    @property
    def scheme(self) -> str:
        """Either http or https."""
        return self.site.base.partition(":")[0]

    def __str__(self) -> str:
        """Name it for a person."""
        return f"{self.tool.name} on {self.site.profile.name} over {self.scheme}"


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run.

    Attributes:
        case: what ran.
        usage: what it cost.
        requests: that nginx had from it.
        score: how true its word was; None when it did not come to its end.
        failure: why it did not, in one line.
    """

    case: Case
    usage: Usage
    requests: int
    score: Score | None
    failure: str | None

    @property
    def spoilt(self) -> bool:
        """Whether others took too much of the machine."""
        return self.usage.foreign > FOREIGN


@dataclass(frozen=True, slots=True)
class Typical:
    """The runs of a case in one: medians, and the worst score."""

    case: Case
    runs: int
    spoilt: int
    wall: float
    cpu: float
    peak_pss: float
    requests: float
    score: Score | None
    failure: str | None


class Bench:
    """Measures cases on the running server."""

    def __init__(self, server: Server, certificate: Certificate, limit: float, folder: Path) -> None:
        self._server = server
        self._certificate = certificate
        self._limit = limit
        self._folder = folder

    def rounds(self, cases: Sequence[Case], count: int) -> Iterator[Run]:
        """Yield the runs; in each round every case has its turn, the slow ones in the first only."""
        for case in cases:
            if case.tool.again:
                failure = self._run(case).failure
                say(f"{case}: the run before the first{'; ' + failure if failure else ''}")
        for number in range(count):
            turn = number % max(len(cases), 1)
            for case in (*cases[turn:], *cases[:turn]):
                if number == 0 or not case.tool.slow:
                    yield self._undisturbed(case)

    def _undisturbed(self, case: Case) -> Run:
        """Return the first run that others did not spoil, or the least spoilt."""
        runs: list[Run] = []
        while not runs or (runs[-1].spoilt and len(runs) < TRIES):
            measure.wait_until_quiet(FOREIGN / 2, PATIENCE)
            run = self._run(case)
            runs.append(run)
            usage, note = run.usage, f"; {run.failure}" if run.failure else ""
            say(f"{case}: {usage.wall:.2f} s, others had {usage.foreign:.0%} of the machine{note}")
        return min(runs, key=lambda run: run.usage.foreign)

    def _run(self, case: Case) -> Run:
        state = self._folder / f"{case.tool.name}-{case.site.profile.name}-{case.scheme}"
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            job = Job(case.site, self._certificate.certificate, Path(folder), state)
            errors = job.folder / "stderr"
            command, before = case.tool.command(job), self._server.requests()
            usage = measure.run(
                command,
                job.output,
                errors,
                self._limit,
                beside=lambda: self._server.cpu_seconds() + case.tool.beside(),
            )
            requests = self._server.requests() - before
            scored, failure = self._score(case, job, usage)
            told = errors.read_text(errors="replace").strip().splitlines()[-1:]
        return Run(case, usage, requests, scored, " ".join([failure, *told]) if failure else None)

    def _score(self, case: Case, job: Job, usage: Usage) -> tuple[Score | None, str | None]:
        if usage.exit_code is None:
            return None, f"not done after {self._limit:g} s."
        if usage.exit_code not in case.tool.exit_codes:
            return None, f"ended with {usage.exit_code}."
        try:
            return score(case.site, case.tool.broken(job)), None
        except (OSError, ValueError, LookupError, TypeError) as error:
            return None, f"wrote nothing that can be read ({type(error).__name__})."


def typical(runs: Sequence[Run]) -> list[Typical]:
    """Put the runs of each case together, in the order in which the cases first came."""
    cases = {str(run.case): run.case for run in runs}
    return [_typical(case, [run for run in runs if str(run.case) == name]) for name, case in cases.items()]


def _typical(case: Case, runs: Sequence[Run]) -> Typical:
    scores = [run.score for run in runs if run.score is not None]
    return Typical(
        case=case,
        runs=len(runs),
        spoilt=sum(run.spoilt for run in runs),
        wall=median(run.usage.wall for run in runs),
        cpu=median(run.usage.cpu for run in runs),
        peak_pss=median(run.usage.peak_pss for run in runs),
        requests=median(run.requests for run in runs),
        score=max(scores, key=lambda each: each.pairs_missing + each.pairs_extra) if scores else None,
        failure=next((run.failure for run in runs if run.failure), None),
    )
