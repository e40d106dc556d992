"""References of a style sheet, read as CSS Syntax Level 3 tokenizes it."""

import re
from collections.abc import Iterator
from functools import cache

_ESCAPE = r"\\(?:[0-9a-fA-F]{1,6}+(?:\r\n|[ \t\n\r\f])?+|[^\n\r\f0-9a-fA-F])"
_CHARACTERS = r"a-zA-Z0-9_\-\u0080-\U0010ffff"
_AT_RULES = r"import|namespace|document|-moz-document"
# What holds no reference is passed over without a match of its own: names but `url(`, other at-rules, and signs.
_SKIPPED = (
    rf"(?:[^{_CHARACTERS}\\/\"'@#%s]++|(?!url\()[{_CHARACTERS}]++(?!\\)|#[{_CHARACTERS}]*+(?!\\)"
    rf"|/(?!\*)|@(?!{_AT_RULES}|\\))*+"
)
_TOKEN = (
    r"(?:/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/)?+"
    r"|\"(?P<double>(?:[^\"\\\n\r\f]++|\\(?:\r\n|.)?+)*+)(?:\"|\Z)"
    r"|'(?P<single>(?:[^'\\\n\r\f]++|\\(?:\r\n|.)?+)*+)(?:'|\Z)"
    rf"|(?P<name>[@#]?+(?:[{_CHARACTERS}]++|{_ESCAPE})++)(?P<function>\(?+)"
    r"|(?P<end>[;{}])|.)"
)
_SPACE = re.compile(r"[ \t\n\r\f]*+")
_PLAIN = re.compile(
    rf"((?:[^\"'()\\ \t\n\r\f\x01-\x08\x0b\x0e-\x1f\x7f]++|{_ESCAPE})*+)[ \t\n\r\f]*+(?:\)|\Z)",
)
_REST = re.compile(r"(?:[^)\\]++|\\.?+)*+\)?+", re.DOTALL)
_ESCAPED = re.compile(r"\\(?:([0-9a-fA-F]{1,6})(?:\r\n|[ \t\n\r\f])?|\r\n|[\n\r\f]|(.)|\Z)", re.DOTALL)
_WORTH_READING = re.compile(r"url\(|@import|\\", re.IGNORECASE)
_FETCHED = "@import"
_NAMED = frozenset({"@namespace", "@document", "@-moz-document"})


@cache
def _anywhere() -> re.Pattern[str]:
    return re.compile(_SKIPPED % "" + _TOKEN, re.DOTALL | re.IGNORECASE)  # which takes 15 ms, and many sites need none


@cache
def _in_rule() -> re.Pattern[str]:
    return re.compile(_SKIPPED % ";{}" + _TOKEN, re.DOTALL | re.IGNORECASE)


@cache
def _string() -> re.Pattern[str]:
    return re.compile(_TOKEN, re.DOTALL)


def references(text: str) -> list[str]:
    """Return what a style sheet, or a style attribute, refers to.

    Returns:
        The addresses of every `url()` and `@import` in order, without escapes, `data:` ones among them. Not those
        that only name something (`@namespace`) nor those that begin with `#`, which are places of the document.
    """
    if not _WORTH_READING.search(text):
        return []
    return [found for found in _references(text) if found.strip() and not found.startswith("#")]


def _references(text: str) -> Iterator[str]:
    at, rule = 0, ""
    while token := (_in_rule() if rule else _anywhere()).match(text, at):
        at = token.end()
        kind = token.lastgroup
        if kind == "end":
            rule = ""
        elif kind in {"double", "single"}:
            if rule == _FETCHED:
                yield _unescape(token[kind])
                rule = ""  # what follows is its media, layer and supports
        elif kind == "function":
            name = _unescape(token["name"]).lower()
            if name == _FETCHED or name in _NAMED:
                rule = name
            elif name == "url" and token["function"]:
                found, at = _url(text, at)
                if found is not None and rule not in _NAMED:
                    yield found
                    rule = ""


def _url(text: str, at: int) -> tuple[str | None, int]:
    """Read what stands in the parentheses of a `url(`, and say where it ends."""
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr] # it matches anything
    if text[at : at + 1] in {'"', "'"}:
        token = _string().match(text, at)
        if token is None or token.lastgroup is None:  # a string with a line break in it
            return None, at + 1
        return _unescape(token[token.lastgroup]), token.end()
    if plain := _PLAIN.match(text, at):
        return _unescape(plain[1]), plain.end()
    return None, _REST.match(text, at).end()  # type: ignore[union-attr] # it matches anything


def _unescape(text: str) -> str:
    return _ESCAPED.sub(_character, text) if "\\" in text else text


def _character(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[2] or ""  # an escaped line break is none
    code = int(found[1], 16)
    return "\ufffd" if code == 0 or code > 0x10FFFF or 0xD800 <= code < 0xE000 else chr(code)
