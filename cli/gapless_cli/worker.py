"""`gapless worker`: serves the task queues until it is told to stop."""

import asyncio
import signal
from typing import Annotated

import typer

from gapless.contract.queues import TaskQueue
from gapless_cli.commands import OK, asynchronous, connect


@asynchronous
async def worker(
    queue: Annotated[list[str] | None, typer.Option(help="A task queue to serve; may be repeated.")] = None,
) -> int:
    """Serve Gapless's task queues; SIGTERM and Ctrl-C let a request in flight finish."""
    from gapless_workers.worker import serve

    gapless = await connect()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(gapless.client, gapless.settings, queue or list(TaskQueue), stop)
    return OK
