"""The head of an HTTP/1.1 answer: its status line and its fields, as strictly as RFC 9112 has them, and as fast."""

import re

MAX_HEAD, MAX_FIELDS = 65_536, 256
LINES, LINE = 256, 256
"""Header lines that are remembered with what they say, and characters of each."""

# Each byte of a field can be matched in one way only: a header of 64 KB must not take longer than its bytes.
_FIELD = r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++)[ \t]*+:([^\r\n\0]*+(?:\r?\n[ \t][^\r\n\0]*+)*+)\r?\n"
_FIELDS = re.compile(_FIELD)
_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++)[ \t]*+:([^\r\n\0]*+)")
_ALL_FIELDS = re.compile(f"(?:{_FIELD})*+\r?\n")
STATUS = re.compile(rb"HTTP/1\.([01])[ \t]++([1-9]\d\d)(?:[ \t][^\r\n\0]*+)?\r?\n")
_LISTS = frozenset({"content-length", "transfer-encoding", "content-encoding"})
"""Fields of which each one counts, however often they are sent: those that say where a body ends and how it is read."""
_PARTICULAR = frozenset({"content-length", "etag", "last-modified", "location", "set-cookie"})
"""Fields that few answers have in common."""


def fields_of(head: bytes | bytearray, status: re.Match[bytes]) -> dict[str, str] | None:
    """Return the header fields, or None when there are too many or they are no such thing."""
    if status[2] == b"304" and b"lose" not in head:
        return {}  # nobody asks what it says, but for whether the connection is closed
    text = head[status.end() :].decode("utf-8", "surrogateescape")
    found = _by_line(text)
    if found is None:  # lines that end or go on in ways that few still use, or no header at all
        found = [(name.lower(), " ".join(raw.split()) if "\n" in raw else raw) for name, raw in _FIELDS.findall(text)]
        if not _ALL_FIELDS.fullmatch(text):
            return None
    if len(found) > MAX_FIELDS:
        return None
    fields: dict[str, str] = {}
    for name, raw in found:
        value = raw.strip()
        if name not in fields:
            fields[name] = value
        elif name in _LISTS:
            fields[name] += f", {value}"
        elif name == "set-cookie":
            fields[name] += f"\n{value}"
    return fields


def _by_line(text: str) -> list[tuple[str, str]] | None:
    """Return names and values, or None when the text is not simply a field in each line."""
    rows = text.split("\r\n")
    found = [_known.get(row) or _field(row) for row in rows[:-2]]
    return [pair for pair in found if pair] if None not in found and text.count("\n") == len(rows) - 1 else None


_known: dict[str, tuple[str, str]] = {}
"""What lines say that a host sends with every answer."""


def _field(row: str) -> tuple[str, str] | None:
    line = _LINE.fullmatch(row)
    if line is None:
        return None
    pair = line[1].lower(), line[2]
    if pair[0] not in _PARTICULAR and len(row) <= LINE:
        if len(_known) >= LINES:
            _known.clear()
        _known[row] = pair
    return pair


def length_of(field: str) -> int | None:
    """Return the Content-Length, or None when it is no number, or more than one."""
    if "," in field:
        first, *others = (each.strip() for each in field.split(","))
        field = first if set(others) == {first} else ""
    return int(field) if field.isascii() and field.isdigit() and len(field) <= 18 else None
