"""`gapless worker`: serves the task queues until it is told to stop."""

import asyncio
import signal
from typing import Annotated

import typer

from gapless.contract.queues import TaskQueue
from gapless_cli import flags
from gapless_cli.commands import OK, asynchronous, check_store, connect


@asynchronous
async def worker(
    queue: Annotated[list[str] | None, typer.Option(help="A task queue to serve; may be repeated.")] = None,
) -> int:
    """Serve the task queues; SIGTERM and Ctrl-C let a request in flight finish."""
    from gapless_workers.worker import serve

    settings = flags.settings()
    await check_store(settings)
    gapless = await connect(settings, log_level="info")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(gapless.client, gapless.settings, queue or [str(name) for name in TaskQueue], stop)
    return OK
