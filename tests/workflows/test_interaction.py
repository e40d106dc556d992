"""An interaction from request to outcome, on a real server and over real sockets; every fault switch once."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from conftest import AGENT, KEY, MODEL, until
from gapless import (
    Gapless,
    InteractionRequest,
    Limits,
    OnLostSubmission,
    Outcome,
    Resolution,
    Run,
    RunCancelled,
    RunStatus,
    State,
)
from gapless.client import IdTaken, NotHeld
from gapless.contract import attributes
from gapless.testing.emulator import Emulator
from gapless_workers.worker import worker

pytestmark = pytest.mark.usefixtures("served")


def request(
    fault: str | None = None, *, on: str = "create", limits: Limits | None = None, **fields: Any
) -> InteractionRequest:
    """Return a request to a model, with a fault in its labels."""
    labels = {"gapless-fault": fault, "gapless-fault-operation": on} if fault else {}
    labels |= fields.pop("labels", {})
    return InteractionRequest(model=MODEL, input="Say hello.", labels=labels, limits=limits or Limits(), **fields)


async def held(run: Run[Outcome]) -> None:
    """Wait until the run is held."""
    await until(lambda: _state(run, "held"))


async def _state(run: Run[Outcome], state: str) -> bool:
    return (await run.status()).state == state


async def test_a_model_answers(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A background interaction is submitted once, polled, and its text comes back."""
    run = await gapless.start(request(), id=queue, queue=queue)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert "stand-in" in outcome.result.text
    assert outcome.result.usage.total > 0
    assert outcome.submissions == 1
    assert outcome.interaction_id == emulator.stats()["interactions"][0]
    assert emulator.stats()["created"] == 1


async def test_an_agent_leaves_files(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """The files of an agent's environment are in the artifact store, by their digests."""
    run = await gapless.start(
        InteractionRequest(agent=AGENT, input="Write an answer.", environment="remote"), id=queue, queue=queue
    )
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert [file.name for file in outcome.result.files] == ["answer.md"]
    assert await gapless.artifacts.get(outcome.result.files[0].digest)
    document = json.loads(await gapless.artifacts.get(outcome.result.document.digest))
    assert document["id"] == outcome.interaction_id


async def test_the_same_id_never_runs_twice(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A repeated start attaches, also after the end; another request under the id is refused."""
    first = await gapless.start(request(), id=queue, queue=queue)
    again = await gapless.start(request(), id=queue, queue=queue)
    assert again.attached
    assert await first.result() == await again.result()
    after = await gapless.start(request(), id=queue, queue=queue)
    assert after.attached
    with pytest.raises(IdTaken, match="another request"):
        await gapless.start(InteractionRequest(model=MODEL, input="Something else."), id=queue, queue=queue)
    assert emulator.stats()["created"] == 1


@pytest.mark.parametrize("task", [{"model": MODEL}, {"agent": AGENT, "environment": "remote"}], ids=["model", "agent"])
async def test_history_does_not_grow_with_polls(
    gapless: Gapless, emulator: Emulator, queue: str, task: dict[str, str]
) -> None:
    """Three polls and nine leave the same number of events, at most 20, files of an agent included."""
    sizes = []
    for polls in ("3", "9"):
        asked = InteractionRequest(**task, input="Say hello.", labels={"gapless-polls": polls})
        run = await gapless.start(asked, id=f"{queue}-{polls}", queue=queue)
        assert (await run.result()).state is State.SUCCEEDED
        history = await gapless.client.get_workflow_handle(run.id).fetch_history()
        sizes.append(len(history.events))
    assert sizes[0] == sizes[1] <= 20


async def test_a_terminal_submit_needs_neither_poll_nor_fetch(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """An answer that is final at once is taken as it is."""
    run = await gapless.start(request(labels={"gapless-run-seconds": "0"}), id=queue, queue=queue)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED
    assert outcome.result.text
    assert emulator.stats()["requests"].get("get", 0) == 0


@pytest.mark.parametrize("fault", ["answer-lost", "5xx-after", "hang", "malformed-200", "empty-200", "error-200"])
async def test_a_lost_answer_is_held_and_adopted(gapless: Gapless, emulator: Emulator, queue: str, fault: str) -> None:
    """A task that was taken without a usable answer is held, never sent again; its id can be adopted."""
    run = await gapless.start(request(fault), id=queue, queue=queue)
    await held(run)
    assert emulator.stats()["created"] == 1
    await run.resolve(Resolution(action="adopt", interaction_id=emulator.stats()["interactions"][0]))
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert len(outcome.lost_submissions) == 1
    assert emulator.stats()["created"] == 1


@pytest.mark.parametrize("fault", ["status-408", "status-409", "5xx-before"])
async def test_what_may_have_been_taken_is_held_and_sent_again_on_demand(
    gapless: Gapless, emulator: Emulator, queue: str, fault: str
) -> None:
    """Statuses that leave it open hold the run; a person sends the task again."""
    emulator.inject(fault)
    run = await gapless.start(request(), id=queue, queue=queue)
    await held(run)
    assert emulator.stats()["created"] == 0
    await run.resolve(Resolution(action="resubmit"))
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert outcome.submissions == 2
    assert emulator.stats()["created"] == 1


async def test_a_held_run_can_be_abandoned(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """Giving up is an outcome; nothing can be resolved before or after."""
    run = await gapless.start(request("answer-lost"), id=queue, queue=queue)
    await held(run)
    await run.resolve(Resolution(action="abandon"))
    outcome = await run.result()
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, "abandoned")
    running = await gapless.start(request("stuck-running"), id=f"{queue}-2", queue=queue)
    await until(lambda: _state(running, "running"))
    with pytest.raises(NotHeld, match="not held"):
        await running.resolve(Resolution(action="abandon"))
    await running.cancel()


async def test_resubmission_is_bounded(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """The policy `resubmit` sends again, up to the limit, and records each loss."""
    emulator.inject("answer-lost", times=5)
    run = await gapless.start(
        request(on_lost_submission=OnLostSubmission.RESUBMIT, limits=Limits(max_submissions=2)), id=queue, queue=queue
    )
    outcome = await run.result()
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, "submission_unknown")
    assert outcome.submissions == len(outcome.lost_submissions) == emulator.stats()["created"] == 2


async def test_resubmission_succeeds(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """After one loss the second submission is the one that counts."""
    emulator.inject("answer-lost")
    run = await gapless.start(request(on_lost_submission=OnLostSubmission.RESUBMIT), id=queue, queue=queue)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED
    assert outcome.interaction_id == emulator.stats()["interactions"][1]


async def test_a_refusal_is_waited_out(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A 429 was surely not taken: it is sent again after Retry-After, and counts as one submission."""
    emulator.inject("status-429", times=2, seconds=1)
    run = await gapless.start(request(), id=queue, queue=queue)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert outcome.submissions == emulator.stats()["created"] == 1
    assert emulator.stats()["requests"]["create"] == 3


async def test_refusals_are_bounded(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A provider that refuses for ever ends the run."""
    emulator.inject("status-429", times=50, seconds=1)
    run = await gapless.start(request(), id=queue, queue=queue)
    outcome = await run.result()
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, "refused")
    assert emulator.stats()["requests"]["create"] == 5


async def test_a_bad_request_is_not_sent_again(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A 404 for an unknown agent ends the run at once, and says what the provider said."""
    bad = InteractionRequest(agent="no-such-agent", input="Hello.")
    outcome = await (await gapless.start(bad, id=queue, queue=queue)).result()
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, "rejected")
    assert "no-such-agent" in outcome.failure.message
    assert emulator.stats()["requests"]["create"] == 1


@pytest.mark.parametrize(
    ("fault", "on"),
    [
        ("404-after-accept", "create"),
        ("slow", "create"),
        ("status-429", "get"),
        ("5xx-before", "get"),
        ("answer-lost", "get"),
        ("malformed-200", "get"),
        ("empty-200", "get"),
        ("error-200", "get"),
    ],
)
async def test_troubled_reads_do_no_harm(gapless: Gapless, emulator: Emulator, queue: str, fault: str, on: str) -> None:
    """Whatever happens to a poll, the next one sees how it stands."""
    labels = {"gapless-fault-seconds": "1"} if fault in {"slow", "status-429"} else {}
    run = await gapless.start(request(fault, on=on, labels=labels), id=queue, queue=queue)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert emulator.stats()["created"] == 1


@pytest.mark.parametrize("faults", [["usage-missing"], ["usage-missing", "regress"]])
async def test_usage_that_comes_late_is_waited_for(
    gapless: Gapless, emulator: Emulator, queue: str, faults: list[str]
) -> None:
    """Usage missing at the end is asked for again; a provider that steps back is not believed."""
    emulator.inject(faults[0])
    run = await gapless.start(request(*faults[1:]), id=queue, queue=queue)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED
    assert outcome.result.text
    if "regress" in faults:
        assert "ignored" in " ".join(outcome.result.problems)
    else:
        assert outcome.result.usage.total > 0


@pytest.mark.parametrize(
    ("fault", "limits", "kind"),
    [
        ("stuck-queued", Limits(queued=timedelta(seconds=2)), "queued_too_long"),
        ("stuck-running", Limits(running=timedelta(seconds=2)), "running_too_long"),
        ("stuck-running", Limits(deadline=timedelta(seconds=4)), "deadline_exceeded"),
        ("unknown-status", Limits(deadline=timedelta(seconds=4)), "deadline_exceeded"),
    ],
)
async def test_what_takes_too_long_is_stopped(
    gapless: Gapless, emulator: Emulator, queue: str, fault: str, limits: Limits, kind: str
) -> None:
    """Each limit ends the run under its own name, and the provider is asked to stop."""
    run = await gapless.start(request(fault, limits=limits), id=queue, queue=queue)
    outcome = await run.result()
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, kind)
    assert emulator.stats()["cancel_requests"] >= 1


@pytest.mark.parametrize(
    ("fault", "state", "kind"),
    [
        ("ends-failed", State.FAILED, "provider_failed"),
        ("ends-incomplete", State.INCOMPLETE, "incomplete"),
        ("ends-budget-exceeded", State.INCOMPLETE, "budget_exceeded"),
        ("ends-requires-action", State.INPUT_REQUIRED, "input_required"),
        ("ends-cancelled", State.CANCELLED, "cancelled_elsewhere"),
    ],
)
async def test_an_end_that_is_no_success_is_an_outcome(
    gapless: Gapless, emulator: Emulator, queue: str, fault: str, state: State, kind: str
) -> None:
    """The provider's own failure is data, and what it left is kept."""
    run = await gapless.start(request(fault), id=queue, queue=queue)
    outcome = await run.result()
    assert (outcome.state, outcome.failure.kind) == (state, kind)
    assert outcome.result.document.size > 0


@pytest.mark.parametrize("fault", [None, "cancel-late", "cancel-refused"])
async def test_cancel_reaches_the_provider(gapless: Gapless, emulator: Emulator, queue: str, fault: str | None) -> None:
    """Cancelling the run cancels at the provider, which may refuse; the run ends all the same."""
    labels = {"gapless-run-seconds": "600"}
    run = await gapless.start(request(fault, labels=labels), id=queue, queue=queue)
    await until(lambda: _state(run, "running"))
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    assert emulator.stats()["cancel_requests"] >= 1
    description = await gapless.client.get_workflow_handle(queue).describe()
    assert description.status is WorkflowExecutionStatus.CANCELED
    assert description.typed_search_attributes.get(attributes.STATE) == "cancelled"


async def test_cancel_during_the_submission_stops_what_was_created(
    gapless: Gapless, emulator: Emulator, queue: str
) -> None:
    """A POST in flight is seen to its end, so that its interaction can be stopped."""
    labels = {"gapless-fault-seconds": "2", "gapless-run-seconds": "600"}
    run = await gapless.start(request("slow", labels=labels), id=queue, queue=queue)
    await until(lambda: emulator.stats()["created"] == 1)
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    assert emulator.stats()["cancel_requests"] >= 1


async def test_the_ui_tells_the_story(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """Search attributes, summaries, details and the pending poll say where the run stands."""
    run = await gapless.start(request("stuck-running"), id=queue, job="nightly", queue=queue)
    status = await until(lambda: _polled(run))
    assert (status.provider, status.target, status.job) == ("gemini", MODEL, "nightly")
    assert status.interaction_id == emulator.stats()["interactions"][0]
    poll = status.pending[0]
    assert "in_progress; poll" in poll.last_failure
    assert "Nothing to do" in poll.last_failure
    handle = gapless.client.get_workflow_handle(queue)
    description = await handle.describe()
    assert MODEL in await description.static_summary()
    assert "Say hello" in await description.static_details()
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert "the provider to finish" in metadata.current_details
    assert status.interaction_id.replace("_", "\\_") in metadata.current_details
    await run.cancel()


async def _polled(run: Run[Outcome]) -> RunStatus | None:
    status = await run.status()
    return status if status.pending and status.pending[0].last_failure else None


async def test_no_key_in_history(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """The key is nowhere in what Temporal keeps, whatever fails."""
    emulator.inject("status-429", seconds=1)
    run = await gapless.start(request("ends-failed"), id=queue, queue=queue)
    await run.result()
    history = await gapless.client.get_workflow_handle(queue).fetch_history()
    assert KEY not in history.to_json()


async def test_nothing_is_sent_after_the_deadline(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A run that no worker took up in time is over: a task of Friday is not carried out on Monday."""
    late = f"{queue}-late"
    run = await gapless.start(request(limits=Limits(deadline=timedelta(seconds=1))), id=late, queue=late)
    await asyncio.sleep(1.5)  # the deadline itself
    async with worker(gapless.client, gapless.settings, [late]):
        outcome = await run.result()
    assert outcome.failure.kind == "deadline_exceeded"
    assert emulator.stats()["created"] == 0


async def test_nothing_is_sent_again_after_the_deadline(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """The policy `resubmit` does not outlive the run's own time."""
    emulator.inject("hang", times=3)
    limits = Limits(deadline=timedelta(seconds=3))
    lost = request(limits=limits, on_lost_submission=OnLostSubmission.RESUBMIT)
    outcome = await (await gapless.start(lost, id=queue, queue=queue)).result()
    assert outcome.failure.kind == "submission_unknown"
    assert emulator.stats()["created"] == 1


@pytest.mark.parametrize("then", ["status-400", "status-429"])
async def test_a_refusal_does_not_hide_an_earlier_loss(
    gapless: Gapless, emulator: Emulator, queue: str, then: str
) -> None:
    """Whatever comes later, a submission that may run is what the outcome speaks of."""
    emulator.inject("answer-lost")
    emulator.inject(then, times=9, seconds=1)
    lost = request(on_lost_submission=OnLostSubmission.RESUBMIT)
    outcome = await (await gapless.start(lost, id=queue, queue=queue)).result()
    assert outcome.failure.kind == "submission_unknown"
    assert "may run and be billed" in outcome.failure.next_step
    assert (outcome.submissions, len(outcome.lost_submissions), emulator.stats()["created"]) == (1, 1, 1)


async def test_a_long_retry_after_leaves_a_last_look(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A provider that asks to wait for ever does not end a run that is well: there is a look before the deadline."""
    emulator.inject("status-429", operation="get", seconds=100_000)
    limits = Limits(deadline=timedelta(seconds=8))
    outcome = await (await gapless.start(request(limits=limits), id=queue, queue=queue)).result()
    assert outcome.state is State.SUCCEEDED, outcome


async def test_what_ended_before_it_was_stopped_counts(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A partial result that was there at the deadline is not thrown away."""
    emulator.inject("hang", operation="get", times=1, seconds=10)
    limits = Limits(deadline=timedelta(seconds=4))
    outcome = await (await gapless.start(request("ends-incomplete", limits=limits), id=queue, queue=queue)).result()
    assert outcome.state is State.INCOMPLETE
    assert outcome.result.text


async def test_a_malformed_start_fails_at_once(gapless: Gapless, queue: str) -> None:
    """A caller without our types gets the field's name, not a run that hangs."""
    malformed = {"provider": "gemini", "input": "hello"}
    handle = await gapless.client.start_workflow("Interaction", malformed, id=queue, task_queue=queue)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert "either a model or an agent" in str(caught.value.cause)


async def test_a_hold_has_a_time_of_its_own(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """The time for which a person is waited for does not count against the deadline, and is bounded, too."""
    limits = Limits(deadline=timedelta(seconds=4), held=timedelta(seconds=6))
    run = await gapless.start(request("answer-lost", limits=limits), id=queue, queue=queue)
    await held(run)
    await asyncio.sleep(4)  # the deadline itself
    await run.resolve(Resolution(action="adopt", interaction_id=emulator.stats()["interactions"][0]))
    assert (await run.result()).state is State.SUCCEEDED
    forgotten = await gapless.start(
        request("answer-lost", limits=Limits(held=timedelta(seconds=1))), id=f"{queue}-2", queue=queue
    )
    assert (await forgotten.result()).failure.kind == "submission_unknown"
