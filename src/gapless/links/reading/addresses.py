"""Addresses in a line of text, as they are meant to be read."""

import re
from collections.abc import Sequence
from html import unescape
from itertools import islice
from typing import NamedTuple

MAX_PER_LINE = 100

UNSEEN = " \t\r\n\f\v\0\u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff" + "".join(
    map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)
_STOPS = r"\s<>\"`|，。；：、！？）】」』》〉（【「『《"  # noqa: RUF001 - what ends an address in Chinese and Japanese
_ADDRESS = re.compile(
    rf"""
      !?\[(?P<label>[^\[\]]{{0,300}}+)\]\(\s{{0,9}}<?(?P<link>[^\s<>()]{{0,2000}}+(?:\([^\s<>()]{{0,99}}+\)[^\s<>()]{{0,99}}+){{0,9}}+)>?
        (?:\s[^()]{{0,300}}+)?\)
    | (?<!`)`{{1,3}}+(?P<code>[^`\n]{{1,2000}}+)`{{1,3}}
    | <(?P<auto>https?://[^<>\s]{{1,2000}}+)>
    | (?P<bare>(?:https?|ｈｔｔｐｓ?)[:：][/／]{{2}}[^{_STOPS}]{{1,2000}}+)
    | (?<![^\s(\["'*_>:,;=|（：，、])(?P<path>\.{{0,2}}+/(?![\s/])[^{_STOPS}]{{1,2000}}+)
    """,  # noqa: RUF001 - agents that write Chinese write it full-width
    re.VERBOSE | re.IGNORECASE,
)
LIKE_ADDRESS = re.compile(
    r"https?://\S|\.{0,2}/|[#?]\S|[\w%~.-]+(?:/[\w%~.-]*)*\.(?:html?|\w{1,4}(?=[?#]|$))|[\w%~-]+/\S*$", re.IGNORECASE
)
_MARKS = re.compile(r"\\([!-/:-@\[-`{-~])")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{2,31});")
_PAIRS = {")": "(", "]": "[", "}": "{"}


class Found(NamedTuple):
    """An address and where it stands in its line, mark-up around it included."""

    """An address and where it stands in its line, mark-up around it included."""

    start: int
    end: int
    address: str


def addresses(text: str) -> list[Found]:
    """Return what stands for an address in a line, as it is meant to be read."""
    found = []
    for match in islice(_ADDRESS.finditer(text), MAX_PER_LINE):
        kind = match.lastgroup
        written = match[kind or 0]
        end = match.end()
        if kind in {"bare", "path"}:
            written = trimmed(written)
            end = match.start() + len(written)
        elif kind == "code":
            inner = _ADDRESS.fullmatch(written.strip())
            written = inner["link"] if inner and inner["link"] else written.strip()
            if not LIKE_ADDRESS.match(written) or " " in written.strip():
                continue
        if kind not in {"code", "link"} or written:
            found.append(Found(match.start(), end, unmarked(written) if kind != "code" else written))
    return found


def trimmed(address: str) -> str:
    """Leave out what belongs to the sentence or to the mark-up around an address."""
    end = len(address)
    counts = {mark: address.count(mark) for mark in "()[]{}"}
    while end:
        last = address[end - 1]
        if last in _PAIRS:
            if counts[last] <= counts[_PAIRS[last]]:
                break
            counts[last] -= 1
        elif last not in ".,;:!?'*_~…\\" and last not in UNSEEN:
            break
        end -= 1
    return address[:end]


def unmarked(address: str) -> str:
    """Undo the escapes of Markdown and the entities of HTML."""
    """Undo the escapes of Markdown and the entities of HTML."""
    plain = _MARKS.sub(r"\1", address)
    return _ENTITY.sub(lambda entity: unescape(entity[0]), plain)


def gaps(found: Sequence[Found], size: int) -> list[tuple[int, int]]:
    """Return where the text between addresses begins and ends."""
    return list(zip([0, *(each.end for each in found)], [*(each.start for each in found), size], strict=True))
