"""One job on its way: what is asked for, and what is read out of the answer."""

import traceback
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from gapless.links import css, parse, sitemaps, soft404, urls
from gapless.links.connection import DRAINED, READ, SNIFFED, Answer, Get
from gapless.links.job import LOOK, PAGE, PLACES, SITEMAP, STATUS, TEXT, Job
from gapless.links.record import MAX_ADDRESS, SHARE, TOO_MANY_IDS
from gapless.links.retry import retry_after

if TYPE_CHECKING:
    from gapless.links.child import Child
    from gapless.links.pipelining import Pipeline

BAD_REQUEST = 400
MAX_HOPS = 10
MAX_COOKIES = 50
MAX_LOCATED = 5_000_000
"""Bytes of a page in whose source links are looked for."""
MAX_IDS = 1_000_000
"""Characters of a page's ids that are kept."""
MAX_TEXT = 512_000

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_KINDS = {
    "text/css": "css",
    "image/svg+xml": "svg",
    "application/rss+xml": "feed",
    "application/atom+xml": "feed",
}
_XML = frozenset({"text/xml", "application/xml"})


class Visit:
    """One job on its way: a GET, and more of them where a cookie has to be carried through a chain of redirects."""

    def __init__(self, child: "Child", job: Job, pipeline: "Pipeline | None" = None) -> None:
        self._child = child
        self.job = job
        self._pipeline = pipeline
        self._in_company = False
        self._surprised: Callable[[], None] | None = None
        self._chain: list[tuple[str, int | None]] = []
        self._jar: dict[str, str] = {}
        self._seen: set[tuple[str, str]] = set()
        self._at = job.url

    def go(self, url: str, cookie: str) -> None:
        """Send the GET; the host's turn is ours until it is answered."""
        self._child.client.get(self.get(url, cookie))

    def get(self, url: str, cookie: str) -> Get:
        """Return the GET."""
        job = self.job
        self._at = url
        self._seen.add((url, cookie))
        fields = [f"Cookie: {cookie}"] if cookie else []
        if job.etag:
            fields.append(f"If-None-Match: {job.etag}")
        elif job.modified:
            fields.append(f"If-Modified-Since: {job.modified}")
        tag = job.etag.removeprefix("W/").encode("latin-1", "replace")
        return Get(url, self._answered, self._wanted, parse.looks_like_html, fields, tag)

    def _wanted(self, status: int, fields: dict[str, str]) -> str:
        want = self.job.want
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
        if self._pipeline is None:
            self._child.turns.over(self._at)
        else:
            self._in_company = self._pipeline.answered()
            self._surprised = self._pipeline.surprised
            self._pipeline = None
        if answer.status == 304 and answer.error is None and (self.job.etag or self.job.modified):
            self._child.finish(self.job.number)
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
        if self._in_company:
            self._child.visit(self.job)
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
        job, body = self.job, answer.body
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
        links = self.job.want == PAGE and self._child.scope.inside(self._at)
        if kind in {"html", "svg"}:

            def done(parsed: parse.Parsed | str) -> None:
                if isinstance(parsed, str):
                    self._done(answer, error=parsed, kind=kind, digest=digest)
                else:
                    self._page(answer, kind, digest, parsed, links=links)

            self._child.read(parse.markup(answer.body, _charset(answer.fields)), done, links=links)
            return
        found: list[str] = []
        if self.job.want == PAGE and kind == "css":
            found = css.references(parse.decode(answer.body, _charset(answer.fields)))
        elif self.job.want == PAGE and kind == "feed":
            found = sitemaps.feed_links(answer.body)
        way = parse.RESOURCE if kind == "css" else parse.NAVIGATE
        taken = [(way, href) for href in found[: parse.MAX_LINKS]]
        parsed = parse.Parsed(None, taken, "", cut=len(found) > parse.MAX_LINKS)
        self._page(answer, kind, digest, parsed, links=bool(found))

    def _page(self, answer: Answer, kind: str, digest: str, parsed: parse.Parsed, *, links: bool) -> None:
        numbers, count, cut = self._child.resolve(self._at, parsed.base, parsed.links) if links else (b"", 0, 0)
        ids = parsed.ids if len(parsed.ids) <= MAX_IDS else TOO_MANY_IDS
        self._done(
            answer,
            kind=kind,
            ids=ids if kind == "html" else None,
            base=parsed.base,
            links=numbers,
            link_count=count,
            cut=cut or (SHARE if parsed.cut else 0),
            digest=digest,
        )

    def _places(self, answer: Answer, kind: str, digest: str) -> None:
        job = self.job
        assert answer.body is not None
        found: list[tuple[Any, ...]] = []
        if kind and len(answer.body) <= MAX_LOCATED and not parse.depth_suspect(answer.body):
            text = parse.decode(answer.body, _charset(answer.fields))
            found = self._child.locate(self._at, job.base, text, job.targets, kind)
        self._done(answer, digest=digest, kind=kind, more=found)

    def _is_likely(self, status: int, error: str | None, location: str, digest: str) -> bool:
        """Say whether an answer is what is known, or a failure; of a server that takes several requests at once."""
        known = self.job.status, None, self.job.location, self.job.digest
        return (status, error, location, digest) == known or status > BAD_REQUEST

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
        cut: int = 0,
        digest: str = "",
        more: Any = None,
    ) -> None:
        if self._surprised is not None and not self._is_likely(answer.status or 0, error, location or "", digest):
            self._surprised()
            if self._in_company:
                self._child.visit(self.job)
                return
        fields = answer.fields
        self._child.finish(
            (  # a Result: marshal takes plain tuples only
                self.job.number,
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
                *(self._child.take_names() if links else ([], 0)),
                links,
                link_count,
                cut,
                fields.get("etag", "")[:256],
                fields.get("last-modified", "")[:64],
                digest,
                more,
            )
        )


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
