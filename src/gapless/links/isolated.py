"""The program that parses one page in a process of its own, under limits of CPU time and memory."""

import json
import sys

from selectolax.lexbor import SelectolaxError

from gapless.links.parse import MAX_LINKS, Parsed, parse
from gapless.links.suspicion import marks

MEMORY = 85_000_000
"""Bytes of data the process may take; interpreter and parser have 12 MB of them."""
TAGS = 110_000
"""Tags, opening and closing ones, of the part of a page that is parsed when the whole is too large: about 50 MB."""
_CHUNK = 1 << 16


def limit(seconds: int) -> None:
    """End the process by a signal after that much CPU time, and fail what needs more than MEMORY."""
    try:
        import resource
    except ImportError:  # Windows has no such limits: there the parent's deadline is the only one
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def read(body: bytes, *, links: bool) -> Parsed | None:
    """Parse a page. Of one too large for the memory, take the first MAX_LINKS links when it has as many.

    Returns:
        What it holds, or None when that takes too much memory.
    """
    try:
        return parse(body, links=links)
    except (MemoryError, SelectolaxError):
        if not links:
            return Parsed(None, [], "\0".join(marks(body)), cut=False)
    try:
        part = parse(_part(body))
    except (MemoryError, SelectolaxError):
        return None
    return part._replace(ids="\0".join(marks(body))) if len(part.links) == MAX_LINKS else None


def _part(body: bytes) -> bytes:
    tags = at = 0
    while at < len(body) and tags <= TAGS:
        tags += body.count(b"<", at, at + _CHUNK)
        at += _CHUNK
    return body[:at]


def main(links: bool, seconds: int) -> None:
    """Read a page from standard input, and write to standard output what it holds, as JSON, or nothing.

    Args:
        links: whether base and links are wanted, or ids only.
        seconds: of CPU time.
    """
    body = sys.stdin.buffer.read()
    limit(seconds)
    if parsed := read(body, links=links):
        sys.stdout.write(json.dumps(parsed))
        sys.stdout.flush()
