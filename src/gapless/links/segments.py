"""Records as bytes: append-only progress, which a crawl that was killed reads back, and whole crawls."""

import asyncio
import json
import sys
import time
import zlib
from array import array
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import accumulate, starmap
from operator import attrgetter
from typing import Any

from gapless.links.record import Hop, Numbers, Record

VERSION = 5
"""Of the rows, and of what is taken for a link: what another version stored is not read."""
RECORDS, SECONDS = 2_000, 5.0
"""A segment is sealed after so many records, or so long: what a kill costs at most."""

_PLAIN = {each.name: attrgetter(each.name) for each in fields(Record) if each.name != "links"}


def pack(names: Sequence[str], records: Sequence[Record], links: "array[int] | None" = None, **more: Any) -> bytes:
    """Write names and records as bytes; equal ones give equal bytes.

    Compressed JSON, and behind it as little-endian numbers of 4 bytes what the records link to, which hardly gets
    smaller when it is compressed, and takes as long as all else.

    Args:
        names: in the order of their numbers.
        records: what to write.
        links: numbers of the names that they link to, of one record after the other; their own when None.
        more: whatever else JSON can say.
    """
    numbers = joined(records) if links is None else links
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    columns = {name: list(map(get, records)) for name, get in _PLAIN.items()}
    table = {"columns": columns, "counts": [len(record.links) for record in records]}
    document = {"version": VERSION, "names": names, "records": table, **more}
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1) + numbers.tobytes()


def joined(records: Iterable[Record]) -> "array[int]":
    """Return the numbers of what records link to, of one after the other."""
    return array("I", b"".join([record.links.tobytes() for record in records]))


def unpack(data: bytes) -> tuple[list[str], list[Record], dict[str, Any]]:
    """Read names, records and whatever was written beside them. Raises ValueError on anything else."""
    try:
        compressed = zlib.decompressobj()
        document = json.loads(compressed.decompress(data) + compressed.flush())
        if document["version"] == VERSION:
            return document.pop("names"), _records(document.pop("records"), compressed.unused_data), document
    except (zlib.error, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise ValueError(_UNREADABLE) from error
    raise ValueError(_UNREADABLE)


def _records(table: dict[str, Any], links: bytes) -> list[Record]:
    """Return the records of a table; equal ids are kept once."""
    columns, counts, ids = table["columns"], table["counts"], dict[str | None, str | None]()
    numbers = array("I", links)
    if sys.byteorder == "big":
        numbers.byteswap()
    if len(numbers) != sum(counts):
        raise ValueError(_UNREADABLE)
    columns["links"] = [numbers[end - count : end] for count, end in zip(counts, accumulate(counts), strict=True)]
    columns["ids"] = [ids.setdefault(each, each) for each in columns["ids"]]
    columns["chain"] = [tuple(starmap(Hop, each)) if each else () for each in columns["chain"]]
    return list(starmap(Record, zip(*(columns[each.name] for each in fields(Record)), strict=True)))


_UNREADABLE = "What this audit stored cannot be read by this version; start the audit anew."


class Journal:
    """Remembers what was fetched, and seals it bit by bit.

    Args:
        numbers: of the names that records speak of; a segment holds those that are new since the last.
        resume: segments that earlier attempts sealed, in order.
        seal: takes each new segment and returns once it is safe, or None when nothing is kept.
        previous: records of the last audit, of which those that have not changed are named only.

    Raises:
        ValueError: the segments are of another version.
    """

    def __init__(
        self,
        numbers: Numbers,
        resume: Iterable[bytes] = (),
        seal: Callable[[bytes], Awaitable[None]] | None = None,
        previous: Mapping[str, Record] | None = None,
    ) -> None:
        self.known: dict[str, Record] = {}
        self.beside: dict[str, Any] = {}
        """What was noted, by name."""
        self._noted: dict[str, Any] = {}
        self._numbers = numbers
        self._seal = seal
        self._sealing: asyncio.Task[None] | None = None
        self._new: list[Record] = []
        self._same: list[str] = []
        places, moved = list(range(len(numbers.names))), False
        for data in resume:
            names, records, more = unpack(data)
            first = len(places)
            places += map(numbers.place, names)
            moved = moved or places[first:] != list(range(first, len(places)))
            if moved:  # a name was dropped, and came again: it has two numbers there
                for record in records:
                    record.links = array("I", [places[number] for number in record.links])
            self.known.update((record.url, record) for record in records)
            self.known.update((url, previous[url]) for url in more["same"] if previous and url in previous)
            self.beside |= more.get("beside", {})
        self._written = len(numbers.names)
        self._sealed_at = time.monotonic()

    async def keep(self, records: Sequence[Record], same: Collection[str] = ()) -> None:
        """Remember records; waits only while the segment before is still being sealed and another one is due.

        Args:
            records: what was fetched.
            same: addresses of those that are what the last audit has.
        """
        if self._seal is None:
            return
        self._same += same
        self._new += [record for record in records if record.url not in same] if same else records
        if len(self._new) + len(self._same) >= RECORDS or time.monotonic() - self._sealed_at >= SECONDS:
            await self._flush()

    def note(self, name: str, what: Any) -> None:
        """Remember, with the next segment, what is no record but can be said in JSON."""
        self.beside[name] = self._noted[name] = what

    async def close(self) -> None:
        """Seal what is left."""
        if self._seal is not None:
            await self._flush()
            await self._settle()

    async def _flush(self) -> None:
        await self._settle()
        if (self._new or self._same or self._noted) and self._seal is not None:
            segment = pack(self._numbers.names[self._written :], self._new, same=self._same, beside=self._noted)
            self._written = len(self._numbers.names)
            self._new, self._same, self._noted = [], [], {}
            self._sealing = asyncio.ensure_future(self._seal(segment))
        self._sealed_at = time.monotonic()

    async def _settle(self) -> None:
        if self._sealing is not None:
            await asyncio.shield(self._sealing)  # whoever is stopped here has its segment safe all the same
            self._sealing = None
