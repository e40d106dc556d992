"""Heartbeats while something else is awaited."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

T = TypeVar("T")
INTERVAL = 2.0
"""Seconds between beats; the heartbeat timeouts are 10 s."""


async def beating(beat: Callable[[], None], work: Coroutine[Any, Any, T]) -> T:
    """Await `work` and call `beat` meanwhile; a cancellation or the worker's shutdown ends the work at once.

    What is done within the first interval costs no beat.

    Raises:
        ApplicationError: the worker is stopping; the next attempt goes on elsewhere.
    """
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(activity.wait_for_worker_shutdown())
    try:
        while not (await _first({task, stopping})):
            beat()
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise ApplicationError(
            "The worker is stopping; what was done is kept, another worker goes on with it.",
            type="WorkerStopping",
            category=ApplicationErrorCategory.BENIGN,
        )
    return task.result()


async def _first(tasks: set[asyncio.Future[Any]]) -> bool:
    """Wait for an interval at most, and say whether one of the tasks is done."""
    done, _ = await asyncio.wait(tasks, timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


async def beating_shielded(beat: Callable[[], None], work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end whatever happens: a POST in flight is never dropped.

    A cancellation, be it a user's or a worker's shutdown, does not stop it; the worker's graceful shutdown is
    longer than the work's own timeout.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            beat()
            await asyncio.wait({task}, timeout=INTERVAL)
        except asyncio.CancelledError:
            continue
    return task.result()
