"""HTTP/1.1 for an auditor: many GETs at once on one selector, each checked before it is sent and bounded as it is read.

It is made for what an audit does: small answers of few hosts over connections that are kept. One answer costs about
35 µs of CPU, a tenth of what a general client's request and response objects cost. It sends no body, speaks no HTTP/2,
and never follows a redirect.
"""

import math
import selectors
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from time import monotonic

from gapless.links import addresses, urls
from gapless.links.connection import Connection, Ended, Get
from gapless.links.names import Names

AGENT = "Gapless"
USER_AGENT = f"{AGENT}/0.1 (link audit)"

IDLE = 64
TOGETHER = 0.003
"""Seconds for which a request waits for others that can be sent with it, at most: a server that is woken for each of
them takes longer."""


class Client:
    """Sends GETs over kept connections.

    Args:
        selector: where sockets are registered; whoever selects calls `key.data(mask)` and then `hurry` for each
            that is ready, and `expire` and at last `send` before the next time.
        timeout: seconds for one request in total.
        max_bytes: bytes of one body at most, on the wire and inflated.
        trusted: host and port of what may be connected to wherever its name leads.
        credentials: header fields, each as `Name: value`, by origin; they go nowhere else.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        timeout: float,
        max_bytes: int,
        trusted: frozenset[tuple[str, int]] = frozenset(),
        credentials: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.selector = selector
        self.timeout = timeout
        self.max_bytes = max_bytes
        self.names = Names(selector)
        self.big: Connection | None = None
        self._waiting_for_big: deque[Connection] = deque()
        self._big_until = math.inf
        self._trusted = trusted
        self._credentials = credentials or {}
        self._idle: dict[str, list[Connection]] = {}
        self._idle_count = 0
        self._deadlines: dict[Connection, float] = {}
        self._unsent: list[Connection] = []
        self._unsent_since = math.inf
        self._tls: ssl.SSLContext | None = None

    @property
    def tls(self) -> ssl.SSLContext:
        """The settings of every TLS connection: the system's authorities, host names checked."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def get(self, get: Get) -> None:
        """Send a GET; `get.done` is called with its answer, at the earliest when this has returned."""
        self._connection(get.url).ask([get])

    def pipeline(self, gets: Sequence[Get], ended: Ended) -> None:
        """Send GETs of one origin on one connection at once; those are not answered that `ended` is told of."""
        self._connection(gets[0].url).ask(gets, ended)

    def _connection(self, url: str) -> Connection:
        origin = url[: url.index("/", 8)]
        idle = self._idle.get(origin)
        while idle:
            self._idle_count -= 1
            if (kept := idle.pop()).is_quiet():
                return kept
        return Connection(self, origin)

    def check(self, host: str, port: int, found: list[str]) -> None:
        """Refuse addresses that are not on the public Internet. Raises PrivateAddress.

        What is trusted may lead into a private net, but a name must not lead to where clouds keep their credentials.
        """
        if (host, port) in self._trusted:
            refused = not addresses.is_literal(host) and any(map(addresses.is_link_local, found))
        else:
            refused = not all(map(addresses.is_public, found))
        if refused:
            raise addresses.PrivateAddress(f"{host} is not on the public Internet")

    def request(self, get: Get, connection: Connection) -> bytes:
        """Return the bytes of a request."""
        more = "".join([f"{line}\r\n" for line in get.fields]) if get.fields else ""
        path = get.url[len(connection.origin) :]
        return f"GET {path} HTTP/1.1\r\n{connection.fields}{more}\r\n".encode("latin-1", "replace")

    def fields(self, origin: str) -> str:
        """Return the header fields that every request to an origin has."""
        own = "".join([f"{line}\r\n" for line in self._credentials.get(origin, ())])
        return (
            f"Host: {urls.authority(origin)}\r\nUser-Agent: {USER_AGENT}\r\n"
            f"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate\r\n{own}"
        )

    def watch(self, connection: Connection) -> None:
        """Start a connection's deadline."""
        self._deadlines[connection] = monotonic() + self.timeout

    def unwatch(self, connection: Connection) -> float:
        """Stop a connection's deadline; return the seconds that were left."""
        return self._deadlines.pop(connection, 0.0) - monotonic()

    def take_big(self, connection: Connection) -> bool:
        """Say whether a connection may go on with a big body now; otherwise it is told to `resume` later."""
        if self.big is None:
            self.big = connection
            self._big_until = math.inf  # its own deadline still runs
        if self.big is not connection:
            self._waiting_for_big.append(connection)
        return self.big is connection

    def leave_big(self, connection: Connection) -> None:
        """Let the next big body go on when this was one."""
        if self.big is not connection:
            return
        self.big = None
        if self._waiting_for_big:
            self.big = self._waiting_for_big.popleft()
            self._big_until = monotonic() + self.big.seconds_left
            self.names.soon(self.big.resume)  # not here: whoever leaves still holds a body

    def keep(self, connection: Connection) -> None:
        """Take a connection back for the next request to its authority."""
        if self._idle_count >= IDLE:
            for idle in self._idle.values():
                while idle:
                    idle.pop().close()
            self._idle_count = 0
        self._idle.setdefault(connection.origin, []).append(connection)
        self._idle_count += 1

    def send_soon(self, connection: Connection) -> None:
        """Send what an open connection has to say with the next ones."""
        if not self._unsent:
            self._unsent_since = monotonic()
        self._unsent.append(connection)

    def hurry(self) -> None:
        """Send what waits when it has waited for long enough."""
        if monotonic() - self._unsent_since >= TOGETHER:
            self.send()

    def send(self) -> None:
        """Send what waits."""
        while self._unsent:
            unsent, self._unsent = self._unsent, []
            for connection in unsent:
                connection.send()
        self._unsent_since = math.inf

    def expire(self) -> None:
        """End what is over its deadline."""
        now = monotonic()
        if self.big is not None and self._big_until <= now:
            self.big.fail("timeout")
        while self._deadlines:  # all last as long, so the first began first
            connection, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                return
            connection.fail("timeout")

    def close(self) -> None:
        """Close every connection; nothing is called any more."""
        for connection in [*self._deadlines, *self._waiting_for_big, *([self.big] if self.big else [])]:
            connection.close()
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self.names.close()
