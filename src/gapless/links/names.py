"""Host names looked up beside a selector's loop, each once."""

import selectors
import socket
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic

from gapless.links import addresses

AT_ONCE, AT_ONCE_OF_A_ZONE = 16, 4
"""Threads for look-ups: the system's resolver has no other way not to wait. Names of one zone, however many there are
and however long its servers take, never have all of them."""
FORGET = 0.2
"""Seconds after which a name without an address is asked for again: a resolver fails now and then."""

Found = Callable[[list[str]], None]


class Names:
    """The system's resolver, asked once for each name; the answers are those that are connected to.

    Args:
        selector: whoever selects calls `key.data(mask)`.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._known: dict[str, list[str]] = {}
        self._failed: dict[str, float] = {}
        self._waiting: dict[str, list[Found]] = {}
        self._queues: dict[str, deque[tuple[str, int]]] = defaultdict(deque)
        self._asking: Counter[str] = Counter()
        self._threads: ThreadPoolExecutor | None = None
        self._done: deque[Callable[[], None]] = deque()
        # A thread may still write when this is closed: a socket then fails, a number may be another file's.
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        selector.register(self._reader, selectors.EVENT_READ, self._wake)

    def find(self, host: str, port: int, found: Found) -> None:
        """Call `found` with the addresses of a host, none when there are none, later in the loop."""
        if addresses.is_literal(host):
            self.soon(lambda: found([host]))
        elif host in self._known:
            self.soon(lambda: found(self._known[host]))
        elif self._failed.get(host, 0.0) > monotonic():
            self.soon(lambda: found([]))
        elif host in self._waiting:
            self._waiting[host].append(found)
        else:
            self._waiting[host] = [found]
            self._queues[_zone(host)].append((host, port))
            self._next(_zone(host))

    def soon(self, call: Callable[[], None]) -> None:
        """Call something in the loop; may be called from any thread."""
        self._done.append(call)
        with suppress(BlockingIOError):  # full, so it wakes anyway
            self._writer.send(b"\0")

    def close(self) -> None:
        """Let go of threads and sockets."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._selector.unregister(self._reader)
        self._reader.close()
        self._writer.close()

    def _next(self, zone: str) -> None:
        while self._queues[zone] and self._asking[zone] < AT_ONCE_OF_A_ZONE:
            self._asking[zone] += 1
            self._threads = self._threads or ThreadPoolExecutor(AT_ONCE, "names")
            self._threads.submit(self._look_up, *self._queues[zone].popleft())
        if not self._queues[zone]:
            del self._queues[zone]

    def _look_up(self, host: str, port: int) -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError):  # the latter from a name that is too long for DNS
            found = []
        with suppress(OSError):  # closed meanwhile
            self.soon(lambda: self._found(host, found))

    def _found(self, host: str, found: list[str]) -> None:
        if found:
            self._known[host] = found
        else:
            self._failed[host] = monotonic() + FORGET
        self._asking[_zone(host)] -= 1
        self._next(_zone(host))
        for call in self._waiting.pop(host, ()):
            call(found)

    def _wake(self, mask: int) -> None:
        with suppress(BlockingIOError):
            self._reader.recv(4096)
        for _ in range(len(self._done)):
            self._done.popleft()()


def _zone(host: str) -> str:
    """Return what one owner's names most likely have in common: their last two labels."""
    return ".".join(host.rstrip(".").rsplit(".", 2)[-2:])
