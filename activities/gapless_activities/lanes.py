"""Both ends of a host's lane: an audit asks for a piece of work there, and the lane has it done, one at a time."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from gapless.artifacts import ArtifactStore
from gapless.contract.advice import Answered, Found
from gapless.contract.conclusion import Conclusion
from gapless.contract.host_lane import (
    HostLaneActivities,
    Piece,
    Refusal,
    Slice,
    Work,
)
from gapless.contract.interaction import Artifact
from gapless.contract.link_audit import (
    Advice,
    AgentReport,
    AuditOutcome,
    Crawled,
    CrawlProgress,
    Judgement,
    LinkAuditRequest,
    ReportRequest,
)
from gapless.errors import GaplessError
from gapless_activities.advice import Advisors
from gapless_activities.asking import ask, caller_here, leave
from gapless_activities.beats import INTERVAL
from gapless_activities.caller import Waiting
from gapless_activities.chain import Chain
from gapless_activities.conclusions import Conclusions
from gapless_activities.crawling import Rest, scope_of
from gapless_activities.links import AuditActivities

log = structlog.get_logger()

T = TypeVar("T")
STOPPING = 10.0
"""Seconds in which a crawl that is told to stop seals what it has; then it is killed."""
STOOD_STILL = timedelta(seconds=5)
"""Time since the server handed a turn out after which it may be another worker's by now."""


class LaneActivities(HostLaneActivities):
    """The activities over a Temporal client, `gapless.links` and the artifact store."""

    def __init__(
        self, store: ArtifactStore, audits: AuditActivities, advisors: Advisors, conclusions: Conclusions
    ) -> None:
        self._store = store
        self._audits = audits
        self._advisors = advisors
        self._conclusions = conclusions

    # An audit's end

    @activity.defn(name="crawl_in_lane")
    async def crawl_in_lane(
        self, request: LinkAuditRequest, progress: CrawlProgress | None = None
    ) -> AuditOutcome | Crawled:
        """Ask for a crawl, and leave it to the lane to complete this activity."""
        details = activity.info().heartbeat_details
        new = (progress or CrawlProgress()).model_copy(update={"phase": "waiting for its turn"})
        known = CrawlProgress.model_validate(details[0]) if details else new
        if not details:
            activity.heartbeat(known.model_dump(mode="json"))
        await ask(Piece(caller=caller_here(), work=Work.CRAWL, request=request, progress=known))

    @activity.defn(name="judge_in_lane")
    async def judge_in_lane(self, judgement: Judgement) -> AgentReport:
        """Ask for a verdict, and leave it to the lane to complete this activity."""
        stored = await self._store.put("judgement.json", judgement.model_dump_json().encode())
        await ask(Piece(caller=caller_here(), work=Work.JUDGE, request=judgement.request, judgement=stored.digest))

    @activity.defn(name="advise_in_lane")
    async def advise_in_lane(self, answered: Answered) -> Advice:
        """Keep the answer, ask for a look at it, and leave it to the lane to complete this activity."""
        kept = await self._advisors.keep(answered)
        stored = await self._store.put("answered.json", kept.model_dump_json().encode())
        await ask(Piece(caller=caller_here(), work=Work.ADVICE, request=answered.request, judgement=stored.digest))

    @activity.defn(name="leave_lane")
    async def leave_lane(self, request: LinkAuditRequest) -> None:
        """Take what this run has in the lane out of it."""
        await leave(scope_of(request).host)

    # The lane's end

    @activity.defn(name="serve")
    async def serve(self, piece: Piece) -> Slice:
        """Work on a piece for as long as the lane leaves it its turn."""
        if datetime.now(UTC) - activity.info().started_time > STOOD_STILL:
            raise ApplicationError(
                "this worker stood still; whoever has the turn now is at the host", type="StoodStill"
            )
        details = activity.info().heartbeat_details
        progress = CrawlProgress.model_validate(details[0]) if details else piece.progress
        turn = _Turn(
            Chain(self._store, progress),
            Waiting(activity.client(), piece.caller, beats=piece.work in {Work.LOOK, Work.REPORT}),
        )
        work: Coroutine[Any, Any, Crawled | Rest | AgentReport | Advice | AuditOutcome | Artifact | None]
        if piece.work is Work.CRAWL:
            work = self._crawled(piece, turn)
        elif piece.work is Work.LOOK:
            work = self._audits.looked(piece, turn.chain, turn.stop)
        else:
            work = self._judged(piece)
        result = await turn.take(work, stops=piece.work in {Work.CRAWL, Work.LOOK})
        now = turn.chain.progress
        if isinstance(result, Rest):
            return Slice(over=False, progress=now, rest=result.time)
        if isinstance(result, Artifact):
            return Slice(over=True, progress=now, answers=result.digest)
        if isinstance(result, Crawled) and result.unseen is not None and now.looks:
            return Slice(over=False, progress=now, unseen=result.unseen)
        if result is not None:
            await turn.caller.complete(result)
        return Slice(over=turn.unwanted or result is not None, progress=now)

    async def _crawled(self, piece: Piece, turn: "_Turn") -> Crawled | Rest | None:
        """Crawl, and work out what to ask about what is broken; where nobody is to be asked, write the report."""
        request = piece.request
        crawled = await self._audits.crawled(request, turn.chain, turn.stop, rests=True)
        if not isinstance(crawled, Crawled) or (crawled.unseen is not None and turn.chain.progress.looks):
            return crawled  # not the last of it
        if request.advisor is not None:
            question = await self._advisors.due(Found(request=request, crawled=crawled))
            return crawled.model_copy(update={"question": question})
        if request.agent is None and crawled.findings is not None:
            day = activity.info().scheduled_time.date()
            try:
                return await self._audits.reported(ReportRequest(request=request, crawled=crawled, agent=None), day)
            except (ApplicationError, GaplessError) as error:  # the audit has it written then, and fails if that does
                log.warning("lane.report_left", url=request.url, error=str(error))
        return crawled

    async def _judged(self, piece: Piece) -> AgentReport | Advice | AuditOutcome:
        data = await self._store.get(piece.judgement or "")
        if piece.work is Work.REPORT:
            return await self._conclusions.concluded(Conclusion.model_validate_json(data))
        if piece.work is Work.ADVICE:
            return await self._advisors.checked(Answered.model_validate_json(data))
        return await self._audits.judged(Judgement.model_validate_json(data))

    @activity.defn(name="refuse")
    async def refuse(self, refusal: Refusal) -> None:
        """Tell the caller that its piece cannot be done."""
        error = ApplicationError(refusal.reason, type=refusal.type, non_retryable=True)
        await Waiting(activity.client(), refusal.caller).fail(error)


class _Turn:
    """A turn of a piece: it ends with the work, when nobody waits for it any more, or when the lane says so."""

    def __init__(self, chain: Chain, caller: Waiting) -> None:
        self.chain = chain
        self.caller = caller
        self.stop = asyncio.Event()
        self.unwanted = False

    async def take(self, work: Coroutine[Any, Any, T], *, stops: bool) -> T | None:
        """Await the work, beating for the lane and for the caller meanwhile; None when it was stopped.

        Args:
            work: what is done.
            stops: whether it ends soon when `stop` is set.

        Raises:
            ApplicationError: the worker is stopping; the next attempt goes on elsewhere.
        """
        if not await self._wanted():
            work.close()
            return None
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(activity.wait_for_worker_shutdown())
        try:
            while not await _any_done({task, stopping}) and await self._wanted():
                pass
        except asyncio.CancelledError:
            log.info("lane.turn_over", pages=self.chain.progress.pages)
            if (current := asyncio.current_task()) is not None:
                current.uncancel()
        finally:
            await self._end(task, STOPPING if stops else 0.0)
            self.chain.beat()
        shut_down = stopping.done()
        stopping.cancel()
        if not task.cancelled() and (task.exception() or task.result() is not None):
            return task.result()
        return _stopping() if shut_down and not self.unwanted else None

    async def _wanted(self) -> bool:
        self.chain.beat()
        self.unwanted = not await self.caller.beat(self.chain.progress)
        return not self.unwanted

    async def _end(self, task: "asyncio.Future[Any]", seconds: float) -> None:
        """Stop the work if it goes on; what it has is sealed."""
        self.stop.set()
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _any_done(tasks: set["asyncio.Future[Any]"]) -> bool:
    """Wait for an interval at most, and say whether one of the tasks is done."""
    done, _ = await asyncio.wait(tasks, timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def _stopping() -> NoReturn:
    raise ApplicationError(
        "The worker is stopping; what was done is kept, another worker goes on with it.",
        type="WorkerStopping",
        category=ApplicationErrorCategory.BENIGN,
    )
