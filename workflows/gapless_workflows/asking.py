"""How an audit asks somebody at a provider: the interaction is a run of its own."""

from datetime import timedelta

from temporalio import workflow

from gapless.contract import attributes
from gapless.contract.interaction import Interaction, InteractionRequest, Outcome
from gapless.contract.link_audit import Admission, LinkAuditActivities, LinkAuditRequest
from gapless.contract.queues import TaskQueue
from gapless.text import cell, clip
from gapless_workflows import policies


async def admit(request: LinkAuditRequest) -> Admission:
    """Ask whether what the audit reads may go to the provider, in an audit that began before submissions saw to it."""
    return await workflow.execute_activity_method(
        LinkAuditActivities.admit_agent,
        request,
        summary="may the agent be sent there?",
        task_queue=_queue(),
        schedule_to_close_timeout=policies.ADMIT_LIMIT,
        **policies.ADMIT,
    )


async def ask(request: InteractionRequest, run_id: str, summary: str, limit: timedelta) -> Outcome:
    """Run an interaction as a part of this audit.

    Raises:
        ChildWorkflowError, WorkflowAlreadyStartedError: there is no outcome.
    """
    return await workflow.execute_child_workflow(
        Interaction.run,
        request,
        id=run_id,
        task_queue=_queue(),
        execution_timeout=limit,
        cancellation_type=workflow.ChildWorkflowCancellationType.TRY_CANCEL,  # stopping may take for ever
        search_attributes=attributes.at_start(workflow.info().typed_search_attributes.get(attributes.JOB), request),
        parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,  # so that it stops the provider's run
        static_summary=clip(summary),
        static_details=f"Part of {cell(workflow.info().workflow_id)}, which checks what comes back.",
    )


def _queue() -> str:
    """Return the queue on which the provider's key is: a run on a private queue keeps everything there."""
    own = workflow.info().task_queue
    return TaskQueue.INTERACTIONS if own == TaskQueue.LINKS else own
