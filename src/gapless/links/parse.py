"""Links, ids and base of an HTML page. Run as a program, it parses pages that a parent sends it."""

import codecs
import json
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

MAX_LINKS = 20_000
MAX_TEXT = 120

NAVIGATE, RESOURCE, SRCSET = "navigate", "resource", "srcset"

# (element, attribute, kind): where links stand. A fragment is checked only where a reader goes there.
TABLE = (
    ("a", "href", NAVIGATE),
    ("a", "xlink:href", NAVIGATE),
    ("area", "href", NAVIGATE),
    ("audio", "src", RESOURCE),
    ("blockquote", "cite", NAVIGATE),
    ("body", "background", RESOURCE),
    ("del", "cite", NAVIGATE),
    ("embed", "src", RESOURCE),
    ("form", "action", RESOURCE),
    ("frame", "src", RESOURCE),
    ("iframe", "src", RESOURCE),
    ("iframe", "longdesc", NAVIGATE),
    ("image", "href", RESOURCE),
    ("image", "xlink:href", RESOURCE),
    ("img", "src", RESOURCE),
    ("img", "srcset", SRCSET),
    ("img", "longdesc", NAVIGATE),
    ("input", "src", RESOURCE),
    ("ins", "cite", NAVIGATE),
    ("link", "href", RESOURCE),
    ("link", "imagesrcset", SRCSET),
    ("meta", "content", RESOURCE),
    ("object", "data", RESOURCE),
    ("q", "cite", NAVIGATE),
    ("script", "src", RESOURCE),
    ("source", "src", RESOURCE),
    ("source", "srcset", SRCSET),
    ("track", "src", RESOURCE),
    ("use", "href", RESOURCE),
    ("use", "xlink:href", RESOURCE),
    ("video", "poster", RESOURCE),
    ("video", "src", RESOURCE),
)
_BY_ELEMENT: dict[str, list[tuple[str, str]]] = {}
for _element, _attribute, _kind in TABLE:
    _BY_ELEMENT.setdefault(_element, []).append((_attribute, _kind))
_SELECTOR = ",".join(_BY_ELEMENT)

_NOT_FETCHED = frozenset({"preconnect", "dns-prefetch"})
_CARDS = frozenset({"og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"})
_REFRESH = re.compile(r"\s*[\d.]+\s*[;,\s]\s*(?:url\s*=\s*)?(?:\"([^\"]*)|'([^']*)|(.*))", re.IGNORECASE | re.DOTALL)
_CANDIDATE = re.compile(r"[ \t\n\r\f,]*([^ \t\n\r\f,][^ \t\n\r\f]*)")
_DESCRIPTORS = re.compile(r"(?:[^,(]|\([^)]*\)?)*")
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*(?:<!--|<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style"
    rb"|title|b|body|br|p)[\t\n\x0c\r />])",
    re.IGNORECASE,
)
_META_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_TEXT_CODECS = re.compile(r"utf-8|utf-16|cp\d|iso8859|iso2022_jp$|koi8|gb|big5|euc_|shift_jis|mac-|tis-620")


class Parsed(NamedTuple):
    """What a page holds.

    Attributes:
        base: href of the first base element, or None.
        links: (whether a reader goes there, href as written, text), in document order.
        ids: ids and names of anchors, joined by NUL, which cannot be part of one.
        cut: whether the page holds more links than are taken.
    """

    base: str | None
    links: list[tuple[bool, str, str]]
    ids: str
    cut: bool


def parse(text: str, *, links: bool = True) -> Parsed:
    """Read ids of a page, and its base and links when wanted."""
    tree = LexborHTMLParser(text)
    ids = "\0".join(_ids(tree))
    if not links:
        return Parsed(None, [], ids, cut=False)
    found: list[tuple[bool, str, str]] = []
    for node in tree.css(_SELECTOR):
        found.extend(_links(node))
        if len(found) > MAX_LINKS:
            return Parsed(_base(tree), found[:MAX_LINKS], ids, cut=True)
    return Parsed(_base(tree), found, ids, cut=False)


def decode(body: bytes, charset: str) -> str:
    """Decode a page: byte order mark, then the header's charset, then the page's own, then UTF-8."""
    for mark, codec in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(codec, "replace")
    declared = _META_CHARSET.search(body[:1024])
    codec = _codec(charset) or _codec(declared[1].decode("ascii") if declared else "") or "utf-8"
    return body.decode(codec, "replace")


def looks_like_html(start: bytes) -> bool:
    """Say whether a browser would take a body without a Content-Type for HTML, by its first bytes."""
    return _HTML_START.match(start) is not None


def clean(text: str) -> str:
    """Collapse white space and cut a link's text to a length one can read."""
    return " ".join(text[: 8 * MAX_TEXT].split())[:MAX_TEXT]


def srcset(value: str) -> Iterator[str]:
    """Yield the addresses of a srcset, by the HTML Standard's rules for commas."""
    at = 0
    while found := _CANDIDATE.match(value, at):
        at = found.end()
        yield found[1].rstrip(",")
        if not found[1].endswith(","):
            at = _DESCRIPTORS.match(value, at).end()  # type: ignore[union-attr] # it matches anything


def _codec(label: str) -> str | None:
    try:
        name = codecs.lookup(label.strip()).name
    except (LookupError, ValueError):
        return None
    if name in {"iso8859-1", "ascii"}:  # as browsers read these labels
        return "cp1252"
    return name if _TEXT_CODECS.match(name) else None


def _ids(tree: LexborHTMLParser) -> Iterator[str]:
    for node in tree.css("[id]"):
        yield node.attributes.get("id") or ""
    for node in tree.css("a[name]"):
        yield node.attributes.get("name") or ""


def _base(tree: LexborHTMLParser) -> str | None:
    node = tree.css_first("base[href]")
    return node.attributes.get("href") if node else None


def _links(node: LexborNode) -> Iterator[tuple[bool, str, str]]:
    attributes = node.attributes
    for attribute, kind in _BY_ELEMENT[node.tag or ""]:
        if attribute not in attributes:
            continue
        value = attributes[attribute] or ""
        for href in _hrefs(node.tag or "", attributes, value, kind):
            if href.strip() or kind is NAVIGATE:
                yield kind is NAVIGATE, href, _text(node, attributes)


def _hrefs(element: str, attributes: dict[str, str | None], value: str, kind: str) -> Iterable[str]:
    if kind is SRCSET:
        return srcset(value)
    if element == "meta":
        return _meta(attributes, value)
    if element == "link" and _NOT_FETCHED & set((attributes.get("rel") or "").lower().split()):
        return ()
    if element == "form" and (attributes.get("method") or "get").strip().lower() != "get":
        return ()
    if element == "input" and (attributes.get("type") or "").strip().lower() != "image":
        return ()
    return (value,)


def _meta(attributes: dict[str, str | None], content: str) -> Iterator[str]:
    if (attributes.get("http-equiv") or "").lower() == "refresh":
        if found := _REFRESH.match(content):
            yield (found[1] or found[2] or found[3] or "").strip()
    elif (attributes.get("property") or attributes.get("name") or "").lower() in _CARDS:
        yield content


def _text(node: LexborNode, attributes: dict[str, str | None]) -> str:
    if node.tag == "a":
        return clean(node.text(deep=True))
    return clean(attributes.get("alt") or "")


def serve(seconds: float) -> None:
    """Parse pages from standard input until it ends; die when one takes too long or too much."""
    if hasattr(signal, "setitimer"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(5)) == 5:
        text = source.read(int.from_bytes(head[:4], "big")).decode()
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)
        reply = json.dumps(parse(text, links=bool(head[4]))).encode()
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        sink.write(len(reply).to_bytes(4, "big") + reply)
        sink.flush()


if __name__ == "__main__":
    serve(float(sys.argv[1]))
