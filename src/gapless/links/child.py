"""The process that fetches and parses: it takes jobs from its parent, and gives back what pages hold, not the pages."""

import fcntl
import marshal
import selectors
import socket
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any

from gapless.links import parse, soft404
from gapless.links.client import Client
from gapless.links.glance import glance
from gapless.links.isolate import Isolated
from gapless.links.job import Job
from gapless.links.locate import places
from gapless.links.pipelining import Pipelining
from gapless.links.record import INVALID, MAX_ADDRESS, SHARE
from gapless.links.scope import Scope
from gapless.links.shares import TARGET, TARGETS_OF_A_PAGE, fitting
from gapless.links.turns import Turns
from gapless.links.urls import Resolver
from gapless.links.visit import Visit

NAMES, MOST_NAMES = 6_000_000, 24_000_000
"""Bytes of distinct targets, and TARGETS_OF_A_PAGE more for each page up to the most, above which a process forgets
which ones it has told its parent."""
BATCH, LINGER = 64, 0.002
"""Results that are sent together, and seconds for which the first of them waits for more that is on its way."""


class Child:
    """Serves a parent over a socket until that closes.

    Args:
        scope: of the audit.
        parent: a connected stream socket; frames are a length of 4 bytes and marshalled values.
        connections: to the audited site, of this process alone.
        credentials: header fields by origin.
        token: file that whoever parses a page in a process of its own has locked: no two processes do so at once, and
            a lock ends with its owner. None when there is nobody else.
    """

    def __init__(
        self,
        scope: Scope,
        parent: socket.socket,
        *,
        connections: int,
        token: int | None,
        credentials: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._scope = scope
        self._parent = parent
        self._token = token
        self._selector = selectors.DefaultSelector()
        self.client = Client(
            self._selector,
            timeout=scope.timeout,
            max_bytes=scope.max_bytes,
            trusted=scope.trusted,
            credentials=credentials,
        )
        self.turns = Turns(scope.root, scope.host, connections)
        self._pipelining = Pipelining(self)
        self._in = bytearray()
        self._results: list[tuple[Any, ...] | int] = []
        self._first = 0.0
        self._asked = self._answered = 0
        self._share = SHARE
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._told = self._pages = self._kept = self._longest = 0
        self._resolver = Resolver()
        self._isolated: list[tuple[Isolated, Callable[[parse.Parsed | str], None]]] = []
        self._suspects: deque[tuple[IO[bytes], bool, Callable[[parse.Parsed | str], None]]] = deque()
        self._over = False
        self.probe: soft404.Look | None = None
        """What the site answers with 200 for an address that does not exist."""

    # The loop

    def serve(self) -> None:
        """Work until the parent has gone."""
        self._parent.setblocking(False)
        self._selector.register(self._parent, selectors.EVENT_READ, self._jobs)
        try:
            while not self._over:
                for key, mask in self._selector.select(self._patience()):
                    key.data(mask)
                    self.client.hurry()
                self.client.expire()
                self.turns.go_on()
                self._watch_isolated()
                self.client.send()
                if self._results and (self._answered == self._asked or monotonic() - self._first >= LINGER):
                    self._send()
        finally:
            self.client.close()
            for isolated, _ in self._isolated:
                isolated.kill()
            self._selector.close()

    def _patience(self) -> float:
        if self._results:
            return LINGER
        return 0.02 if self.turns.resting else 0.1

    def _jobs(self, mask: int) -> None:
        try:
            data = self._parent.recv(1 << 20)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._over = True
            return
        self._in += data
        while len(self._in) >= 4 and len(self._in) >= (size := 4 + int.from_bytes(self._in[:4], "big")):
            batch = marshal.loads(self._in[4:size])  # noqa: S302 (of our own parent)
            del self._in[:size]
            for row in batch:
                self._take_order(row)
            self._pipelining.go_on()

    def _take_order(self, row: tuple[Any, ...]) -> None:
        order = row[0]
        if isinstance(order, int):
            job = Job(*row)
            self._asked += 1
            if not self._pipelining.take(job):
                self.visit(job)
        elif order == "rest":
            self.turns.rest(*row[1:])
        elif order == "interval":
            self.turns.space(*row[1:])
            self._pipelining.stop()
        elif order == "share":
            self._share = row[1]
        else:
            self.probe = soft404.Look(*row[1])

    def visit(self, job: Job) -> None:
        """Visit an address when it is its host's turn."""
        self.turns.take(job.url, lambda: Visit(self, job).go(job.url, ""))

    def _send(self) -> None:
        data = marshal.dumps(self._results)
        self._results = []
        self._parent.setblocking(True)
        try:
            self._parent.sendall(len(data).to_bytes(4, "big") + data)
        except OSError:
            self._over = True
        self._parent.setblocking(False)

    # Results

    def finish(self, result: tuple[Any, ...] | int) -> None:
        """Hand a result to the parent, soon: a row, or the number of a job that found nothing changed."""
        if not self._results:
            self._first = monotonic()
        self._results.append(result)
        self._answered += 1
        if len(self._results) >= BATCH:
            self._send()

    def take_names(self) -> tuple[list[str], int]:
        """Return the targets that the parent does not know of yet, and the number of the first of them."""
        first, self._told = self._told, len(self._names)
        return self._names[first:], first

    def read(self, body: bytes | str, done: Callable[[parse.Parsed | str], None], *, links: bool) -> None:
        """Parse a page: here, or where it hurts nobody when it is suspect."""
        data = body if isinstance(body, bytes) else body.encode("utf-8", "replace")
        if parse.depth_suspect(data):
            waiting = TemporaryFile()  # noqa: SIM115 (they may be large, and wait for one another)
            waiting.write(data)
            self._suspects.append((waiting, links, done))
        else:
            done(parse.parse(body, links=links))

    def _watch_isolated(self) -> None:
        if self._suspects and not self._isolated and self._isolates(True):
            waiting, links, done = self._suspects.popleft()
            try:
                with waiting:
                    waiting.seek(0)
                    isolated = Isolated(waiting.read(), links=links)
            except OSError:  # no process can be started
                self._isolates(False)
                done("unparsable")
                return
            self._isolated.append((isolated, done))
            self._selector.register(isolated.fileno(), selectors.EVENT_READ, lambda mask: None)
        for entry in tuple(self._isolated):
            isolated, done = entry
            fd = isolated.fileno()
            parsed = isolated.advance()
            if parsed is not None:
                self._isolated.remove(entry)
                self._selector.unregister(fd)
                isolated.kill()
                self._isolates(False)
                done(parsed)

    def _isolates(self, now: bool) -> bool:
        """Take the token if it is free, or give it back: one such page fills the memory that an audit may have."""
        if self._token is None:
            return True

        try:
            fcntl.lockf(self._token, fcntl.LOCK_EX | fcntl.LOCK_NB if now else fcntl.LOCK_UN)
        except BlockingIOError:
            return False
        return True

    def resolve(self, page: str, base: str | None, found: list[tuple[str, str]]) -> tuple[bytes, int, int]:
        """Return the numbers of the distinct targets of a page's links, how many are covered, and to what it is cut."""
        self._forget()
        resolve = self._resolver.of(page, base)
        numbers, names, scope, share = self._numbers, self._names, self._scope, self._share
        site, others = scope.site + "/", scope.external and not scope.public
        chosen = bool(scope.include or scope.exclude)
        distinct: dict[int, None] = {}
        count, own, cut = 0, 0, 0
        for kind, href in found:
            target = resolve(href, kind is not parse.RESOURCE)
            if target is None and scope.contacts:
                target = _contact(href)
            if target is None:
                continue
            if chosen or not (others or target.startswith(site)):
                target = scope.home(target)
                if not scope.covers(target):
                    continue
            count += 1
            number = numbers.get(target)
            if number is None:
                if len(target) > MAX_ADDRESS:
                    cut = SHARE
                    continue
                if own > share:  # so does what all of them take together
                    continue
                own += len(target) + TARGET
                self._longest = max(self._longest, len(target))
                number = numbers[target] = len(names)
                names.append(target)
            distinct[number] = None
        self._kept += own
        links = array("I", distinct)
        if len(links) * (self._longest + TARGET) > share and (fit := fitting(names, links, share)) < len(links):
            links, cut = links[:fit], share
            self._take_back(max(self._told, max(links, default=-1) + 1))
        return links.tobytes(), count, cut

    def _forget(self) -> None:
        """Forget which targets the parent knows, when they are too many."""
        self._pages += 1
        if self._kept > min(NAMES + TARGETS_OF_A_PAGE * self._pages, MOST_NAMES):
            self._take_back(0)
            self._told = 0

    def _take_back(self, first: int) -> None:
        """Forget targets from a number on."""
        for name in self._names[first:]:
            del self._numbers[name]
            self._kept -= len(name) + TARGET
        del self._names[first:]

    def locate(
        self, page: str, base: str | None, text: str, targets: tuple[str, ...], kind: str
    ) -> list[tuple[Any, ...]]:
        """Return where the links to these targets stand on a page."""
        resolve, wanted = self._resolver.of(page, base), frozenset(targets)

        def broken(href: str) -> str | None:
            for navigates in (True, False):
                target = resolve(href, navigates)
                target = INVALID + href.strip() if target is None else self._scope.home(target)
                if target in wanted:
                    return target
            return None

        found = glance(text, broken, wanted) if kind == "html" else None
        return [tuple(each) for each in found or places(text, broken, "html" if kind == "svg" else kind)]

    @property
    def scope(self) -> Scope:
        """What is audited."""
        return self._scope


def _contact(href: str) -> str | None:
    """Return the name of a link to a mail address or a telephone number that cannot be one."""
    from gapless.links.contacts import mail_or_tel_fault  # its patterns take 40 ms to compile

    return INVALID + href.strip() if mail_or_tel_fault(href) is not None else None
