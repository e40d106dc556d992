"""Every fault once, as the unmodified SDK sees it; one test per fault, named for it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from google.genai import _interactions as errors

from gapless.testing.emulator import FAULTS


def test_every_fault_is_tested() -> None:
    """This module has a test for each fault."""
    for name in FAULTS:
        assert f"test_{name.replace('-', '_')}".lower() in globals(), name


@pytest.fixture
def created(emulator: Any) -> Callable[[], int]:
    """Return how many interactions came into being since the test began."""
    before = emulator.stats()["created"]
    return lambda: emulator.stats()["created"] - before


def fault(name: str, **more: Any) -> dict[str, str]:
    """Return labels that switch a fault on."""
    return {"gapless-fault": name, **{f"gapless-fault-{key}": str(value) for key, value in more.items()}}


@pytest.mark.parametrize("status", [408, 409, 429])
async def test_status_nnn(sdk: Any, created: Any, status: Any) -> None:
    """A refusal carries Retry-After and creates nothing; the same request later succeeds."""
    labels = fault(f"status-{status}", seconds=7)
    with pytest.raises(errors.APIStatusError) as refused:
        await sdk.start(labels=labels)
    assert refused.value.status_code == status
    assert refused.value.response.headers["retry-after"] == "7"
    assert created() == 0
    assert (await sdk.start(labels=labels)).status == "in_progress"
    assert created() == 1


async def test_a_refusal_without_retry_after(sdk: Any, created: Any) -> None:
    """No seconds, no header: the client has to know by itself how long to wait."""
    with pytest.raises(errors.RateLimitError) as refused:
        await sdk.start(labels=fault("status-429", seconds=0))
    assert "retry-after" not in refused.value.response.headers
    assert created() == 0


async def test_5xx_before(sdk: Any, created: Any) -> None:
    """The error comes as often as asked, and nothing is created before."""
    labels = fault("5xx-before", times=2)
    for _ in range(2):
        with pytest.raises(errors.InternalServerError):
            await sdk.start(labels=labels)
    assert created() == 0
    await sdk.start(labels=labels)
    assert created() == 1


async def test_5xx_after(sdk: Any, created: Any) -> None:
    """The error comes although the interaction came into being."""
    with pytest.raises(errors.InternalServerError):
        await sdk.start(labels=fault("5xx-after"))
    assert created() == 1


async def test_answer_lost_before(sdk: Any, created: Any) -> None:
    """The connection ends without an answer, and nothing came into being; the same request later succeeds."""
    with pytest.raises(errors.APIConnectionError) as lost:
        await sdk.start(labels=fault("answer-lost-before"))
    assert not isinstance(lost.value, errors.APITimeoutError)
    assert created() == 0
    await sdk.start(labels=fault("answer-lost-before"))
    assert created() == 1


async def test_answer_lost(sdk: Any, created: Any, emulator: Any) -> None:
    """The connection ends without an answer, and the interaction runs."""
    with pytest.raises(errors.APIConnectionError) as lost:
        await sdk.start(labels=fault("answer-lost"))
    assert not isinstance(lost.value, errors.APITimeoutError)
    assert created() == 1
    assert (await sdk.until(emulator.stats()["interactions"][-1])).status == "completed"


async def test_answer_lost_a_number_of_times(sdk: Any, created: Any) -> None:
    """The same request is answered after its answer was lost as often as asked."""
    labels = fault("answer-lost", times=1)
    with pytest.raises(errors.APIConnectionError):
        await sdk.start(labels=labels)
    await sdk.start(labels=labels)
    assert created() == 2


async def test_hang(emulator: Any, connect: Any, created: Any) -> None:
    """The client's own timeout is all that ends the wait; the interaction is there."""
    with pytest.raises(errors.APITimeoutError):
        await connect(emulator.url, timeout=0.3).start(labels=fault("hang"))
    assert created() == 1


async def test_slow(sdk: Any, created: Any) -> None:
    """The answer comes late and is right."""
    begun = time.monotonic()
    made = await sdk.start(labels=fault("slow", seconds="0_3"))
    assert time.monotonic() - begun >= 0.3
    assert made.id
    assert created() == 1


async def test_reset_mid_body(sdk: Any, emulator: Any, http: Any, created: Any) -> None:
    """The head is right and the body breaks off in the middle; what was asked was done."""
    with pytest.raises(errors.APIConnectionError):
        await sdk.start(labels=fault("reset-mid-body"))
    assert created() == 1
    emulator.inject("reset-mid-body", operation="get")
    async with http.stream("GET", f"/v1/interactions/{emulator.stats()['interactions'][-1]}") as answer:
        assert (answer.status_code, int(answer.headers["content-length"]) > 200) == (200, True)
        with pytest.raises(httpx2.ReadError):
            await answer.aread()


@pytest.mark.parametrize("operation", ["create", "get"])
async def test_malformed_200(sdk: Any, created: Any, operation: str) -> None:
    """The body is cut off; what was asked was done."""
    labels = fault("malformed-200", operation=operation)
    with pytest.raises(errors.APIResponseValidationError):
        await sdk.interactions.get((await sdk.start(labels=labels)).id)
    assert created() == 1


async def test_empty_200(sdk: Any, created: Any) -> None:
    """The SDK takes `{}` for an interaction without id and status."""
    made = await sdk.start(labels=fault("empty-200"))
    assert (made.id, made.status) == ("", None)
    assert created() == 1


async def test_error_200(sdk: Any, created: Any) -> None:
    """The SDK takes an error with status 200 for an interaction."""
    made = await sdk.start(labels=fault("error-200"))
    assert made.id == ""
    assert made.model_extra["error"]["code"] == "api_error"
    assert created() == 1


async def test_404_after_accept(sdk: Any) -> None:
    """GET finds nothing for some GETs, then everything."""
    made = await sdk.start(labels=fault("404-after-accept", times=2))
    for _ in range(2):
        with pytest.raises(errors.NotFoundError):
            await sdk.interactions.get(made.id)
    assert (await sdk.interactions.get(made.id)).id == made.id


async def test_404_after_accept_for_a_time(sdk: Any) -> None:
    """GET finds nothing until the time is over."""
    made = await sdk.start(labels=fault("404-after-accept", seconds="0_3"))
    with pytest.raises(errors.NotFoundError):
        await sdk.interactions.get(made.id)
    await asyncio.sleep(0.3)
    assert (await sdk.interactions.get(made.id)).id == made.id


async def test_404_forever(sdk: Any) -> None:
    """GET never finds it, but it can be cancelled."""
    made = await sdk.start(labels={**fault("404-forever"), "gapless-run-seconds": "60"})
    for _ in range(4):
        with pytest.raises(errors.NotFoundError):
            await sdk.interactions.get(made.id)
    assert (await sdk.interactions.cancel(made.id)).status == "cancelled"


@pytest.mark.parametrize(("name", "status"), [("stuck-queued", "queued"), ("stuck-running", "in_progress")])
async def test_stuck(sdk: Any, name: str, status: Any) -> None:
    """A stuck interaction does not move until it is cancelled."""
    made = await sdk.start(labels={**fault(name), "gapless-run-seconds": "0"})
    assert made.status == (await sdk.interactions.get(made.id)).status == status
    await sdk.interactions.cancel(made.id)
    assert (await sdk.interactions.get(made.id)).status == "cancelled"


test_stuck_queued = test_stuck_running = test_stuck


async def statuses(sdk: Any, made: Any, number: int) -> list[str]:
    return [(await sdk.interactions.get(made.id)).status for _ in range(number)]


async def test_regress(sdk: Any, emulator: Any) -> None:
    """After the end, some GETs say in_progress again; the statistics tell the truth."""
    made = await sdk.start(labels={**fault("regress", times=2), "gapless-polls": "1"})
    seen = await statuses(sdk, made, 3)
    assert emulator.stats()["statuses"][made.id] == "completed"
    seen += await statuses(sdk, made, 3)
    assert seen == ["in_progress", "completed", "in_progress", "in_progress", "completed", "completed"]


async def test_usage_missing(sdk: Any) -> None:
    """The first terminal answer has no usage, the next one has."""
    made = await sdk.start(labels={**fault("usage-missing"), "gapless-polls": "0"})
    assert made.status == "completed"
    assert made.usage is None
    assert (await sdk.interactions.get(made.id)).usage.total_tokens > 0


@pytest.mark.parametrize("target", [{"model": "m"}, {"agent": "antigravity-preview-09-2026", "environment": "remote"}])
async def test_oversized(sdk: Any, target: dict[str, str]) -> None:
    """The text outgrows what it is carried in, and is whole."""
    made = await sdk.start("A question", labels=fault("oversized", times=6), **target)
    text = (await sdk.until(made.id)).output_text
    assert 6_000_000 < len(text) < 6_001_000
    assert "A question" in text
    assert text.endswith("All of this belongs to the answer.\n")


async def test_cancel_refused(sdk: Any) -> None:
    """Cancel gives 404 `Method not found`, and the interaction goes on to its end."""
    made = await sdk.start(labels=fault("cancel-refused"))
    with pytest.raises(errors.NotFoundError, match="Method not found"):
        await sdk.interactions.cancel(made.id)
    assert (await sdk.until(made.id)).status == "completed"


async def test_cancel_late(sdk: Any, emulator: Any) -> None:
    """Cancel is accepted, but shows only after some GETs."""
    made = await sdk.start(labels={**fault("cancel-late", times=3), "gapless-run-seconds": "60"})
    assert (await sdk.interactions.cancel(made.id)).status == "cancelled"
    assert emulator.stats()["statuses"][made.id] == "cancelled"
    assert await statuses(sdk, made, 4) == ["in_progress"] * 3 + ["cancelled"]


ENDS = {
    "ends-failed": "failed",
    "ends-incomplete": "incomplete",
    "ends-budget-exceeded": "budget_exceeded",
    "ends-requires-action": "requires_action",
    "ends-cancelled": "cancelled",
}


@pytest.mark.parametrize("name", ENDS)
async def test_ends(sdk: Any, name: str) -> None:
    """The interaction runs and ends as the fault says."""
    made = await sdk.start(labels={**fault(name), "gapless-polls": "1"})
    assert await statuses(sdk, made, 3) == ["in_progress", ENDS[name], ENDS[name]]


async def test_ends_failed(sdk: Any) -> None:
    """A failure names its error and has no text."""
    made = await sdk.start(labels={**fault("ends-failed"), "gapless-polls": "0"})
    assert made.errors[0].code == "internal"
    assert not made.output_text


async def test_ends_incomplete(sdk: Any) -> None:
    """A partial result has a part of the text, and usage."""
    whole = await sdk.start("The same", labels={"gapless-polls": "0"})
    part = await sdk.start("The same", labels={**fault("ends-incomplete"), "gapless-polls": "0"})
    assert 0 < len(part.output_text) < len(whole.output_text)
    assert whole.output_text.startswith(part.output_text)
    assert part.usage.total_tokens > 0


async def test_ends_requires_action(sdk: Any) -> None:
    """The call of the request's own function waits, and its result goes into a new interaction."""
    tools = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
    made = await sdk.start(tools=tools, labels={**fault("ends-requires-action"), "gapless-polls": "0"})
    call = made.steps[-1]
    assert (call.type, call.name) == ("function_call", "weather")
    result = {"type": "function_result", "call_id": call.id, "name": "weather", "result": "22 degrees"}
    after = await sdk.interactions.create(
        model="m", input=[result], tools=tools, previous_interaction_id=made.id, background=True
    )
    assert after.id != made.id
    assert (await sdk.interactions.get(made.id)).status == "requires_action"
    assert (await sdk.until(after.id)).status == "completed"


test_ends_budget_exceeded = test_ends_cancelled = test_ends


async def test_unknown_status(sdk: Any) -> None:
    """A status that nobody knows may pass, or stay."""
    stays = await sdk.start(labels={**fault("unknown-status"), "gapless-polls": "0"})
    assert stays.status == "paused_for_review"
    assert await statuses(sdk, stays, 2) == ["paused_for_review"] * 2
    passes = await sdk.start(labels={**fault("unknown-status", times=2), "gapless-polls": "1"})
    assert await statuses(sdk, passes, 4) == ["in_progress", *["paused_for_review"] * 2, "completed"]


async def test_faults_are_injected_over_http(sdk: Any, http: Any, created: Any) -> None:
    """The control API's faults hit as many requests as said, in their order, and can be withdrawn."""
    await http.post("/_emulator/faults", json={"fault": "status-429", "times": 2, "seconds": 0.5})
    await http.post("/_emulator/faults", json={"fault": "5xx-before"})
    await http.post("/_emulator/faults", json={"fault": "ends-failed"})
    for kind in (errors.RateLimitError, errors.RateLimitError, errors.InternalServerError):
        with pytest.raises(kind):
            await sdk.start()
    assert created() == 0
    assert (await sdk.until((await sdk.start()).id)).status == "failed"
    await http.post("/_emulator/faults", json={"fault": "5xx-before", "times": 9})
    await http.delete("/_emulator/faults")
    assert (await sdk.until((await sdk.start()).id)).status == "completed"


async def test_faults_have_rates(sdk: Any, emulator: Any, http: Any) -> None:
    """A rate of one hits every request of its operation and no other; a rate of zero hits none."""
    emulator.inject("status-503", rate=1.0, operation="get")
    made = await sdk.start()
    for _ in range(3):
        with pytest.raises(errors.InternalServerError):
            await sdk.interactions.get(made.id)
    await http.delete("/_emulator/faults")
    emulator.inject("status-503", rate=0.0, operation="get")
    assert (await sdk.interactions.get(made.id)).id == made.id
    await http.delete("/_emulator/faults")


@pytest.mark.parametrize("operation", ["get", "cancel", "delete"])
async def test_other_operations_have_faults(sdk: Any, operation: str) -> None:
    """A lost answer of any operation does not undo what it did."""
    labels = {**fault("answer-lost", operation=operation, times=1), "gapless-run-seconds": "60"}
    made = await sdk.start(labels=labels)
    with pytest.raises(errors.APIConnectionError):
        await getattr(sdk.interactions, operation)(made.id)
    if operation == "delete":
        with pytest.raises(errors.NotFoundError):
            await sdk.interactions.get(made.id)
    else:
        status = (await sdk.interactions.get(made.id)).status
        assert status == ("cancelled" if operation == "cancel" else "in_progress")


async def test_a_refused_request_leaves_faults_alone(sdk: Any, http: Any, emulator: Any) -> None:
    """A fault for the next interaction waits for one that comes into being."""
    emulator.inject("ends-failed")
    assert (await http.post("/v1/interactions", json={"model": "m"})).status_code == 400
    assert (await sdk.until((await sdk.start()).id)).status == "failed"
