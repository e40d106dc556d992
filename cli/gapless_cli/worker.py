"""`gapless worker`: serves the task queues until it is told to stop."""

import asyncio
import signal
from typing import Annotated

import structlog
import typer

from gapless.contract.queues import TaskQueue
from gapless_cli import flags
from gapless_cli.commands import OK, asynchronous, check_store, connect
from gapless_cli.leaving import serving

KEPT = (
    "Runs are kept: another worker takes over what this one had in hand, most of it after 10 s of silence; had a task "
    "just been sent, it may be held for a decision (gapless list)."
)


@asynchronous
async def worker(
    queue: Annotated[list[str] | None, typer.Option(help="A task queue to serve; may be repeated.")] = None,
) -> int:
    """Serve the task queues; SIGTERM and Ctrl-C let a request in flight finish, a second Ctrl-C does not."""
    settings = flags.settings()
    await check_store(settings)
    gapless = await connect(settings, log_level="info")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tell = structlog.get_logger().warning  # a line of the log, which machines read
    async with serving(gapless, queue or [str(name) for name in TaskQueue], tell=tell, kept=KEPT):
        await stop.wait()
    return OK
