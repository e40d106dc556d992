"""The console script in a process of its own, as a person or a CI job runs it."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path

from conftest import environment
from gapless.config import Settings


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Command:
    """Runs `gapless` with a test's settings, in a folder of its own."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder

    async def __call__(self, *arguments: str, stdin: bytes = b"", module: str = "gapless_cli", **env: str) -> Done:
        """Run to the end."""
        return await self.finish(await self.start(*arguments, module=module, **env), stdin)

    async def start(self, *arguments: str, module: str = "gapless_cli", **env: str) -> Process:
        """Start; a variable that is empty counts as not set."""
        variables = {
            name: value for name, value in environment(self.settings, PYTHONFAULTHANDLER="1", **env).items() if value
        }
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            cwd=self.folder,
            env=variables,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def finish(self, process: Process, stdin: bytes = b"") -> Done:
        """Wait for the end of a command; one that hangs is made to say where."""
        ending = asyncio.ensure_future(process.communicate(stdin))
        if not (await asyncio.wait({ending}, timeout=60))[0]:
            process.send_signal(signal.SIGABRT)
        out, err = await ending
        assert process.returncode != -signal.SIGABRT, err.decode()
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    async def interrupt(self, process: Process) -> Done:
        """Press Ctrl-C."""
        process.send_signal(signal.SIGINT)
        return await self.finish(process)
