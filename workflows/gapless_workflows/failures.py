"""What a run says when there is no good result: what happened, what was kept, what to do next."""

import shlex

from temporalio.exceptions import ApplicationError

from gapless.contract.interaction import Failure, Handle, InteractionRequest, Snapshot, State

MAX = 1000
"""Characters of a foreign message that are passed on; Temporal keeps 4 KiB of a failure."""


def _said(cause: BaseException | None) -> str:
    return _clause(cause.message if isinstance(cause, ApplicationError) else str(cause))


def _clause(reason: str) -> str:
    return reason[:MAX].rstrip(".")


def refused(cause: BaseException | None, refusals: int) -> Failure:
    """The provider did not take the task."""
    kind = "rejected" if isinstance(cause, ApplicationError) and cause.non_retryable else "refused"
    times = "once" if refusals == 1 else f"{refusals} times"
    return Failure(
        kind=kind,
        message=f"The provider did not take the task ({times}): {_said(cause)}",
        next_step="Nothing runs and nothing is billed. Mend what the message names, and start the task again.",
    )


def after_loss(failure: Failure, reason: str) -> Failure:
    """Nothing more is sent, yet an earlier submission may run: the worse news goes first."""
    return Failure(
        kind="submission_unknown",
        message=f"An earlier submission got no usable answer ({_clause(reason)}). {failure.message}"[:MAX],
        next_step="It may run and be billed. Look in the provider's console before you start the task again.",
    )


def lost(reason: str, submissions: int) -> Failure:
    """Nobody knows whether the task was taken, and nobody is asked any longer."""
    return Failure(
        kind="submission_unknown",
        message=f"The task was sent {submissions} time(s) without a usable answer: {_clause(reason)}",
        next_step="It may run and be billed. Look in the provider's console; each loss is listed in this outcome.",
    )


def held(reason: str, workflow_id: str) -> Failure:
    """Somebody has to decide."""
    command = f"gapless resolve {shlex.quote(workflow_id)}"
    return Failure(
        kind="held",
        message=f"The task was sent, and no usable answer came back: {_clause(reason)}. It may run and be billed.",
        next_step=(
            "Look in the provider's console, then decide:\n\n"
            f"    {command} --adopt INTERACTION_ID   (it runs: go on with it)\n"
            f"    {command} --resubmit               (it does not: send it again)\n"
            f"    {command} --abandon                (give it up)"
        ),
    )


def abandoned(reason: str) -> Failure:
    """A person gave the task up."""
    return Failure(
        kind="abandoned",
        message=f"Given up by decision, after a submission without a usable answer: {_clause(reason)}",
        next_step="Nothing. Should the task have been taken after all, the provider finishes and bills it.",
    )


def deadline(request: InteractionRequest, handle: Handle | None, after_cancel: Snapshot | None) -> Failure:
    """The run's own time is over."""
    if handle is None:
        kept = "The task was not sent in time, so nothing runs at the provider."
        next_step = "Is a worker there (gapless worker)? Start the task again, with a longer deadline if need be."
    else:
        kept = f"{handle.interaction_id} was to be stopped: {_stopped(after_cancel)}."
        next_step = "Give the task a longer deadline, or look at the interaction in the provider's console."
    return Failure(
        kind="deadline_exceeded",
        message=f"Not finished within {request.limits.deadline}. {kept}",
        next_step=next_step,
    )


def _stopped(snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return "the provider did not confirm, so it may still run and be billed"
    kept = f", what there was is artifact {snapshot.document.digest}" if snapshot.document else ""
    return f"the provider said {snapshot.raw!r}{kept}"


_POLL = {
    "QueuedTooLong": "queued_too_long",
    "RunningTooLong": "running_too_long",
    "ReadRejected": "read_rejected",
}


def poll(cause: BaseException | None, handle: Handle, after_cancel: Snapshot | None) -> Failure:
    """Waiting ended without an end of the interaction."""
    kind = _POLL.get(cause.type or "", "poll_failed") if isinstance(cause, ApplicationError) else "poll_failed"
    return Failure(
        kind=kind,
        message=f"Gave up waiting for {handle.interaction_id}: {_said(cause)}. Stopping it: {_stopped(after_cancel)}.",
        next_step="Look at the interaction in the provider's console; start the task again if it is still wanted.",
    )


def fetch(cause: BaseException | None, handle: Handle, snapshot: Snapshot) -> Failure:
    """The task is done, and its result could not be had."""
    document = snapshot.document.digest if snapshot.document else "none"
    return Failure(
        kind="fetch_failed",
        message=f"{handle.interaction_id} ended as {snapshot.raw!r}; its result could not be fetched: {_said(cause)}",
        next_step=f"The provider's document is kept as artifact {document}.",
    )


_SETTLED = {
    State.INPUT_REQUIRED: (
        "input_required",
        "The provider waits for function results or an approval, which this version does not answer.",
        "Go on from it by hand: start a task with previous_interaction_id set to the id.",
    ),
    State.INCOMPLETE: (
        "incomplete",
        "The provider stopped early (a token limit, a budget); what there is was kept.",
        "Use the partial result, or go on from it with previous_interaction_id and its environment.",
    ),
    State.FAILED: (
        "provider_failed",
        "The provider ended the task as failed.",
        "See the problems in the result; a new try is a new task.",
    ),
    State.CANCELLED: (
        "cancelled_elsewhere",
        "The interaction was cancelled at the provider, not by this run.",
        "Find out who did; start the task again if it is still wanted.",
    ),
    State.EXPIRED: (
        "expired",
        "The provider no longer knows the interaction.",
        "It ran out of its retention time, or was deleted. Start the task again if it is still wanted.",
    ),
}


def settled(snapshot: Snapshot, handle: Handle) -> Failure | None:
    """Return why an end is not a success, or None when it is."""
    if snapshot.state not in _SETTLED:
        return None
    kind, message, next_step = _SETTLED[snapshot.state]
    said = f"{handle.interaction_id}, status {snapshot.raw!r}"
    return Failure(kind=kind, message=f"{message} ({said})", next_step=next_step)
