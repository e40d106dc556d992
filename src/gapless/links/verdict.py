"""What an agent's claims are worth: every one is fetched again, and what it missed is named."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapless.links import check, escape, urls
from gapless.links.check import Outcome
from gapless.links.claims import Claim
from gapless.links.crawl import follow
from gapless.links.fetch import Fetcher
from gapless.links.isolate import Parsers
from gapless.links.record import Record
from gapless.links.result import Crawl
from gapless.links.scope import Scope
from gapless.links.visit import Visitor

LISTED = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """One distinct target and what became of the claim about it.

    Attributes:
        target: the address, fragment included.
        page: a page that the link stands on or is said to stand on, or None.
        claimed: what the agent says is wrong; empty for what it missed.
        reason: why the verdict is what it is: the reason id of the failure, "works", "not_on_page", …
    """

    target: str
    page: str | None
    claimed: str
    reason: str


@dataclass(slots=True)
class Verdict:
    """Every claim in its place; one entry for each distinct target.

    Attributes:
        confirmed: broken when fetched again.
        false_alarms: works, or does not stand on the page that is named.
        unverifiable: neither could be shown.
        missed: broken on the site by the audit's own crawl, and not claimed.
        out_of_scope: claims about what the audit does not cover; never fetched.
    """

    confirmed: list[Judged] = field(default_factory=list)
    false_alarms: list[Judged] = field(default_factory=list)
    unverifiable: list[Judged] = field(default_factory=list)
    missed: list[Judged] = field(default_factory=list)
    out_of_scope: list[Judged] = field(default_factory=list)

    @property
    def precision(self) -> float | None:
        """Share of right claims among those that could be judged, or None when there are none."""
        return _share(len(self.confirmed), len(self.false_alarms))

    @property
    def recall(self) -> float | None:
        """Share of the broken targets that were claimed, or None when there are none."""
        return _share(len(self.confirmed), len(self.missed))

    def to_dict(self) -> dict[str, Any]:
        """Return it with plain values only."""
        groups = ("confirmed", "false_alarms", "unverifiable", "missed", "out_of_scope")
        listed = {name: [_plain(judged) for judged in getattr(self, name)] for name in groups}
        return listed | {"precision": self.precision, "recall": self.recall}


async def judge(crawl: Crawl, claims: Iterable[Claim], scope: Scope) -> Verdict:
    """Judge an agent's claims against the pages of a crawl and fresh answers.

    Args:
        crawl: the audit's own crawl.
        claims: what the agent says.
        scope: what may be fetched.
    """
    verdict = Verdict()
    by_target: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_target[claim.target].append(claim)
    pages = _Pages(crawl)
    to_fetch: list[str] = []
    for target, said in sorted(by_target.items()):
        placed = pages.place(target, said, scope)
        if placed is None:
            to_fetch.append(target)
        else:
            group, reason = placed
            getattr(verdict, group).append(_judged(target, said, reason))
    outcomes = await _fetch(to_fetch, crawl, scope)
    for target in to_fetch:
        group, reason = _weigh(outcomes[target])
        getattr(verdict, group).append(_judged(target, by_target[target], reason))
    verdict.false_alarms.sort(key=lambda judged: judged.target)
    verdict.unverifiable.sort(key=lambda judged: judged.target)
    verdict.missed = _missed(crawl, by_target)
    return verdict


def verdict_markdown(verdict: Verdict, *, site: str) -> str:
    """Write the verdict as a section of the report.

    Args:
        verdict: what became of the claims.
        site: origin of the site; addresses on it are shown as paths.
    """
    lines = ["## Agent", verdict_summary(verdict), ""]
    for title, group in (
        ("False alarms", verdict.false_alarms),
        ("Missed", verdict.missed),
        ("Unverifiable", verdict.unverifiable),
        ("Out of scope", verdict.out_of_scope),
    ):
        lines += _section(title, group, urls.origin(site + "/"))
    return "\n".join(lines).rstrip("\n") + "\n"


def verdict_summary(verdict: Verdict) -> str:
    """Return the verdict in one line."""
    counts = [
        f"{len(verdict.confirmed)} confirmed",
        f"{len(verdict.false_alarms)} false alarm{'s' * (len(verdict.false_alarms) != 1)}",
        f"{len(verdict.missed)} missed",
    ]
    if verdict.unverifiable:
        counts.append(f"{len(verdict.unverifiable)} unverifiable")
    if verdict.out_of_scope:
        counts.append(f"{len(verdict.out_of_scope)} out of scope")
    rates = f"precision {_rate(verdict.precision)}, recall {_rate(verdict.recall)}"
    return f"{', '.join(counts)}: {rates}"


class _Pages:
    """What the crawl saw on which page."""

    def __init__(self, crawl: Crawl) -> None:
        self._crawl = crawl
        self._everywhere = {link.target for page in crawl.pages.values() for link in page.links}
        self._on_page: dict[str, tuple[set[str], set[str]]] = {}

    def place(self, target: str, said: Sequence[Claim], scope: Scope) -> tuple[str, str] | None:
        """Return the verdict that needs no request and its reason, or None when the target is to be fetched."""
        if not urls.is_web(target):
            known = target in self._everywhere
            return ("confirmed", "bad_url") if known else ("false_alarms", "not_on_page")
        if not scope.on_site(target) and not scope.external:
            return "out_of_scope", "another host"
        if not any(map(self._stands, said)):
            if self._crawl.complete:
                return "false_alarms", "not_on_page"
            if not any(claim.page in self._crawl.pages for claim in said):
                return "unverifiable", "page_not_crawled"
            return "false_alarms", "not_on_page"
        skipped = self._crawl.skipped.get(urls.split_fragment(target)[0])
        return ("unverifiable", skipped) if skipped else None

    def _stands(self, claim: Claim) -> bool:
        if claim.page is None:
            return claim.target in self._everywhere
        targets, hrefs = self._links(claim.page)
        return claim.target in targets or claim.href in hrefs

    def _links(self, page: str) -> tuple[set[str], set[str]]:
        if page not in self._on_page:
            end = check.travel(page, self._crawl.records).end  # an agent may name a page by an older address
            record = self._crawl.pages.get(end.final if end else page)
            links = record.links if record else ()
            self._on_page[page] = {link.target for link in links}, {link.href for link in links}
        return self._on_page[page]


async def _fetch(targets: Sequence[str], crawl: Crawl, scope: Scope) -> Mapping[str, Outcome | None]:
    records: dict[str, Record] = {}
    async with Fetcher(scope) as fetcher, Parsers() as parsers:
        visitor = Visitor(scope, fetcher, parsers, {})

        async def visit(url: str, ids: bool) -> Record:
            return await visitor.visit(url, ids=ids)

        def allowed(url: str) -> bool:
            return url not in crawl.skipped and (scope.on_site(url) or scope.external)

        await follow(targets, records, visit, allowed)
    return {target: check.judge(target, records, crawl.skipped) for target in targets}


def _weigh(outcome: Outcome | None) -> tuple[str, str]:
    if outcome is None:
        return "unverifiable", "not_checked"
    if outcome.result == check.BROKEN:
        return "confirmed", outcome.reason
    if outcome.result == check.UNVERIFIED:
        return "unverifiable", outcome.reason
    return "false_alarms", "works"


def _missed(crawl: Crawl, claimed: Mapping[str, object]) -> list[Judged]:
    first: dict[str, Judged] = {}
    for found in crawl.findings():
        on_site = crawl.scope.on_site(found.target) or found.reason == "bad_url"
        if found.result == check.BROKEN and on_site and found.target not in claimed:
            first.setdefault(found.target, Judged(found.target, found.page, "", found.reason))
    return sorted(first.values(), key=lambda judged: judged.target)


def _judged(target: str, said: Sequence[Claim], reason: str) -> Judged:
    page = next((claim.page for claim in said if claim.page), None)
    return Judged(target, page, said[0].reason, reason)


def _share(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None


def _rate(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.2f}"


def _plain(judged: Judged) -> dict[str, Any]:
    return {name: getattr(judged, name) for name in ("target", "page", "claimed", "reason")}


def _section(title: str, group: Sequence[Judged], site: str) -> Iterator[str]:
    if group:
        yield f"### {title}: {len(group)}"
        for judged in group[:LISTED]:
            where = f", on {escape.url(judged.page, site)}" if judged.page else ""
            reason = judged.reason.removeprefix("http_").replace("_", " ")
            yield f"- [{reason}] {escape.url(judged.target, site)}{where}"
        if len(group) > LISTED:
            yield f"… {len(group) - LISTED} more, all in report.json"
