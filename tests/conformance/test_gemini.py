"""The Gemini adapter against the emulator: what each answer is taken for, over a real socket."""

import gzip
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from google import genai
from google.genai import types

from conftest import AGENT, KEY, MODEL, free_port
from gapless.config import Settings
from gapless.contract.interaction import InteractionRequest, State
from gapless.errors import (
    ConfigurationError,
    InteractionNotFound,
    ReadRejected,
    SubmissionRefused,
    SubmissionRejected,
    SubmissionUnknown,
    Unavailable,
)
from gapless.providers import gemini
from gapless.providers.base import Observation, open_provider
from gapless.providers.gemini import STATES, GeminiProvider
from gapless.testing.emulator import Emulator

TASK = InteractionRequest(model=MODEL, input="Say hello.")


def provider_at(url: str, **flags: float) -> GeminiProvider:
    """Return the adapter over an address."""
    flags = {"submit_timeout": 2.0, "read_timeout": 2.0, **flags}
    provider = open_provider("gemini", Settings.load(GEMINI_API_KEY=KEY, gemini_base_url=url, **flags))
    assert isinstance(provider, GeminiProvider)
    return provider


@pytest.fixture
async def provider(emulator: Emulator) -> AsyncIterator[GeminiProvider]:
    """Return the adapter over the emulator."""
    provider = provider_at(emulator.url)
    yield provider
    await provider.aclose()


class Scripted:
    """A server that gives one answer to everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.requests: list[dict[str, Any]] = []
        self.answer = web.json_response({})

    async def handle(self, request: web.Request) -> web.Response:
        """Note the request, and give the answer."""
        self.asked.append((request.method, request.path, await request.text()))
        self.requests.append(
            {
                "line": f"{request.method} {request.path_qs}",
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "body": await request.text(),
            }
        )
        return web.Response(body=self.answer.body, status=self.answer.status, headers=self.answer.headers)


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, GeminiProvider]]:
    """Return a server whose answers the test writes, and the adapter over it."""
    server, app = Scripted(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    provider = provider_at(f"http://127.0.0.1:{port}")
    yield server, provider
    await provider.aclose()
    await runner.cleanup()


async def test_a_task_is_sent_in_one_request(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """Everything that the request says is on the wire, in background, and unset fields are not."""
    server, provider = scripted
    server.answer = web.json_response({"id": "v1_1", "status": "in_progress"})
    request = InteractionRequest(
        agent=AGENT,
        input="Do it.",
        instructions="Be brief.",
        environment="remote",
        agent_config={"type": "antigravity", "max_total_tokens": 50},
        labels={"job": "j1"},
        previous_interaction_id="v1_0",
    )
    observation = await provider.submit(request)
    [(method, path, body)] = server.asked
    assert (method, path) == ("POST", "/v1/interactions")
    assert json.loads(body) == {
        "agent": AGENT,
        "input": "Do it.",
        "system_instruction": "Be brief.",
        "environment": "remote",
        "agent_config": {"type": "antigravity", "max_total_tokens": "50"},
        "labels": {"job": "j1"},
        "previous_interaction_id": "v1_0",
        "background": True,
        "store": True,
    }
    assert (observation.interaction_id, observation.state) == ("v1_1", State.RUNNING)


async def test_a_schema_is_asked_for_as_json(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """A model's answer can be bound to a schema; agents take none, which is said before anything is sent."""
    server, provider = scripted
    server.answer = web.json_response({"id": "v1_1", "status": "in_progress"})
    schema: Any = {"type": "object", "properties": {"a": {"type": "string"}}}
    await provider.submit(InteractionRequest(model=MODEL, input="x", response_schema=schema))
    [(_, _, body)] = server.asked
    wanted = {"type": "text", "mime_type": "application/json", "schema": schema}
    assert json.loads(body)["response_format"] == wanted
    with pytest.raises(ValueError, match="response_schema goes with a model"):
        InteractionRequest(agent=AGENT, input="x", response_schema=schema)


@pytest.mark.parametrize(("raw", "state"), [*STATES.items(), ("paused_for_review", State.UNKNOWN)])
async def test_every_status_is_mapped(scripted: tuple[Scripted, GeminiProvider], raw: str, state: State) -> None:
    """The nine statuses have a state each; one that nobody knows is polled on."""
    server, provider = scripted
    server.answer = web.json_response({"id": "v1_1", "status": raw})
    observation = await provider.poll("v1_1")
    assert (observation.state, observation.raw) == (state, raw)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 416, 422])
async def test_a_client_error_is_a_rejection(scripted: tuple[Scripted, GeminiProvider], status: int) -> None:
    """What the provider will never take is told apart, and asked once."""
    server, provider = scripted
    server.answer = web.json_response({"error": {"code": "x", "message": "no"}}, status=status)
    with pytest.raises(SubmissionRejected) as caught:
        await provider.submit(TASK)
    assert caught.value.status == status
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 409, 499, 500, 501, 503, 504])
async def test_a_server_error_leaves_it_open(scripted: tuple[Scripted, GeminiProvider], status: int) -> None:
    """Statuses after which the task may run are never taken for a refusal, and asked once."""
    server, provider = scripted
    server.answer = web.json_response({"error": {"code": "x", "message": "oh"}}, status=status)
    with pytest.raises(SubmissionUnknown):
        await provider.submit(TASK)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        web.json_response({}),
        web.json_response({"error": {"code": "x", "message": "oh"}}),
        web.json_response({"id": "v1_1"}),
        web.json_response({"id": "../../etc", "status": "queued"}),
        web.Response(text='{"id": "v1_1", "sta', content_type="application/json"),
        web.Response(text="", content_type="application/json"),
        web.Response(text="fine", content_type="text/plain"),
        web.Response(status=204),
        web.Response(text="[]", content_type="application/json"),
        web.json_response({"id": 5, "status": ["queued"]}),
    ],
)
async def test_a_lenient_200_is_not_believed(scripted: tuple[Scripted, GeminiProvider], answer: web.Response) -> None:
    """An answer without an id and a status is unknown for a create, unavailable for a read."""
    server, provider = scripted
    server.answer = answer
    with pytest.raises(SubmissionUnknown):
        await provider.submit(TASK)
    with pytest.raises(Unavailable):
        await provider.poll("v1_1")


async def test_an_answer_about_another_is_not_believed(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """A read that answers about another interaction is tried again."""
    server, provider = scripted
    server.answer = web.json_response({"id": "v1_2", "status": "completed"})
    with pytest.raises(Unavailable):
        await provider.poll("v1_1")


@pytest.mark.parametrize("as_date", [False, True])
async def test_retry_after_is_read(scripted: tuple[Scripted, GeminiProvider], as_date: bool) -> None:
    """Seconds and dates are understood, for a create and for a read."""
    server, provider = scripted
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True) if as_date else "20"
    server.answer = web.json_response({"error": {}}, status=429, headers={"Retry-After": value})
    with pytest.raises(SubmissionRefused) as refused:
        await provider.submit(TASK)
    with pytest.raises(Unavailable) as unavailable:
        await provider.poll("v1_1")
    for error in (refused.value, unavailable.value):
        assert error.retry_after == pytest.approx(20, abs=2)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, InteractionNotFound),
        (410, InteractionNotFound),
        (403, ReadRejected),
        (401, ReadRejected),
        (503, Unavailable),
    ],
)
async def test_a_failed_read_says_what_follows(
    scripted: tuple[Scripted, GeminiProvider], status: int, error: type[Exception]
) -> None:
    """Gone, forbidden and busy are three things."""
    server, provider = scripted
    server.answer = web.json_response({"error": {"code": "x", "message": "oh"}}, status=status)
    with pytest.raises(error):
        await provider.poll("v1_1")


async def test_no_connection_is_a_refusal() -> None:
    """Where nobody listens, nothing was sent."""
    provider = provider_at(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SubmissionRefused, match="no connection"):
        await provider.submit(TASK)
    with pytest.raises(Unavailable):
        await provider.poll("v1_1")
    await provider.aclose()


async def test_a_host_that_does_not_answer_got_nothing() -> None:
    """A connection that is never made is a refusal, too, however long it takes."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        waiting = [socket.socket() for _ in range(2)]
        for each in waiting:  # the backlog is full: what comes now gets no answer
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        provider = provider_at(f"http://127.0.0.1:{port}", submit_timeout=2.0)
        with pytest.raises(SubmissionRefused, match="no connection"):
            await provider.submit(TASK)
        await provider.aclose()
        for each in waiting:
            each.close()


async def test_a_timeout_leaves_it_open(emulator: Emulator) -> None:
    """An answer that does not come in time may belong to a task that runs."""
    emulator.inject("hang")
    provider = provider_at(emulator.url, submit_timeout=0.5)
    with pytest.raises(SubmissionUnknown):
        await provider.submit(TASK)
    assert emulator.stats()["created"] == 1
    await provider.aclose()


async def test_a_lost_answer_is_not_asked_for_again(provider: GeminiProvider, emulator: Emulator) -> None:
    """A connection that was good before and breaks is no reason to send the task once more."""
    await provider.submit(TASK)
    emulator.inject("answer-lost")
    with pytest.raises(SubmissionUnknown):
        await provider.submit(TASK)
    assert emulator.stats()["requests"]["create"] == 2


async def test_what_the_sdk_refuses_was_never_sent(provider: GeminiProvider, emulator: Emulator) -> None:
    """A request that the SDK itself finds fault with is a rejection, not a loss."""
    odd = InteractionRequest(agent=AGENT, input="x", agent_config={"type": "no-such-type"})
    with pytest.raises(SubmissionRejected):
        await provider.submit(odd)
    assert emulator.stats()["requests"].get("create", 0) == 0


async def test_the_key_is_not_in_an_error(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """A provider that echoes the key does not get it into a failure."""
    server, provider = scripted
    server.answer = web.json_response({"error": {"code": "x", "message": f"bad key {KEY}"}}, status=401)
    with pytest.raises(SubmissionRejected) as caught:
        await provider.submit(TASK)
    with pytest.raises(ReadRejected) as read:
        await provider.poll("v1_1")
    for error in (caught.value, read.value):
        assert "bad key ***" in str(error)
        assert KEY not in str(error)
        assert error.__cause__ is None
        assert len(str(error)) <= 500


async def test_no_key_is_a_clear_error() -> None:
    """Without a key the adapter says how to give one."""
    with pytest.raises(ConfigurationError, match="GEMINI_API_KEY"):
        open_provider("gemini", Settings.load())
    with pytest.raises(ConfigurationError, match="known: gemini"):
        open_provider("gemmini", Settings.load())


async def test_text_before_a_tool_step_is_kept(provider: GeminiProvider) -> None:
    """All model output is the text, not only what stands after the last tool step."""
    steps = [
        {"type": "user_input", "content": [{"type": "text", "text": "question"}]},
        {"type": "model_output", "content": [{"type": "text", "text": "first"}]},
        {"type": "code_execution_call", "id": "c"},
        {"type": "model_output", "content": [{"type": "text", "text": "second"}, {"type": "image"}]},
        "junk",
    ]
    document = json.dumps({"id": "v1_1", "steps": steps, "errors": [{"code": "c", "message": "m"}]}).encode()
    content = provider.read(document)
    assert content.text == "first\nsecond"
    assert content.errors == ["c: m"]


async def test_files_come_with_their_paths(provider: GeminiProvider, emulator: Emulator) -> None:
    """An environment's files are listed and fetched; a lost environment is a problem, not a failure."""
    observation = await _finished(provider, InteractionRequest(agent=AGENT, input="Write.", environment="remote"))
    environment = provider.read(observation.document).environment_id
    assert environment
    problems: list[str] = []
    files = [file async for file in provider.files(environment, problems)]
    assert [file.name for file in files] == ["answer.md"]
    assert files[0].data
    assert [file async for file in provider.files("00000000-0000-0000-0000-000000000000", problems)] == []
    assert len(problems) == 1


async def test_cancel_believes_only_what_it_sees(provider: GeminiProvider, emulator: Emulator) -> None:
    """A refused cancel and a cancel after the end are no errors; the state says how it stands."""
    slow = TASK.model_copy(update={"labels": {"gapless-run-seconds": "60"}})
    running = await provider.submit(slow)
    assert (await provider.cancel(running.interaction_id)).state is State.CANCELLED
    refusing = slow.model_copy(update={"labels": {**slow.labels, "gapless-fault": "cancel-refused"}})
    stubborn = await provider.submit(refusing)
    assert (await provider.cancel(stubborn.interaction_id)).state is State.RUNNING
    done = await _finished(provider, TASK.model_copy(update={"labels": {"gapless-run-seconds": "0"}}))
    assert (await provider.cancel(done.interaction_id)).state is State.SUCCEEDED


async def _finished(provider: GeminiProvider, request: InteractionRequest) -> Observation:
    observation = await provider.submit(request)
    while not observation.state.settled:
        observation = await provider.poll(observation.interaction_id)
    return observation


async def test_a_redirect_says_nothing_about_the_task(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """What a redirected POST leads to must not be taken for a refusal."""
    server, provider = scripted
    dead = f"http://127.0.0.1:{free_port()}/"
    server.answer = web.Response(status=303, headers={"Location": dead})
    with pytest.raises(SubmissionUnknown):
        await provider.submit(TASK)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "odd",
    [
        b'"usage": [1]',
        b'"usage": {"total_tokens": "many"}',
        b'"usage": {"total_tokens": 1e400}',
        b'"usage": {"total_tokens": %s}' % (b"9" * 6_000),
        b'"steps": [{"type": "model_output", "content": [{"type": "text", "text": "\\ud800"}]}]',
        b'"steps": [{"type": "model_output", "content": [{"type": "text", "text": "\xff"}]}]',
        b'"steps": [{"type": "model_output", "content": [{"type": "text", "text": "\x01"}]}]',
        b'"steps": "none", "errors": "none", "environment_id": 7',
        b'"errors": [{"code": %s, "message": NaN}]' % (b"9" * 6_000),
        b'"created": NaN, "updated": -Infinity, "usage": {"total_tokens": Infinity}',
        b'"steps": [], "steps": {"type": []}, "steps": null',
        b'"steps": %s%s' % (b"[" * 500, b"]" * 500),
        b'"__class__": 1, "self": 2, "model_config": {}, "": 3',
    ],
    ids=lambda odd: odd[:60].decode(errors="replace"),
)
async def test_nothing_odd_loses_an_id(scripted: tuple[Scripted, GeminiProvider], odd: bytes) -> None:
    """Once id and status are known, the rest of the body may be as it likes; it is kept as it came."""
    server, provider = scripted
    body = b'{"id": "v1_1", "status": "completed", %s}' % odd
    server.answer = web.Response(body=body, content_type="application/json")
    for observation in (await provider.submit(TASK), await provider.poll("v1_1")):
        assert (observation.interaction_id, observation.state) == ("v1_1", State.SUCCEEDED)
        assert observation.document == body
        content = provider.read(observation.document)
        "".join([content.text, *content.errors]).encode()


async def test_of_two_keys_the_last_counts(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """A doubled key is read as everybody reads it."""
    server, provider = scripted
    body = b'{"id": "v1_0", "status": "queued", "id": "v1_1", "status": "completed"}'
    server.answer = web.Response(body=body, content_type="application/json")
    assert (await provider.poll("v1_1")).state is State.SUCCEEDED


async def test_a_bomb_is_no_answer(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """What is nested too deeply for any parser is an answer that makes no sense."""
    server, provider = scripted
    bomb = b"[" * 50_000 + b"]" * 50_000
    server.answer = web.Response(body=b'{"steps": %s, "id": "v1_1", "status": "queued"}' % bomb)
    with pytest.raises(SubmissionUnknown):
        await provider.submit(TASK)
    with pytest.raises(Unavailable):
        await provider.poll("v1_1")
    assert len(server.asked) == 2


async def test_an_endless_answer_is_given_up(
    scripted: tuple[Scripted, GeminiProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is over the limit is not held in memory, even when it was small on the wire."""
    server, provider = scripted
    monkeypatch.setattr(gemini, "_MAX_ANSWER_BYTES", 1_000_000)
    body = json.dumps({"id": "v1_1", "status": "completed", "steps": " " * 1_000_000}).encode()
    for answer in (
        web.Response(body=body),
        web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"}),
    ):
        server.answer = answer
        with pytest.raises(SubmissionUnknown, match="over 1000000 bytes"):
            await provider.submit(TASK)
        with pytest.raises(Unavailable, match="over 1000000 bytes"):
            await provider.poll("v1_1")


async def test_a_compressed_answer_is_read(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """The document is what was compressed; what cannot be decompressed is no answer."""
    server, provider = scripted
    body = b'{"id": "v1_1", "status": "completed"}'
    server.answer = web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert (await provider.submit(TASK)).document == (await provider.poll("v1_1")).document == body
    server.answer = web.Response(body=gzip.compress(body)[4:], headers={"Content-Encoding": "gzip"})
    with pytest.raises(SubmissionUnknown):
        await provider.submit(TASK)
    with pytest.raises(Unavailable):
        await provider.poll("v1_1")


LONG = b'"steps": [%s]' % b", ".join([b'{"type": "thought", "new_field": [1.50, null]}'] * 3_000)


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b'{"id": "v1_1", "status": "in_progress", %s, "usage": {"total_tokens": 7}}' % LONG, State.RUNNING),
        (b'{"id": "v1_1", "status": "completed", %s, "usage": {"total_tokens": 7}}' % LONG, State.SUCCEEDED),
        (b'{%s, "usage": {"total_tokens": 7}, "id": "v1_1", "status": "completed"}' % LONG, State.SUCCEEDED),
        (b'{%s, "status": "in_progress", "id": "v1_1"}' % LONG, State.RUNNING),
        (b'{"id": "v1_1", "x": "%s", "status": "queued", %s}' % (b"\xc3\xa9" * 2_100, LONG), State.QUEUED),
        (b'{"id": "v1_1", "status": "paused_for_review", %s}' % LONG, State.UNKNOWN),
    ],
    ids=["goes on", "done", "done, said last", "goes on, said last", "start ends in a letter", "unknown"],
)
async def test_a_long_answer_is_read_as_a_short_one(
    scripted: tuple[Scripted, GeminiProvider], body: bytes, state: State
) -> None:
    """Wherever a long answer says how the run stands, it is understood; an end brings its usage."""
    server, provider = scripted
    server.answer = web.Response(body=body, content_type="application/json")
    observation = await provider.poll("v1_1")
    assert (observation.state, observation.document) == (state, body)
    if state.settled:
        assert observation.usage is not None
        assert observation.usage.total == 7


@pytest.mark.parametrize(
    "start", [b'{"id": "v1_2", "status": "queued", ', b'{"id": 5, "status": "queued", ', b'[{"id": "v1_1"']
)
async def test_a_long_answer_is_checked_as_a_short_one(scripted: tuple[Scripted, GeminiProvider], start: bytes) -> None:
    """The start of a long answer is believed no more than a short one."""
    server, provider = scripted
    server.answer = web.Response(body=start + LONG + b"}", content_type="application/json")
    with pytest.raises(Unavailable):
        await provider.poll("v1_1")


async def test_the_document_is_the_providers_own(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """What the SDK does not know, and how a number is written, is not lost."""
    server, provider = scripted
    body = b'{ "id":"v1_1", "status":"completed","cost":1.10, "new":{"b":null,"a":[]},"steps":[{"type":"new","x":0}] }'
    server.answer = web.Response(body=body, content_type="application/json")
    assert (await provider.poll("v1_1")).document == body
    assert (await provider.submit(TASK)).document == body


async def test_requests_are_those_of_the_sdk(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """What goes over the wire is, to the byte, what the SDK's own calls send."""
    server, provider = scripted
    server.answer = web.json_response({"id": "v1_1", "status": "completed"})
    agent = InteractionRequest(
        agent=AGENT,
        input="Write: é \U0001f600",
        instructions="Be brief.",
        environment={"type": "remote", "sources": [{"type": "inline", "target": "/data/a.txt", "content": "hi"}]},
        agent_config={"type": "antigravity", "max_total_tokens": 50},
        labels={"job": "j1"},
    )
    for task in (TASK, agent):
        await provider.submit(task)
    await provider.poll("v1_1")
    await provider.cancel("v1_1")
    ours, server.requests = server.requests, []
    options = types.HttpOptions(base_url=provider._base_url)
    client = genai.Client(api_key=KEY, vertexai=False, http_options=options)
    calls = client.aio.interactions
    for task in (TASK, agent):
        await calls.create(**gemini._body(task))
    await calls.get("v1_1")
    await calls.cancel("v1_1")
    await calls.get("v1_1")
    await client.aio.aclose()
    assert [request["line"] for request in ours] == [
        "POST /v1/interactions",
        "POST /v1/interactions",
        "GET /v1/interactions/v1_1?stream=false",
        "POST /v1/interactions/v1_1/cancel",
        "GET /v1/interactions/v1_1?stream=false",
    ]
    assert ours == server.requests


async def test_an_id_in_any_good_answer_is_kept(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """201 and an odd media type are no reason to give up a task that was taken."""
    server, provider = scripted
    server.answer = web.Response(status=201, text='{"id": "v1_1", "status": "queued"}', content_type="text/plain")
    assert (await provider.submit(TASK)).interaction_id == "v1_1"


async def test_what_cancel_answers_is_not_read(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """Only the GET after it is believed; what the cancel said is no reason to fail."""
    server, provider = scripted
    server.answer = web.json_response({"id": "v1_1", "status": "in_progress"})
    assert (await provider.cancel("v1_1")).state is State.RUNNING
    server.answer = web.json_response({"error": {"message": "not now"}}, status=503)
    with pytest.raises(Unavailable, match="503"):
        await provider.cancel("v1_1")


@pytest.mark.parametrize("value", ["inf", "1e300", "nan", "soon", "-5", "Mon, 99 Foo 2026"])
async def test_an_odd_retry_after_does_no_harm(scripted: tuple[Scripted, GeminiProvider], value: str) -> None:
    """A refusal stays one, with a wait of a day at the most."""
    server, provider = scripted
    server.answer = web.json_response({"error": {}}, status=429, headers={"Retry-After": value})
    with pytest.raises(SubmissionRefused) as refused:
        await provider.submit(TASK)
    assert refused.value.retry_after is None or 0 <= refused.value.retry_after <= 86_400


async def test_a_limit_goes_where_the_provider_keeps_it(scripted: tuple[Scripted, GeminiProvider]) -> None:
    """A model's, an agent's, and none for agents that take no such limit."""
    server, provider = scripted
    server.answer = web.json_response({"id": "v1_1", "status": "queued"})
    antigravity = {"type": "antigravity", "model": MODEL}
    wanted: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"model": MODEL}, {"generation_config": {"max_output_tokens": 9}}),
        ({"agent": AGENT}, {"agent_config": {"type": "antigravity", "max_total_tokens": "9"}}),
        ({"agent": AGENT, "agent_config": antigravity}, {"agent_config": {**antigravity, "max_total_tokens": "9"}}),
        ({"agent": "deep-research-preview-04-2026"}, {}),
        ({"agent": "x", "agent_config": {"type": "dynamic", "a": 1}}, {"agent_config": {"type": "dynamic", "a": 1}}),
    ]
    for task, limit in wanted:
        await provider.submit(InteractionRequest(**task, input="Hello."), max_tokens=9)
        body = json.loads(server.asked[-1][2])
        assert {name: body[name] for name in body if name.endswith("_config")} == limit


def test_a_key_is_one_word() -> None:
    """White space around a key is taken off, so that the key can be blotted; inside it is an error."""
    key = Settings.load(GEMINI_API_KEY=f" {KEY}\n").gemini_api_key
    assert key is not None
    assert key.get_secret_value() == KEY
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(GEMINI_API_KEY="one\ntwo")
    assert "two" not in str(caught.value)
