"""A Temporal server that is killed with SIGKILL."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import leaks
from conftest import WorkerProcess, released, settings_for, until
from faults.runs import beat, request
from gapless import Gapless, State, devserver
from gapless.config import Settings
from gapless.testing.emulator import Emulator


@pytest.fixture
async def settings(tmp_path: Path, emulator: Emulator) -> AsyncIterator[Settings]:
    """Return settings with a data folder, and so a server, of the test's own; nothing of it may hold a secret."""
    settings = settings_for(tmp_path / "own", emulator.url)
    yield settings
    devserver.stop(settings)
    assert leaks.find(request().input, settings.data_dir)  # the scan is not blind
    leaks.assert_none(tmp_path)


@pytest.fixture
async def server(settings: Settings) -> devserver.Server:
    """Start the test's own server."""
    return await devserver.start(settings)


async def replace_server(settings: Settings, server: devserver.Server) -> None:
    """Kill the server, and start it again on its file and ports."""
    os.kill(int(devserver.Files.of(settings).pid.read_text()), signal.SIGKILL)
    await until(lambda: devserver.status(settings) is None and released(server.address))
    assert (await devserver.start(settings)).address == server.address


StartWorker = Callable[..., WorkerProcess]


async def test_while_waiting(
    gapless: Gapless,
    settings: Settings,
    server: devserver.Server,
    emulator: Emulator,
    queue: str,
    start_worker: StartWorker,
) -> None:
    """The run is in the server's file; the worker that was there before finds the new server by itself."""
    worker = start_worker()
    run = await gapless.start(request(polls="8"), id=queue, queue=queue)
    await until(lambda: beat(run, "poll", "polls"))
    await replace_server(settings, server)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert emulator.stats()["created"] == 1
    assert worker.process.poll() is None
    assert await worker.stop() == 0


async def test_while_a_post_is_in_flight(
    gapless: Gapless,
    settings: Settings,
    server: devserver.Server,
    emulator: Emulator,
    queue: str,
    start_worker: StartWorker,
) -> None:
    """The worker holds the answer until the server is back; the run is never held."""
    start_worker()
    run = await gapless.start(request("slow", fault_seconds="2"), id=queue, queue=queue)
    await until(lambda: emulator.stats()["created"] == 1)
    await replace_server(settings, server)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert (outcome.submissions, outcome.lost_submissions) == (1, [])
    assert emulator.stats()["created"] == 1
