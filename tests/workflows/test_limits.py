"""Limits on tokens and money, what they make the provider keep, and what is booked."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from conftest import AGENT, MODEL, settings_for, until
from gapless import Gapless, InteractionRequest, Limits, OnLostSubmission, Outcome, Resolution, Run, State
from gapless.config import Settings
from gapless.spend import Entry, Ledger, today
from gapless.testing.emulator import Emulator
from gapless_workers.worker import worker

pytestmark = pytest.mark.usefixtures("served")

RATES = f"""
[[rates]]
target = "{MODEL}"
from = 2026-01-01
input = 1.0
cached = 0.1
output = 2.0
thought = 2.0
tool_use = 1.0
background_hour = 0
"""


@pytest.fixture
def settings(data_dir: Path, emulator: Emulator, tmp_path: Path) -> Settings:
    """Return settings with a rate card, and a ledger of the test's own."""
    rates = tmp_path / "rates.toml"
    rates.write_text(RATES)
    settings = settings_for(data_dir, emulator.url)
    return settings.model_copy(update={"rates": rates, "artifacts": (tmp_path / "artifacts").as_uri()})


async def booked(settings: Settings) -> list[Entry]:
    """Return what the ledger holds."""
    return [entry async for entry in Ledger(settings.artifacts_url).entries(today() - timedelta(days=1), today())]


def request(fault: str | None = None, **fields: Any) -> InteractionRequest:
    """Return a request to a model, which ends when it is created, or with a fault."""
    labels = {"gapless-fault": fault} if fault else {}
    return InteractionRequest(**{"model": MODEL, "input": "Say hello.", "labels": labels} | fields)


async def ended(gapless: Gapless, queue: str, asked: InteractionRequest, **options: Any) -> Outcome:
    """Run a request to its end."""
    return await (await gapless.start(asked, id=queue, queue=queue, **options)).result()


def sent(emulator: Emulator, number: int = 0) -> dict[str, Any]:
    """Return a create request as the provider got it."""
    bodies = [body for _, body in emulator.app.emulation.store.all("interaction")]
    found: dict[str, Any] = bodies[number]["request"]
    return found


async def test_the_provider_is_told_the_limit(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """A model gets it as its output limit, an agent as its own, the smaller one where it has one."""
    limits = Limits(max_total_tokens=5_000)
    await ended(gapless, f"{queue}", request(limits=limits))
    assert sent(emulator)["generation_config"] == {"max_output_tokens": 5_000}
    agent: dict[str, Any] = {"model": None, "agent": AGENT, "limits": limits}
    for number, (own, told) in enumerate([(None, "5000"), ("300", "300"), (9_000, "5000")], start=1):
        config = {"type": "antigravity", "max_total_tokens": own} if own else None
        task = request(**agent, agent_config=config)
        await (await gapless.start(task, id=f"{queue}-{number}", queue=queue)).result()
        assert sent(emulator, number)["agent_config"]["max_total_tokens"] == told


async def test_a_limit_that_was_reached_is_named(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """The provider stops early at its own limit; the outcome says which one that was."""
    task = request(model=None, agent=AGENT, limits=Limits(max_total_tokens=5))
    outcome = await ended(gapless, queue, task)
    assert (outcome.state, outcome.failure.kind) == (State.INCOMPLETE, "incomplete")
    assert "max_total_tokens 5" in outcome.failure.message
    assert "over its limit of 5" in " ".join(outcome.result.problems)


@pytest.mark.parametrize(
    ("own", "submissions"), [(None, 1), (400, 2)], ids=["all of it at once", "in parts of its own choosing"]
)
async def test_a_loss_counts_with_all_it_was_allowed(
    gapless: Gapless, emulator: Emulator, queue: str, own: int | None, submissions: int
) -> None:
    """What was lost may run, so nothing is sent again that could lead over the limit."""
    emulator.inject("answer-lost", times=9)
    config = {"type": "antigravity", "max_total_tokens": own} if own else None
    task = request(
        model=None,
        agent=AGENT,
        agent_config=config,
        limits=Limits(max_total_tokens=800, max_submissions=9),
        on_lost_submission=OnLostSubmission.RESUBMIT,
    )
    outcome = await ended(gapless, queue, task)
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, "submission_unknown")
    assert "max_total_tokens=800" in outcome.failure.message
    assert outcome.submissions == emulator.stats()["created"] == submissions


async def test_a_person_who_sends_it_again_vouches_for_the_loss(
    gapless: Gapless, emulator: Emulator, queue: str
) -> None:
    """Sent again by decision, a task has the whole of its limit."""
    emulator.inject("5xx-before")
    run = await gapless.start(request(limits=Limits(max_total_tokens=800)), id=queue, queue=queue)
    await until(lambda: _held(run))
    await run.resolve(Resolution(action="resubmit"))
    assert (await run.result()).state is State.SUCCEEDED
    assert sent(emulator)["generation_config"] == {"max_output_tokens": 800}


async def _held(run: Run[Outcome]) -> bool:
    return (await run.status()).state == "held"


async def test_money_becomes_tokens(gapless: Gapless, emulator: Emulator, queue: str) -> None:
    """At 2 dollars a million for the dearest kind, a cent buys 5,000 tokens."""
    outcome = await ended(gapless, queue, request(limits=Limits(max_cost_usd=Decimal("0.01"))))
    assert sent(emulator)["generation_config"] == {"max_output_tokens": 5_000}
    used = outcome.result.usage
    assert outcome.result.cost.usd == (used.input + 2 * used.output + 2 * used.thought) / Decimal(1_000_000)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "gemini-of-no-rate"}, "does not state every price of gemini-of-no-rate"),
        ({"environment": "remote"}, "sandbox_hour"),
        ({"limits": Limits(max_cost_usd=Decimal("0.000001"))}, "leaves nothing for tokens"),
    ],
)
async def test_a_limit_that_cannot_be_held_is_refused(
    gapless: Gapless, emulator: Emulator, queue: str, settings: Settings, fields: dict[str, Any], said: str
) -> None:
    """Without every price, a limit in dollars would be a promise; nothing is sent, and nothing is booked."""
    task = request(**({"limits": Limits(max_cost_usd=Decimal(1))} | fields))
    outcome = await ended(gapless, queue, task)
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, "rejected")
    assert said in outcome.failure.message
    assert emulator.stats()["requests"].get("create", 0) == 0
    assert await booked(settings) == []


async def test_what_costs_too_much_by_time_is_stopped(
    gapless: Gapless, emulator: Emulator, queue: str, settings: Settings
) -> None:
    """Waiting has a price, too: at a dollar a second, what is queued for more than three is cancelled."""
    settings.rates.write_text(RATES.replace("background_hour = 0", "background_hour = 3600"))
    limits = Limits(max_cost_usd=Decimal(3), running=timedelta(seconds=2))
    async with worker(gapless.client, settings, [f"{queue}-dear"]):
        run = await gapless.start(request("stuck-queued", limits=limits), id=queue, queue=f"{queue}-dear")
        outcome = await run.result()
    assert (outcome.state, outcome.failure.kind) == (State.FAILED, "cost_limit")
    assert emulator.stats()["cancel_requests"] >= 1


@pytest.mark.parametrize(
    ("again", "created"), [("retried", 1), ("reset behind the submission", 1), ("reset before the submission", 2)]
)
async def test_what_is_billed_once_is_booked_once(
    gapless: Gapless, emulator: Emulator, queue: str, settings: Settings, again: str, created: int
) -> None:
    """However often an end is seen, its entry is one; a task that is really sent again has another."""
    emulator.inject("status-429", seconds=1)  # refused once: not a submission
    if again == "retried":
        emulator.inject("5xx-before", operation="get", times=2)
    outcome = await ended(gapless, queue, request(), job="nightly")
    if again != "retried":
        await _reset(gapless, queue, -2 if "behind" in again else 1)
        outcome = await (await gapless.run(queue)).result()
    entries = await booked(settings)
    assert len(entries) == emulator.stats()["created"] == created
    [entry] = [entry for entry in entries if entry.interaction_id == outcome.interaction_id]
    assert (entry.account.job, entry.account.model, entry.state) == ("nightly", MODEL, State.SUCCEEDED)
    assert (entry.usage, entry.cost) == (outcome.result.usage, outcome.result.cost)
    assert entry.time is not None


async def _reset(gapless: Gapless, workflow_id: str, task: int) -> None:
    """Reset the run to one of its workflow tasks: what came after it happens again."""
    history = await gapless.client.get_workflow_handle(workflow_id).fetch_history()
    tasks = [e.event_id for e in history.events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
    await gapless.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=gapless.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=history.run_id),
            workflow_task_finish_event_id=tasks[task],
            request_id=workflow_id,
            reason="a test of the ledger",
        )
    )


async def test_a_loss_is_booked_as_unknown(
    gapless: Gapless, emulator: Emulator, queue: str, settings: Settings
) -> None:
    """Nobody knows what a lost submission costs, and the ledger says so; adopted, it is one task with its price."""
    run = await gapless.start(request("answer-lost"), id=queue, queue=queue)
    await until(lambda: _held(run))
    [lost] = await booked(settings)
    assert (lost.interaction_id, lost.cost, lost.state) == (None, None, State.SUBMITTING)
    await run.resolve(Resolution(action="adopt", interaction_id=emulator.stats()["interactions"][0]))
    await run.result()
    [known] = await booked(settings)
    assert known.interaction_id == emulator.stats()["interactions"][0]
    assert known.cost.usd > 0


async def test_what_was_stopped_is_booked(gapless: Gapless, emulator: Emulator, queue: str, settings: Settings) -> None:
    """A task that took too long has an entry without a price: its usage is not known."""
    outcome = await ended(gapless, queue, request("stuck-running", limits=Limits(running=timedelta(seconds=2))))
    [entry] = await booked(settings)
    assert (entry.interaction_id, entry.state) == (outcome.interaction_id, State.CANCELLED)
    assert entry.cost.usd is None


async def test_an_unbookable_task_is_not_sent(
    gapless: Gapless, emulator: Emulator, queue: str, settings: Settings
) -> None:
    """What cannot be booked must not be billed; it is refused, and goes out when the ledger is back."""
    folder = Path(settings.artifacts_url.removeprefix("file://"))
    folder.mkdir(exist_ok=True)
    (folder / "spend").write_text("in the way")
    run = await gapless.start(request(), id=queue, queue=queue)
    await until(lambda: _refused(gapless, run))
    assert emulator.stats()["requests"].get("create", 0) == 0
    (folder / "spend").unlink()
    assert (await run.result()).state is State.SUCCEEDED
    assert len(await booked(settings)) == emulator.stats()["created"] == 1


async def _refused(gapless: Gapless, run: Run[Outcome]) -> bool:
    history = await gapless.client.get_workflow_handle(run.id).fetch_history()
    return any(event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED for event in history.events)
