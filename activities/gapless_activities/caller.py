"""The activity of an audit that waits for a piece in a lane, as seen from where the piece is worked on."""

from datetime import timedelta
from typing import Any

import structlog
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import AsyncActivityCancelledError, Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from gapless.contract import host_lane
from gapless.contract.link_audit import CrawlProgress

log = structlog.get_logger()

RPC = timedelta(seconds=5)


class Waiting:
    """A handle of the activity that waits; the audit may end, be cancelled or be gone meanwhile.

    Args:
        client: of the server.
        caller: the activity.
        beats: whether it beats for itself, and is only watched.
    """

    def __init__(self, client: Client, caller: host_lane.Caller, *, beats: bool = False) -> None:
        self._client = client
        self._beats = beats
        self._caller = caller
        self._handle = client.get_async_activity_handle(
            workflow_id=caller.workflow_id, run_id=caller.run_id, activity_id=caller.activity_id
        )

    async def beat(self, progress: CrawlProgress) -> bool:
        """Show how far the work has come, and say whether somebody still waits for it.

        A server that does not answer says nothing: then somebody does.
        """
        if self._beats:
            return await self._is_pending()
        try:
            await self._handle.heartbeat(progress.model_dump(mode="json"), rpc_timeout=RPC)
        except AsyncActivityCancelledError as error:
            return not error.details.cancel_requested if error.details else await self._is_pending()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                log.warning("lane.beat_failed", error=error.message)
                return True
            return await self._is_pending()  # between two attempts of it, the server takes no heartbeats
        return True

    async def complete(self, result: Any) -> None:
        """Hand the result over, if somebody still waits for it.

        Raises:
            RPCError: the server could not be told.
        """
        try:
            await self._handle.complete(result, rpc_timeout=RPC)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or await self._is_pending():
                raise
            log.info("lane.nobody_waits", caller=self._caller.workflow_id)

    async def fail(self, error: ApplicationError) -> None:
        """Tell that there is no result, if somebody still waits for it.

        Raises:
            RPCError: the server could not be told.
        """
        try:
            await self._handle.fail(error, rpc_timeout=RPC)
        except RPCError as rpc:
            if rpc.status is not RPCStatusCode.NOT_FOUND or await self._is_pending():
                raise

    async def _is_pending(self) -> bool:
        """Say whether the activity is there and not cancelled; so it is also between two attempts."""
        run = self._client.get_workflow_handle(self._caller.workflow_id, run_id=self._caller.run_id)
        try:
            description = await run.describe(rpc_timeout=RPC)
        except RPCError as error:
            return error.status is not RPCStatusCode.NOT_FOUND
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return False
        cancelled = PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
        pending = {each.activity_id: each.state for each in description.raw_description.pending_activities}
        return pending.get(self._caller.activity_id, cancelled) != cancelled
