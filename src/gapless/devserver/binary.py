"""Gets the `temporal` program: by setting, on PATH, from the cache, by the SDK's download, or built with Go."""

import asyncio
import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gapless.config import Settings
from gapless.devserver import golang, locks
from gapless.devserver.server import Say
from gapless.errors import ConfigurationError, NotReachable

VERSION = "v1.5.1"
"""The newest stable release of the CLI that `go install` takes: Temporal server 1.29.1, UI 2.42.1."""

_FIRST_BYTE_LIMIT = 5.0
_DOWNLOAD_LIMIT = 600.0


@dataclass(frozen=True)
class Program:
    """A `temporal` binary and, for a person, where it comes from."""

    path: Path
    origin: str


async def binary(settings: Settings, say: Say) -> Path:
    """Find or obtain the `temporal` binary; see `find`."""
    return (await find(settings, say)).path


async def find(settings: Settings, say: Say) -> Program:
    """Find or obtain the `temporal` binary.

    Args:
        settings: `temporal_cli` names one; `cache_dir` keeps one that was downloaded or built.
        say: receives a line about whatever takes long.

    Raises:
        ConfigurationError: the setting names no program.
        NotReachable: there is none and no way to get one.
    """
    if named := settings.temporal_cli:
        if not _runnable(named):
            raise ConfigurationError(f"GAPLESS_TEMPORAL_CLI names {named}, which is not a program that can be run")
        return Program(named, f"started {named}")
    if found := shutil.which("temporal"):
        return Program(Path(found), f"started {found}")
    return await _cached(settings.cache_dir / "temporal-cli" / VERSION, say)


async def _cached(folder: Path, say: Say) -> Program:
    cached = folder / "temporal"
    if not _runnable(cached):
        async with locks.exclusive(folder / "lock", say=say, doing=f"getting the Temporal CLI {VERSION}"):
            if not _runnable(cached):
                return Program(cached, await _obtain(cached, say))
    return Program(cached, f"started {VERSION} from the cache")


async def _obtain(target: Path, say: Say) -> str:
    """Put the binary into its place and say how, in a few words."""
    problems = ["no `temporal` on PATH"]
    try:
        await _download(target, say)
    except NotReachable as error:
        problems.append(str(error))
    else:
        return f"downloaded {VERSION}"
    try:
        await golang.install(f"github.com/temporalio/cli/cmd/temporal@{VERSION}", target, say)
    except NotReachable as error:
        problems.append(str(error))
    else:
        return f"built {VERSION} with Go"
    raise NotReachable(
        f"no Temporal server, and no way to get one: {'; '.join(problems)}. Install the Temporal CLI, or name it "
        "with GAPLESS_TEMPORAL_CLI, or set TEMPORAL_ADDRESS to a server, or install Go 1.25 or newer."
    )


async def _download(target: Path, say: Say) -> None:
    """Let the SDK download the CLI, which it does by starting a server once."""
    from temporalio.testing import WorkflowEnvironment

    folder = target.parent / "download"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    starting = asyncio.ensure_future(
        WorkflowEnvironment.start_local(
            dev_server_download_version=VERSION,
            download_dest_dir=str(folder),
            dev_server_startup_timeout=timedelta(seconds=30),
        )
    )
    try:
        await asyncio.wait([starting], timeout=_FIRST_BYTE_LIMIT)
        if not starting.done() and any(folder.iterdir()):
            say(f"downloading the official CLI {VERSION}, once")
            await asyncio.wait([starting], timeout=_DOWNLOAD_LIMIT)
        if not starting.done():
            raise NotReachable("the SDK's download of the CLI gets no answer")
        environment = await starting
        await environment.shutdown()
        next(folder.glob("temporal*")).replace(target)
    except (RuntimeError, OSError) as error:
        raise NotReachable(f"the SDK's download of the CLI failed ({_last_cause(error)})") from None
    finally:
        starting.cancel()
        shutil.rmtree(folder, ignore_errors=True)


def _last_cause(error: Exception) -> str:
    return str(error).rpartition("executable: ")[2]


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
