"""The peer's own environment, and its worker as a process in it."""

import asyncio
import hashlib
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from common import say
from gapless.devserver import locks

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[1] / ".cache"


class Peer:
    """The running worker; `versions` names what it runs on."""

    def __init__(self, process: Process, versions: str, log: Path) -> None:
        self._process = process
        self._log = log
        self._talking = asyncio.Lock()
        self.versions = versions

    async def serve(self, queue: str, url: str) -> None:
        """Return when the queue is served with the Interactions API at this address, until the process ends."""
        async with self._talking:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{queue} {url}\n".encode())
            if await _line(self._process, self._log) != queue:
                raise SystemExit("the peer's worker does not answer as expected")


@asynccontextmanager
async def running(address: str, log: Path) -> AsyncIterator[Peer]:
    """Run the peer's worker on the Temporal server of this address; what it has to say goes to the log.

    Raises:
        SystemExit: its environment cannot be made, or it ends by itself.
    """
    python = await environment()
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            python, _HERE / "google_genai_plugin.py", address, env=_variables(), stdin=PIPE, stdout=PIPE, stderr=errors
        )
    try:
        yield Peer(process, await _line(process, log), log)
    finally:
        if process.returncode is None:
            process.kill()  # nothing of it is to be kept
        await process.wait()


async def environment() -> Path:
    """Return the Python of the peer's environment, which is made on first use."""
    requirements = _HERE / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = _CACHE / f"peers-{sys.version_info.major}.{sys.version_info.minor}-{digest[:12]}"
    python, done = folder / "bin" / "python", folder / ".installed"
    async with locks.exclusive(
        folder.parent / f"{folder.name}.lock", say=say, doing="setting up the peer's environment"
    ):
        if not done.exists():
            say("Setting up an environment with temporalio-google-genai in .cache (once, about a minute)")
            await _run(sys.executable, "-m", "venv", "--clear", folder)
            quiet = ("--quiet", "--disable-pip-version-check")
            await _run(python, "-m", "pip", "install", *quiet, "--require-hashes", "-r", requirements)
            done.touch()
    return python


async def _run(*command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    if await process.wait() != 0:
        raise SystemExit(f"the peer's environment could not be set up: {command[0]} ended with {process.returncode}")


async def _line(process: Process, log: Path) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise SystemExit(f"the peer's worker ended:\n{_tail(log)}")
    return line.decode().strip()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _variables() -> dict[str, str]:
    """Leave out what would point the peer to a cluster, a provider or a key."""
    foreign = ("TEMPORAL_", "GEMINI_", "GOOGLE_", "GAPLESS_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
