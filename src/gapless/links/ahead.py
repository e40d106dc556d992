"""Work that runs at once and arrives in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    items: Sequence[T], work: Callable[[T], Awaitable[R]], ahead: Callable[[], int], *, start: int = 0
) -> AsyncGenerator[R, None]:
    """Yield the results of the items in their order, working on several at once.

    Whatever finishes first, the caller sees the same sequence, so what it does with it depends on the
    items alone.

    Args:
        items: may grow while results arrive.
        work: makes a result of an item.
        ahead: how many items may be worked on at the moment.
        start: index of the first item.
    """

    async def task(item: T) -> R:
        return await work(item)

    running: deque[asyncio.Task[R]] = deque()
    started = start
    try:
        while True:
            while started < len(items) and len(running) < ahead():
                running.append(asyncio.create_task(task(items[started])))
                started += 1
            if not running:
                return
            result = await running[0]
            running.popleft()
            yield result
    finally:
        for unneeded in running:
            unneeded.cancel()
        await asyncio.gather(*running, return_exceptions=True)
