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
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from time import monotonic
from types import TracebackType
from typing import Any, Self

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
MAX_FRAME = 1 << 28
MAX_LOST = 1_000
"""Processes that an audit may lose before it ends; the next attempt knows which pages were given up."""


class ChildLost(RuntimeError):
    """A process of the audit ended before the audit did, or said something that makes no sense."""


_Open = tuple[Job, int]
"""A job, and how often it was tried."""


class _Peer:
    """One process, or one thread, at the other end of a socket."""

    def __init__(self, end: socket.socket, pid: int | None) -> None:
        self.pid = pid
        self.busy = 0
        self.suspects: deque[_Open] = deque()
        """Jobs that ended a process, or were at hand when one ended: this one works on them alone, one at a time."""
        self.orders: list[tuple[Any, ...]] = []
        self.numbers: list[int] = []
        """Of the audit, by the process's own numbers of names."""
        self._end = end

    async def open(self) -> None:
        """Attach to the running loop."""
        self.reader, self.writer = await asyncio.open_connection(sock=self._end, limit=1 << 22)

    def send(self, rows: list[tuple[Any, ...]]) -> None:
        """Give it jobs or orders."""
        data = marshal.dumps(rows)
        self.writer.write(len(data).to_bytes(4, "big") + data)

    def order(self, order: tuple[Any, ...]) -> None:
        """Give it an order that whoever replaces it must have, too."""
        self.orders.append(order)
        self.send([order])

    async def receive(self) -> list[tuple[Any, ...]]:
        """Return its next results. Raises ChildLost."""
        try:
            size = int.from_bytes(await self.reader.readexactly(4), "big")
            if size > MAX_FRAME:
                raise ChildLost("a process of the audit sent more than it may")
            rows: list[tuple[Any, ...]] = marshal.loads(await self.reader.readexactly(size))  # noqa: S302 (our own)
        except (asyncio.IncompleteReadError, OSError, ValueError, EOFError, TypeError) as error:
            raise ChildLost("a process of the audit ended on its own; what was sealed is kept") from error
        return rows

    def close(self) -> None:
        """End it."""
        if hasattr(self, "writer"):
            self.writer.transport.abort()  # the loop lets go of the socket at once: the next one may have its number
        self._end.close()
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


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
        self._slow = ""
        self._token = TemporaryFile()  # noqa: SIM115 (closed with the pool)
        self._peers: list[_Peer] = []
        for share in self._shares:
            self._peers.append(start(share))

    async def __aenter__(self) -> Self:
        for peer in self._peers:
            await peer.open()
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

    def _child(self, end: socket.socket, share: int, token: int | None) -> Child:
        return Child(self._scope, end, connections=share, token=token, credentials=self._credentials)

    def slow_down(self, authority: str, interval: float) -> None:
        """Leave a host so many seconds between two requests, which one process alone then sends."""
        self._slow = authority
        self._peer_for(authority).order(("interval", authority, interval))

    def tell(self, order: tuple[Any, ...]) -> None:
        """Give an order to all."""
        for peer in self._peers:
            peer.order(order)

    async def run(self, jobs: Iterable[Job], numbers: Numbers) -> AsyncGenerator[tuple[Job, Result, "array[int]"]]:
        """Work on the jobs, and yield each with its result and the numbers of its links, as they are done.

        A host that asks for a pause gets it, and is then asked again, within the patience of an audit.

        Args:
            jobs: each with a number of its own.
            numbers: of the audit's names.

        Raises:
            ChildLost: processes ended again and again.
        """
        waiting = deque((job, 1) for job in jobs)
        receiving = {asyncio.ensure_future(peer.receive()): peer for peer in self._peers} if waiting else {}
        try:
            while waiting or self._flying:
                self._hand_out(waiting)
                done, _ = await asyncio.wait(receiving, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    peer, rows = receiving.pop(future), []
                    try:
                        rows = future.result()
                    except ChildLost:
                        self._lost += 1
                        if peer.pid is None or self._lost > MAX_LOST:
                            raise
                        peer, given_up = await self._replace(peer)
                        if given_up is not None:
                            yield given_up, _crashed(given_up), array("I")
                    receiving[asyncio.ensure_future(peer.receive())] = peer
                    for row in rows:
                        result = Result(*row)
                        peer.numbers += map(numbers.number, result.names)
                        _, job, tries = self._flying.pop(result.number)
                        peer.busy -= 1
                        if peer.suspects:
                            peer.suspects.popleft()
                            self._give_suspect(peer)
                        if self._again(job, result, tries):
                            waiting.append((job, tries + 1))
                        else:
                            yield job, result, array("I", [peer.numbers[n] for n in array("I", result.links)])
        finally:
            for future in receiving:
                future.cancel()
            await asyncio.gather(*receiving, return_exceptions=True)

    async def _replace(self, lost: _Peer) -> tuple[_Peer, Job | None]:
        """Start a process for one that ended; return it, and the job that has ended two of them."""
        lost.close()
        index = self._peers.index(lost)
        self._peers[index] = peer = self._fork(self._shares[index])
        await peer.open()
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
        return peer, given_up

    def _give_suspect(self, peer: _Peer) -> None:
        """Give a process the first of its suspects, or let it work on whatever there is when it has none any more."""
        if not peer.suspects:
            peer.busy -= AHEAD
            return
        job, tries = peer.suspects[0]
        peer.busy += 1
        self._flying[job.number] = peer, job, tries
        peer.send([tuple(job)])

    def _hand_out(self, waiting: deque[_Open]) -> None:
        orders: dict[_Peer, list[tuple[Any, ...]]] = {}
        held: list[_Open] = []
        while waiting:
            job, tries = waiting.popleft()
            peer = self._peer_for(urls.authority(job.url))
            if peer.busy >= AHEAD:
                held.append((job, tries))
                if all(each.busy >= AHEAD for each in self._peers) or len(held) > AHEAD:
                    break
                continue
            peer.busy += 1
            self._flying[job.number] = peer, job, tries
            orders.setdefault(peer, []).append(tuple(job))
        waiting.extendleft(reversed(held))
        for peer, rows in orders.items():
            peer.send(rows)

    def _peer_for(self, authority: str) -> _Peer:
        """Return who asks this host: one process, but for the audited site, which all share."""
        if authority == self._scope.host and authority != self._slow:
            return min(self._peers, key=lambda peer: peer.busy)
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
        *([], b"", 0, False, "", "", "", None),
    )
