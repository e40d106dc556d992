"""Links, ids and base of an HTML page."""

import codecs
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from selectolax.lexbor import LexborCSSSelector, LexborDocumentOptions, LexborHTMLParser, LexborNode

from gapless.links import css, jsonld
from gapless.links.suspicion import depth_suspect as depth_suspect  # noqa: PLC0414 (asked before a page is parsed)

MAX_LINKS = 20_000
NAVIGATE, RESOURCE = "navigate", "resource"
"""Kinds of links: a fragment is checked only where a reader goes there."""

_SRCSET, _CSS, _META, _JSON_LD = "srcset", "css", "meta", "json-ld"
_ANY, _TEXT = "*", ""

# (element, attribute, kind of its value): where links stand.
TABLE = (
    ("a", "href", NAVIGATE),
    ("a", "xlink:href", NAVIGATE),
    ("area", "href", NAVIGATE),
    ("audio", "src", RESOURCE),
    ("blockquote", "cite", NAVIGATE),
    ("body", "background", RESOURCE),
    ("del", "cite", NAVIGATE),
    ("embed", "src", RESOURCE),
    ("feimage", "href", RESOURCE),
    ("feimage", "xlink:href", RESOURCE),
    ("form", "action", RESOURCE),
    ("frame", "src", RESOURCE),
    ("iframe", "src", RESOURCE),
    ("iframe", "longdesc", NAVIGATE),
    ("image", "href", RESOURCE),
    ("image", "xlink:href", RESOURCE),
    ("img", "src", RESOURCE),
    ("img", "srcset", _SRCSET),
    ("img", "longdesc", NAVIGATE),
    ("input", "src", RESOURCE),
    ("ins", "cite", NAVIGATE),
    ("link", "href", RESOURCE),
    ("link", "imagesrcset", _SRCSET),
    ("meta", "content", _META),
    ("object", "data", RESOURCE),
    ("q", "cite", NAVIGATE),
    ("script", "src", RESOURCE),
    ("script", _TEXT, _JSON_LD),
    ("source", "src", RESOURCE),
    ("source", "srcset", _SRCSET),
    ("style", _TEXT, _CSS),
    ("table", "background", RESOURCE),
    ("td", "background", RESOURCE),
    ("th", "background", RESOURCE),
    ("track", "src", RESOURCE),
    ("use", "href", RESOURCE),
    ("use", "xlink:href", RESOURCE),
    ("video", "poster", RESOURCE),
    ("video", "src", RESOURCE),
    (_ANY, "style", _CSS),
)
_BACKGROUNDS = frozenset(element for element, attribute, _ in TABLE if attribute == "background")
# With :is() an element is found once, whatever of it matches. Frequent elements that seldom have these attributes are
# not looked at one by one.
_MARKED = ":is([id],a[name])"
_MARKED_OR_STYLED = ":is([id],a[name],[style],[background])"

_NOT_FETCHED = frozenset({"preconnect", "dns-prefetch"})
_CARDS = frozenset({"og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"})
_REFRESH = re.compile(r"\s*[\d.]+\s*[;,\s]\s*(?:url\s*=\s*)?(?:\"([^\"]*)|'([^']*)|(.*))", re.IGNORECASE | re.DOTALL)
_CANDIDATE = re.compile(r"[ \t\n\r\f,]*([^ \t\n\r\f,][^ \t\n\r\f]*)")
_DESCRIPTORS = re.compile(r"(?:[^,(]++|\([^)]*+\)?+)*+")
SNIFFED = 1445
"""Bytes of a body that tell its type (MIME Sniffing Standard, 5.2)."""
_HTML_START = re.compile(
    rb"[\t\n\x0c\r ]*+<(?:!--|(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)"
    rb"[ >])",
    re.IGNORECASE,
)
_META_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"<\?xml[^>]+?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_MARKED_BY = tuple(mark for mark, _ in _MARKS)
_TEXT_CODECS = re.compile(r"utf-8|utf-16|cp\d|iso8859|iso2022_jp$|koi8|gb|big5|euc_|shift_jis|mac-|tis-620")

# Without events a `selectedcontent` element gets no copy of the selected option, which would repeat its links, and
# thousands of options take no longer than other elements (22 ms instead of 17 s for 50,000 of them).
_OPTIONS = int(LexborDocumentOptions.WO_EVENTS)
_SELECTOR = LexborCSSSelector()  # type: ignore[no-untyped-call] # each parser would make its own, in 20 µs

Attributes = dict[str, str | None]
Add = Callable[[tuple[str, str]], None]


class Parsed(NamedTuple):
    """What a page holds.

    Attributes:
        base: href of the first base element that has one, or None.
        links: (kind, href as written), kind NAVIGATE or RESOURCE: those of elements in document order, then those of
            style and background attributes in document order.
        ids: ids and names of anchors, joined by NUL, which cannot be part of one.
        cut: whether the page holds more than MAX_LINKS links; then `links` are the first of them.
    """

    base: str | None
    links: list[tuple[str, str]]
    ids: str
    cut: bool


def parse(body: bytes | str, *, links: bool = True) -> Parsed:
    """Read ids of a page, and its base and links when wanted.

    Args:
        body: the page, in UTF-8 when it is bytes; see `markup`.
        links: whether base and links are wanted.

    Raises:
        SelectolaxError: the memory that the process may take is not enough.
    """
    root = LexborHTMLParser(body, options=_OPTIONS).root
    if root is None:
        return Parsed(None, [], "", cut=False)
    if not links:
        return Parsed(None, [], "\0".join(_ids(_SELECTOR.find(_MARKED, root))), cut=False)
    base, found = _of_elements(root)
    ids: list[str] = []
    for node in _SELECTOR.find(_MARKED_OR_STYLED, root):
        attributes = node.attributes
        if id_ := attributes.get("id"):
            ids.append(id_)
        if (name := attributes.get("name")) and name != id_ and node.tag_id == _A:
            ids.append(name)
        if len(found) <= MAX_LINKS:
            found.extend(_of_attributes(node, attributes))
    return Parsed(base, found[:MAX_LINKS], "\0".join(ids), cut=len(found) > MAX_LINKS)


def markup(body: bytes, charset: str) -> bytes | str:
    """Return a page as `parse` takes it soonest: as it is when it is in UTF-8, decoded otherwise."""
    mark, codec = _codec_of(body, charset)
    if codec == "utf-8":
        return body[mark:] if mark else body
    return body[mark:].decode(codec, "replace")


def decode(body: bytes, charset: str) -> str:
    """Decode a page: byte order mark, the header's charset, the page's own, that of its XML declaration, UTF-8."""
    mark, codec = _codec_of(body, charset)
    return body[mark:].decode(codec, "replace")


def sniff(start: bytes) -> str | None:
    """Say of what type a browser takes a body without a Content-Type to be, by its first bytes.

    Returns:
        "html", or None for all that an audit does not read (MIME Sniffing Standard, 7.1: its table for HTML).
    """
    return "html" if _HTML_START.match(start[:SNIFFED]) else None


def looks_like_html(start: bytes) -> bool:
    """Say whether a browser would take a body without a Content-Type for HTML, by its first bytes."""
    return sniff(start) == "html"


def srcset(value: str) -> Iterator[str]:
    """Yield the addresses of a srcset, by the HTML Standard's rules for commas."""
    at = 0
    while found := _CANDIDATE.match(value, at):
        at = found.end()
        yield found[1].rstrip(",")
        if not found[1].endswith(","):
            at = _DESCRIPTORS.match(value, at).end()  # type: ignore[union-attr] # it matches anything


def hrefs(element: str, attribute: str, value: str, attributes: Attributes) -> list[tuple[str, str]]:
    """Return the links that one attribute of an element holds, or with attribute "" its text.

    Args:
        element: its name in lower case.
        attribute: name of the attribute in lower case.
        value: of the attribute, or the text.
        attributes: all of the element.

    Returns:
        (kind, href as written) of each.
    """
    found: list[tuple[str, str]] = []
    row = _ROWS.get((element, attribute)) or _ROWS.get((_ANY, attribute))
    if row and (row.applies is None or row.applies(attributes)):
        row.take(found.append, value, attributes)
    return found


def _of_elements(root: LexborNode) -> tuple[str | None, list[tuple[str, str]]]:  # noqa: C901 (see the docstring)
    """Return base and links of the elements; what a frequent element needs is done here and not in a function."""
    base: str | None = None
    found: list[tuple[str, str]] = []
    add, by_tag, first, last, navigate = found.append, _BY_TAG, _A, _LAST_TAG, NAVIGATE
    for node in root.traverse():
        tag = node.tag_id
        if tag == first:
            try:
                href = node.attrs["href"]
            except KeyError:
                if (href := node.attributes.get("xlink:href")) is None:
                    continue
            add((navigate, href or ""))
        elif tag in by_tag or tag > last:
            attributes = node.attributes
            for attribute, applies, take in by_tag.get(tag) or _BY_NAME.get(node.tag or "", []):
                if attribute and attribute not in attributes:
                    continue
                if applies is None or applies(attributes):
                    take(add, (attributes[attribute] if attribute else node.text()) or "", attributes)
            if len(found) > MAX_LINKS:
                break
        elif tag == _BASE and base is None and "href" in (attributes := node.attributes):
            base = attributes["href"] or ""
    return base, found


def _of_attributes(node: LexborNode, attributes: Attributes) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if style := attributes.get("style"):
        _take_css(found.append, style, attributes)
    if (background := attributes.get("background")) and node.tag in _BACKGROUNDS:
        _take_resource(found.append, background, attributes)
    return found


def _ids(nodes: list[LexborNode]) -> Iterator[str]:
    for node in nodes:
        if id_ := node.id:
            yield id_
        if node.tag_id == _A and (name := node.attributes.get("name")) and name != id_:
            yield name


def _take_navigation(add: Add, value: str, attributes: Attributes) -> None:
    add((NAVIGATE, value))


def _take_resource(add: Add, value: str, attributes: Attributes) -> None:
    start = value.lstrip()
    if start and start[0] != "#":  # nothing, or a place of the page itself, is not fetched
        add((RESOURCE, value))


def _take_srcset(add: Add, value: str, attributes: Attributes) -> None:
    for href in islice(srcset(value), MAX_LINKS + 1):
        _take_resource(add, href, attributes)


def _take_css(add: Add, value: str, attributes: Attributes) -> None:
    for href in css.references(value):
        _take_resource(add, href, attributes)


def _take_json_ld(add: Add, value: str, attributes: Attributes) -> None:
    for href in jsonld.addresses(value):
        _take_resource(add, href, attributes)


def _take_refresh(add: Add, value: str, attributes: Attributes) -> None:
    if (found := _REFRESH.match(value)) and (href := (found[1] or found[2] or found[3] or "").strip()):
        add((NAVIGATE, href))


def _take_meta(add: Add, value: str, attributes: Attributes) -> None:
    if "http-equiv" in attributes:
        if (attributes["http-equiv"] or "").lower() == "refresh":
            _take_refresh(add, value, attributes)
    elif (attributes.get("property") or attributes.get("name") or "").strip().lower() in _CARDS:
        _take_resource(add, value, attributes)


def _is_fetched(attributes: Attributes) -> bool:
    return not _NOT_FETCHED & set((attributes.get("rel") or "").lower().split())


def _gets(attributes: Attributes) -> bool:
    return (attributes.get("method") or "get").strip().lower() not in {"post", "dialog"}


def _is_image(attributes: Attributes) -> bool:
    return (attributes.get("type") or "").strip().lower() == "image"


def _is_json_ld(attributes: Attributes) -> bool:
    return (attributes.get("type") or "").strip().lower() == "application/ld+json"


def _is_css(attributes: Attributes) -> bool:
    return (attributes.get("type") or "text/css").strip().lower() == "text/css"


def _codec_of(body: bytes, charset: str) -> tuple[int, str]:
    """Return the length of the byte order mark and the codec."""
    if body.startswith(_MARKED_BY):
        return next((len(mark), codec) for mark, codec in _MARKS if body.startswith(mark))
    if codec := _codec(charset):
        return 0, codec
    start = body[:1024]
    declared = _META_CHARSET.search(start) or _XML_CHARSET.match(start)
    return 0, _codec(declared[1].decode("ascii") if declared else "") or "utf-8"


def _codec(label: str) -> str:
    if label in {"", "utf-8"}:
        return label
    try:
        name = codecs.lookup(label.strip()).name
    except (LookupError, ValueError):
        return ""
    if name in {"iso8859-1", "ascii"}:  # as browsers read these labels
        return "cp1252"
    return name if _TEXT_CODECS.match(name) else ""


class _Row(NamedTuple):
    attribute: str
    applies: Callable[[Attributes], bool] | None
    take: Callable[[Add, str, Attributes], None]


_TAKERS = {
    NAVIGATE: _take_navigation,
    RESOURCE: _take_resource,
    _SRCSET: _take_srcset,
    _CSS: _take_css,
    _META: _take_meta,
    _JSON_LD: _take_json_ld,
}
_CONDITIONS: dict[tuple[str, str], Callable[[Attributes], bool]] = {
    ("form", "action"): _gets,
    ("input", "src"): _is_image,
    ("link", "href"): _is_fetched,
    ("script", _TEXT): _is_json_ld,
    ("style", _TEXT): _is_css,
}


def _tag_id(element: str) -> int:
    return LexborHTMLParser("").create_node(element).tag_id


_ROWS = {
    (element, attribute): _Row(attribute, _CONDITIONS.get((element, attribute)), _TAKERS[kind])
    for element, attribute, kind in TABLE
}
_A, _BASE = _tag_id("a"), _tag_id("base")
_LAST_TAG = 10_000  # elements that lexbor knows have small numbers, others that of their name's place in memory
_BY_NAME: dict[str, list[_Row]] = {}
for (_element, _attribute), _row in _ROWS.items():
    if _element not in {"a", _ANY} and _attribute != "background":
        _BY_NAME.setdefault(_element, []).append(_row)
_BY_TAG = {number: rows for element, rows in _BY_NAME.items() if (number := _tag_id(element)) <= _LAST_TAG}
