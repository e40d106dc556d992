"""Interactions that are marked sensitive: they work, and what they are about stands nowhere in clear.

That logs, artifacts and the server's files hold nothing of it is what the scan at the session's end says of all tests.
"""

import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

import leaks
from conftest import MODEL, SENSITIVE, connect, encrypted, until
from e2e.command import Command
from gapless import Gapless, InteractionRequest, RunStatus, State, devserver, schedules
from gapless.client import IdTaken, _fingerprint
from gapless.config import Settings
from gapless.contract.interaction import Interaction
from gapless.encryption import KeyMissing
from gapless.errors import ConfigurationError
from gapless.testing.emulator import Emulator
from gapless_workers.worker import worker


def request(**fields: object) -> InteractionRequest:
    """Return a request that is marked; the emulator repeats the prompt's first line in its answer."""
    asked = {"model": MODEL, "input": f"{SENSITIVE}: what is his name?", "sensitive": True} | fields
    return InteractionRequest.model_validate(asked)


@pytest.fixture
def plain(settings: Settings) -> Settings:
    """Return the same settings without a key."""
    return settings.model_copy(update={"encryption_key": None})


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings with a key."""
    return encrypted(settings)


@pytest.fixture(params=["submit", "poll"])
async def echoing(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Serve a provider that refuses, from a moment on, and repeats in its error what it was sent; return its address."""
    sent: list[str] = []

    async def refuse(asked: web.Request) -> web.Response:
        sent.append(await asked.text())
        if request.param == "poll" and asked.method == "POST" and not asked.path.endswith("cancel"):
            return web.json_response({"id": "v1_echo", "object": "interaction", "status": "in_progress"})
        return web.json_response({"error": {"code": "invalid_request", "message": sent[0]}}, status=400)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def kept(gapless: Gapless, id_: str) -> bytes:
    """Return a run as the server gives it out: its history, and its description with memo and pending activities."""
    handle = gapless.client.get_workflow_handle(id_)
    events = [event async for event in handle.fetch_history_events(skip_archival=True)]
    description = (await handle.describe()).raw_description
    return b"".join(message.SerializeToString() for message in (*events, description))


async def test_prompt_and_answer_are_nowhere_in_clear(
    gapless: Gapless, settings: Settings, emulator: Emulator, queue: str
) -> None:
    """The caller gets the answer, and everybody else gets ciphertext."""
    async with worker(gapless.client, settings, [queue]):
        run = await gapless.start(request(), id=queue, queue=queue)
        outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert SENSITIVE in outcome.result.text
    assert SENSITIVE.encode() in await gapless.artifacts.get(outcome.result.document.digest)
    history = await kept(gapless, queue)
    assert b"binary/encrypted" in history
    shown = (SENSITIVE, "his name", "stand-in", "the provider to", outcome.result.document.digest)
    assert not [text for text in shown if text.encode() in history]


async def test_the_fingerprint_of_a_prompt_is_no_hash_to_guess_at(
    gapless: Gapless, settings: Settings, server: devserver.Server, queue: str
) -> None:
    """A repeated start attaches by it all the same; summary and details speak of a sensitive prompt."""
    await gapless.start(request(), id=queue, queue=queue)
    assert (await gapless.start(request(), id=queue, queue=queue)).attached
    with pytest.raises(IdTaken):
        await gapless.start(request(input="another"), id=queue, queue=queue)
    fingerprint = _fingerprint(request())
    assert (
        fingerprint
        == hashlib.sha256(
            json.dumps(request().model_dump(mode="json", exclude_defaults=True), sort_keys=True).encode()
        ).hexdigest()
    )
    handle = gapless.client.get_workflow_handle(queue)
    description = await handle.describe()
    assert await description.memo_value("request") == fingerprint
    assert not leaks.find(fingerprint, devserver.Files.of(settings).root)
    assert await description.static_summary() == f"{MODEL}: a sensitive prompt"
    assert SENSITIVE not in str(await description.static_details())
    await handle.terminate()


async def test_an_error_that_repeats_the_prompt(
    gapless: Gapless, settings: Settings, server: devserver.Server, echoing: str, queue: str
) -> None:
    """What a provider says in refusing is no clearer than the prompt itself."""
    told = settings.model_copy(update={"gemini_base_url": echoing})
    async with worker(gapless.client, told, [queue]):
        outcome = await (await gapless.start(request(), id=queue, queue=queue)).result()
    assert outcome.state is State.FAILED
    assert "what was said is left out of a sensitive task" in outcome.failure.message
    history = await kept(gapless, queue)
    assert not [text for text in (SENSITIVE, "invalid_request", "Traceback") if text.encode() in history]


async def test_schedules_are_encrypted(gapless: Gapless, settings: Settings, queue: str) -> None:
    """The server keeps neither the address nor the summary in clear, and gives both back to who has the key."""
    site = f"https://{uuid4().hex}.example.com/"
    await schedules.apply(gapless.client, queue, schedules.Job(url=site, cron="0 2 29 2 *"))
    await until(lambda: _is_scheduled(gapless, site))
    assert leaks.find(queue, devserver.Files.of(settings).root)
    assert not leaks.find(site, devserver.Files.of(settings).root)
    await schedules.remove(gapless.client, queue)


async def _is_scheduled(gapless: Gapless, site: str) -> bool:
    return site in [scheduled.url for scheduled in await schedules.listed(gapless.client)]


async def test_without_a_key_nothing_is_started(plain: Settings, server: devserver.Server, queue: str) -> None:
    """The error names the setting; what is not marked starts as before."""
    gapless = await connect(plain, server)
    with pytest.raises(ConfigurationError, match="set GAPLESS_ENCRYPTION_KEY"):
        await gapless.start(request(), id=queue, queue=queue)
    with pytest.raises(ConfigurationError, match="nothing was started"):  # a client that brings its own converter
        await Gapless(gapless.client, server, encrypted(plain)).start(request(), id=queue, queue=queue)
    run = await gapless.start(request(sensitive=False, input="Say hello."), id=queue, queue=queue)
    assert not run.attached
    await gapless.client.get_workflow_handle(queue).terminate()


async def test_a_worker_without_a_key_sends_nothing(
    plain: Settings, server: devserver.Server, emulator: Emulator, queue: str
) -> None:
    """A client of somebody else's may start a marked task in clear; it is refused where it would be sent."""
    gapless = await connect(plain, server)
    asked = request(input="Say hello.")
    async with worker(gapless.client, plain, [queue]):
        outcome = await gapless.client.execute_workflow(Interaction.run, asked, id=queue, task_queue=queue)
    assert (outcome.failure.kind, emulator.stats()["created"]) == ("rejected", 0)
    assert "GAPLESS_ENCRYPTION_KEY" in outcome.failure.message


async def test_a_worker_without_the_key_fails_where_it_is_seen_and_another_goes_on(
    gapless: Gapless, settings: Settings, plain: Settings, server: devserver.Server, queue: str
) -> None:
    """The run waits unharmed, its history says which key is missing, and who asks without the key is told so, too."""
    blind = await connect(plain, server)
    async with worker(blind.client, plain, [queue]):
        run = await gapless.start(request(), id=queue, queue=queue)
        reason = await until(lambda: _task_failure(gapless, queue))
    assert f"encrypted under the key '{settings.keys.id}', and no key is set here" in reason
    async with worker(gapless.client, settings, [queue]):
        outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    with pytest.raises(KeyMissing, match=settings.keys.id):
        await (await blind.run(queue)).result()


async def _task_failure(gapless: Gapless, id_: str) -> str:
    events = gapless.client.get_workflow_handle(id_).fetch_history_events()
    failures = [
        event.workflow_task_failed_event_attributes.failure.message
        async for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]
    return failures[0] if failures else ""


async def test_a_run_outlives_a_change_of_keys(
    gapless: Gapless, settings: Settings, plain: Settings, server: devserver.Server, emulator: Emulator, queue: str
) -> None:
    """Started without a key, carried on with one, finished with the next: each process needs the keys before its own."""
    new = base64.urlsafe_b64encode(os.urandom(32)).decode()
    both = encrypted(plain, f"{new},{leaks.ENCRYPTION_KEY}")
    first = await connect(plain, server)
    asked = request(sensitive=False, input="Say hello.", labels={"gapless-run-seconds": "4"})
    run = await first.start(asked, id=queue, queue=queue)
    async with worker(gapless.client, settings, [queue]):
        await until(lambda: _waits_for_the_provider(gapless, queue))
    last = await connect(both, server)
    async with worker(last.client, both, [queue]):
        outcome = await (await last.run(queue)).result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert emulator.stats()["created"] == 1
    assert (await run.status()).state == "succeeded"


async def _waits_for_the_provider(gapless: Gapless, id_: str) -> RunStatus | None:
    """Return the status once a poll has failed with "not yet", in ciphertext that the client can read."""
    status = await (await gapless.run(id_)).status()
    waits = [pending for pending in status.pending if "in_progress; poll" in (pending.last_failure or "")]
    return status if waits and waits[0].heartbeat.get("polls") else None


async def test_the_command_line_marks_a_prompt(
    settings: Settings, plain: Settings, server: devserver.Server, tmp_path: Path, queue: str
) -> None:
    """`gapless run --sensitive` needs the key, and takes the prompt from stdin, where no list of processes shows it."""
    prompt = request().input.encode()
    arguments = ("run", "-", "--model", MODEL, "--id", queue, "--sensitive")
    refused = await Command(plain, tmp_path)(*arguments, stdin=prompt)
    assert (refused.code, refused.out) == (2, "")
    assert "GAPLESS_ENCRYPTION_KEY" in refused.err
    done = await Command(settings, tmp_path)(*arguments, stdin=prompt)
    assert done.code == 0, done.err
    assert SENSITIVE in done.out
    assert SENSITIVE not in done.err
    gapless = await connect(settings, server)
    assert (await gapless.client.get_workflow_handle(queue).describe()).status is WorkflowExecutionStatus.COMPLETED
    assert SENSITIVE.encode() not in await kept(gapless, queue)
