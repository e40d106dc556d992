"""Who may connect to a host, how often, and when it asked for a pause."""

import asyncio
from types import TracebackType

LONGEST_WAIT = 30.0


class Gate:
    """Lets a few requests at a time through to one host, and none while it rests.

    Args:
        connections: requests at once.
        patience: seconds that the host may make an audit wait in total.
        shared: a limit over several hosts, or None.
    """

    def __init__(self, connections: int, patience: float, shared: asyncio.Semaphore | None = None) -> None:
        self._own = asyncio.Semaphore(connections)
        self._shared = shared
        self._patience = patience
        self._opens = 0.0
        self.interval = 0.0

    async def __aenter__(self) -> None:
        await self._own.acquire()
        try:
            await self._rest()
            if self._shared is not None:
                await self._shared.acquire()
        except BaseException:
            self._own.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shared is not None:
            self._shared.release()
        self._own.release()

    def pause(self, seconds: float) -> bool:
        """Close for some seconds, and say whether that is within the audit's patience."""
        now = asyncio.get_running_loop().time()
        longer = max(0.0, now + seconds - max(self._opens, now))
        if seconds > LONGEST_WAIT or longer > self._patience:
            return False
        self._patience -= longer
        self._opens = max(self._opens, now + seconds)
        return True

    async def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._opens - loop.time()) > 0:  # noqa: ASYNC110 (the pause may grow while it lasts)
            await asyncio.sleep(wait)
        if self.interval:
            self._opens = loop.time() + self.interval
