"""A finished crawl, and what is wrong on the site."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from gapless.links import check, segments
from gapless.links.check import Outcome
from gapless.links.record import INVALID, Hop, Place, Record
from gapless.links.scope import Scope

EVERYWHERE = 0.1
"""Share of the pages from which on a link stands everywhere: it is one thing to mend, not many."""
OTHERS_LOCATED = 100
"""Links that are not ok and not broken, such as permanent redirects, whose place in the source is looked up."""


class Finding(NamedTuple):
    """A link that is not ok, once for each page and target.

    Attributes:
        page: address of the page it stands on.
        href: the link as written, where it stands first; the target where nobody looked.
        target: the address it means, fragment included.
        result: "broken", "unverified", "flaky" or "warning".
        reason: stable id, for example "http_404", "missing_fragment", "blocked_403".
        status: last HTTP status on the way, or None.
        chain: the answers on the way, when there was more than one.
        text: what a reader sees of the link.
        line: where it stands in the page's source, from 1 on, or None.
        column: the same, in characters, of the element.
        attempts: requests that the last address on the way took.
        confirmation: "confirmed" when more than one request saw it, or it needs none to be seen; else "single".
    """

    page: str
    href: str
    target: str
    result: str
    reason: str
    status: int | None
    chain: tuple[Hop, ...] = ()
    text: str = ""
    line: int | None = None
    column: int | None = None
    attempts: int = 1
    confirmation: str = "single"


@dataclass(slots=True, repr=False)
class Crawl:
    """What an audit saw of a site.

    Attributes:
        scope: what it covered.
        names: targets of links, by the numbers that records hold.
        records: by address.
        skipped: addresses that were not visited, with the reason id.
        incomplete_reason: why it did not see the whole site, in one line, or None.
        places: by page and target, where links that are not ok stand in the source.
    """

    scope: Scope
    names: Sequence[str] = ()
    records: dict[str, Record] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    incomplete_reason: str | None = None
    places: dict[str, dict[str, Place]] = field(default_factory=dict)
    _sources: dict[str, Record] | None = field(default=None, init=False, compare=False)
    _pages: dict[str, Record] | None = field(default=None, init=False, compare=False)
    _wrong_ones: dict[int, Outcome] | None = field(default=None, init=False, compare=False)
    _findings: list[Finding] | None = field(default=None, init=False, compare=False)

    @property
    def sources(self) -> dict[str, Record]:
        """What links were taken from, by final address: pages, style sheets, drawings, feeds and sitemaps.

        Of addresses that are the same but for the query it has one. It is worked out once, as are the findings: ask
        when the crawl is over.
        """
        if self._sources is None:
            self._sources = dict(sorted(self._distinct().items()))
        return self._sources

    @property
    def pages(self) -> dict[str, Record]:
        """The pages among the sources."""
        if self._pages is None:
            self._pages = {url: record for url, record in self.sources.items() if record.is_page}
        return self._pages

    @property
    def complete(self) -> bool:
        """Whether it saw the whole site."""
        return self.incomplete_reason is None

    @property
    def links(self) -> int:
        """Links on the pages that the audit covers, repeated ones included."""
        return sum(page.link_count for page in self.pages.values())

    def targets(self, record: Record) -> list[str]:
        """Return the distinct targets on a page, in document order."""
        return [self.names[number] for number in record.links]

    def targets_used(self) -> set[str]:
        """Return the distinct targets on anything that was read, those that are no valid address left out."""
        numbers = set().union(*(record.links for record in self.records.values()))
        return {name for number in numbers if not (name := self.names[number]).startswith(INVALID)}

    def outcome(self, target: str) -> Outcome | None:
        """Return what a link to a target comes to, or None when the audit did not go there."""
        return check.judge(target, self.records, self.skipped)

    def findings(self) -> list[Finding]:
        """Return every link that is not ok, sorted by page and target.

        They are worked out once: ask when the crawl is over.
        """
        if self._findings is None:
            found = self._find()
            self._findings = sorted(found, key=lambda each: (each.page, each.target, each.reason))
        return self._findings

    def saw_the_same(self, other: "Crawl") -> bool:
        """Say whether another crawl of the scope saw the very same, so that all that is worked out is the same, too."""
        mine, others = (self.names, self.records, self.skipped), (other.names, other.records, other.skipped)
        return self.scope == other.scope and mine == others

    def judge_again(self, *, all_links: bool) -> None:
        """Forget what was worked out, since more is known now: of all links, or of those only that were not ok."""
        wrong, self._findings = self._wrong_ones, None
        if all_links or wrong is None:
            self._sources = self._pages = self._wrong_ones = None
        else:
            self._wrong_ones = self._outcomes(wrong)

    def broken(self) -> set[str]:
        """Return the distinct targets that are broken."""
        return {found.target for found in self.findings() if found.result == check.BROKEN}

    def to_locate(self) -> dict[str, set[str]]:
        """Return by page the targets whose place in the source is worth knowing.

        Broken ones on every page; those that stand everywhere on the first page; of all others some on the first page.
        """
        pages: dict[str, list[tuple[str, Outcome]]] = defaultdict(list)
        for page, target, outcome in self._wrong():
            pages[target].append((page, outcome))
        everywhere, others = max(3, EVERYWHERE * len(self.sources)), 0
        wanted: dict[str, set[str]] = defaultdict(set)
        for target, stands in sorted(pages.items()):
            broken = stands[0][1].result == check.BROKEN
            others += not broken
            if not broken and others > OTHERS_LOCATED:
                continue
            for page, _ in sorted(stands)[: None if broken and len(stands) <= everywhere else 1]:
                if page in self.sources:
                    wanted[page].add(target)
        return wanted

    def _distinct(self) -> dict[str, Record]:
        inside = self.scope.inside
        first: dict[tuple[str, str], Record] = {}
        for record in sorted(self.records.values(), key=lambda each: (len(each.final), each.final, each.url)):
            if (record.is_page and inside(record.final)) or (record.links and not record.is_page):
                key = record.final.partition("?")[0], record.digest or record.url
                first.setdefault(key, record)
        return {record.final: record for record in reversed(first.values())}

    def _wrong(self) -> Iterator[tuple[str, str, Outcome]]:
        """Yield page, target and outcome of every link that is not ok."""
        wrong, start = self._wrong_numbers(), self.scope.start
        if not self.pages and (outcome := self.outcome(start)) is not None and outcome.result != check.OK:
            yield start, start, outcome
        for page, record in self.sources.items():
            for number in wrong.keys() & record.links:
                yield page, self.names[number], wrong[number]

    def _wrong_numbers(self) -> dict[int, Outcome]:
        """Return the outcomes that are not ok by the numbers of their targets; they are worked out once."""
        if self._wrong_ones is None:
            self._wrong_ones = self._outcomes(number for number, name in enumerate(self.names) if name)
        return self._wrong_ones

    def _outcomes(self, numbers: Iterable[int]) -> dict[int, Outcome]:
        """Return what is not ok."""
        names, found = self.names, {}
        fine = {url for url, record in self.records.items() if check.is_fine(record)}  # what most links lead to
        others = [number for number in numbers if names[number] not in fine]
        for number in sorted(others, key=names.__getitem__):  # those on one page are quicker one after the other
            page, _, fragment = names[number].partition("#")
            if page in fine and check.has_id(fragment, self.records[page]):
                continue
            outcome = self.outcome(names[number])
            if outcome is not None and outcome.result != check.OK:
                found[number] = outcome
        return found

    def _find(self) -> Iterator[Finding]:
        for page, target, outcome in self._wrong():
            yield _finding(page, target, outcome, self.places.get(page, {}).get(target))
        for page, record in self.pages.items():
            if record.cut:
                cut = Outcome(check.WARNING, "too_many_links", record.status, attempts=record.attempts)
                yield _finding(page, page, cut, None)

    def to_bytes(self) -> bytes:
        """Write it down; equal crawls give equal bytes."""
        records = [record for _, record in sorted(self.records.items())]
        # Numbers in the order of the records, whatever order the answers came in.
        links = segments.joined(records)
        used = dict.fromkeys(links)
        new = [0] * len(self.names)
        for number, old in enumerate(used):
            new[old] = number
        return segments.pack(
            [self.names[number] for number in used],
            records,
            array("I", map(new.__getitem__, links)),
            scope=asdict(self.scope),
            skipped=dict(sorted(self.skipped.items())),
            incomplete_reason=self.incomplete_reason,
            places={page: [places[each] for each in sorted(places)] for page, places in sorted(self.places.items())},
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Crawl":
        """Read it back. Raises ValueError when the bytes are something else."""
        names, records, head = segments.unpack(data)
        try:
            scope = Scope(**head["scope"])
            places = {
                page: {place.target: place for place in (Place(*row) for row in rows)}
                for page, rows in head["places"].items()
            }
            by_url = {record.url: record for record in records}
            crawl = cls(scope, names, by_url, head["skipped"], head["incomplete_reason"], places)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("These bytes are no crawl that this version can read.") from error
        return crawl


def _finding(page: str, target: str, outcome: Outcome, place: Place | None) -> Finding:
    invalid = target.startswith(INVALID)
    shown = target.removeprefix(INVALID) if invalid else target
    return Finding(
        page,
        place.href if place else shown,
        shown,
        outcome.result,
        outcome.reason,
        outcome.status,
        outcome.chain,
        place.text if place else "",
        place.line if place else None,
        place.column if place else None,
        outcome.attempts,
        "confirmed" if outcome.attempts > 1 or outcome.reason in check.CERTAIN else "single",
    )
