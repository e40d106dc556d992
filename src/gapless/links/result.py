"""A finished crawl, and what is wrong on the site."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from gapless.links import check, segments
from gapless.links.check import Outcome
from gapless.links.record import Hop, Link, Record
from gapless.links.scope import Scope


@dataclass(frozen=True, slots=True)
class Finding:
    """A link that is not ok, once for each page and target.

    Attributes:
        page: address of the page it stands on.
        href: the link as written, where it stands first.
        target: the address it means, fragment included.
        result: "broken", "unverified", "flaky" or "warning".
        reason: stable id, for example "http_404", "missing_fragment", "blocked_403".
        status: last HTTP status on the way, or None.
        chain: the answers on the way, when there was more than one.
        text: what a reader sees of the link.
    """

    page: str
    href: str
    target: str
    result: str
    reason: str
    status: int | None
    chain: tuple[Hop, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it with plain values only."""
        values = {name: getattr(self, name) for name in self.__slots__}  # asdict copies deeply, ten times as slow
        return values | {"chain": [list(hop) for hop in self.chain]}


@dataclass(slots=True)
class Crawl:
    """What an audit saw of a site.

    Attributes:
        scope: what it covered.
        records: by address, in the order of the visit.
        pages: by final address: the pages that links were taken from.
        skipped: addresses that were not visited, with the reason id.
        incomplete_reason: why it did not see the whole site, in one line, or None.
    """

    scope: Scope
    records: dict[str, Record] = field(default_factory=dict)
    pages: dict[str, Record] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    incomplete_reason: str | None = None
    _findings: list[Finding] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether it saw the whole site."""
        return self.incomplete_reason is None

    @property
    def links(self) -> int:
        """Links on the pages that the audit covers, repeated ones included."""
        return sum(page.link_count for page in self.pages.values())

    def outcomes(self) -> dict[str, Outcome]:
        """Return what each distinct target comes to, those left out that the audit did not go to."""
        targets = {link.target for page in self.pages.values() for link in page.links if link.valid}
        targets.add(self.scope.start)
        judged = {target: check.judge(target, self.records, self.skipped) for target in sorted(targets)}
        return {target: outcome for target, outcome in judged.items() if outcome is not None}

    def findings(self) -> list[Finding]:
        """Return every link that is not ok, sorted by page and target.

        They are worked out once: ask when the crawl is over.
        """
        if self._findings is None:
            found = self._find(self.outcomes())
            self._findings = sorted(found, key=lambda each: (each.page, each.target, each.reason))
        return self._findings

    def broken(self) -> set[str]:
        """Return the distinct targets that are broken."""
        return {found.target for found in self.findings() if found.result == check.BROKEN}

    def _find(self, outcomes: dict[str, Outcome]) -> Iterator[Finding]:
        start = self.scope.start
        if not self.pages and start in outcomes:
            yield from _finding(start, Link(start, start, ""), outcomes[start])
        for address, page in self.pages.items():
            for link in page.links:
                outcome = outcomes.get(link.target) if link.valid else Outcome(check.BROKEN, "bad_url")
                if outcome is not None:
                    yield from _finding(address, link, outcome)
            if page.cut:
                yield from _finding(
                    address, Link("", address, ""), Outcome(check.WARNING, "too_many_links", page.status)
                )

    def to_bytes(self) -> bytes:
        """Write it down; equal crawls give equal bytes."""
        head = {
            "scope": asdict(self.scope),
            "pages": {address: page.url for address, page in self.pages.items()},
            "skipped": dict(sorted(self.skipped.items())),
            "incomplete_reason": self.incomplete_reason,
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        return len(text).to_bytes(8, "big") + text + segments.pack(self.records.values())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Crawl":
        """Read it back. Raises ValueError when the bytes are something else."""
        size = 8 + int.from_bytes(data[:8], "big")
        try:
            head = json.loads(data[8:size])
            scope = Scope(**head["scope"])
            records = {record.url: record for record in segments.unpack(data[size:], {})}
            pages = {address: records[url] for address, url in head["pages"].items()}
            return cls(scope, records, pages, head["skipped"], head["incomplete_reason"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError("These bytes are no crawl that this version can read.") from error


def _finding(page: str, link: Link, outcome: Outcome) -> Iterator[Finding]:
    if outcome.result != check.OK:
        yield Finding(
            page,
            link.href,
            link.target,
            outcome.result,
            outcome.reason,
            outcome.status,
            outcome.chain,
            link.text,
        )
