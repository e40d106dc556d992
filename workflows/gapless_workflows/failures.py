"""What a run says when there is no good result: what happened, what was kept, what to do next."""

import shlex

from temporalio.exceptions import ApplicationError

from gapless.contract.interaction import (
    PRIVATE_SITE,
    Allowance,
    Failure,
    Handle,
    InteractionRequest,
    Limits,
    Result,
    Snapshot,
    State,
)

MAX = 1000
"""Characters of a foreign message that are passed on; Temporal keeps 4 KiB of a failure."""


def _said(cause: BaseException | None) -> str:
    return _clause(cause.message if isinstance(cause, ApplicationError) else str(cause))


def _clause(reason: str) -> str:
    return reason[:MAX].rstrip(".")


def refused(cause: BaseException | None, refusals: int) -> Failure:
    """The provider did not take the task, or was not to see it."""
    if isinstance(cause, ApplicationError) and cause.type == PRIVATE_SITE:
        return Failure(
            kind=PRIVATE_SITE,
            message=f"not asked: {_said(cause)}",
            next_step="Nothing was sent. Ask about a site that everybody can see, or a provider within this network.",
        )
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
        kept = f"{handle.interaction_id} was to be stopped: {stopped(after_cancel)}."
        next_step = "Give the task a longer deadline, or look at the interaction in the provider's console."
    return Failure(
        kind="deadline_exceeded",
        message=f"Not finished within {request.limits.deadline}. {kept}",
        next_step=next_step,
    )


def stopped(snapshot: Snapshot | None) -> str:
    """Say what the provider said when it was asked to stop."""
    if snapshot is None:
        return "the provider did not confirm, so it may still run and be billed"
    if not snapshot.state.settled:
        return f"the provider still says {snapshot.raw!r}, so it may run on and be billed"
    kept = f", what there was is artifact {snapshot.document.digest}" if snapshot.document else ""
    return f"the provider said {snapshot.raw!r}{kept}"


def used_up(limits: Limits) -> Failure:
    """A lost submission may use all that the limits allow, so there is nothing left for another one."""
    named = {"max_total_tokens": limits.max_total_tokens, "max_cost_usd": limits.max_cost_usd}
    which = " and ".join(f"{name}={value}" for name, value in named.items() if value is not None)
    return Failure(
        kind="limit_used_up",
        message=f"It was not sent again: a lost submission counts with all it may use, and that is all of {which}.",
        next_step="Look in the provider's console; start the task again if it does not run.",
    )


def excess(allowance: Allowance, result: Result | None) -> list[str]:
    """Name the limits that a result is over."""
    used = result.usage.total if result and result.usage else 0
    usd = result.cost.usd if result and result.cost else None
    over = []
    if allowance.tokens is not None and used > allowance.tokens:
        over.append(f"it used {used:,} tokens, over its limit of {allowance.tokens:,}: the provider's is best effort")
    if allowance.cost_usd is not None and usd is not None and usd > allowance.cost_usd:
        over.append(f"it cost {usd:.4f} USD, over its limit of {allowance.cost_usd}")
    return over


_POLL = {
    "QueuedTooLong": "queued_too_long",
    "TokenLimit": "token_limit",
    "CostLimit": "cost_limit",
    "RunningTooLong": "running_too_long",
    "ReadRejected": "read_rejected",
}


def poll(cause: BaseException | None, handle: Handle, after_cancel: Snapshot | None) -> Failure:
    """Waiting ended without an end of the interaction."""
    kind = _POLL.get(cause.type or "", "poll_failed") if isinstance(cause, ApplicationError) else "poll_failed"
    return Failure(
        kind=kind,
        message=f"Gave up waiting for {handle.interaction_id}: {_said(cause)}. Stopping it: {stopped(after_cancel)}.",
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
        "The provider stopped early, at a limit; what there is was kept.",
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


_INCOMPLETE = {
    "budget_exceeded": (
        "budget_exceeded",
        "The provider's token budget ended the task; what there is was kept.",
        "Use the partial result; a new task needs a larger budget. It is never tried again by itself.",
    ),
    "requires_continuation": (
        "requires_continuation",
        "The provider paused the task, to be gone on with by a new one; what there is was kept.",
        "Go on from it with previous_interaction_id and its environment: that is a task of its own, and billed.",
    ),
}
"""The provider's own words that say more than "stopped early"."""


def settled(snapshot: Snapshot, handle: Handle, limits: Limits) -> Failure | None:
    """Return why an end is not a success, or None when it is."""
    if snapshot.state not in _SETTLED:
        return None
    kind, message, next_step = _SETTLED[snapshot.state]
    if snapshot.state is State.INCOMPLETE:
        kind, message, next_step = _INCOMPLETE.get(snapshot.raw, _SETTLED[State.INCOMPLETE])
    said = f"{handle.interaction_id}, status {snapshot.raw!r}"
    if snapshot.state is State.INCOMPLETE and limits.max_total_tokens is not None:
        said += f", max_total_tokens {limits.max_total_tokens:,}"
    return Failure(kind=kind, message=f"{message} ({said})", next_step=next_step)
