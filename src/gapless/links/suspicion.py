"""Pages that could stall the HTML parser or fill the memory are told by a scan before they are parsed.

Lexbor takes a time that grows with the square of three things: of the nesting depth, of the attributes of one element,
and of the formatting elements left open, which the HTML Standard has every later paragraph open again: 36 KB of
``<p><b id=1>x<p><b id=2>x...`` become 3.1 million elements and 1.4 GB (measured with lexbor of selectolax 1.0.2).
"""

import html
import re
from collections.abc import Iterator
from itertools import islice

FEW_TAGS, MANY_TAGS = 800, 10_000
"""Up to FEW_TAGS tags a page takes 20 ms and 40 MB at worst, whatever they are; MANY_TAGS opening ones take 60 ms."""
MAX_REOPENED = 150_000
"""Elements that opening formatting elements again may make: 70 MB at worst."""
ALIKE = 3
"""Formatting elements with equal attributes that are opened again at most."""
MAX_TAGS = 60_000
"""Tags, opening and closing ones, of a page that is parsed where others are: its tree takes about 25 MB."""
MAX_WORK = 12_000_000
"""Steps of the parser, of about 3 ns."""
SHORT, LONG, WINDOW = 20_000, 48_000, 4_096
"""Bytes. In SHORT pages the attributes of one element cost 30 ms at worst, in LONG ones 170 ms."""
REOPENED, SEARCHED = 60, 20
"""Steps that one formatting element costs when it is opened again, and one element here when it is looked at."""
MAX_TOKENS = 200_000
"""Tags after which a walk says what it knows."""
LONG_TAG = 6_000
"""Bytes of a tag whose attributes are counted."""

ATTRIBUTE = (
    rb"(?:[^\t\n\f\r />=]|=)[^\t\n\f\r />=]*+"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:\"[^\"]*+\"?|'[^']*+'?|[^\t\n\f\r >\"'][^\t\n\f\r >]*+)?)?+"
)
"""One attribute as the HTML Standard's tokenizer reads it."""
_ATTRIBUTE = re.compile(ATTRIBUTE)
_PLAIN = (  # attributes as nearly everybody writes them
    rb"(?:[^>\"'=]*[^>\"'=\t\n\f\r /]=(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r \"'=>][^\t\n\f\r \"'>]*+))*+[^>\"'=]*+(?=>)"
)
_TOKEN = re.compile(
    rb"<(?:"
    rb"(?=[itsxnITSXN])((?i:script|style|textarea|title|xmp|iframe|noembed|noframes))(?=[\t\n\f\r />])"
    rb"((?:[\t\n\f\r /]++|" + ATTRIBUTE + rb")*+)"
    rb">([^<]*+(?:<(?!/(?i:\1)[\t\n\f\r />])[^<]*+)*+)"
    rb"|(/?[a-zA-Z][^\t\n\f\r />]*+)(" + _PLAIN + rb"|(?:[\t\n\f\r /]++|" + ATTRIBUTE + rb")*+)"
    rb"|!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+)"
    rb"|(!\[CDATA\[)"
    rb"|[!?/][^>]*+"
    rb")",
)
_FORMATTED = re.compile(
    rb"<((?:b(?:ig)?|code|em|font|i|s(?:mall|tr(?:ike|ong))?|tt|u)(?=[\t\n\f\r />])"
    rb"(?:(?:[\t\n\f\r ]*+[^\t\n\f\r />=\"']++=(?:\"[^\"<>]*+\"|'[^'<>]*+'))*+[\t\n\f\r ]*+>)?+)",
    re.IGNORECASE,
)
_RAW, _NAMED, _CDATA = 3, 5, 6  # last groups of the kinds of tokens
_SLASH = 47
_HIDDEN_END = re.compile(rb"=[\t\n\f\r ]*(?:\"[^\">]*>|'[^'>]*>)")
_MARKUP = re.compile(rb"<[a-z/!]", re.IGNORECASE)


def _names(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


_VOID = _names("area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr")
_FORMATTING = _names("a b big code em font i nobr s small strike strong tt u")
_PARTS_OF_TABLE = _names("table tbody thead tfoot tr")
_BOUNDARIES_OF_ROWS = _names("table template")
_BOUNDARIES = _names(
    "applet caption html marquee object table td template th"
    " math mi mn mo ms mtext annotation-xml svg foreignobject desc"
)
_SPECIAL = _BOUNDARIES | _names(
    "address article aside blockquote body button center colgroup dd details dir div dl dt fieldset figcaption figure"
    " footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup iframe li listing main menu nav noembed noframes"
    " noscript ol p plaintext pre search section select style summary tbody textarea tfoot thead title tr ul xmp"
)
# What an opening tag closes when it stands last on the stack: the end tags that authors may leave out.
_CLOSED_BY = {
    **dict.fromkeys(_SPECIAL - _BOUNDARIES - {b"button", b"select"}, _names("p")),
    b"table": _names("p"),
    b"li": _names("p li"),
    b"dt": _names("p dt dd"),
    b"dd": _names("p dt dd"),
    b"td": _names("p td th"),
    b"th": _names("p td th"),
    b"tr": _names("p td th tr"),
    b"tbody": _names("p td th tr tbody thead tfoot"),
    b"tfoot": _names("p td th tr tbody thead tfoot"),
    b"option": _names("option"),
    b"optgroup": _names("option optgroup"),
    b"rt": _names("rb rt rtc rp"),
    b"rp": _names("rb rt rtc rp"),
}


def depth_suspect(body: bytes) -> bool:
    """Say whether a page could stall the parser or fill the memory, so that it is parsed where that hurts nobody."""
    tags = body.count(b"<")
    if tags > MAX_TAGS:
        return True
    if _few_tags(body, tags) and _short_tags(body):
        return False
    return _Walk().over(body) is not None


def fault(body: bytes) -> str:
    """Say why a page could not be parsed: "too_deep" for its nesting, "unparsable" for anything else."""
    return _Walk().over(body) or "unparsable"


def _few_tags(body: bytes, tags: int) -> bool:
    if tags <= FEW_TAGS:
        return True
    if tags > 2 * MANY_TAGS:
        return False
    opening = tags - body.count(b"</")
    return opening <= MANY_TAGS and opening * _formatting(body) <= MAX_REOPENED


def _formatting(body: bytes) -> int:
    """Count the formatting elements that can be open at once. An `a` or `nobr` closes the one before it."""
    found = _FORMATTED.findall(body)
    whole = [tag for tag in found if tag.endswith(b">")]
    return ALIKE * len(set(whole)) + len(found) - len(whole)


def _short_tags(body: bytes) -> bool:
    """Say whether no tag can hold thousands of attributes: tags end often, and none only seems to, inside quotes."""
    if len(body) <= SHORT:
        return True
    if any(body.rfind(b">", at, at + WINDOW) < 0 for at in range(0, len(body) - WINDOW, WINDOW)):
        return False
    return len(body) <= LONG or not _HIDDEN_END.search(body)


class _Walk:
    """A walk over the tags of a page that estimates the parser's steps, and too many of them where it is in doubt."""

    def __init__(self) -> None:
        self._open: list[bytes] = []
        self._formatting: dict[bytes, int] = {}
        self._active = 0
        self._nesting = self._other = self._merged = 0

    def over(self, body: bytes) -> str | None:
        """Return "too_deep" or "unparsable", or None when the page takes few steps."""
        start, end = self._start, self._end
        for token in islice(_TOKEN.finditer(body), MAX_TOKENS):
            kind = token.lastindex
            if kind == _NAMED:
                name, attributes = token.group(4, 5)
                if name[0] == _SLASH:
                    end(name)
                else:
                    start(name, attributes)
                if self._nesting + self._other > MAX_WORK:
                    return "too_deep" if self._nesting > self._other else "unparsable"
            elif kind == _RAW:
                self._attributes(token[2])
                if self._ambiguous(token[3]):
                    return "unparsable"
            elif kind == _CDATA:  # text in SVG, a comment that ends sooner elsewhere
                return "unparsable"
        return None

    def _start(self, name: bytes, attributes: bytes) -> None:
        name, stack = name.lower(), self._open
        if len(attributes) > LONG_TAG:
            self._attributes(attributes)
        if name in _VOID:
            self._other += REOPENED * self._active
            return
        if closed := _CLOSED_BY.get(name):
            while stack and stack[-1] in closed:
                stack.pop()
        if name in _FORMATTING:
            self._formatting[name] = self._formatting.get(name, 0) + 1
            self._active += 1
        elif name in {b"html", b"body"}:  # their attributes go to the first of them
            self._merged += len(attributes) // 2
            self._other += self._merged * (len(attributes) // 2)
        stack.append(name)
        self._nesting += len(stack)
        self._other += REOPENED * self._active

    def _end(self, name: bytes) -> None:
        name, stack = name[1:].lower(), self._open
        if stack and stack[-1] == name:
            stack.pop()
            found = True
        else:
            found = self._end_further_down(name)
        if found and self._formatting.get(name, 0):
            self._formatting[name] -= 1
            self._active -= 1

    def _end_further_down(self, name: bytes) -> bool:
        """Close an element that does not stand last; say whether the end tag counts at all."""
        walls = _BOUNDARIES_OF_ROWS if name in _PARTS_OF_TABLE else _BOUNDARIES if name in _SPECIAL else _SPECIAL
        stack = self._open
        for at in range(len(stack) - 1, -1, -1):
            self._nesting += SEARCHED
            if stack[at] == name:
                del stack[at:]
                return True
            if stack[at] in walls:
                self._nesting += len(stack)
                return name in _FORMATTING and _BOUNDARIES.isdisjoint(stack)
        return True

    def _attributes(self, attributes: bytes) -> None:
        if len(attributes) > LONG_TAG:
            count = len(set(_ATTRIBUTE.findall(attributes)))
            self._other += count * count // 2

    def _ambiguous(self, content: bytes) -> bool:
        """Say whether it depends on details not followed here if what looks like text is markup."""
        if not _MARKUP.search(content):
            return False
        self._nesting += len(self._open)
        return b"svg" in self._open or b"math" in self._open or (b"<!--" in content and b"<script" in content.lower())


def marks(body: bytes) -> list[str]:
    """Return the ids of a page and the names of its anchors as they are read without a tree, for pages too large."""
    found: list[str] = []
    for tag in _TOKEN.finditer(body):
        name, attributes = (tag[1], tag[2]) if tag[1] else (tag[4], tag[5])
        if name and b"=" in attributes:
            marks = (mark.decode("utf-8", "replace") for mark in _marks(name.lower(), attributes))
            found.extend(html.unescape(mark).replace("\0", "\ufffd") for mark in marks if mark)
    return found


def _marks(name: bytes, attributes: bytes) -> Iterator[bytes]:
    seen = set()
    for attribute in _ATTRIBUTE.findall(attributes):
        key, _, value = attribute.partition(b"=")
        key, value = key.strip().lower(), value.strip()
        if (key == b"id" or (key == b"name" and name == b"a")) and key not in seen:
            seen.add(key)
            yield value[1:-1] if value[:1] in {b'"', b"'"} else value
