"""Requests that are sent on one connection at once, for what is likely to be as it is known."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gapless.links.job import Job
from gapless.links.visit import Visit

if TYPE_CHECKING:
    from gapless.links.child import Child

AT_ONCE = 16
"""Requests that are sent on one connection at once, at most."""


class Pipelining:
    """Jobs of which it is known what comes of them, done without a pause between answer and next request.

    A server answers the requests on a connection in their order, one by one (RFC 9112, 9.3.2), so it has no more to do
    at a time than without. An answer is believed if it is the one that is known, or a failure, which is confirmed alone
    before it counts; all else is asked for again, alone, so that nothing is said of an address for the company it was
    in. How many are sent at once grows while answers are what is known, is halved when one is not, and falls back to
    one when a server closes a connection; trouble ends it for good.
    """

    def __init__(self, child: "Child") -> None:
        self._child = child
        self._waiting: deque[Job] = deque()
        self._queues = False
        self._at_once = 1

    def take(self, job: Job) -> bool:
        """Take a job, to go on with it soon; say whether it is one for here."""
        if not (self._at_once and job.status):
            return False
        self._waiting.append(job)
        return True

    def go_on(self) -> None:
        """Send what waits when it has its turn."""
        if self._waiting and not self._queues:
            self._queues = True
            self._child.turns.take(self._waiting[0].url, self._go)

    def _go(self) -> None:
        self._queues = False
        Pipeline(self, self._child, self._next()).go()
        self.go_on()

    def _next(self) -> list[Job]:
        """Return jobs whose answers can be told from each other."""
        jobs, alike, bodies = list[Job](), list[Job](), set[str]()
        while self._waiting and len(jobs) < max(1, self._at_once):
            job = self._waiting.popleft()
            if job.digest in bodies:
                alike.append(job)
                continue
            jobs.append(job)
            if job.digest:
                bodies.add(job.digest)
        self._waiting.extendleft(reversed(alike))
        return jobs

    def grow(self, sent: int) -> None:
        """Send more at once, so many having been answered."""
        if self._at_once:
            self._at_once = max(self._at_once, min(AT_ONCE, 2 * sent))

    def shrink(self, most: int) -> None:
        """Send no more than so many at once for now."""
        self._at_once = min(self._at_once, most)

    def stop(self) -> None:
        """Take no more jobs."""
        self._at_once = 0


class Pipeline:
    """Some jobs whose requests are sent at once, on the turn of one."""

    def __init__(self, pipelining: Pipelining, child: "Child", jobs: Sequence[Job]) -> None:
        self._pipelining = pipelining
        self._child = child
        self._jobs = jobs
        self._answered = 0
        self._sent = len(jobs)
        self._as_known = True

    def go(self) -> None:
        """Send the requests."""
        visits = [Visit(self._child, job, self) for job in self._jobs]
        self._child.client.pipeline([visit.get(visit.job.url, "") for visit in visits], self._ended)

    def answered(self) -> bool:
        """Take note of the next answer; say whether others were asked for with it."""
        self._answered += 1
        if self._answered == len(self._jobs):
            if self._as_known:
                self._pipelining.grow(self._sent)
            self._child.turns.over(self._jobs[0].url)
        return self._sent > 1

    def surprised(self) -> None:
        """Take note that an answer is not what is known."""
        self._as_known = False
        self._pipelining.shrink(max(1, self._sent // 2))

    def _ended(self, trouble: bool) -> None:
        """Do again what is not answered: all but the answer that is just handed over, unless there was trouble."""
        self._as_known = False
        answered = self._answered + (not trouble)
        self._jobs, left = self._jobs[:answered], self._jobs[answered:]
        if trouble:
            self._pipelining.stop()
            self._child.turns.over(left[0].url)
        else:
            self._pipelining.shrink(1)
        for job in left:
            self._child.visit(job)
