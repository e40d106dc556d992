"""A real Temporal server for the session, the emulator on a socket, and workers in and out of this process."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from pydantic import SecretStr

import leaks
from gapless import devserver
from gapless.artifacts import ArtifactStore
from gapless.client import Gapless
from gapless.config import Settings
from gapless.payloads import data_converter
from gapless.testing.emulator import Emulator
from gapless_workers.worker import worker
from unit.links.httpsite import Route, Serve, Site
from worker_process import Fork

KEY = leaks.KEY
SENSITIVE = leaks.SENSITIVE
AGENT = "antigravity-preview-09-2026"
MODEL = "gemini-3.8-flash"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it runs in the background, and a process whose tests press Ctrl-C must not inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Get the Temporal binary before the first test's clock runs: a build with Go takes minutes."""
    asyncio.run(devserver.binary(Settings.load(), lambda line: print(line, file=sys.stderr, flush=True)))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of this session's server and artifacts."""
    return tmp_path_factory.mktemp("gapless")


@pytest.fixture(scope="session", autouse=True)
def log_file(data_dir: Path) -> Iterator[Path]:
    """Write down all that is logged in this process, at any level and with nothing blotted out, for the scan."""
    root, path = logging.getLogger(), data_dir / "suite.log"
    handler = logging.FileHandler(path)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield path
    root.removeHandler(handler)
    handler.close()


@pytest.fixture(autouse=True)
def _logged() -> None:
    """Send structlog's lines there, too; each time anew, since some tests set logging up by themselves."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


@pytest.fixture(scope="session")
async def server(
    data_dir: Path, log_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[devserver.Server]:
    """Start a Temporal server of the session's own; at its end, nothing in this session's files holds a secret."""
    settings = Settings.load(data_dir=data_dir)
    server = await devserver.start(settings, say=lambda line: print(line, file=sys.stderr))
    yield server
    await leaks.plant(await connect(settings, server))
    devserver.stop(settings)
    leaks.assert_not_blind(data_dir, log=log_file)
    leaks.assert_none(tmp_path_factory.getbasetemp())


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    """Start an emulator of the test's own."""
    async with Emulator(run_seconds=1.0, state=tmp_path / "emulator.sqlite") as emulator:
        yield emulator


@pytest.fixture
def settings(data_dir: Path, server: devserver.Server, emulator: Emulator) -> Settings:
    """Return what a worker of this test is told."""
    return settings_for(data_dir, emulator.url)


def settings_for(data_dir: Path, url: str) -> Settings:
    """Return settings that point to an emulator, and poll as fast as the server allows."""
    return Settings.load(
        data_dir=data_dir,
        GEMINI_API_KEY=KEY,
        gemini_base_url=url,
        poll_max_interval=1.0,
        submit_timeout=5.0,
        read_timeout=5.0,
    )


@pytest.fixture
async def gapless(server: devserver.Server, settings: Settings) -> Gapless:
    """Return a client of the session's server."""
    return await connect(settings, server)


async def connect(settings: Settings, server: devserver.Server) -> Gapless:
    """Connect to this very server."""
    converter = data_converter(ArtifactStore.of(settings))
    return Gapless(await devserver.connect(settings, server, data_converter=converter), server, settings)


def encrypted(settings: Settings, key: str = leaks.ENCRYPTION_KEY) -> Settings:
    """Return the settings with a key."""
    return settings.model_copy(update={"encryption_key": SecretStr(key)})


@pytest.fixture
def queue() -> str:
    """Return a task queue of the test's own; also good as an id."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start sites that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(routes: Mapping[str, Route]) -> Site:
            return await stack.enter_async_context(Site(routes))

        yield start


@pytest.fixture
async def served(gapless: Gapless, settings: Settings, queue: str) -> AsyncIterator[None]:
    """Serve the test's queue in this process."""
    async with worker(gapless.client, settings, [queue]):
        yield


def environment(settings: Settings, **extra: str) -> dict[str, str]:
    """Return the environment of a child process that has these settings."""
    names = ("TEMPORAL_", "GAPLESS_", "GEMINI_", "GOOGLE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return inherited | {
        "GEMINI_API_KEY": KEY,
        "GAPLESS_ENCRYPTION_KEY": settings.encryption_key.get_secret_value() if settings.encryption_key else "",
        "GOOGLE_GEMINI_BASE_URL": settings.gemini_base_url or "",
        "GAPLESS_DATA_DIR": str(settings.data_dir),
        "GAPLESS_POLL_MAX_INTERVAL": str(settings.poll_max_interval),
        "GAPLESS_SUBMIT_TIMEOUT": str(settings.submit_timeout),
        "GAPLESS_READ_TIMEOUT": str(settings.read_timeout),
        **extra,
    }


class WorkerProcess:
    """A worker in a process of its own, to be killed."""

    def __init__(self, settings: Settings, queue: str, log: Path, stall: str = "", **extra: str) -> None:
        self.log = log
        log.touch()
        self.process = Fork(environment(settings, **extra), log, queue, stall)
        self.process.start()

    def kill(self) -> None:
        """SIGKILL: nothing is cleaned up."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 60) -> int:
        """SIGTERM, and wait for the end; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    async def stop(self, seconds: float = 60) -> int:
        """Terminate it while this process goes on serving it; returns the exit code."""
        return await asyncio.to_thread(self.terminate, seconds)

    def says(self, text: str) -> bool:
        """Say whether this text stands in its log."""
        return text in self.log.read_text()


@pytest.fixture
def start_worker(settings: Settings, queue: str, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Return a function that starts a worker process on the test's queue; keywords change its settings."""
    started: list[WorkerProcess] = []

    def start(stall: str = "", **changes: Any) -> WorkerProcess:
        told = settings.model_copy(update=changes)
        started.append(WorkerProcess(told, queue, tmp_path / f"worker-{len(started)}.log", stall))
        return started[-1]

    yield start
    for process in started:
        process.kill()


async def until(condition: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """Wait until the condition holds, and return what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.05)


def released(address: str) -> bool:
    """Say whether a port can be listened on again: a killed process lets go of it a moment after its death."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
