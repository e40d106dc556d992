"""Whose turn it is at each host: so many requests at once, and none while it rests."""

from collections import deque
from collections.abc import Callable
from time import monotonic

from gapless.links import urls

OTHERS_AT_ONCE = 2
"""Connections to one host that is not the audited one."""


class _Host:
    __slots__ = ("active", "authority", "interval", "limit", "opens", "queue")

    def __init__(self, authority: str, limit: int) -> None:
        self.authority, self.limit = authority, limit
        self.active = 0
        self.interval = 0.0
        self.opens = 0.0
        self.queue: deque[Callable[[], None]] = deque()


class Turns:
    """Gives out turns to send requests.

    Args:
        site: what the addresses of the audited site begin with.
        authority: its host and port.
        connections: requests to it at once.
    """

    def __init__(self, site: str, authority: str, connections: int) -> None:
        self._site = site
        self._own = _Host(authority, connections)
        self._hosts = {authority: self._own}
        self.resting: set[_Host] = set()
        """Hosts at which somebody waits for a time to come."""

    def take(self, url: str, send: Callable[[], None]) -> None:
        """Call `send` when it is this address's turn, now if it is free."""
        host = self._of(url)
        if host.active < host.limit and not host.queue and not host.interval and not host.opens:
            host.active += 1
            send()
        else:
            host.queue.append(send)
            self._next(host)

    def over(self, url: str) -> None:
        """Give a turn back."""
        host = self._of(url)
        host.active -= 1
        if host.queue:
            self._next(host)

    def rest(self, authority: str, seconds: float) -> None:
        """Give nobody a turn at a host for so long."""
        host = self._host(authority)
        host.opens = max(host.opens, monotonic() + seconds)
        self.resting.add(host)

    def space(self, authority: str, interval: float) -> None:
        """Leave so many seconds between two turns at a host."""
        self._host(authority).interval = interval

    def go_on(self) -> None:
        """Give out the turns whose time has come."""
        for host in tuple(self.resting):
            self._next(host)

    def _of(self, url: str) -> _Host:
        return self._own if url.startswith(self._site) else self._host(urls.authority(url))

    def _host(self, authority: str) -> _Host:
        host = self._hosts.get(authority)
        if host is None:
            host = self._hosts[authority] = _Host(authority, OTHERS_AT_ONCE)
        return host

    def _next(self, host: _Host) -> None:
        while host.queue and host.active < host.limit:
            if host.opens or host.interval:
                now = monotonic()
                if host.opens > now:
                    self.resting.add(host)
                    return
                host.opens = now + host.interval if host.interval else 0.0
            host.active += 1
            host.queue.popleft()()
        if not host.queue:
            self.resting.discard(host)
