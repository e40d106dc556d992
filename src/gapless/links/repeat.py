"""A walk over the site that would find all as the last audit found it: what it comes to, without taking it."""

from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

from gapless.links.frontier import FORBIDDEN, TRAP, Robots
from gapless.links.record import Record
from gapless.links.result import Crawl

_leads = attrgetter("status", "error", "chain", "final", "location", "kind", "digest", "links")
"""All of a record that decides where a walk goes on."""


class Repeated(NamedTuple):
    """What a walk finds: records of the site by address, and the addresses that it passes by, with the reason id."""

    records: dict[str, Record]
    skipped: dict[str, str]


def repeated(
    last: Crawl, known: Mapping[str, Record], sitemaps: Mapping[str, Record], robots: Robots | None
) -> Repeated | None:
    """Return what a walk comes to, or None when it has to be taken.

    It is decided by where it begins and by what each address answers: when these are the same, so is the walk.

    Args:
        last: the last crawl of the scope.
        known: what addresses answer now.
        sitemaps: where it begins, beside the start page.
        robots: the rules of now.
    """
    on_site = last.scope.on_site
    records: dict[str, Record] = {}
    before: dict[str, Record] = {}
    for url, record in last.records.items():
        if not on_site(url):
            if record.location and on_site(record.location):
                return None  # what of the site nothing else leads to is not known
        elif record.kind == "sitemap":
            before[url] = record
        elif (now := known.get(url)) is None or record.cut or (now is not record and _leads(now) != _leads(record)):
            return None
        else:
            records[url] = now
    skipped = {url: why for url, why in last.skipped.items() if why in {FORBIDDEN, TRAP}}
    allowed = robots is not None and any(robots.allows(url) for url, why in skipped.items() if why == FORBIDDEN)
    if allowed or before != sitemaps or not last.complete:
        return None
    return Repeated({**sitemaps, **records}, skipped)
