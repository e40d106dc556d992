"""Where links stand in the source of a document, and what a reader sees of them.

The parser keeps no positions, so the source is walked again, by the rules of the HTML Standard's tokenizer (13.2.5).
That happens only to documents that have findings.
"""

import html
import re
from collections.abc import Callable, Iterator
from html.entities import html5
from typing import NamedTuple

from gapless.links import css, sitemaps
from gapless.links.parse import MAX_LINKS, TABLE, depth_suspect, hrefs, parse
from gapless.links.urls import without_userinfo

MAX_TEXT = 120
"""Characters of a link's text."""
MAX_SEARCHES = 500
"""Searches for addresses that do not stand in the source as they are read from it."""

MAX_FOREIGN = 64
"""Nested parts of SVG, MathML and HTML that are told apart."""

_SPACE = r"\t\n\f\r "
_ATTRIBUTE = (
    rf"((?:[^{_SPACE}/>=]|=)[^{_SPACE}/>=]*+)"
    rf"(?:[{_SPACE}]*+=[{_SPACE}]*+(?:\"([^\"]*+)\"?+|'([^']*+)'?+|([^{_SPACE}>\"'][^{_SPACE}>]*+)|(?=>)))?+"
)
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_MARKUP = re.compile(
    rf"<(?:(?P<end>/?)(?P<name>[a-zA-Z][^{_SPACE}/>]*+)"
    rf"(?P<attributes>(?:[{_SPACE}/]++|{re.sub('[(](?![?])', '(?:', _ATTRIBUTE)})*+)(?P<closed>>?+)"
    r"|(?P<comment>!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+(?:--!?>)?+))"
    r"|(?P<cdata>!\[CDATA\[)"
    r"|[!?/][^>]*+>?+)"
)
_RAW_END = {
    name: re.compile(rf"</{name}(?=[{_SPACE}/>])", re.IGNORECASE)
    for name in ("style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
}
_IN_SCRIPT = re.compile(rf"<!--|-->|<(/?)script(?=[{_SPACE}/>])", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:(#(?:[0-9]++|[xX][0-9a-fA-F]++);?+)|([A-Za-z][A-Za-z0-9]*+)(;?+)(?=(=?)))")
_LINE_END = re.compile(r"\r\n?|\n")

_ELEMENTS = frozenset(element for element, _, _ in TABLE) | {"image"}
_ATTRIBUTE_NAMES = frozenset(attribute for _, attribute, _ in TABLE if attribute)
_WITH_TEXT = frozenset(element for element, attribute, _ in TABLE if not attribute)
_FOREIGN, _INTEGRATION = frozenset({"svg", "math"}), frozenset({"foreignobject", "desc", "title"})
_INLINE = frozenset(
    re.findall(
        r"\w+",
        """a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd mark nobr q rp rt ruby s samp small
        span strike strong sub sup time tt u var wbr svg path g use circle rect""",
    )
)
_BREAKS_OUT = frozenset(
    re.findall(
        r"\w+",
        """b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu
        meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var""",
    )
)

Broken = Callable[[str], str | None]


class Place(NamedTuple):
    """One place of a document that leads to a target that is looked for.

    Attributes:
        target: what it leads to.
        href: as written there, without character references, user name and password.
        text: what a reader sees of it: the text of a link with the alternative text of its images, or else its label
            or title; one line of MAX_TEXT characters at most.
        line: of the element's tag, or of the address itself in CSS and JSON-LD; from 1; None when it is unknown.
        column: in characters, from 1.
    """

    target: str
    href: str
    text: str
    line: int | None
    column: int | None


def places(text: str, broken: Broken, kind: str = "html") -> list[Place]:
    """Find the places that lead to certain targets, the first MAX_LINKS of them.

    Args:
        text: of the document.
        broken: maps an href as written to the target that is looked for, or to None.
        kind: of the document: "html" (also for SVG), "css" or "feed".

    Returns:
        The places in the order of the source; those whose position is unknown come last.
    """
    known: dict[str, str | None] = {}

    def target_of(href: str) -> str | None:
        if href not in known:
            known[href] = broken(href)
        return known[href]

    if kind == "html":
        found = _Walk(text, target_of).run()
    else:
        written = css.references(text) if kind == "css" else sitemaps.feed_links(text.encode("utf-8", "replace"))
        raw = _Raw(text, 0, len(text))
        found = [_Found(target, href, [], raw.find(href)) for href in written if (target := target_of(href))]
    return _placed(text, found[:MAX_LINKS])


def clean(text: str) -> str:
    """Collapse white space and cut a link's text to a length one can read."""
    return " ".join(text[: 8 * MAX_TEXT].split())[:MAX_TEXT]


class _Found(NamedTuple):
    target: str
    href: str
    texts: list[str]
    at: int | None


class _Raw:
    """Searches for addresses in a part of the source, in their order."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self._text, self._start, self._at, self._end = text, start, start, end
        self._failures = 0

    def find(self, href: str) -> int | None:
        if self._failures >= MAX_SEARCHES:
            return None
        at = self._text.find(href, self._at, self._end)
        if at < 0:
            self._failures += 1
            spellings = (href, href.replace("/", "\\/"), html.escape(href, quote=False))
            at = max(self._text.find(spelling, self._start, self._end) for spelling in spellings)
        if at < 0:
            return None
        self._at = max(self._at, at + len(href))
        return at


class _Walk:
    """A walk over the tags of a page."""

    def __init__(self, text: str, broken: Broken) -> None:
        self._text = text
        self._broken = broken
        self._found: list[_Found] = []
        self._foreign: list[str] = []
        self._templates = 0
        self._link: list[str] | None = None
        self._length = 0
        self._label = ""

    def run(self) -> list[_Found]:
        """Return what was found in the order of the source, then what only the parser finds."""
        text, at = self._text, 0
        while (tag := _MARKUP.search(text, at)) and len(self._found) < MAX_LINKS:
            self._read(text[at : min(tag.start(), at + 8 * MAX_TEXT)])
            at = tag.end()
            if tag["cdata"]:
                at = self._cdata(tag.end())
            elif tag["name"]:
                if not tag["closed"]:
                    break
                name = tag["name"].lower()
                at = self._end(name, at) if tag["end"] else self._start(name, tag, at)
        self._read(text[at : at + 8 * MAX_TEXT])
        self._close_link()
        self._found.extend(self._missed())
        return self._found

    def _read(self, text: str) -> None:
        if self._link is not None and text and self._length < 8 * MAX_TEXT:
            self._link.append(html.unescape(text))
            self._length += len(text)

    def _cdata(self, at: int) -> int:
        """Return where a CDATA section ends, which is a comment outside of SVG and MathML."""
        mark = "]]>" if self._in_foreign() else ">"
        end = self._text.find(mark, at)
        return len(self._text) if end < 0 else end + len(mark)

    def _end(self, name: str, at: int) -> int:
        if name == "a":
            self._close_link()
        elif name == "template":
            self._templates = max(0, self._templates - 1)
        elif name in self._foreign:
            while self._foreign.pop() != name:
                pass
        if name not in _INLINE:
            self._read(" ")
        return at

    def _start(self, name: str, tag: re.Match[str], at: int) -> int:
        if self._in_foreign() and name in _BREAKS_OUT:
            while self._in_foreign():
                self._foreign.pop()
        foreign = self._in_foreign()
        if name == "template" and not foreign:
            self._templates += 1
        if name == "a":
            self._close_link()
        elif name not in _INLINE:
            self._read(" ")
        if not self._templates and (name in _ELEMENTS or "style" in tag["attributes"].lower()):
            self._links(name, tag, at)
        if (name in _FOREIGN or (foreign and name in _INTEGRATION)) and not tag["attributes"].endswith("/"):
            self._foreign = [*self._foreign[-MAX_FOREIGN:], name]
        return at if foreign else self._content_end(name, at)

    def _content_end(self, name: str, at: int) -> int:
        """Return where the content of an element ends that holds text only, or where it starts for all others."""
        if name == "script":
            return self._script_end(at)
        if name == "plaintext":
            return len(self._text)
        if end := _RAW_END.get(name):
            found = end.search(self._text, at)
            return found.start() if found else len(self._text)
        return at

    def _script_end(self, at: int) -> int:
        """Return where a script ends: inside `<!--`, a `<script>` and its end tag are part of it."""
        escaped = twice = False
        while found := _IN_SCRIPT.search(self._text, at):
            at = found.end()
            if found[0] == "<!--":
                escaped = True
                at -= 2  # `<!-->` opens and closes
            elif found[0] == "-->":
                escaped = twice = False
            elif not found[1]:
                twice = escaped
            elif not twice:
                return found.start()
            else:
                twice = False
        return len(self._text)

    def _links(self, name: str, tag: re.Match[str], at: int) -> None:
        attributes = _attributes(tag["attributes"])
        texts: list[str] = []
        alternative = clean(attributes.get("alt") or "")
        label = alternative or clean(attributes.get("aria-label") or attributes.get("title") or "")
        count = len(self._found)
        for attribute in attributes:
            if attribute in _ATTRIBUTE_NAMES:
                self._take(name, attribute, attributes, texts, tag.start())
        if name in _WITH_TEXT:
            self._take_text(name, attributes, tag.start(), at)
        if name == "a":
            if len(self._found) > count:
                self._link, self._label, self._length = texts, label, 0
        else:
            texts.append(label)
            self._read(f" {alternative} " if alternative else "")

    def _take(self, name: str, attribute: str, attributes: dict[str, str | None], texts: list[str], at: int) -> None:
        element = "img" if name == "image" and attribute in {"src", "srcset"} else name
        seen = set()
        for _, href in hrefs(element, attribute, attributes[attribute] or "", attributes):
            if href not in seen and (target := self._broken(href)):
                seen.add(href)
                self._found.append(_Found(target, href, texts, at))

    def _take_text(self, name: str, attributes: dict[str, str | None], at: int, start: int) -> None:
        end = self._content_end(name, start)
        raw = _Raw(self._text, start, end)
        for _, href in hrefs(name, "", self._text[start:end], attributes):
            if target := self._broken(href):
                place = raw.find(href)
                self._found.append(_Found(target, href, [], at if place is None else place))

    def _close_link(self) -> None:
        if self._link is not None and not "".join(self._link).strip():
            self._link.append(self._label)
        self._link = None

    def _in_foreign(self) -> bool:
        return bool(self._foreign) and self._foreign[-1] in _FOREIGN

    def _missed(self) -> Iterator[_Found]:
        """Yield what the parser finds elsewhere, at the first place where its address stands."""
        if len(self._found) >= MAX_LINKS:
            return
        data = self._text.encode("utf-8", "replace")
        if depth_suspect(data):
            return
        seen = {found.target for found in self._found}
        for _, href in parse(data).links:
            if (target := self._broken(href)) and target not in seen:
                seen.add(target)
                yield _Found(target, href, [], _Raw(self._text, 0, len(self._text)).find(href))


def _attributes(raw: str) -> dict[str, str | None]:
    """Return the attributes of a tag by their names in lower case, the first of each name, as the parser does."""
    found: dict[str, str | None] = {}
    for name, double, single, plain in _ATTRIBUTES.findall(raw):
        found.setdefault(name.lower(), _value(double or single or plain))
    return found


def _value(raw: str) -> str:
    if "\r" in raw:
        raw = _LINE_END.sub("\n", raw)
    if "&" in raw:
        raw = _ENTITY.sub(_character, raw)
    return raw.replace("\0", "\ufffd")


def _character(found: re.Match[str]) -> str:
    """Return what a character reference stands for in an attribute, where `&copy=1` is a query and no sign."""
    numeric, name, semicolon, equals = found.groups()
    if numeric:
        return html.unescape(found[0])
    if semicolon and (sign := html5.get(name + ";")):
        return sign
    return html5.get(name, found[0]) + semicolon if name in html5 and not equals else found[0]


def _placed(text: str, found: list[_Found]) -> list[Place]:
    placed: list[Place] = []
    line, start, at = 1, 0, 0
    for each in sorted(found, key=lambda each: len(text) if each.at is None else each.at):
        href, words = without_userinfo(each.href), clean("".join(each.texts))
        if each.at is None:
            placed.append(Place(each.target, href, words, None, None))
            continue
        for end in _LINE_END.finditer(text, at, each.at):
            line, start = line + 1, end.end()
        at = each.at
        placed.append(Place(each.target, href, words, line, at - start + 1))
    return placed
