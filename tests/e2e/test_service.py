"""What a service writes: a few typed lines with `from gapless import Gapless`."""

import asyncio
from collections.abc import AsyncIterator
from typing import assert_type
from uuid import uuid4

import pytest

from conftest import MODEL
from gapless import (
    AuditOutcome,
    ConfigurationError,
    Gapless,
    InteractionRequest,
    LinkAuditRequest,
    Outcome,
    Run,
    RunCancelled,
    RunNotFound,
    Settings,
    State,
)
from gapless.client import IdTaken
from gapless.testing.emulator import Emulator
from gapless_workers.worker import worker
from unit.links.httpsite import Reply, Site, page

pytestmark = pytest.mark.usefixtures("serving")


@pytest.fixture
async def serving(gapless: Gapless, settings: Settings) -> AsyncIterator[None]:
    """Serve the shared queues, as a worker of a deployment does."""
    async with worker(gapless.client, settings):
        yield


async def test_an_interaction(settings: Settings) -> None:
    """A service connects with its settings, starts, and awaits a typed outcome."""
    gapless = await Gapless.connect(settings)
    run = await gapless.start(InteractionRequest(model=MODEL, input="Say hello."))
    assert_type(run, Run[Outcome])
    outcome = await run.result()
    assert_type(outcome, Outcome)
    assert outcome.state is State.SUCCEEDED
    assert "Its first line: Say hello." in outcome.result.text
    assert run.url.endswith(f"/workflows/{run.id}")


async def test_an_id_of_its_own(gapless: Gapless, emulator: Emulator) -> None:
    """A repeated start with the same id does not run twice, not even after the end; another request is refused."""
    name, request = f"order-{uuid4()}", InteractionRequest(model=MODEL, input="Say hello.")
    first, second = await asyncio.gather(gapless.start(request, id=name), gapless.start(request, id=name))
    assert sorted([first.attached, second.attached]) == [False, True]
    assert (await first.result()) == (await second.result())
    late = await gapless.start(request, id=name)
    assert (late.attached, await late.result()) == (True, await first.result())
    with pytest.raises(IdTaken, match=name):
        await gapless.start(InteractionRequest(model=MODEL, input="Say goodbye."), id=name)
    assert emulator.stats()["created"] == 1


async def test_an_audit(gapless: Gapless) -> None:
    """An audit is started the same way; its report is read from the artifact store."""
    async with Site({"/": page("/gone"), "/robots.txt": Reply("", 404)}) as site:
        run = await gapless.start(LinkAuditRequest(url=f"{site.url}/"))
        assert_type(run, Run[AuditOutcome])
        outcome = await run.result()
        assert_type(outcome, AuditOutcome)
    assert (outcome.pages, outcome.broken, outcome.complete) == (1, 1, True)
    report = (await gapless.artifacts.get(outcome.report_markdown.digest)).decode()
    assert "- [404] /gone" in report


async def test_watching(gapless: Gapless) -> None:
    """A run is watched until it has ended, from the process that started it or from any other."""
    started = await gapless.start(InteractionRequest(model=MODEL, input="Say hello."))
    run = await gapless.run(started.id)
    seen = [status async for status in run.watch(every=0.1)]
    assert (seen[-1].state, seen[-1].closed) == ("succeeded", True)
    assert any(status.interaction_id for status in seen[:-1])
    assert all(status.id == started.id for status in seen)


async def test_cancelling(gapless: Gapless, emulator: Emulator) -> None:
    """A cancelled run stops at the provider, too, and says so to whoever awaits it."""
    emulator.inject("stuck-running")
    run = await gapless.start(InteractionRequest(model=MODEL, input="Never ends."))
    async for status in run.watch(every=0.05):
        if status.interaction_id:
            await run.cancel()
            break
    with pytest.raises(RunCancelled, match=run.id):
        await run.result()
    assert emulator.stats()["cancel_requests"] == 1


async def test_what_does_not_exist(gapless: Gapless) -> None:
    """An unknown run and an unknown provider are errors with a name."""
    with pytest.raises(RunNotFound, match="nobody"):
        await gapless.run("nobody")
    with pytest.raises(ConfigurationError, match="known: gemini"):
        await gapless.start(InteractionRequest(provider="nobody", model="m", input="Hello"))
