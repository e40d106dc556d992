"""What the commands share: asynchronous bodies, a connection, and errors that become one line and an exit code."""

import asyncio
import functools
import traceback
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, ParamSpec

import typer
from pydantic import ValidationError
from temporalio.service import RPCError

from gapless.artifacts import ArtifactStore
from gapless.client import Gapless, IdTaken
from gapless.config import Settings
from gapless.contract.queues import TaskQueue
from gapless.devserver import foreign
from gapless.errors import ConfigurationError, GaplessError
from gapless.providers.base import open_provider
from gapless.telemetry import configure_logging, forward_core_logs
from gapless_cli import flags
from gapless_cli.output import field, say

P = ParamSpec("P")

OK, PROBLEM, USAGE, INCOMPLETE = 0, 1, 2, 3


def asynchronous(body: Callable[P, Coroutine[Any, Any, int]], *, problem: int = PROBLEM) -> Callable[P, None]:
    """Make a command of a coroutine that returns the exit code; `problem` is the one for failures."""

    @functools.wraps(body)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = asyncio.run(body(*args, **kwargs))
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - the last place that knows the command's exit codes
            code = exit_code(error, problem)
        raise typer.Exit(code)

    return command


def exit_code(error: Exception, problem: int = PROBLEM) -> int:
    """Say an error in one line, and return the exit code it stands for; the unforeseen shows its traceback."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        say(f"error: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}")
        return USAGE
    if isinstance(error, ConfigurationError | IdTaken):
        say(f"error: {str(error).partition(chr(10))[0]}")
        return USAGE
    if isinstance(error, GaplessError):
        say(f"error: {error}")
        return problem
    if isinstance(error, RPCError):
        say(f"error: Temporal did not answer as expected: {error.message}; runs are kept there (gapless doctor)")
        return problem
    traceback.print_exception(error)
    return problem


async def connect(settings: Settings | None = None, *, quiet: bool = True, log_level: str = "error") -> Gapless:
    """Set up the logs, and connect; says which server was taken unless `quiet`.

    Args:
        settings: read here when not given.
        quiet: say only what takes long.
        log_level: where the settings name none.
    """
    settings = settings or flags.settings()
    configure_logging(settings.log_level if "log_level" in settings.model_fields_set else log_level)
    forward_core_logs()
    gapless = await Gapless.connect(settings, say=lambda line: field("Temporal", line))
    if not quiet:
        field("Temporal", f"{gapless.server.ui or gapless.server.address} ({gapless.server.origin})")
    return gapless


def alone() -> bool:
    """Say whether the server is to be a local one, so that this process has to serve what it starts."""
    return foreign.configured() is None


async def check_provider(name: str, settings: Settings) -> None:
    """Find out before anything is started whether this process can call a provider.

    Raises:
        ConfigurationError: no such provider, or no key for it.
    """
    await open_provider(name, settings).aclose()


async def check_store(settings: Settings) -> None:
    """Find out before anything is started whether this process can write and read artifacts.

    Raises:
        ConfigurationError: it cannot.
    """
    try:
        store = ArtifactStore.of(settings)
        await store.get((await store.put("probe", b"gapless")).digest)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - a store's client may raise anything
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"artifact store {settings.artifacts_url!r} cannot be used: {reason}") from None


async def ahead() -> Process:
    """Start the process of a crawl, and load what serves it, while others of this process wait for the server.

    Returns:
        The process, which ends with this one.
    """
    from gapless.links import engine

    process = await engine.start()
    asyncio.get_running_loop().run_in_executor(None, import_module, "gapless_workers.worker")
    return process


@asynccontextmanager
async def attended(gapless: Gapless, queue: str, engine: Process | None = None) -> AsyncIterator[None]:
    """Serve a run's private queue from this process; on our shared queues others do that.

    Args:
        gapless: the connection.
        queue: the run's.
        engine: a process in which the run is going to crawl, as `ahead` started it.
    """
    if queue in set(TaskQueue):
        if not await gapless.has_worker(queue):
            say(f"No worker polls {queue} now; start one with: gapless worker")
        yield
        return
    from gapless_cli.leaving import serving

    async with serving(gapless, [queue], engine=engine):
        yield
