"""The processes that fetch and parse for an audit, and the turns of the hosts they ask."""

import asyncio
import marshal
import os
import signal
import socket
import threading
import traceback
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

from gapless.links import urls
from gapless.links.child import Child, Job, Result
from gapless.links.record import Numbers
from gapless.links.scope import Scope

AHEAD = 96
"""Jobs that a process has been given and has not answered: enough that it never waits for its parent."""
TRIES = 3
LONGEST_WAIT = 30.0
SITE_PATIENCE, OTHER_PATIENCE = 120.0, 30.0
"""Seconds for which a host may make an audit wait, in total."""
FRAME = 4
"""Bytes that say how long a frame is."""
MAX_FRAME = 1 << 28

_busy = attrgetter("busy")
_NO_LINKS = array("I")


class ChildLost(RuntimeError):
    """A process of the audit ended before the audit did, or said something that makes no sense."""


class Done(NamedTuple):
    """A job that is done.

    Attributes:
        job: what was to be done.
        result: what became of it, or None when the host said that nothing has changed.
        links: numbers of the links on the page.
    """

    job: Job
    result: Result | None
    links: "array[int]"


class _Peer(asyncio.Protocol):
    """One process, or one thread, at the other end of a socket."""

    def __init__(self, end: socket.socket, pid: int | None) -> None:
        self.pid = pid
        self.busy = 0
        self.numbers: list[int] = []
        """Of the audit, by the process's own numbers of names."""
        self._end = end
        self._transport: asyncio.Transport | None = None
        self._in = bytearray()

    async def open(self, inbox: "_Inbox") -> None:
        """Attach to the running loop; from now on, what it says is in the inbox."""
        self._inbox = inbox
        await asyncio.get_running_loop().create_connection(lambda: self, sock=self._end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the way to it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, rows: list[tuple[Any, ...]]) -> None:
        """Give it jobs or orders."""
        assert self._transport is not None
        data = marshal.dumps(rows)
        self._transport.write(len(data).to_bytes(4, "big") + data)

    def data_received(self, data: bytes) -> None:
        """Take frames as they come."""
        self._in += data
        while len(self._in) >= FRAME:
            end = FRAME + int.from_bytes(self._in[:FRAME], "big")
            if end > MAX_FRAME:
                self._lost("a process of the audit sent more than it may")
            elif len(self._in) < end:
                return
            else:
                self._take(self._in[FRAME:end])
                del self._in[:end]

    def _take(self, frame: bytearray) -> None:
        try:
            self._inbox.put((self, marshal.loads(frame)))  # noqa: S302 (our own)
        except (ValueError, EOFError, TypeError):
            self._lost("a process of the audit said something that makes no sense")

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that it is not there any more."""
        self._lost("a process of the audit ended on its own; what was sealed is kept")

    def _lost(self, reason: str) -> None:
        self._in.clear()
        self._inbox.put(ChildLost(reason))

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()
        self._end.close()
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


class _Inbox:
    """What the peers said, in the order in which it came."""

    def __init__(self) -> None:
        self._messages: deque[tuple[_Peer, list[tuple[Any, ...] | int]] | ChildLost] = deque()
        self._more = asyncio.Event()

    def put(self, message: tuple[_Peer, list[tuple[Any, ...] | int]] | ChildLost) -> None:
        """Add what one of them said, or that one is lost."""
        self._messages.append(message)
        self._more.set()

    async def get(self) -> tuple[_Peer, list[tuple[Any, ...] | int]]:
        """Return what was said next, and by whom. Raises ChildLost."""
        while not self._messages:
            self._more.clear()
            await self._more.wait()
        message = self._messages.popleft()
        if isinstance(message, ChildLost):
            self._messages.appendleft(message)  # it stays lost
            raise message
        return message


@dataclass(slots=True)
class _Patience:
    left: float
    opens: float = 0.0

    def spend(self, seconds: float) -> bool:
        """Take a pause from now on; say whether there is patience for it."""
        now = monotonic()
        longer = max(0.0, now + seconds - max(self.opens, now))  # answers on their way ask for the same pause
        if seconds > LONGEST_WAIT or longer > self.left:
            return False
        self.left -= longer
        self.opens = max(self.opens, now + seconds)
        return True


class Pool:
    """Processes, or a thread, that work on the jobs of one audit.

    Args:
        scope: of the audit.
        processes: forked from this one, which must have no threads and no running loop; 0 for a thread in this one.
        credentials: header fields by origin.
    """

    def __init__(
        self, scope: Scope, *, processes: int = 0, credentials: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self._scope = scope
        self._patience: dict[str, _Patience] = {}
        self._flying: dict[int, tuple[_Peer, Job, int]] = {}
        count = max(1, min(processes, scope.connections))
        shares = [scope.connections // count + (number < scope.connections % count) for number in range(count)]
        start = self._fork if processes else self._thread
        self._shared = True
        token = os.pipe()
        self._token: tuple[int, ...] = token
        os.set_blocking(token[0], False)
        os.write(token[1], b".")
        self._peers: list[_Peer] = []
        for share in shares:
            self._peers.append(start(share, token, credentials))

    async def __aenter__(self) -> Self:
        self._inbox = _Inbox()
        for peer in self._peers:
            await peer.open(self._inbox)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what was started."""
        for peer in self._peers:
            peer.close()
        for end in self._token:
            os.close(end)
        self._token = ()

    def _fork(self, share: int, token: tuple[int, int], credentials: Mapping[str, tuple[str, ...]] | None) -> _Peer:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            theirs.close()
            return _Peer(ours, pid)
        try:
            ours.close()
            for peer in self._peers:  # else a sibling would not see that the parent has gone
                peer._end.close()  # noqa: SLF001
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            Child(self._scope, theirs, connections=share, token=token, credentials=credentials).serve()
        except BaseException:  # noqa: BLE001 (nobody above may see that this is a second process)
            traceback.print_exc()
        finally:
            os._exit(0)

    def _thread(self, share: int, token: tuple[int, int], credentials: Mapping[str, tuple[str, ...]] | None) -> _Peer:
        ours, theirs = socket.socketpair()
        token = (os.dup(token[0]), os.dup(token[1]))
        child = Child(self._scope, theirs, connections=share, token=token, credentials=credentials)

        def serve() -> None:
            with theirs:
                child.serve()
            for end in token:
                os.close(end)

        threading.Thread(target=serve, name="links", daemon=True).start()
        return _Peer(ours, None)

    def slow_down(self, authority: str, interval: float) -> None:
        """Leave the site's host so many seconds between two requests, which one process alone then sends."""
        self._by_authority(authority).send([("interval", authority, interval)])
        self._shared = False

    def tell(self, order: tuple[Any, ...]) -> None:
        """Give an order to all."""
        for peer in self._peers:
            peer.send([order])

    async def run(self, jobs: Iterable[Job], numbers: Numbers) -> AsyncGenerator[list[Done]]:
        """Work on the jobs, and yield them as they are done, some at a time.

        A host that asks for a pause gets it, and is then asked again, within the patience of an audit.

        Args:
            jobs: each with a number of its own.
            numbers: of the audit's names.
        """
        waiting = deque((job, 1) for job in jobs)
        while waiting or self._flying:
            self._hand_out(waiting)
            peer, rows = await self._inbox.get()
            peer.busy -= len(rows)
            self._hand_out(waiting)  # before the results are looked at: it must not wait for that
            yield list(self._done(peer, rows, waiting, numbers))

    def _done(
        self, peer: _Peer, rows: list[tuple[Any, ...] | int], waiting: deque[tuple[Job, int]], numbers: Numbers
    ) -> Iterator[Done]:
        for row in rows:
            if isinstance(row, int):
                yield Done(self._flying.pop(row)[1], None, _NO_LINKS)
                continue
            result = Result(*row)
            peer.numbers += map(numbers.number, result.names)
            _, job, tries = self._flying.pop(result.number)
            if self._again(job, result, tries):
                waiting.append((job, tries + 1))
            else:
                yield Done(job, result, array("I", [peer.numbers[n] for n in array("I", result.links)]))

    def _hand_out(self, waiting: deque[tuple[Job, int]]) -> None:
        orders: dict[_Peer, list[tuple[Any, ...]]] = {}
        held: list[tuple[Job, int]] = []
        free = min(self._peers, key=_busy)
        while waiting and free.busy < AHEAD and len(held) <= AHEAD:
            job, tries = waiting.popleft()
            own = self._shared and job.url.startswith(self._scope.root)  # all share the audited site
            peer = free if own else self._by_authority(urls.authority(job.url))
            if peer.busy >= AHEAD:
                held.append((job, tries))
                continue
            peer.busy += 1
            self._flying[job.number] = peer, job, tries
            orders.setdefault(peer, []).append(tuple(job))
            free = min(self._peers, key=_busy)
        waiting.extendleft(reversed(held))
        for peer, rows in orders.items():
            peer.send(rows)

    def _by_authority(self, authority: str) -> _Peer:
        return self._peers[sum(authority.encode()) % len(self._peers)]

    def _again(self, job: Job, result: Result, tries: int) -> bool:
        """Whether a host asked to be asked again; then it has its pause."""
        if tries >= TRIES or not (result.status == 429 or (result.status in {503, 408} and result.wait is not None)):
            return False
        authority = urls.authority(result.final)
        own = authority == self._scope.host
        patience = self._patience.setdefault(authority, _Patience(SITE_PATIENCE if own else OTHER_PATIENCE))
        seconds = result.wait if result.wait is not None else float(tries)
        if not patience.spend(seconds):
            return False
        self.tell(("rest", authority, seconds))
        return True
