"""How an activity asks something of a host's lane, and takes it out again."""

from typing import Any, NoReturn

from temporalio import activity
from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateFailedError, WorkflowUpdateStage
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from gapless.contract.host_lane import WAITS_ALREADY, Asker, Caller, HostLane, Lane, Piece, lane_id
from gapless.text import cell, clip
from gapless_activities.crawling import scope_of


def caller_here() -> Caller:
    """Return the activity that this is called in, as one that waits in a lane."""
    info = activity.info()
    return Caller(workflow_id=info.workflow_id or "", run_id=info.workflow_run_id or "", activity_id=info.activity_id)


async def ask(piece: Piece) -> NoReturn:
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


async def leave(host: str, activity_id: str | None = None) -> None:
    """Take what this activity's run has in a host's lane out of it, or what one of its activities has there.

    Raises:
        RPCError: the server could not be told.
    """
    info = activity.info()
    lane = activity.client().get_workflow_handle_for(HostLane.run, lane_id(host, info.task_queue))
    asker = Asker(workflow_id=info.workflow_id or "", run_id=info.workflow_run_id or "", activity_id=activity_id)
    try:
        await lane.execute_update(HostLane.leave, asker)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # else there is no lane any more
            raise
