"""The state outlives the server, and a process that is killed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web
from google.genai import _interactions as errors

from gapless.testing.emulator import Emulator

pytestmark = pytest.mark.filterwarnings("ignore:Environments usage is experimental:UserWarning")

AGENT = "antigravity-preview-09-2026"


async def test_a_new_server_knows_everything(connect: Any, tmp_path: Path) -> None:
    """Interactions, counters, files and faults that wait are those of the same file."""
    state = tmp_path / "state" / "emulator.db"
    async with Emulator(state=state, run_seconds=0) as emulator:
        sdk = connect(emulator.url)
        done = await sdk.until((await sdk.start("Hello", agent=AGENT, environment="remote")).id)
        cancelled = await sdk.start(labels={"gapless-run-seconds": "60"})
        await sdk.interactions.cancel(cancelled.id)
        polled = await sdk.start(labels={"gapless-polls": "2"})
        assert (await sdk.interactions.get(polled.id)).status == "in_progress"
        emulator.inject("status-429", times=2)
        with pytest.raises(errors.RateLimitError):
            await sdk.start()
        before = emulator.stats()
    async with Emulator(state=state, run_seconds=0) as emulator:
        assert emulator.stats() == before
        sdk = connect(emulator.url)
        assert await sdk.interactions.get(done.id) == done
        assert (await sdk.interactions.get(cancelled.id)).status == "cancelled"
        assert [(await sdk.interactions.get(polled.id)).status for _ in range(2)] == ["in_progress", "completed"]
        files = await sdk.environments.files.list(environment=done.environment_id, path="", recursive=True)
        assert [f.path for f in files.files] == ["answer.md"]
        with pytest.raises(errors.RateLimitError):
            await sdk.start()
        await sdk.start()
        assert emulator.stats()["created"] == before["created"] + 1


async def test_a_run_goes_on_by_its_age(connect: Any, tmp_path: Path) -> None:
    """The time that the server was down counts as time in which the interaction ran."""
    state = tmp_path / "emulator.db"
    async with Emulator(state=state, run_seconds=0.5) as emulator:
        made = await connect(emulator.url).start()
        assert made.status == "in_progress"
    await asyncio.sleep(0.5)
    async with Emulator(state=state, run_seconds=0.5) as emulator:
        assert (await connect(emulator.url).interactions.get(made.id)).status == "completed"


@asynccontextmanager
async def process(state: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the emulator as a process of its own; yield it and its URL, and kill it."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gapless.testing.emulator", "--port", str(port), "--state", str(state)),
        *("--run-seconds", "0.2"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert started.stdout is not None
    try:
        yield started, (await started.stdout.readline()).decode().strip()
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def test_kill_9_loses_nothing(connect: Any, serve: Any, tmp_path: Path, unused_port: int) -> None:
    """After a SIGKILL the same address serves the same interactions, and an audit is begun again and finished."""
    state, reached, go = tmp_path / "emulator.db", asyncio.Event(), asyncio.Event()

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        reached.set()
        await go.wait()
        return web.Response(text='<a href="#no">x</a>', content_type="text/html")

    async with serve(page) as site:
        async with process(state, unused_port) as (killed, url):
            sdk = connect(url)
            with pytest.raises(errors.APIConnectionError):
                await sdk.start(labels={"gapless-fault": "answer-lost"})
            audit = await sdk.start(f"Check the links of {site}/", agent=AGENT, environment="remote")
            await asyncio.wait_for(reached.wait(), 10)
            killed.kill()
            assert await killed.wait() == -signal.SIGKILL
        go.set()
        async with process(state, unused_port) as (stopped, again):
            assert again == url
            sdk = connect(again)
            done = await sdk.until(audit.id)
            assert done.status == "completed"
            assert "Total broken: 1 across 1 pages crawled." in done.output_text
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"{url}/_emulator/stats")).json()["created"] == 2
            stopped.terminate()
            assert (await stopped.communicate(), stopped.returncode) == ((b"", b""), 0)


async def test_stopping_is_quick_and_loses_open_requests(connect: Any) -> None:
    """A server that stops leaves no request waiting: the client sees a lost connection."""
    async with Emulator() as emulator:
        sdk = connect(emulator.url)
        waiting = asyncio.create_task(sdk.start(labels={"gapless-fault": "hang"}))
        while not emulator.stats()["created"]:
            await asyncio.sleep(0.01)
    with pytest.raises(errors.APIConnectionError):
        await waiting


async def test_a_taken_port_is_an_error() -> None:
    """Two servers cannot have one port."""
    async with Emulator() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with Emulator(port):
                pass
