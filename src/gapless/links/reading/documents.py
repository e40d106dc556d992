"""JSON in a text: fenced, commented, cut off, with single quotes, as JSON Lines."""

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 40

_BEGINNING = re.compile(r"""(?:\{(?=\s*+(?:["'}/]|[A-Za-z_]\w{0,60}+\s*+:))|\[(?=\s*+["'\[{\]/]))""")
_TOKEN = re.compile(
    r"""(?:[\s,]++|//[^\n]*+|/\*(?:[^*]|\*(?!/)){0,2000}+\*/)*+
    (?:(?P<open>[\[{])|(?P<close>[\]}])|(?P<colon>:)
    |"(?P<double>[^"\\]*+(?:\\.[^"\\]*+)*+)"|'(?P<single>[^'\\]*+(?:\\.[^'\\]*+)*+)'|(?P<word>[^\s\[\]{}:,"'/]++))""",
    re.VERBOSE | re.DOTALL,
)
_COLON = re.compile(r"\s*+:")
_WORDS_OF_JSON = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?")


def documents(text: str) -> Iterator[tuple[Any, int, int]]:
    """Return what looks like JSON in a text, and where it begins and ends; each part is read once."""
    at = 0
    while beginning := _BEGINNING.search(text, at):
        document, at = _document(text, beginning.start())
        yield document, beginning.start(), at


def _document(text: str, at: int) -> tuple[Any, int]:
    """Read one value as far as it goes, and return it and where the reading ended.

    Commas may be missing or too many, quotes single or left out, and the end may be missing, too.
    """
    stack: list[Any] = []
    root: Any = None
    key: str | None = None
    while token := _TOKEN.match(text, at):
        kind, at = token.lastgroup, token.end()
        if kind == "close":
            stack.pop()
            key = None
            if not stack:
                break
            continue
        inside = stack[-1] if stack else None
        if isinstance(inside, dict) and key is None:
            if kind in {"open", "colon"} or not _COLON.match(text, at):
                break
            key = str(_value(token))
        elif kind == "colon":
            if key is None:
                break
        else:
            value = {"{": {}, "[": []}[token["open"]] if kind == "open" else _value(token)
            root = _placed(value, inside, key, root)
            key = None
            if kind == "open":
                if len(stack) >= MAX_DEPTH:
                    break
                stack.append(value)
    return root, at


def _placed(value: Any, inside: Any, key: str | None, root: Any) -> Any:
    if inside is None:
        return value
    if isinstance(inside, dict):
        inside[key] = value
    else:
        inside.append(value)
    return root


def _value(token: re.Match[str]) -> Any:
    if (word := token["word"]) is not None:
        if word in _WORDS_OF_JSON:
            return _WORDS_OF_JSON[word]
        return (float(word) if "." in word else int(word)) if _NUMBER.fullmatch(word) else word
    text = token["double"] if token["single"] is None else token["single"].replace("\\'", "'").replace('"', '\\"')
    if "\\" not in text:
        return text
    try:
        return json.loads(f'"{text}"', strict=False)
    except ValueError:
        return re.sub(r"\\(.)", r"\1", text)
