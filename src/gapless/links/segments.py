"""Append-only progress: every record is written once, and a crawl that was killed reads them back."""

import asyncio
import json
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from gapless.links.record import Hop, Link, Record

VERSION = 1
SMALLEST = 4
SHARE = 0.02
SECONDS = 1.0


class _Table:
    """Writes each string once and numbers it."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def number(self, item: Any) -> int:
        return self.numbers.setdefault(item, len(self.numbers))


def pack(records: Iterable[Record]) -> bytes:
    """Write records as bytes that stand alone; equal records give equal bytes."""
    strings, links = _Table(), _Table()

    def string(text: str | None) -> int | None:
        return None if text is None else strings.number(text)

    rows = [
        [
            string(record.url),
            record.attempt,
            record.status,
            string(record.error),
            [[string(hop.url), hop.status] for hop in record.chain],
            string(record.final),
            string(record.location),
            record.html,
            record.ids,
            [links.number(link) for link in record.links],
            record.link_count,
            record.cut,
            string(record.recovered),
        ]
        for record in records
    ]
    link_rows = [[string(link.href), string(link.target), string(link.text), link.valid] for link in links.numbers]
    document = [VERSION, list(strings.numbers), link_rows, rows]
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)


def unpack(data: bytes, known: dict[Link, Link]) -> list[Record]:
    """Read records back, sharing equal links through `known`. Raises ValueError on anything else."""
    unreadable = "The stored progress of this audit cannot be read; start the audit anew."
    try:
        version, strings, link_rows, rows = json.loads(zlib.decompress(data))
        if version == VERSION:
            links = [Link(strings[h], strings[t], strings[x], valid) for h, t, x, valid in link_rows]
            links = [known.setdefault(link, link) for link in links]
            return [_record(row, strings, links) for row in rows]
    except (zlib.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(unreadable) from error
    raise ValueError(unreadable)


def _record(row: list[Any], strings: Sequence[str], links: Sequence[Link]) -> Record:
    def string(number: int | None) -> str | None:
        return None if number is None else strings[number]

    url, attempt, status, error, chain, final, location, html, ids, numbers, count, cut, recovered = row
    return Record(
        url=strings[url],
        attempt=attempt,
        status=status,
        error=string(error),
        chain=tuple(Hop(strings[hop], code) for hop, code in chain),
        final=strings[final],
        location=string(location),
        html=html,
        ids=ids,
        links=tuple(links[number] for number in numbers),
        link_count=count,
        cut=cut,
        recovered=string(recovered),
    )


class Journal:
    """Remembers what was fetched, and seals it bit by bit.

    Args:
        resume: segments that earlier attempts sealed, in order.
        seal: takes each new segment and returns once it is safe, or None when nothing is kept.
    """

    def __init__(self, resume: Iterable[bytes] = (), seal: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self.links: dict[Link, Link] = {}
        self._known = {(record.url, record.attempt): record for data in resume for record in unpack(data, self.links)}
        self._seal = seal
        self._lock = asyncio.Lock()
        self._new: list[Record] = []
        self._sealed_at = time.monotonic()

    def recall(self, url: str, attempt: int) -> Record | None:
        """Return what an earlier request for the address came to, or None."""
        return self._known.get((url, attempt))

    async def keep(self, record: Record) -> None:
        """Remember a record; returns once it is sealed or few enough are not."""
        async with self._lock:  # also slows the crawl down to what the store can take
            self._known[record.url, record.attempt] = record
            self._new.append(record)
            due = max(SMALLEST, int(SHARE * len(self._known)))
            if len(self._new) >= due or time.monotonic() - self._sealed_at >= SECONDS:
                await self._flush()

    async def close(self) -> None:
        """Seal what is left."""
        async with self._lock:
            await self._flush()

    async def _flush(self) -> None:
        if self._new and self._seal is not None:
            await self._seal(pack(self._new))
        self._new.clear()
        self._sealed_at = time.monotonic()
