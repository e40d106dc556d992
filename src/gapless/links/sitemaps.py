"""Sitemaps (sitemaps.org protocol 0.9) and feeds (RSS, Atom), read without network, entities or unbounded memory."""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urljoin
from xml.parsers import expat

MAX_BYTES, MAX_URLS = 52_428_800, 50_000
"""Of one sitemap, inflated (sitemaps.org)."""
MAX_DEPTH, MAX_TEXT, MAX_TEXTS = 64, 8_192, 16
"""Open elements, and characters of one piece of text and pieces of one element's: expat hands text over in pieces."""

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
_XML_START = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\r ]*<|\xff\xfe<|\xfe\xff\0<")
_WEB = re.compile(r"https?://[^\s\x00-\x1f]+", re.IGNORECASE)
_ENTRIES: dict[tuple[str, ...], str] = {
    ("urlset", "url", "loc"): "pages",
    ("sitemapindex", "sitemap", "loc"): "sitemaps",
}
_ROOTS = frozenset({"urlset", "sitemapindex"})
_FEEDS = frozenset({"rss", "feed", "RDF"})
_NOT_READ = frozenset({"edit", "edit-media", "hub", "service"})  # relations to what programs talk to
_FEED_TEXTS = {
    "link": frozenset({"channel", "item", "image"}),
    "comments": frozenset({"item"}),
    "guid": frozenset({"item"}),
    "url": frozenset({"image"}),
    "icon": frozenset({"feed"}),
    "logo": frozenset({"feed"}),
    "uri": frozenset({"author", "contributor"}),
}
_FEED_ATTRIBUTES = {"link": "href", "content": "src", "enclosure": "url", "source": "url"}

Path = tuple[str, ...]
Attributes = dict[str, str]


class Sitemap(NamedTuple):
    """What a sitemap lists.

    Attributes:
        pages: addresses of pages, as written.
        sitemaps: addresses of further sitemaps, as written.
        fault: None, or what is wrong with it, with what could be read before: "not_a_sitemap", "not_well_formed",
            "bad_gzip", "entities", "too_deep", "too_large" (MAX_BYTES) or "too_many_urls" (MAX_URLS).
    """

    pages: list[str]
    sitemaps: list[str]
    fault: str | None


class _Fault(Exception):
    """What is wrong with a document."""


def read(body: bytes) -> Sitemap:
    """Read a sitemap, a sitemap index, a feed or a list of addresses, plain or in gzip."""
    sitemap = Sitemap([], [], None)
    try:
        chunks = _inflated(body)
        first = next(chunks, b"")
        if _XML_START.match(first):
            _read_xml(first, chunks, sitemap)
        else:
            _read_text(first, chunks, sitemap)
    except _Fault as fault:
        return sitemap._replace(fault=str(fault))
    return sitemap


def feed_links(body: bytes) -> list[str]:
    """Return the links of an RSS or Atom feed: of the feed, its entries, their media and authors.

    They are resolved against `xml:base` where there is one, and as written otherwise. Links inside the text of entries
    are not among them. A feed that is not well-formed gives those that stand before its fault.
    """
    found: list[str] = []
    with suppress(_Fault):
        _walk(_inflated(body), *_feed(found))
    return found[:MAX_URLS]


def _read_xml(first: bytes, chunks: Iterator[bytes], sitemap: Sitemap) -> None:
    feed = _feed(sitemap.pages)
    listed = {"pages": sitemap.pages, "sitemaps": sitemap.sitemaps}

    def start(path: Path, attributes: Attributes) -> None:
        if path[0] in _FEEDS:
            feed[0](path, attributes)
        elif path[0] not in _ROOTS:
            raise _Fault("not_a_sitemap")

    def end(path: Path, text: str, attributes: Attributes) -> None:
        if path[0] in _FEEDS:
            feed[1](path, text, attributes)
        elif (kind := _ENTRIES.get(path)) and text:
            listed[kind].append(text)
        if len(sitemap.pages) + len(sitemap.sitemaps) > MAX_URLS:
            (sitemap.pages or sitemap.sitemaps).pop()
            raise _Fault("too_many_urls")

    _walk(_joined(first, chunks), start, end)


def _read_text(first: bytes, chunks: Iterator[bytes], sitemap: Sitemap) -> None:
    """Read addresses, one a line; when the first line is none, this is no sitemap, and other lines do not count."""
    rest = b""
    for chunk in _joined(first, chunks):
        *lines, rest = (rest + chunk).splitlines(keepends=True) or [b""]
        _take_lines(lines, sitemap)
        if len(rest) > MAX_TEXT:
            raise _Fault("not_a_sitemap")
    _take_lines([rest], sitemap)
    if not sitemap.pages:
        raise _Fault("not_a_sitemap")


def _take_lines(lines: list[bytes], sitemap: Sitemap) -> None:
    for line in lines:
        text = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()
        if _WEB.fullmatch(text):
            if len(sitemap.pages) == MAX_URLS:
                raise _Fault("too_many_urls")
            sitemap.pages.append(text)
        elif text and not sitemap.pages:
            raise _Fault("not_a_sitemap")


def _feed(found: list[str]) -> tuple[Callable[[Path, Attributes], None], Callable[[Path, str, Attributes], None]]:
    """Return what takes the links of a feed while it is walked."""
    bases: list[str] = []

    def add(href: str) -> None:
        if len(found) <= MAX_URLS and href:
            found.append(_join(bases[-1], href) if bases[-1] else href)

    def start(path: Path, attributes: Attributes) -> None:
        base = attributes.get("xml:base", "")
        above = bases[-1] if bases else ""
        bases.append(_join(above, base) if base else above)

    def end(path: Path, text: str, attributes: Attributes) -> None:
        name, parent = path[-1], path[-2] if len(path) > 1 else ""
        href = attributes.get(_FEED_ATTRIBUTES.get(name, ""), "").strip()
        if href and attributes.get("rel", "alternate") not in _NOT_READ:
            add(href)
        elif parent in _FEED_TEXTS.get(name, ()) and (
            name != "guid" or (attributes.get("isPermaLink", "true") == "true" and _WEB.fullmatch(text))
        ):
            add(text)
        bases.pop()

    return start, end


def _walk(
    chunks: Iterator[bytes], start: Callable[[Path, Attributes], None], end: Callable[[Path, str, Attributes], None]
) -> None:
    """Call `start` and `end` for each element, with the local names from the root to it.

    Raises:
        _Fault: the document is not well-formed, too deep, or declares entities; or what a call raises.
    """
    opened: list[tuple[Path, list[str], Attributes]] = []

    def started(name: str, attributes: Attributes) -> None:
        above = opened[-1][0] if opened else ()
        if len(above) >= MAX_DEPTH:
            raise _Fault("too_deep")
        path = (*above, name.rpartition(":")[2])
        opened.append((path, [], attributes))
        start(path, attributes)

    def ended(name: str) -> None:
        path, texts, attributes = opened.pop()
        end(path, "".join(texts).strip(), attributes)

    def read(text: str) -> None:
        if opened and len(texts := opened[-1][1]) < MAX_TEXTS:
            texts.append(text[:MAX_TEXT])

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = started, ended, read
    parser.EntityDeclHandler = _refuse
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise _Fault("not_well_formed" if opened else "not_a_sitemap") from error


def _refuse(*declaration: object) -> None:
    raise _Fault("entities")


def _inflated(body: bytes) -> Iterator[bytes]:
    """Yield a document in chunks, out of gzip when it is in it, with no more of it in memory than one."""
    if not body.startswith(_GZIP):
        for at in range(0, min(len(body), MAX_BYTES), _CHUNK):
            yield body[at : at + _CHUNK]
        if len(body) > MAX_BYTES:
            raise _Fault("too_large")
        return
    size, rest = 0, body
    try:
        while rest.startswith(_GZIP):  # a gzip file may have several members
            inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not inflater.eof:
                chunk = inflater.decompress(rest, _CHUNK)
                rest = inflater.unconsumed_tail
                size += len(chunk)
                if size > MAX_BYTES:
                    raise _Fault("too_large")
                if chunk:
                    yield chunk
                elif not rest and not inflater.eof:
                    raise _Fault("bad_gzip")
            rest = inflater.unused_data
    except zlib.error as error:
        raise _Fault("bad_gzip") from error


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _join(base: str, href: str) -> str:
    try:
        return urljoin(base, href)
    except ValueError:  # a bad host in brackets
        return href
