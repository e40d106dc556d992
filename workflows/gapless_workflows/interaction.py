"""One interaction: submit once, poll without footprint, fetch once."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    RetryState,
    TimeoutError,  # noqa: A004 - Temporal's own name
    TimeoutType,
    is_cancelled_exception,
)

from gapless.contract import attributes
from gapless.contract.interaction import (
    PRIVATE_SITE,
    Account,
    Allowance,
    Failure,
    Handle,
    Interaction,
    InteractionActivities,
    InteractionRequest,
    InteractionStatus,
    LostSubmission,
    OnLostSubmission,
    Order,
    Outcome,
    Resolution,
    Result,
    Settled,
    Snapshot,
    State,
    Submission,
    Watch,
)
from gapless.text import cell, clip
from gapless_workflows import failures, policies

T = TypeVar("T")

_ENDED_BY_ITSELF = frozenset({State.SUCCEEDED, State.INCOMPLETE, State.FAILED, State.INPUT_REQUIRED})
"""States in which a run that was to be stopped turns out to have ended before, so that its result counts."""


_NOT_TAKEN = frozenset({"SubmissionRefused", "SubmissionRejected", PRIVATE_SITE})
"""Types of errors after which the task was surely not taken."""


class Ended(Exception):
    """The run is over before the provider has said how it went."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure


class DeadlineReached(Exception):
    """The run's own deadline has passed; `snapshot` is what the provider said when it was asked to stop."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        super().__init__("deadline")
        self.snapshot = snapshot


@workflow.defn(name="Interaction", failure_exception_types=[ValidationError])
class InteractionWorkflow(Interaction):
    """See `gapless.contract.interaction.Interaction`."""

    @workflow.init
    def __init__(self, request: InteractionRequest) -> None:
        self._request = request
        self._state = State.SUBMITTING
        self._since = workflow.now()
        self._waiting_for = "a worker to send the task"
        self._handle: Handle | None = None
        self._submissions = 0
        self._lost: list[LostSubmission] = []
        self._account: Account | None = None
        self._charged = Allowance(tokens=0, cost_usd=Decimal(0))
        self._resolution: Resolution | None = None
        self._deadline = workflow.info().workflow_start_time + request.limits.deadline
        # Whoever starts a run with our client indexes it at no cost; what was indexed is not indexed again.
        found = workflow.info().typed_search_attributes
        self._indexed: tuple[str | None, str | None] = (found.get(attributes.STATE), None)
        self._lean = found.get(attributes.STATE) is not None

    @workflow.run
    async def run(self, request: InteractionRequest) -> Outcome:
        """See the task through to its outcome."""
        self._show(State.SUBMITTING, "a worker to send the task")
        self._index(State.SUBMITTING, provider=True)
        try:
            outcome = await self._see_through()
        except (asyncio.CancelledError, ActivityError) as error:
            if is_cancelled_exception(error):
                await self._cancelled()
            raise
        self._show(outcome.state, "nothing: the run is over", outcome.failure)
        self._index(outcome.state)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome

    async def _see_through(self) -> Outcome:
        try:
            snapshot = await self._submit()
            if not snapshot.state.settled:
                snapshot = await self._poll()
        except Ended as end:
            return self._failed(end.failure)
        except DeadlineReached as late:
            return self._failed(failures.deadline(self._request, self._handle, late.snapshot))
        return await self._settle(snapshot)

    def _failed(self, failure: Failure) -> Outcome:
        if self._lost and self._handle is None and failure.kind not in {"submission_unknown", "abandoned"}:
            failure = failures.after_loss(failure, self._lost[-1].reason)
        return self._outcome(State.FAILED, failure=failure)

    # Submitting

    async def _submit(self) -> Snapshot:
        """Return the first snapshot of an accepted task.

        Raises:
            Ended: nothing runs at the provider, or nobody knows and nobody is asked any longer.
            DeadlineReached: the same, for want of time.
        """
        refusals = 0
        while True:
            if workflow.now() >= self._deadline:
                raise DeadlineReached
            self._submissions += 1
            self._account = self._book()
            self._show(State.SUBMITTING, "the provider to accept the task")
            try:
                submission = await self._submit_once()
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                if (lost := _lost(error)) is not None:
                    snapshot = await self._after_loss(error, lost)
                    if snapshot is not None:
                        return snapshot
                    continue
                refusals += 1
                await self._after_refusal(error, refusals)
                continue
            return self._accept(submission.interaction_id, submission.snapshot)

    def _book(self) -> Account:
        """Return what the submission that comes now is booked under."""
        return Account(
            model=self._request.model,
            agent=self._request.agent,
            sandbox=self._request.environment is not None,
            job=workflow.info().typed_search_attributes.get(attributes.JOB),
            submission=self._submissions,
            sent_at=workflow.now(),
        )

    def _allowance(self) -> Allowance:
        """Return what is left of the limits, for everything that is sent from now on."""
        limits, charged = self._request.limits, self._charged
        tokens, usd = limits.max_total_tokens, limits.max_cost_usd
        return Allowance(
            tokens=None if tokens is None else tokens - (charged.tokens or 0),
            cost_usd=None if usd is None else usd - (charged.cost_usd or 0),
        )

    def _charge(self, allowed: Allowance | None) -> None:
        """Count a lost submission with all that it was allowed, since it may run.

        Raises:
            Ended: that leaves nothing for another one.
        """
        left, charged = self._allowance(), self._charged
        allowed = allowed or left
        self._charged = Allowance(
            tokens=(charged.tokens or 0) + (allowed.tokens or 0),
            cost_usd=(charged.cost_usd or 0) + (allowed.cost_usd or 0),
        )
        left = self._allowance()
        if (left.tokens is not None and left.tokens <= 0) or (left.cost_usd is not None and left.cost_usd <= 0):
            raise Ended(failures.used_up(self._request.limits))

    async def _submit_once(self) -> Submission:
        """Run the submit activity; a cancellation first learns what became of a POST in flight."""
        activity = workflow.start_activity_method(
            InteractionActivities.submit,
            Order(**dict(self._request), allowance=self._allowance(), account=self._account),
            summary=clip(cell(f"submission {self._submissions} to {self._request.target}")),
            schedule_to_start_timeout=self._left(),
            **policies.SUBMIT,
        )
        try:
            return await asyncio.shield(activity)
        except asyncio.CancelledError:
            activity.cancel()
            await self._learn(activity)
            raise

    async def _learn(self, activity: workflow.ActivityHandle[Submission]) -> None:
        """Find out how a submission ended that nobody wants any more, so that it can be stopped."""
        try:
            submission = await activity
            self._accept(submission.interaction_id, submission.snapshot)
        except ActivityError as error:
            if (interaction_id := _id_left_behind(error)) is not None:
                self._accept(interaction_id, _unseen())
            elif (lost := _lost(error)) is not None and not is_cancelled_exception(error):
                self._lost.append(LostSubmission(at=workflow.now(), reason=lost))

    def _accept(self, interaction_id: str, snapshot: Snapshot) -> Snapshot:
        self._handle = Handle(
            provider=self._request.provider,
            interaction_id=interaction_id,
            accepted_at=workflow.now(),
            account=self._account,
            sensitive=self._request.sensitive,
        )
        self._show(snapshot.state, "the provider to finish")
        self._index(snapshot.state)
        return snapshot

    async def _after_refusal(self, error: ActivityError, refusals: int) -> None:
        """Wait before the next submission; the task was surely not taken."""
        cause = error.cause
        self._submissions -= 1  # a refused submission reached nobody
        if isinstance(cause, TimeoutError):  # no worker took it up: nothing was sent
            raise DeadlineReached
        if not isinstance(cause, ApplicationError) or cause.non_retryable or refusals >= policies.REFUSALS:
            raise Ended(failures.refused(cause, refusals))
        wait = _retry_after(cause) or policies.REFUSAL_BACKOFF * 2 ** (refusals - 1)
        if wait > self._left():
            raise Ended(failures.refused(cause, refusals))
        self._show(State.SUBMITTING, f"{wait} to pass, since the provider refused: {cause.message[:300]}")
        await workflow.sleep(wait, summary=f"refused {refusals} of {policies.REFUSALS} times; next try")

    async def _after_loss(self, error: ActivityError, lost: str) -> Snapshot | None:
        """Decide what follows a submission that may have been taken: its snapshot, or None to send again."""
        if (interaction_id := _id_left_behind(error)) is not None:
            workflow.logger.info("the id of a lost submission was in its heartbeat")
            return self._accept(interaction_id, _unseen())
        self._lost.append(LostSubmission(at=workflow.now(), reason=lost))
        if self._request.on_lost_submission is OnLostSubmission.RESUBMIT:
            if self._submissions >= self._request.limits.max_submissions:
                raise Ended(failures.lost(lost, self._submissions))
            self._charge(_allowed(error))
            wait = _retry_after(error.cause) or policies.REFUSAL_BACKOFF * 2 ** (len(self._lost) - 1)
            self._show(State.SUBMITTING, f"{wait} to pass, since an answer was lost: {lost[:300]}")
            await workflow.sleep(wait, summary="an answer was lost; the next submission follows")
            return None
        return await self._hold(lost)

    async def _hold(self, lost: str) -> Snapshot | None:
        """Wait for a person's decision."""
        self._resolution = None
        waiting_for = "a person: was the task taken? See below for how to decide"
        since = workflow.now()
        self._show(State.HELD, waiting_for, failures.held(lost, workflow.info().workflow_id))
        self._index(State.HELD)
        try:
            await workflow.wait_condition(
                lambda: self._resolution is not None,
                timeout=self._request.limits.held,
                timeout_summary="held until somebody decides",
            )
        except asyncio.TimeoutError:  # noqa: UP041 - Temporal's TimeoutError has the builtin's name here
            raise Ended(failures.lost(lost, self._submissions)) from None
        self._deadline += workflow.now() - since
        resolution: Resolution = self._resolution  # type: ignore[assignment] # the condition above
        if resolution.action == "abandon":
            raise Ended(failures.abandoned(lost))
        if resolution.interaction_id is None:
            if self._lean:
                self._index(State.SUBMITTING)
            return None
        return self._accept(resolution.interaction_id, _unseen())

    @workflow.update
    async def resolve(self, resolution: Resolution) -> InteractionStatus:  # type: ignore[override] # binds self
        """Decide about a held submission."""
        self._resolution = resolution
        await workflow.wait_condition(lambda: self._state is not State.HELD)
        return self.status()

    @resolve.validator
    def _only_when_held(self, resolution: Resolution) -> None:
        if self._state is not State.HELD or self._resolution is not None:
            raise ApplicationError(f"there is nothing to resolve: the run is {self._state}, not held", type="NotHeld")

    # Polling and fetching

    async def _poll(self) -> Snapshot:
        """Wait for the interaction to settle, for as long as the limits allow.

        Raises:
            Ended: the provider will not show it, or it took too long and was cancelled.
            DeadlineReached: the run's own time is over.
        """
        handle, limits = self._require_handle(), self._request.limits
        try:
            return await self._within_deadline(
                workflow.execute_activity_method(
                    InteractionActivities.poll,
                    Watch(handle=handle, queued=limits.queued, running=limits.running, allowance=self._allowance()),
                    summary=clip(f"wait for {handle.interaction_id}"),
                    schedule_to_close_timeout=self._left(),
                    **policies.POLL,
                )
            )
        except (ActivityError, DeadlineReached) as error:
            if isinstance(error, ActivityError) and is_cancelled_exception(error):
                raise
            snapshot = await self._stop_remote()
            if snapshot is not None and snapshot.state in _ENDED_BY_ITSELF:
                return snapshot
            if isinstance(error, DeadlineReached):
                raise DeadlineReached(snapshot) from None
            raise Ended(failures.poll(error.cause, handle, snapshot)) from None

    async def _within_deadline(self, work: Awaitable[T]) -> T:
        """Turn both shapes of schedule_to_close's end into one.

        The server fails early with the last failure when the next retry would come too late, else with a timeout.
        """
        try:
            return await work
        except ActivityError as error:
            cause = error.cause
            late = isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_CLOSE
            if late or error.retry_state is RetryState.TIMEOUT:
                raise DeadlineReached from None
            raise

    async def _settle(self, snapshot: Snapshot) -> Outcome:
        failure = failures.settled(snapshot, self._require_handle(), self._request.limits)
        if snapshot.result is not None or snapshot.document is None:
            return self._outcome(snapshot.state, result=self._checked(snapshot.result), failure=failure)
        self._show(snapshot.state, "the result to be fetched")
        handle = self._require_handle()
        try:
            result = await workflow.execute_activity_method(
                InteractionActivities.fetch,
                Settled(handle=handle, snapshot=snapshot),
                summary=clip(f"store the result of {handle.interaction_id}"),
                schedule_to_close_timeout=policies.FETCH_LIMIT,
                **policies.FETCH,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return self._outcome(snapshot.state, failure=failures.fetch(error.cause, handle, snapshot))
        return self._outcome(snapshot.state, result=self._checked(result), failure=failure)

    def _checked(self, result: Result | None) -> Result | None:
        """Name the limits that a result is over: a provider's own are best effort."""
        excess = failures.excess(self._allowance(), result)
        return result.model_copy(update={"problems": [*result.problems, *excess]}) if result and excess else result

    # Stopping

    async def _cancelled(self) -> None:
        """Stop what runs at the provider, and record how that went."""
        snapshot = await self._stop_remote() if self._handle else None
        if self._handle is None and self._lost:
            note = f"a submission without a usable answer may run and be billed ({self._lost[-1].reason[:300]})"
        elif self._handle is None:
            note = "nothing runs at the provider"
        else:
            note = f"{self._handle.interaction_id}: {failures.stopped(snapshot)}"
        failure = Failure(kind="cancelled", message=f"Cancelled on request; {note}.", next_step="Nothing.")
        self._show(State.CANCELLED, "nothing: the run is over", failure)
        self._index(State.CANCELLED)
        await workflow.wait_condition(workflow.all_handlers_finished)

    async def _stop_remote(self) -> Snapshot | None:
        """Cancel the provider's run, best effort: None when it could not be reached."""
        handle = self._require_handle()
        self._show(self._state, "the provider to stop")
        try:
            return await workflow.execute_activity_method(
                InteractionActivities.cancel,
                handle,
                summary=clip(f"stop {handle.interaction_id}"),
                schedule_to_close_timeout=policies.CANCEL_LIMIT,
                **policies.CANCEL,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return None

    # What is shown

    @workflow.query
    def status(self) -> InteractionStatus:
        """Say where the run stands."""
        return InteractionStatus(
            state=self._state,
            interaction_id=self._handle.interaction_id if self._handle else None,
            since=self._since,
            waiting_for=self._waiting_for,
            submissions=self._submissions,
            lost_submissions=self._lost,
        )

    def _show(self, state: State, waiting_for: str, failure: Failure | None = None) -> None:
        """Note where the run stands, and write it where the Temporal UI shows it."""
        if state is not self._state:
            self._state, self._since = state, workflow.now()
        self._waiting_for = waiting_for
        rows = [
            ("State", state.value),
            ("Since", self._since.isoformat(timespec="seconds")),
            ("Waiting for", waiting_for),
            ("Provider", f"{self._request.provider}, {self._request.target}"),
            ("Interaction", self._handle.interaction_id if self._handle else "none yet"),
            ("Submissions", f"{self._submissions}, of which lost: {len(self._lost)}"),
        ]
        table = "\n".join(f"| {name} | {cell(value)} |" for name, value in rows)
        note = f"\n\n{cell(failure.message)}\n\n{failure.next_step}" if failure else ""
        workflow.set_current_details(f"| | |\n|---|---|\n{table}{note}")

    def _index(self, state: State, *, provider: bool = False) -> None:
        now = (state.value, self._handle.interaction_id if self._handle else None)
        if self._lean and now == self._indexed:
            return
        self._indexed = now
        updates: list[Any] = [attributes.STATE.value_set(state.value)]
        if provider:
            updates.append(attributes.PROVIDER.value_set(self._request.provider))
            updates.append(attributes.MODEL.value_set(self._request.target))
        if self._handle is not None:
            updates.append(attributes.INTERACTION_ID.value_set(self._handle.interaction_id))
        workflow.upsert_search_attributes(updates)

    def _outcome(self, state: State, *, result: Result | None = None, failure: Failure | None = None) -> Outcome:
        return Outcome(
            provider=self._request.provider,
            target=self._request.target,
            state=state,
            interaction_id=self._handle.interaction_id if self._handle else None,
            result=result,
            failure=failure,
            submissions=self._submissions,
            lost_submissions=self._lost,
        )

    def _left(self) -> timedelta:
        """Return the time to the deadline, at least a second, since Temporal takes no timeout of zero."""
        return max(self._deadline - workflow.now(), timedelta(seconds=1))

    def _require_handle(self) -> Handle:
        if self._handle is None:
            raise ApplicationError("no interaction is known", type="Bug", non_retryable=True)
        return self._handle


def _unseen() -> Snapshot:
    """A snapshot of a task whose id is known and whose state is not."""
    return Snapshot(state=State.UNKNOWN, raw="not seen yet", observed_at=workflow.now())


def _lost(error: ActivityError) -> str | None:
    """Return why nobody knows whether the task was taken, or None when it surely was not."""
    cause = error.cause
    if isinstance(cause, TimeoutError):
        if cause.type is TimeoutType.SCHEDULE_TO_START:
            return None
        return "the worker was lost while it was submitting"
    if isinstance(cause, ApplicationError) and cause.type in _NOT_TAKEN:
        return None
    if getattr(getattr(cause, "cause", None), "type", None) in {"KeyMissing", "Altered"}:
        return None  # a worker without the key could not even read the task
    return getattr(cause, "message", None) or str(cause)


def _id_left_behind(error: ActivityError) -> str | None:
    """Return the interaction id that a killed worker had beaten before it was lost."""
    found = _details(error.cause).get("interaction_id") if isinstance(error.cause, TimeoutError) else None
    return found if isinstance(found, str) else None


def _allowed(error: ActivityError) -> Allowance | None:
    """Return what a lost submission was allowed, or None when it died before it said so."""
    found = _details(error.cause).get("allowed")
    return Allowance.model_validate(found) if isinstance(found, dict) else None


def _retry_after(cause: BaseException | None) -> timedelta | None:
    """Return the wait that the provider asked for; the activity put it into its failure."""
    seconds = _details(cause).get("retry_after") if isinstance(cause, ApplicationError) else None
    return timedelta(seconds=seconds) if seconds else None


def _details(cause: BaseException | None) -> dict[str, Any]:
    """Return what the activity left behind: in its failure, or in the last heartbeat of a killed worker."""
    details: Any = []
    if isinstance(cause, TimeoutError):
        details = cause.last_heartbeat_details
    elif isinstance(cause, ApplicationError):
        details = cause.details
    return details[0] if details and isinstance(details[0], dict) else {}
