"""How a command ends when what is in flight does not: when Ctrl-C is pressed again, and by itself after a while.

The SDK waits half a minute for a server that does not answer, and for a workflow that cannot be evicted without end.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from gapless_cli.main import INTERRUPTED
from gapless_cli.output import say
from gapless_workers.main import leave

KEPT = "The run is kept; had a task just been sent, it may be held for a decision (gapless list)."


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """End the process when the block does not end, after so many seconds or at Ctrl-C."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, _leave, "Left without waiting")
    timers = (
        loop.call_later(1.0, say, "Waiting for what is in flight to end; Ctrl-C leaves at once."),
        loop.call_later(seconds, _leave, f"Left after {seconds:.0f} s, since something in flight does not end"),
    )
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def _leave(how: str) -> None:
    say(f"{how}. {KEPT}")
    leave(INTERRUPTED)
