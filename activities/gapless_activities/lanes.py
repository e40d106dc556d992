"""Both ends of a host's lane: an audit asks for a piece of work there, and the lane has it done, one at a time."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import structlog
from temporalio import activity
from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateFailedError, WorkflowUpdateStage
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from gapless.artifacts import ArtifactStore
from gapless.contract.advice import Answered
from gapless.contract.host_lane import (
    WAITS_ALREADY,
    Asker,
    Caller,
    HostLane,
    HostLaneActivities,
    Lane,
    Piece,
    Refusal,
    Slice,
    Work,
    lane_id,
)
from gapless.contract.interaction import Artifact
from gapless.contract.link_audit import Advice, AgentReport, Crawled, CrawlProgress, Judgement, LinkAuditRequest
from gapless.text import cell, clip
from gapless_activities.advice import Advisors
from gapless_activities.beats import INTERVAL
from gapless_activities.caller import Waiting
from gapless_activities.chain import Chain
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

    def __init__(self, store: ArtifactStore, audits: AuditActivities, advisors: Advisors) -> None:
        self._store = store
        self._audits = audits
        self._advisors = advisors

    # An audit's end

    @activity.defn(name="crawl_in_lane")
    async def crawl_in_lane(self, request: LinkAuditRequest, progress: CrawlProgress | None = None) -> Crawled:
        """Ask for a crawl, and leave it to the lane to complete this activity."""
        details = activity.info().heartbeat_details
        new = (progress or CrawlProgress()).model_copy(update={"phase": "waiting for its turn"})
        known = CrawlProgress.model_validate(details[0]) if details else new
        if not details:
            activity.heartbeat(known.model_dump(mode="json"))
        await _ask(Piece(caller=caller_here(), work=Work.CRAWL, request=request, progress=known))

    @activity.defn(name="judge_in_lane")
    async def judge_in_lane(self, judgement: Judgement) -> AgentReport:
        """Ask for a verdict, and leave it to the lane to complete this activity."""
        stored = await self._store.put("judgement.json", judgement.model_dump_json().encode())
        await _ask(Piece(caller=caller_here(), work=Work.JUDGE, request=judgement.request, judgement=stored.digest))

    @activity.defn(name="advise_in_lane")
    async def advise_in_lane(self, answered: Answered) -> Advice:
        """Keep the answer, ask for a look at it, and leave it to the lane to complete this activity."""
        kept = await self._advisors.keep(answered)
        stored = await self._store.put("answered.json", kept.model_dump_json().encode())
        await _ask(Piece(caller=caller_here(), work=Work.ADVICE, request=answered.request, judgement=stored.digest))

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
            Chain(self._store, progress), Waiting(activity.client(), piece.caller, beats=piece.work is Work.LOOK)
        )
        work: Coroutine[Any, Any, Crawled | Rest | AgentReport | Advice | Artifact | None]
        if piece.work is Work.CRAWL:
            work = self._audits.crawled(piece.request, turn.chain, turn.stop, rests=True)
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
        if result is not None:
            await turn.caller.complete(result)
        return Slice(over=turn.unwanted or result is not None, progress=now)

    async def _judged(self, piece: Piece) -> AgentReport | Advice:
        data = await self._store.get(piece.judgement or "")
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


def caller_here() -> Caller:
    """Return the activity that this is called in, as one that waits in a lane."""
    info = activity.info()
    return Caller(workflow_id=info.workflow_id or "", run_id=info.workflow_run_id or "", activity_id=info.activity_id)


async def _ask(piece: Piece) -> NoReturn:
    """Put a piece into the lane of its host, which is started if need be; the lane completes this activity.

    Asked again, the piece waits once; but a lane that was lost is started anew, and goes on where this activity's
    heartbeat says.
    """
    try:
        await activity.client().start_update_with_start_workflow(
            HostLane.ask,
            piece,
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            start_workflow_operation=start_of_lane(scope_of(piece.request).host),
        )
    except WorkflowUpdateFailedError as error:
        if not isinstance(error.cause, ApplicationError) or error.cause.type != WAITS_ALREADY:
            raise
    activity.raise_complete_async()


def start_of_lane(host: str) -> WithStartWorkflowOperation[Any, Any]:
    """Return what starts a host's lane when there is none: on this activity's queue, as its audit is."""
    queue = activity.info().task_queue
    return WithStartWorkflowOperation(
        HostLane.run,
        Lane(host=host),
        id=lane_id(host, queue),
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=clip(f"one at a time at {cell(host)}"),
    )


async def leave(host: str) -> None:
    """Take what this activity's run has in a host's lane out of it.

    Raises:
        RPCError: the server could not be told.
    """
    info = activity.info()
    lane = activity.client().get_workflow_handle_for(HostLane.run, lane_id(host, info.task_queue))
    asker = Asker(workflow_id=info.workflow_id or "", run_id=info.workflow_run_id or "")
    try:
        await lane.execute_update(HostLane.leave, asker)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # else there is no lane any more
            raise
