"""How what serves queues ends when what is in flight does not: at a second Ctrl-C, and by itself after a while.

The SDK waits half a minute for a server that does not answer, and for a workflow that cannot be evicted without end.
"""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager

from gapless.client import Gapless
from gapless_cli.main import INTERRUPTED
from gapless_cli.output import say
from gapless_workers.main import leave

PATIENCE = 45.0
"""Seconds, on top of those a submission may take, that the end of what is in flight is waited for."""
KEPT = "The run is kept; had a task just been sent, it may be held for a decision (gapless list)."


@asynccontextmanager
async def serving(
    gapless: Gapless,
    queues: Sequence[str],
    *,
    engine: Process | None = None,
    tell: Callable[[str], object] = say,
    kept: str = KEPT,
) -> AsyncIterator[None]:
    """Serve queues from this process until the block is left.

    Args:
        gapless: the connection.
        queues: what to serve.
        engine: a process in which the first crawl is going to be.
        tell: says a line.
        kept: what to tell when this process leaves without the end of what is in flight.
    """
    from gapless_workers.worker import worker

    with ExitStack() as ending:
        async with worker(gapless.client, gapless.settings, queues, engine=engine):
            try:
                yield
            finally:
                ending.enter_context(_bounded(gapless.settings.submit_timeout + PATIENCE, tell, kept))


@contextmanager
def _bounded(seconds: float, tell: Callable[[str], object], kept: str) -> Iterator[None]:
    """End the process when the block does not end, after so many seconds or at Ctrl-C."""

    def left(how: str) -> None:
        tell(f"{how}. {kept}")
        leave(INTERRUPTED)

    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, left, "Left without waiting")
    timers = (
        loop.call_later(1.0, tell, "Waiting for what is in flight to end; Ctrl-C leaves at once."),
        loop.call_later(seconds, left, f"Left after {seconds:.0f} s, since something in flight does not end"),
    )
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
