"""What a JSON document claims, whatever its keys are called."""

import re
from collections.abc import Iterator
from typing import Any

from gapless.links.reading.addresses import LIKE_ADDRESS, addresses
from gapless.links.reading.fields import MAX_FIELD, Row, Said, fields_of, scalar
from gapless.links.reading.sentences import guess, statements
from gapless.links.reading.words import is_claim, listing_of, sign_of

MAX_ENTRIES = 50_000

_CONTENTS = frozenset({"links", "anchors", "urls", "items", "results", "targets", "hrefs"})


def is_report(document: Any, depth: int = 0) -> bool:
    """Say whether a document speaks of what is broken, even when it says that nothing is."""
    if not isinstance(document, dict) or depth > 3:
        return False
    named = any(
        re.search("broken|dead", name, re.IGNORECASE) and isinstance(value, list | dict)
        for name, value in document.items()
    )
    return named or any(is_report(value, depth + 1) for value in document.values())


def walk(value: Any, page: str | None, listed: bool | None = None, depth: int = 0) -> Iterator[Row]:
    """Return what a document claims.

    Args:
        value: the document or a part of it.
        page: the page that the part is about.
        listed: whether the part stands in a list of what is broken.
        depth: how deep it stands.
    """
    if isinstance(value, dict):
        yield from _walk_object(value, page, listed, depth)
    elif isinstance(value, list):
        for each in value[: MAX_ENTRIES + 1]:
            rows = list(_walk_entry(each, page, listed or depth == 0, depth))
            yield from rows
            if not rows and listed:
                yield str(each)[:MAX_FIELD]


def _walk_entry(value: Any, page: str | None, listed: bool, depth: int) -> Iterator[Row]:
    if isinstance(value, str):
        found = addresses(value)
        if found and len(found[0].address) < len(value.strip()):
            yield from statements(value, page, listed=listed or None)
        elif listed and value.strip() and " " not in value.strip():
            yield Said(page, None, found[0].address if found else value, "")
    elif isinstance(value, list) and value and not any(isinstance(cell, dict | list) for cell in value):
        yield from guess([scalar(cell) for cell in value], page, listed=listed)
    else:
        yield from walk(value, page, listed or None, depth + 1)


def _walk_object(value: dict[str, Any], page: str | None, listed: bool | None, depth: int) -> Iterator[Row]:
    fields = fields_of(value.items(), exact=True)
    parts = {name: part for name, part in value.items() if isinstance(part, dict | list)}
    inner = {name: listing_of(name) for name in parts}
    holds = any(inner.values()) or (not fields.reason and not _CONTENTS.isdisjoint(name.lower() for name in parts))
    if (fields.targets or fields.hrefs or fields.urls) and not holds:
        plain = fields.pages or fields.hrefs or fields.targets
        if is_claim(fields.sign, listed if listed is not None else bool(plain) or None):
            yield from fields.claims(page)
        return
    page = next(iter(fields.pages or (fields.urls if depth else [])), page)
    for name, part in value.items():
        address = LIKE_ADDRESS.match(name) is not None and " " not in name
        if name in parts:
            if inner[name] is not False or address:
                yield from walk(part, name if address else page, inner[name] or listed or (address or None), depth + 1)
        elif address and not isinstance(part, bool):
            sign = sign_of(scalar(part))[0]
            if is_claim(sign, listed):
                yield Said(page, None, name, scalar(part))
