"""Log lines of an activity carry the ids of the run they belong to; a failure is one line."""

from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from gapless.text import printable

log = structlog.get_logger()


class LogContext(Interceptor):
    """Binds workflow, run and activity to structlog's context variables, and logs what fails."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap the activities."""
        return _Bound(next)


class _Bound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's name
        info = activity.info()
        with structlog.contextvars.bound_contextvars(
            workflow_id=info.workflow_id,
            run_id=info.workflow_run_id,
            activity=info.activity_type,
            attempt=info.attempt,
            **_interaction(input.args),
        ):
            try:
                return await super().execute_activity(input)
            except ApplicationError as error:  # told to the workflow, which decides; a traceback would say no more
                benign = error.category is ApplicationErrorCategory.BENIGN
                (log.debug if benign else log.warning)("activity.failed", type=error.type, reason=error.message)
                raise error.with_traceback(None) from None
            except Exception as error:
                log.exception("activity.crashed")
                # Temporal keeps 4 KiB of a failure, and a chained traceback would take more than that.
                raise ApplicationError(printable(str(error))[:1000], type=type(error).__name__) from None


def _interaction(args: Any) -> dict[str, str]:
    """Return the interaction id that the argument names, if it does."""
    for holder in args:
        handle = getattr(holder, "handle", holder)
        if (interaction_id := getattr(handle, "interaction_id", None)) is not None:
            return {"interaction_id": interaction_id}
    return {}
