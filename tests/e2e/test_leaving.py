"""Ctrl-C while the Temporal server stands still: the command leaves when it is told again, and by itself in the end."""

import asyncio
import json
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from conftest import MODEL, settings_for, until
from e2e.command import Command
from faults.runs import request, state
from gapless import Gapless, devserver
from gapless.config import Settings
from gapless.testing.emulator import Emulator
from gapless_workers.worker import worker


@pytest.fixture
async def settings(tmp_path: Path, emulator: Emulator) -> AsyncIterator[Settings]:
    """Return settings with a data folder, and so a server, of the test's own."""
    settings = settings_for(tmp_path / "own", emulator.url)
    yield settings
    _signal(settings, signal.SIGCONT)
    devserver.stop(settings)


@pytest.fixture
async def server(settings: Settings) -> devserver.Server:
    """Start the test's own server."""
    return await devserver.start(settings)


def _signal(settings: Settings, number: int) -> None:
    pid = int(devserver.Files.of(settings).pid.read_text())
    os.killpg(os.getpgid(pid), number)  # the group: `temporal` may be a wrapper around the real one


async def _interrupted(command: Command, emulator: Emulator, name: str, **env: str) -> Process:
    """Start a run, stop the server under it, and press Ctrl-C."""
    emulator.inject("stuck-running", times=1)
    process = await command.start("run", "Hello", "--model", MODEL, "--id", name, **env)
    await until(lambda: emulator.stats()["requests"].get("get", 0) > 0)
    _signal(command.settings, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    return process


async def _line(process: Process, text: str) -> None:
    assert process.stderr is not None
    while text not in (line := (await process.stderr.readline()).decode()):
        assert line


async def test_pressed_again(command: Command, emulator: Emulator, gapless: Gapless) -> None:
    """It leaves at once, and says that the run is kept; so it is."""
    name = f"left-{uuid4()}"
    process = await _interrupted(command, emulator, name)
    await asyncio.wait_for(_line(process, "Ctrl-C leaves at once"), 10)
    process.send_signal(signal.SIGINT)
    _, said = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, said.decode().count("The run is kept")) == (130, 1)
    _signal(command.settings, signal.SIGCONT)
    cancelled = await command("cancel", name)
    assert (cancelled.code, emulator.stats()["created"]) == (0, 1)


async def test_after_a_while(command: Command, emulator: Emulator, gapless: Gapless, tmp_path: Path) -> None:
    """What does not end by itself is not waited for without end."""
    soon = "from gapless_cli import leaving\nleaving.PATIENCE = -3.0\n"  # of the five that a submission may take
    (tmp_path / "sitecustomize.py").write_text(soon)
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    process = await _interrupted(command, emulator, f"left-{uuid4()}", PYTHONPATH=path)
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert "Left after 2 s, since something in flight does not end. The run is kept" in said.decode()


async def test_a_worker_pressed_again(command: Command, emulator: Emulator, gapless: Gapless, queue: str) -> None:
    """With a POST in flight it leaves at once; another worker finds out, and nothing is sent twice."""
    emulator.inject("hang", times=1)
    process = await command.start("worker", "--queue", queue, GAPLESS_SUBMIT_TIMEOUT="60")
    run = await gapless.start(request(), id=queue, queue=queue)
    await until(lambda: emulator.stats()["created"] == 1)
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(_line(process, "Ctrl-C leaves at once"), 10)
    process.send_signal(signal.SIGINT)
    _, said = await asyncio.wait_for(process.communicate(), 10)
    last = json.loads(said.decode().splitlines()[-1])
    assert (process.returncode, last["event"].partition(":")[0]) == (130, "Left without waiting. Runs are kept")
    async with worker(gapless.client, gapless.settings, [queue]):
        await until(lambda: state(run, "held"))
    assert emulator.stats()["created"] == 1
