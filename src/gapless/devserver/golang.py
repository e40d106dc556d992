"""Builds a Go program from source, and leaves nothing else behind."""

import asyncio
import os
import re
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gapless.config import child_environment
from gapless.devserver.server import Say
from gapless.errors import NotReachable

OLDEST = (1, 25)
_SPACE = 6 * 10**9
"""Bytes that modules, build cache and result need, with a margin."""


async def install(package: str, target: Path, say: Say) -> None:
    """Build `package`, a path and a version, and put the program at `target`.

    The caches (4.5 GB) are in a folder beside the target, and are removed whether the build works, fails or is
    cancelled. The caller makes sure that nobody else builds the same target.

    Raises:
        NotReachable: no Go, too old a Go, too little space, or the build failed.
    """
    go = await _toolchain()
    work = target.parent / "build"
    _remove(work)
    work.mkdir(parents=True)
    if shutil.disk_usage(work).free < _SPACE:
        raise NotReachable(f"building it with Go needs {_SPACE / 1e9:.0f} GB free in {work} for a while")
    begun = time.monotonic()
    say(f"building the official CLI {package.rpartition('@')[2]} with Go, once, about 4 min")
    try:
        await _build(go, package, work)
        (work / "bin" / target.name).replace(target)
    finally:
        _remove(work)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    say(f"built in {minutes} min {seconds} s")


async def _toolchain() -> str:
    go = shutil.which("go")
    if go is None:
        raise NotReachable("no Go on PATH")
    async with _running(go, "env", "GOVERSION", env=child_environment()) as process:
        version = (await process.communicate())[0].decode(errors="replace").strip()
    match = re.match(r"go(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < OLDEST:
        raise NotReachable(f"{go} is {version or 'of no known version'}, and 1.25 is needed")
    return go


async def _build(go: str, package: str, work: Path) -> None:
    environment = child_environment(
        GOPATH=str(work / "path"),
        GOMODCACHE=str(work / "modules"),
        GOCACHE=str(work / "cache"),
        GOTMPDIR=str(work),
        GOBIN=str(work / "bin"),
        CGO_ENABLED="0",
    )
    arguments = ("install", "-modcacherw", "-trimpath", "-ldflags=-s -w", package)
    async with _running(go, *arguments, env=environment, cwd=str(work)) as process:
        output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode != 0:
        tail = " / ".join(output.strip().splitlines()[-3:])
        raise NotReachable(f"the build with Go failed ({tail})")


@asynccontextmanager
async def _running(*command: str, env: dict[str, str], cwd: str | None = None) -> AsyncIterator[Process]:
    """Run a program with its children in a group of its own, and end them all on the way out."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=cwd, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


def _remove(folder: Path) -> None:
    """Remove a folder, read-only folders in it included: Go makes some for a toolchain of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
