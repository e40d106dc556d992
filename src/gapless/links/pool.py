"""The processes that fetch and parse for an audit, and the turns of the hosts they ask.

A page can end the process that reads it. What that process had been given is then asked for once more, one at a time
by a process that does nothing else: the page that ends this one, too, is given up, and no other's result is spoiled.
"""

import asyncio
import gc
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
from itertools import islice
from operator import attrgetter
from tempfile import TemporaryFile
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from gapless.links import urls
from gapless.links.job import Job, Result
from gapless.links.record import Numbers
from gapless.links.scope import Scope

if TYPE_CHECKING:
    from gapless.links.child import Child

AHEAD = 192
"""Jobs that a process has been given and has not answered: enough that it never waits for its parent."""
WINDOW = 512
"""Jobs that wait at once to be handed out, and are looked at for one whose turn it may be."""
RUN = 8
"""Jobs that a process is given in a row before it is looked who has fewest."""
TRIES = 3
LONGEST_WAIT = 30.0
SITE_PATIENCE, OTHER_PATIENCE = 120.0, 30.0
"""Seconds for which a host may make an audit wait, in total."""
FRAME = 4
"""Bytes that say how long a frame is."""
MAX_FRAME = 1 << 28
MAX_LOST = 1_000
"""Processes that an audit may lose before it ends; the next attempt knows which pages were given up."""

_busy = attrgetter("busy")
_NO_LINKS = array("I")


class ChildLost(RuntimeError):
    """A process of the audit ended before the audit did, or said something that makes no sense."""


_Open = tuple[Job, int]
"""A job, and how often it was tried."""


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


class _Waiting(deque[_Open]):
    """Jobs that wait to be handed out; they are made when they are needed, beside the work on those before them."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        super().__init__()
        self._jobs = iter(jobs)

    def more(self) -> bool:
        """Take in as many as may be handed out next; say whether any wait."""
        if len(self) < WINDOW:
            self.extend([(job, 1) for job in islice(self._jobs, WINDOW)])
        return bool(self)


class _Peer(asyncio.Protocol):
    """One process, or one thread, at the other end of a socket."""

    def __init__(self, end: socket.socket, pid: int | None) -> None:
        self.pid = pid
        self.busy = 0
        self.suspects: deque[_Open] = deque()
        """Jobs that ended a process, or were at hand when one ended: this one works on them alone, one at a time."""
        self.orders: list[tuple[Any, ...]] = []
        self._names: list[str] = []
        self._numbers: list[int] = []
        """Names, and their numbers in the audit, by the process's own numbers."""
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

    def order(self, order: tuple[Any, ...]) -> None:
        """Give it an order that whoever replaces it must have, too."""
        self.orders.append(order)
        self.send([order])

    def data_received(self, data: bytes) -> None:
        """Take frames as they come."""
        self._in += data
        while len(self._in) >= FRAME:
            end = FRAME + int.from_bytes(self._in[:FRAME], "big")
            if len(self._in) < end <= MAX_FRAME:
                return
            rows = _rows(self._in[FRAME:end]) if end <= MAX_FRAME else None
            del self._in[: end if rows is not None else len(self._in)]
            self._inbox.put_nowait((self, rows))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that it is not there any more."""
        self._inbox.put_nowait((self, None))

    def links(self, result: Result, numbers: Numbers) -> "array[int]":
        """Return the audit's numbers of the links of a result."""
        if result.names:
            del self._names[result.first :], self._numbers[result.first :]
            self._numbers += map(numbers.__getitem__, result.names)
            self._names += map(numbers.names.__getitem__, self._numbers[result.first :])
        links, known, names = array("I", result.links), self._numbers, self._names
        return array("I", [numbers[names[n]] for n in links] if numbers.dropped else [known[n] for n in links])

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()  # the loop lets go of the socket at once: the next one may have its number
        self._end.close()
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


_Inbox = asyncio.Queue[tuple[_Peer, list[tuple[Any, ...] | int] | None]]
"""What the peers said: their next results, each as a row, or as the job's number alone; None when one is lost."""


def _rows(frame: bytearray) -> list[tuple[Any, ...] | int] | None:
    try:
        rows: list[tuple[Any, ...] | int] = marshal.loads(frame)  # noqa: S302 (our own)
    except (ValueError, EOFError, TypeError):
        return None
    return rows


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
        processes: forked from this one, now and whenever one is lost: it may have no threads that do more than wait;
            0 for a thread in this one.
        credentials: header fields by origin.
    """

    def __init__(
        self, scope: Scope, *, processes: int = 0, credentials: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self._scope = scope
        self._credentials = credentials
        self._lost = 0
        self._patience: dict[str, _Patience] = {}
        self._flying: dict[int, tuple[_Peer, Job, int]] = {}
        count = max(1, min(processes, scope.connections))
        self._shares = [scope.connections // count + (number < scope.connections % count) for number in range(count)]
        start = self._fork if processes else self._thread
        self._shared = True
        self._token = TemporaryFile()  # noqa: SIM115 (closed with the pool)
        self._peers: list[_Peer] = []
        for share in self._shares:
            self._peers.append(start(share))

    async def __aenter__(self) -> Self:
        self._inbox: _Inbox = asyncio.Queue()
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
        self._token.close()

    def _fork(self, share: int) -> _Peer:
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
            gc.freeze()  # what the parent has by now is not copied by looking at it
            self._child(theirs, share, self._token.fileno()).serve()
        except BaseException:  # noqa: BLE001 (nobody above may see that this is a second process)
            traceback.print_exc()
        finally:
            os._exit(0)

    def _thread(self, share: int) -> _Peer:
        ours, theirs = socket.socketpair()
        child = self._child(theirs, share, None)

        def serve() -> None:
            with theirs:
                child.serve()

        threading.Thread(target=serve, name="links", daemon=True).start()
        return _Peer(ours, None)

    def _child(self, end: socket.socket, share: int, token: int | None) -> "Child":
        from gapless.links.child import Child  # by each process itself, while this one goes on; not where nobody crawls

        return Child(self._scope, end, connections=share, token=token, credentials=self._credentials)

    def slow_down(self, authority: str, interval: float) -> None:
        """Leave the site's host so many seconds between two requests, which one process alone then sends."""
        self._by_authority(authority).order(("interval", authority, interval))
        self._shared = False

    def tell(self, order: tuple[Any, ...]) -> None:
        """Give an order to all."""
        for peer in self._peers:
            peer.order(order)

    async def run(self, jobs: Iterable[Job], numbers: Numbers) -> AsyncGenerator[list[Done]]:
        """Work on the jobs, and yield them as they are done, some at a time.

        A host that asks for a pause gets it, and is then asked again, within the patience of an audit.

        Args:
            jobs: each with a number of its own.
            numbers: of the audit's names.

        Raises:
            ChildLost: processes ended again and again.
        """
        waiting = _Waiting(jobs)
        while waiting.more() or self._flying:
            self._hand_out(waiting)
            peer, rows = await self._inbox.get()
            if rows is not None:
                peer.busy -= len(rows)
                waiting.more()
                self._hand_out(waiting)  # before the results are looked at: it must not wait for that
                yield list(self._done(peer, rows, waiting, numbers))
            elif peer in self._peers and (given_up := await self._replace(peer)) is not None:
                yield [Done(given_up, _crashed(given_up), _NO_LINKS)]

    def _done(
        self, peer: _Peer, rows: list[tuple[Any, ...] | int], waiting: _Waiting, numbers: Numbers
    ) -> Iterator[Done]:
        for row in rows:
            _, job, tries = self._flying.pop(row if isinstance(row, int) else row[0])
            if peer.suspects:
                peer.suspects.popleft()
                self._give_suspect(peer)
            if isinstance(row, int):
                yield Done(job, None, _NO_LINKS)
                continue
            result = Result(*row)
            links = peer.links(result, numbers)
            if self._again(job, result, tries):
                waiting.append((job, tries + 1))
            else:
                yield Done(job, result, links)

    async def _replace(self, lost: _Peer) -> Job | None:
        """Start a process for one that ended; return the job that has ended two of them."""
        self._lost += 1
        if lost.pid is None or self._lost > MAX_LOST:
            self._inbox.put_nowait((lost, None))  # it stays lost
            raise ChildLost("a process of the audit ended on its own; what was sealed is kept")
        lost.close()
        index = self._peers.index(lost)
        self._peers[index] = peer = self._fork(self._shares[index])
        await peer.open(self._inbox)
        for order in lost.orders:
            peer.order(order)
        now = monotonic()
        peer.send([("rest", host, each.opens - now) for host, each in self._patience.items() if each.opens > now])
        had = [(job, tries) for whose, job, tries in self._flying.values() if whose is lost]
        for job, _ in had:
            del self._flying[job.number]
        given_up = lost.suspects.popleft()[0] if lost.suspects else None
        peer.suspects = deque(had) if given_up is None else lost.suspects
        peer.busy = AHEAD  # so that nothing else is given to it
        self._give_suspect(peer)
        return given_up

    def _give_suspect(self, peer: _Peer) -> None:
        """Give a process the first of its suspects, or let it work on whatever there is when it has none any more."""
        if not peer.suspects:
            peer.busy -= AHEAD
            return
        job, tries = peer.suspects[0]
        peer.busy += 1
        self._flying[job.number] = peer, job, tries
        peer.send([tuple(job)])

    def _hand_out(self, waiting: _Waiting) -> None:
        orders: dict[_Peer, list[tuple[Any, ...]]] = {}
        held: list[_Open] = []
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
            if not own or peer.busy % RUN == 0:
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
        for peer in self._peers:
            peer.send([("rest", authority, seconds)])
        return True


def _crashed(job: Job) -> Result:
    return Result(
        *(job.number, None, "parser_crashed", [], job.url, None, None, "", False, None, None),
        *([], 0, b"", 0, 0, "", "", "", None),
    )
