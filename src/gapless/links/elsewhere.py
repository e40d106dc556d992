"""Links that lead to other hosts: a crawl asks these hosts itself, or leaves that to whoever asks them for all."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from itertools import chain
from typing import Any, NamedTuple

from gapless.links import check, segments, urls
from gapless.links.record import Record
from gapless.links.result import Crawl
from gapless.links.scope import Scope


class Elsewhere(StrEnum):
    """Who asks other hosts."""

    HERE = "here"
    """The crawl."""
    LATER = "later"
    """Others, before the crawl goes on: it ends without looking for the places of what is wrong."""
    GIVEN = "given"
    """Others did: what they found is taken, and what they did not look at is called not checked."""


class Looked(NamedTuple):
    """What a look at some addresses found.

    Attributes:
        records: by address.
        pause: seconds that the host still asks to be left alone, which nobody waited for; 0 for none.
    """

    records: dict[str, Record]
    pause: float


def leading_elsewhere(used: Iterable[str], crawl: Crawl) -> list[str]:
    """Return those of the targets used that are on other hosts, and the site's addresses that redirect to one."""
    on_site = crawl.scope.on_site
    leaving = (url for url, record in crawl.records.items() if record.location and not on_site(record.location))
    return [*(target for target in used if not on_site(target)), *filter(on_site, leaving)]


def unseen(crawl: Crawl) -> list[str]:
    """Return where the links of a crawl lead on other hosts as far as is known, where nobody looked."""
    there = {number for number, name in enumerate(crawl.names) if urls.is_web(name) and not crawl.scope.on_site(name)}
    used = there.intersection(chain.from_iterable(record.links for record in crawl.records.values())) if there else ()
    return onward(leading_elsewhere([crawl.names[n] for n in used], crawl), crawl.records, crawl.scope)


def onward(targets: Iterable[str], records: Mapping[str, Record], scope: Scope) -> list[str]:
    """Return how far targets lead, where that is an address on another host of which nothing is known, sorted."""
    return sorted(set(_onward(targets, records, scope)))


def _onward(targets: Iterable[str], records: Mapping[str, Record], scope: Scope) -> Iterator[str]:
    for target in targets:
        if not urls.is_web(target):
            continue
        journey = check.travel(target, records)
        if journey.end is None and journey.fault is None and not scope.on_site(journey.at):
            yield f"{journey.at}#{journey.fragment}" if journey.fragment else journey.at


def enough(targets: Iterable[str], records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the records without those at the end of a target whose fragment was not looked for at the time."""
    ends = (check.travel(target, records) for target in targets)
    short = {each.end.url for each in ends if each.end and each.end.ids is None and check.needs_ids(each.fragment)}
    return {url: record for url, record in records.items() if url not in short}


def pack(records: Iterable[Record], **more: Any) -> bytes:
    """Write records of other hosts as a segment that a crawl can go on with; equal ones give equal bytes."""
    ordered = sorted((replace(record, links=array("I")) for record in records), key=lambda record: record.url)
    return segments.pack([], ordered, same=[], **more)


def unpack(data: bytes) -> dict[str, Record]:
    """Read records of other hosts, by address. Raises ValueError on anything else."""
    return {record.url: record for record in segments.unpack(data)[1]}
