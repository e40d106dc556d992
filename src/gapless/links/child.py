"""The process that fetches and parses: it takes jobs from its parent, and gives back what pages hold, not the pages."""

import marshal
import os
import selectors
import socket
import traceback
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any, NamedTuple

from gapless.links import css, parse, sitemaps, soft404, urls
from gapless.links.client import DRAINED, READ, SNIFFED, Answer, Client, Get
from gapless.links.glance import glance
from gapless.links.isolate import Isolated
from gapless.links.locate import places
from gapless.links.record import INVALID, TOO_MANY_IDS
from gapless.links.retry import retry_after
from gapless.links.scope import Scope
from gapless.links.turns import Turns
from gapless.links.urls import Resolver

PAGE, IDS, STATUS, TEXT, SITEMAP, PLACES, LOOK = range(7)
"""What a job wants: links and ids; ids; status; text; a sitemap's addresses; where links stand; how a page looks."""
MAX_HOPS = 10
MAX_COOKIES = 50
MAX_ADDRESS = 16_384
"""Characters of an address that is kept; longer ones are left out, and their page is called cut."""
MAX_LOCATED = 5_000_000
"""Bytes of a page in whose source links are looked for."""
MAX_IDS = 1_000_000
"""Characters of a page's ids that are kept."""
NAMES, NAMES_A_PAGE, NAME = 12_000_000, 8_000, 100
"""Bytes of distinct targets that a process keeps, how many more of each page when these are full, so that one page
takes no other's links away, and what each costs besides its characters."""
MAX_TEXT = 512_000
BATCH, LINGER = 64, 0.002
"""Results that are sent together, and seconds for which the first of them waits for more that is on its way."""

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_KINDS = {
    "text/css": "css",
    "image/svg+xml": "svg",
    "application/rss+xml": "feed",
    "application/atom+xml": "feed",
}
_XML = frozenset({"text/xml", "application/xml"})


class Job(NamedTuple):
    """One address to be visited.

    Attributes:
        number: comes back with the result.
        url: absolute, without fragment.
        want: one of PAGE, IDS, STATUS, TEXT, SITEMAP, PLACES.
        etag: validator of what is known, or empty.
        modified: the same.
        digest: of the body that is known, or empty: when it is the same again, it is not parsed again.
        targets: of PLACES: the links that are looked for.
        base: of PLACES: href of the page's base element.
    """

    number: int
    url: str
    want: int
    etag: str = ""
    modified: str = ""
    digest: str = ""
    targets: tuple[str, ...] = ()
    base: str | None = None


class Result(NamedTuple):
    """What became of a job; see Record for the attributes of the same names.

    Attributes:
        number: of the job.
        wait: seconds that the host asks to be left alone, or None.
        same: whether the body is the one that is known, so that nothing was read out of it.
        names: targets that this process speaks of for the first time; it numbers them from 0 on.
        links: its numbers of the distinct targets on the page, as the bytes of an array of C ints.
        more: text, addresses of pages and of sitemaps, or places, as the job wants them.
    """

    number: int
    status: int | None
    error: str | None
    chain: list[tuple[str, int | None]]
    final: str
    location: str | None
    wait: float | None
    kind: str
    same: bool
    ids: str | None
    base: str | None
    names: list[str]
    links: bytes
    link_count: int
    cut: bool
    etag: str
    modified: str
    digest: str
    more: Any


class Child:
    """Serves a parent over a socket until that closes.

    Args:
        scope: of the audit.
        parent: a connected stream socket; frames are a length of 4 bytes and marshalled values.
        connections: to the audited site, of this process alone.
        credentials: header fields by origin.
        token: ends of a pipe that holds one byte: whoever has it may parse a page that needs a process of its own.
    """

    def __init__(
        self,
        scope: Scope,
        parent: socket.socket,
        *,
        connections: int,
        token: tuple[int, int],
        credentials: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._scope = scope
        self._parent = parent
        self._token = token
        self._selector = selectors.DefaultSelector()
        self._client = Client(
            self._selector,
            timeout=scope.timeout,
            max_bytes=scope.max_bytes,
            trusted=scope.trusted,
            credentials=credentials,
        )
        self.turns = Turns(scope.root, scope.host, connections)
        self._in = bytearray()
        self._results: list[tuple[Any, ...] | int] = []
        self._first = 0.0
        self._asked = self._answered = 0
        self._numbers: dict[str, int] = {}
        self._new: list[str] = []
        self._kept = 0
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
                self._client.expire()
                self.turns.go_on()
                self._watch_isolated()
                if self._results and (self._answered == self._asked or monotonic() - self._first >= LINGER):
                    self._send()
        finally:
            self._client.close()
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

    def _take_order(self, row: tuple[Any, ...]) -> None:
        order = row[0]
        if isinstance(order, int):
            job = Job(*row)
            self._asked += 1
            self.turns.take(job.url, lambda: _Visit(self, job).go(job.url, ""))
        elif order == "rest":
            self.turns.rest(*row[1:])
        elif order == "interval":
            self.turns.space(*row[1:])
        else:
            self.probe = soft404.Look(*row[1])

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

    def get(self, get: Get) -> None:
        """Send a GET; the turn of its host is already taken."""
        self._client.get(get)

    def finish(self, result: tuple[Any, ...] | int) -> None:
        """Hand a result to the parent, soon: a row, or the number of a job that found nothing changed."""
        if not self._results:
            self._first = monotonic()
        self._results.append(result)
        self._answered += 1
        if len(self._results) >= BATCH:
            self._send()

    def take_names(self) -> list[str]:
        """Return the targets that the parent does not know of yet."""
        new, self._new = self._new, []
        return new

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
        if self._suspects and not self._isolated and self._may_isolate():
            waiting, links, done = self._suspects.popleft()
            try:
                with waiting:
                    waiting.seek(0)
                    isolated = Isolated(waiting.read(), links=links)
            except OSError:  # no process can be started
                os.write(self._token[1], b".")
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
                os.write(self._token[1], b".")
                done(parsed)

    def _may_isolate(self) -> bool:
        """Take the token if it is there: one such page at a time fills the memory that an audit may have."""
        try:
            return bool(os.read(self._token[0], 1))
        except BlockingIOError:
            return False

    def resolve(self, page: str, base: str | None, found: list[tuple[str, str]]) -> tuple[bytes, int, bool]:
        """Return the numbers of the distinct targets of a page's links, how many are covered, and if any is cut."""
        resolve = self._resolver.of(page, base)
        numbers, new, scope = self._numbers, self._new, self._scope
        site, others = scope.site + "/", scope.external and not scope.public
        chosen = bool(scope.include or scope.exclude)
        distinct: dict[int, None] = {}
        count, own, cut = 0, 0, False
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
                if (self._kept > NAMES and own > NAMES_A_PAGE) or len(target) > MAX_ADDRESS:
                    cut = True
                    continue
                own += len(target) + NAME
                self._kept += len(target) + NAME
                number = numbers[target] = len(numbers)
                new.append(target)
            distinct[number] = None
        return array("I", distinct).tobytes(), count, cut

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


class _Visit:
    """One job on its way: a GET, and more of them where a cookie has to be carried through a chain of redirects."""

    def __init__(self, child: Child, job: Job) -> None:
        self._child = child
        self._job = job
        self._chain: list[tuple[str, int | None]] = []
        self._jar: dict[str, str] = {}
        self._seen: set[tuple[str, str]] = set()
        self._at = job.url

    def go(self, url: str, cookie: str) -> None:
        """Send the GET; the host's turn is ours until it is answered."""
        job = self._job
        self._at = url
        self._seen.add((url, cookie))
        fields = [f"Cookie: {cookie}"] if cookie else []
        if job.etag:
            fields.append(f"If-None-Match: {job.etag}")
        elif job.modified:
            fields.append(f"If-Modified-Since: {job.modified}")
        self._child.get(Get(url, self._answered, self._wanted, parse.looks_like_html, fields))

    def _wanted(self, status: int, fields: dict[str, str]) -> str:
        want = self._job.want
        if not 200 <= status < 300 or want == STATUS:
            return DRAINED
        if want in {TEXT, SITEMAP}:
            return READ
        media = _media(fields)
        if not media:
            return SNIFFED
        if media in _HTML:
            return READ
        own = self._child.scope.on_site(self._at)
        return READ if own and (media in _KINDS or media in _XML) else DRAINED

    def _answered(self, answer: Answer) -> None:
        self._child.turns.over(self._at)
        if answer.status == 304 and answer.error is None and (self._job.etag or self._job.modified):
            self._child.finish(self._job.number)
            return
        try:
            self._read(answer)
        except Exception:  # noqa: BLE001 (a page that nobody thought of spoils no other page's result)
            traceback.print_exc()
            self._done(answer, error="unparsable")

    def _read(self, answer: Answer) -> None:
        status = answer.status or 0
        if answer.fields.get("cf-mitigated", "").lower() == "challenge":
            answer.error = "cf_challenge"
        location = answer.fields.get("location") if 300 <= status < 400 and status != 304 else None
        if location is not None and not answer.error:
            self._redirected(answer, location)
        elif answer.body is not None and not answer.error:
            self._body(answer)
        else:
            self._done(answer, error=answer.error or _status_error(answer))

    def _redirected(self, answer: Answer, header: str) -> None:
        try:
            location = _location(self._at, header[: MAX_ADDRESS + 1])
        except ValueError:
            self._done(answer, error="bad_url")
            return
        if len(header) > MAX_ADDRESS:
            self._done(answer, error="crawler_trap")
            return
        following = urls.split_fragment(location)[0]
        same_host = urls.authority(following) == urls.authority(self._at)
        if self._at.startswith("https:") and not following.startswith("https:"):
            same_host = False  # what was set under TLS is not sent without
        if answer.fields.get("set-cookie") and same_host:
            self._jar |= _cookies(answer.fields["set-cookie"])
        if not self._jar or not same_host:
            self._done(answer, location=location)
            return
        cookie = "; ".join(f"{name}={value}" for name, value in sorted(self._jar.items()))
        if (following, cookie) in self._seen:
            self._done(answer, error="redirect_loop")
        elif len(self._chain) >= MAX_HOPS:
            self._done(answer, error="too_many_redirects")
        else:
            self._chain.append((self._at, answer.status))
            self._child.turns.take(following, lambda: self.go(following, cookie))

    def _body(self, answer: Answer) -> None:
        job, body = self._job, answer.body
        assert body is not None
        if job.want == TEXT:
            self._done(answer, more=body[:MAX_TEXT].decode("utf-8", "replace"))
        elif job.want == SITEMAP:
            found = sitemaps.read(body)
            self._done(answer, more=(list(found.pages), list(found.sitemaps), found.fault))
        else:
            kind = _kind(_media(answer.fields), body)
            digest = blake2b(body, digest_size=12).hexdigest() if kind else ""
            if job.want == LOOK:
                self._done(answer, more=list(soft404.look(body, self._at)) if kind == "html" else None)
            elif job.want == PLACES:
                self._places(answer, kind, digest)
            elif kind == "html" and self._is_soft_404(body):
                self._done(answer, error="soft_404", kind=kind, digest=digest)
            elif digest and digest == job.digest:
                self._done(answer, digest=digest, kind=kind, same=True)
            else:
                self._parse(answer, kind, digest)

    def _is_soft_404(self, body: bytes) -> bool:
        probe = self._child.probe
        own = probe is not None and self._child.scope.on_site(self._at)
        return probe is not None and own and soft404.is_soft_404(soft404.look(body, self._at), probe)

    def _parse(self, answer: Answer, kind: str, digest: str) -> None:
        assert answer.body is not None
        links = self._job.want == PAGE and self._child.scope.inside(self._at)
        if kind in {"html", "svg"}:

            def done(parsed: parse.Parsed | str) -> None:
                if isinstance(parsed, str):
                    self._done(answer, error=parsed, kind=kind, digest=digest)
                else:
                    self._page(answer, kind, digest, parsed, links=links)

            self._child.read(parse.markup(answer.body, _charset(answer.fields)), done, links=links)
            return
        found: list[str] = []
        if self._job.want == PAGE and kind == "css":
            found = css.references(parse.decode(answer.body, _charset(answer.fields)))
        elif self._job.want == PAGE and kind == "feed":
            found = sitemaps.feed_links(answer.body)
        way = parse.RESOURCE if kind == "css" else parse.NAVIGATE
        taken = [(way, href) for href in found[: parse.MAX_LINKS]]
        parsed = parse.Parsed(None, taken, "", cut=len(found) > parse.MAX_LINKS)
        self._page(answer, kind, digest, parsed, links=bool(found))

    def _page(self, answer: Answer, kind: str, digest: str, parsed: parse.Parsed, *, links: bool) -> None:
        numbers, count, cut = self._child.resolve(self._at, parsed.base, parsed.links) if links else (b"", 0, False)
        ids = parsed.ids if len(parsed.ids) <= MAX_IDS else TOO_MANY_IDS
        self._done(
            answer,
            kind=kind,
            ids=ids if kind == "html" else None,
            base=parsed.base,
            links=numbers,
            link_count=count,
            cut=parsed.cut or cut,
            digest=digest,
        )

    def _places(self, answer: Answer, kind: str, digest: str) -> None:
        job = self._job
        assert answer.body is not None
        found: list[tuple[Any, ...]] = []
        if kind and len(answer.body) <= MAX_LOCATED and not parse.depth_suspect(answer.body):
            text = parse.decode(answer.body, _charset(answer.fields))
            found = self._child.locate(self._at, job.base, text, job.targets, kind)
        self._done(answer, digest=digest, kind=kind, more=found)

    def _done(
        self,
        answer: Answer,
        *,
        error: str | None = None,
        location: str | None = None,
        kind: str = "",
        same: bool = False,
        ids: str | None = None,
        base: str | None = None,
        links: bytes = b"",
        link_count: int = 0,
        cut: bool = False,
        digest: str = "",
        more: Any = None,
    ) -> None:
        fields = answer.fields
        self._child.finish(
            (  # a Result: marshal takes plain tuples only
                self._job.number,
                answer.status,
                error,
                self._chain,
                self._at,
                location,
                retry_after(fields["retry-after"]) if "retry-after" in fields else None,
                kind,
                same,
                ids,
                base,
                self._child.take_names() if links else [],
                links,
                link_count,
                cut,
                fields.get("etag", "")[:256],
                fields.get("last-modified", "")[:64],
                digest,
                more,
            )
        )


def _contact(href: str) -> str | None:
    """Return the name of a link to a mail address or a telephone number that cannot be one."""
    from gapless.links.contacts import mail_or_tel_fault  # its patterns take 40 ms to compile

    return INVALID + href.strip() if mail_or_tel_fault(href) is not None else None


def _media(fields: dict[str, str]) -> str:
    return fields.get("content-type", "").partition(";")[0].strip().lower()


def _charset(fields: dict[str, str]) -> str:
    _, mark, rest = fields.get("content-type", "").lower().partition("charset=")
    return rest[:80].strip().strip("\"'").partition(";")[0] if mark else ""


def _kind(media: str, body: bytes) -> str:
    if media in _HTML or (not media and parse.looks_like_html(body[:512])):
        return "html"
    if media in _XML:
        start = body[:1024]
        return "feed" if b"<rss" in start or b"<feed" in start or b"<rdf:RDF" in start else ""
    return _KINDS.get(media, "")


def _location(at: str, header: str) -> str:
    location = urls.join(at, header.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    if not urls.is_web(location):
        raise ValueError(location)
    return location


def _status_error(answer: Answer) -> str | None:
    status = answer.status or 0
    if status == 503 and retry_after(answer.fields.get("retry-after", "")) is not None:
        return "rate_limited"
    if 301 <= status < 400 and status != 304:
        return "no_location"
    return None


def _cookies(header: str) -> dict[str, str]:
    """Return the cookies that an answer sets; what stands behind their values is for browsers that keep them."""
    pairs = [line.partition(";")[0].partition("=") for line in header.split("\n", MAX_COOKIES)[:MAX_COOKIES]]
    return {name.strip(): value.strip() for name, mark, value in pairs if mark and name.strip()}
