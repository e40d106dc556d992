"""The emulator on a real socket: inside a running event loop, or as a process of its own."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from gapless.testing.emulator.app import create_app
from gapless.testing.emulator.faults import Fault


class Emulator:
    """The local Interactions API on a port of its own, for the time of an `async with`.

    Args:
        port: 0 takes a free one; `url` has it.
        host: loopback, since the control API needs no key.
        state: see `create_app`, as for the others.
        run_seconds: see `create_app`.
        miss: see `create_app`.
        invent: see `create_app`.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        state: Path | None = None,
        run_seconds: float = 2.0,
        miss: int = 0,
        invent: int = 0,
    ) -> None:
        self._address = (host, port)
        self._make = partial(create_app, state=state, run_seconds=run_seconds, miss=miss, invent=invent)

    async def __aenter__(self) -> Self:
        listener = _listen(*self._address)
        try:
            self.app = self._make()
        except BaseException:
            listener.close()
            raise
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            self.app, log_config=None, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.create_task(self._server._serve([listener]))  # noqa: SLF001 - leaves signals alone
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.005)
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()  # who still waits for an answer sees it lost, as in a crash
        await self._task

    def stats(self) -> dict[str, Any]:
        """Return what was created, billed and asked, over the whole life of the state."""
        return self.app.emulation.stats()

    def inject(
        self,
        fault: str,
        *,
        times: int | None = None,
        rate: float | None = None,
        operation: str = "create",
        seconds: float | None = None,
        count: int | None = None,
    ) -> None:
        """Switch on a fault of `FAULTS` for the next `times` requests or a `rate` of all; once by default.

        Raises:
            ApiError: there is no such fault or operation.
        """
        self.app.emulation.faults.add(Fault(fault, operation, times, rate, seconds, count))


def _listen(host: str, port: int) -> socket.socket:
    """Listen with TCP named as protocol: otherwise asyncio leaves Nagle on, 40 ms for every answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def run(
    host: str = "127.0.0.1",
    port: int = 8790,
    state: Path | None = None,
    *,
    run_seconds: float = 2.0,
    miss: int = 0,
    invent: int = 0,
    started: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT, printing nothing; `started` gets the URL once it answers.

    Raises:
        OSError: the port is taken.
    """

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):  # Windows: KeyboardInterrupt ends the loop instead
                loop.add_signal_handler(number, stop.set)
        emulator = Emulator(port, host=host, state=state, run_seconds=run_seconds, miss=miss, invent=invent)
        async with emulator:
            started(emulator.url)
            await stop.wait()

    asyncio.run(serve())
