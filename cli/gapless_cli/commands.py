"""What the commands share: asynchronous bodies, and errors that become one line and an exit code."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

import typer
from pydantic import ValidationError

from gapless.client import Gapless
from gapless.config import Settings
from gapless.contract.queues import TaskQueue
from gapless.errors import ConfigurationError, GaplessError
from gapless.telemetry import configure_logging
from gapless_cli.output import field, say

P = ParamSpec("P")

OK, PROBLEM, USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def asynchronous(body: Callable[P, Coroutine[Any, Any, int]]) -> Callable[P, None]:
    """Make a command of a coroutine that returns the exit code."""

    @functools.wraps(body)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(asyncio.run(body(*args, **kwargs)))

    return command


def exit_code(error: Exception) -> int:
    """Say an error in one line, and return the exit code it stands for."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        say(f"error: {where + ': ' if where else ''}{problem['msg'].removeprefix('Value error, ')}")
        return USAGE
    say(f"error: {error}")
    return USAGE if isinstance(error, ConfigurationError) else PROBLEM


HANDLED = (GaplessError, ValidationError)


async def connect(*, quiet: bool = False, **flags: Any) -> Gapless:
    """Read the settings, set up the logs, and connect; says which server was taken."""
    settings = Settings.load(**flags)
    configure_logging(settings.log_level if not quiet else "error")
    gapless = await Gapless.connect(settings, say=lambda line: field("Temporal", line))
    if not quiet:
        field("Temporal", f"{gapless.server.ui or gapless.server.address} ({gapless.server.origin})")
    return gapless


@asynccontextmanager
async def attended(gapless: Gapless, queue: str) -> AsyncIterator[None]:
    """Serve a run's private queue from this process; on our shared queues others do that."""
    if queue in set(TaskQueue):
        if not await gapless.has_worker(queue):
            say(f"No worker polls {queue} now; start one with: gapless worker")
        yield
        return
    from gapless_workers.worker import worker

    async with worker(gapless.client, gapless.settings, [queue]):
        yield
