"""Create, get, cancel and delete, through the unmodified SDK."""

import asyncio
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import _interactions as errors
from google.genai import types

from gapless.testing.emulator import create_app


async def test_a_foreground_model_call_answers_at_its_end(sdk: Any) -> None:
    """A foreground create waits for the end; its answer is deterministic and says what it comes from."""
    first = await sdk.interactions.create(model="any-model", input="One\nTwo")
    second = await sdk.interactions.create(model="any-model", input="One\nTwo")
    assert first.status == "completed"
    assert first.output_text.startswith("[local stand-in, not Gemini]\n")
    assert "7 characters" in first.output_text
    assert first.output_text == second.output_text
    assert first.id != second.id
    assert first.usage.total_tokens > 0
    assert [step.type for step in first.steps] == ["thought", "model_output"]


async def test_a_background_call_is_polled_to_its_end(sdk: Any) -> None:
    """A background create answers at once and lean; GET shows the whole timeline with the input first."""
    made = await sdk.start("Say hello", labels={"job": "nightly"}, system_instruction="Be brief")
    assert made.status == "in_progress"
    assert not made.steps
    assert made.usage is None
    running = await sdk.interactions.get(made.id)
    assert [step.type for step in running.steps] == ["user_input"]
    done = await sdk.until(made.id)
    assert [step.type for step in done.steps] == ["user_input", "thought", "model_output"]
    assert done.object == "interaction"
    assert done.labels == {"job": "nightly"}
    assert done.system_instruction == "Be brief"
    assert done.service_tier == "standard"
    assert done.usage.total_tokens > 0
    assert done.created == done.updated


async def test_queued_comes_before_in_progress(sdk: Any) -> None:
    """The label gapless-queued-seconds puts a queue before the run."""
    made = await sdk.start(labels={"gapless-queued-seconds": "0_1", "gapless-run-seconds": "1"})
    assert made.status == "queued"
    assert (await sdk.until(made.id, lambda status: status != "queued")).status == "in_progress"
    assert (await sdk.until(made.id)).status == "completed"


async def test_polls_are_counted_exactly(sdk: Any) -> None:
    """The label gapless-polls gives the number of GETs that say in_progress, whatever the time."""
    made = await sdk.start(labels={"gapless-polls": "3"})
    await asyncio.sleep(0.3)  # longer than the default run
    seen = [(await sdk.interactions.get(made.id)).status for _ in range(5)]
    assert seen == ["in_progress"] * 3 + ["completed"] * 2


async def test_an_interaction_may_end_at_create(sdk: Any) -> None:
    """With no time to run, even a background create answers with the end and its steps."""
    made = await sdk.start(labels={"gapless-run-seconds": "0"})
    assert made.status == "completed"
    assert "stand-in" in made.output_text


async def test_cancel_stops_a_run_and_only_a_run(sdk: Any) -> None:
    """Cancel shows at once in GET; what has ended cannot be cancelled; what is unknown is not found."""
    made = await sdk.start(labels={"gapless-run-seconds": "60"})
    assert (await sdk.interactions.cancel(made.id)).status == "cancelled"
    assert (await sdk.interactions.get(made.id)).status == "cancelled"
    with pytest.raises(errors.BadRequestError) as refused:
        await sdk.interactions.cancel(made.id)
    assert "failed_precondition" in str(refused.value)
    with pytest.raises(errors.NotFoundError):
        await sdk.interactions.cancel("v1_unknown")


async def test_delete_hides_for_ever(sdk: Any) -> None:
    """A deleted interaction is not found by any operation."""
    made = await sdk.start()
    assert await sdk.interactions.delete(made.id) is None
    for operation in (sdk.interactions.get, sdk.interactions.cancel, sdk.interactions.delete):
        with pytest.raises(errors.NotFoundError) as missing:
            await operation(made.id)
        assert missing.value.body == {"error": {"code": "not_found", "message": f"Interaction {made.id} not found"}}


async def test_include_input(sdk: Any) -> None:
    """GET gives the input back when it is asked for."""
    made = await sdk.start("Remember this")
    assert (await sdk.interactions.get(made.id, include_input=True)).input == "Remember this"


async def test_a_finished_interaction_can_be_followed_up(sdk: Any) -> None:
    """A follow-up is an interaction of its own, which names the former one."""
    first = await sdk.interactions.create(model="m", input="First", labels={"gapless-run-seconds": "0"})
    second = await sdk.start("Second", previous_interaction_id=first.id)
    assert second.id != first.id
    assert (await sdk.interactions.get(second.id)).previous_interaction_id == first.id


async def test_a_running_interaction_cannot_be_followed_up(sdk: Any) -> None:
    """Chaining to a run is refused; so is chaining to nothing."""
    running = await sdk.start(labels={"gapless-run-seconds": "60"})
    with pytest.raises(errors.BadRequestError):
        await sdk.start("More", previous_interaction_id=running.id)
    with pytest.raises(errors.NotFoundError):
        await sdk.start("More", previous_interaction_id="v1_unknown")


async def test_what_is_not_stored_cannot_be_read(sdk: Any) -> None:
    """With store=false the create's answer is all there is."""
    made = await sdk.interactions.create(model="m", input="x", store=False, labels={"gapless-run-seconds": "0"})
    assert made.status == "completed"
    with pytest.raises(errors.NotFoundError):
        await sdk.interactions.get(made.id)


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1beta1"])
async def test_every_version_has_the_same_interactions(emulator: Any, connect: Any, version: str) -> None:
    """The version in the path makes no difference."""
    sdk = connect(emulator.url, version=version)
    made = await sdk.start()
    assert (await connect(emulator.url).interactions.get(made.id)).id == made.id


async def test_a_key_is_required(emulator: Any, http: Any) -> None:
    """Without a key there is 401; the query form counts, too; every answer is marked."""
    async with httpx2.AsyncClient(base_url=emulator.url) as bare:
        refused = await bare.get("/v1/interactions/v1_x")
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "authentication"
        assert refused.headers["x-gapless-emulator"] == "1"
        assert (await bare.get("/v1/interactions/v1_x?key=any")).status_code == 404
    assert (await http.get("/v1/interactions/v1_x?stream=false&other=1")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/agents", 501),
        ("GET", "/v1/triggers/t1", 501),
        ("PUT", "/upload/v1/environments/e/files/a", 501),
        ("GET", "/v2/interactions/v1_x", 404),
        ("GET", "/v1/interactions", 405),
    ],
)
async def test_other_paths_get_clear_errors(http: Any, method: str, path: str, status: Any) -> None:
    """What the emulator has not is refused in the API's own form."""
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_it_works_in_process_without_a_socket() -> None:
    """The application is plain ASGI: the SDK reaches it through a transport."""
    app = create_app(run_seconds=0)
    transport = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))
    client = genai.Client(
        api_key="any", http_options=types.HttpOptions(base_url="http://emulator", httpx_async_client=transport)
    )
    made: Any = await client.aio.interactions.create(model="m", input="x")
    assert made.status == "completed"
    await client.aio.aclose()
    await transport.aclose()
    await app.emulation.close()


async def test_the_clock_is_an_argument() -> None:
    """A run ends by the clock that the application was given."""
    now = [1_000_000.0]
    app = create_app(run_seconds=3600, clock=lambda: now[0])
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://e", headers={"x-goog-api-key": "any"}
    ) as client:
        body = {"model": "m", "input": "x", "background": True}
        made = (await client.post("/v1/interactions", json=body)).json()
        assert made["created"] == "1970-01-12T13:46:40Z"
        url = f"/v1/interactions/{made['id']}"
        assert (await client.get(url)).json()["status"] == "in_progress"
        now[0] += 3600
        assert (await client.get(url)).json()["status"] == "completed"
    await app.emulation.close()


async def test_stats_count_what_was_created_and_asked(sdk: Any, emulator: Any, http: Any) -> None:
    """The counters are those of the whole life; a reset forgets everything."""
    await http.post("/_emulator/reset")
    made = await sdk.start(labels={"gapless-run-seconds": "0"})
    await sdk.interactions.get(made.id)
    other = await sdk.start(labels={"gapless-run-seconds": "60"})
    await sdk.interactions.cancel(other.id)
    await sdk.interactions.delete(other.id)
    stats = (await http.get("/_emulator/stats")).json()
    assert stats == emulator.stats()
    assert stats["created"] == 2
    assert stats["interactions"] == [made.id, other.id]
    assert stats["statuses"] == {made.id: "completed", other.id: "cancelled"}
    assert stats["requests"] == {"create": 2, "get": 1, "cancel": 1, "delete": 1}
    assert stats["cancel_requests"] == 1
    assert stats["billed"] == {"interactions": 2, "tokens": made.usage.total_tokens, "usd": 0.0}
    await http.post("/_emulator/reset")
    assert emulator.stats()["created"] == 0
