"""What an agent's claims are worth: every one is fetched again, and what it missed is named.

A claim is first matched to a link that the crawl saw, also when it spells the address in another way or names
where a redirect leads. Only such links are fetched, so a claim never leads the audit to an address of its own.

Reasons by verdict; they are stable:
    confirmed, missed: those of a broken link, see `gapless.links.check`.
    false_alarms: works (fetched again), not_on_page (no such link there).
    unverifiable: those of an unverified link, for the target or for the page that it is said to stand on;
        page_not_crawled, not_checked; too_many_links, when the page has more of them than were read.
    out_of_scope: other_host.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapless.links import check, escape, urls
from gapless.links.check import Outcome
from gapless.links.claims import Claim
from gapless.links.crawl import recheck
from gapless.links.known import Known
from gapless.links.record import INVALID, Record
from gapless.links.result import Crawl
from gapless.links.scope import Scope

LISTED = 20
_AS_SAID = frozenset({"works", "not_on_page"})


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


async def judge(
    crawl: Crawl,
    claims: Iterable[Claim],
    scope: Scope,
    *,
    given: Mapping[str, Record] | None = None,
    credentials: Mapping[str, tuple[str, ...]] | None = None,
) -> Verdict:
    """Judge an agent's claims against the pages of a crawl and fresh answers.

    Args:
        crawl: the audit's own crawl.
        claims: what the agent says.
        scope: what may be fetched.
        given: what other hosts answered, which are not asked then; None to ask them.
        credentials: header fields by origin.
    """
    # Seconds of work on a large site: in a thread, so that the caller's heartbeats keep coming.
    said, places = await asyncio.to_thread(_sort, crawl, claims, scope)
    targets = [target for target, placed in places.items() if placed is None]
    fresh = await recheck(scope, targets, given=given, credentials=credentials) if targets else {}
    verdict = Verdict(missed=_missed(crawl, said))
    for target, placed in places.items():
        group, reason = placed or _weigh(fresh.get(target), crawl.outcome(target))
        getattr(verdict, group).append(_judged(target, said[target], reason))
    return verdict


def claimed_elsewhere(crawl: Crawl, claims: Iterable[Claim], scope: Scope) -> list[str]:
    """Return the claimed targets on other hosts that must be fetched for a verdict, sorted."""
    _, places = _sort(crawl, claims, scope)
    return sorted(target for target, placed in places.items() if placed is None and not scope.on_site(target))


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
    ):
        lines += _section(title, group, urls.origin(site + "/"), len(group))
    for title, group in (("Unverifiable", verdict.unverifiable), ("Out of scope", verdict.out_of_scope)):
        lines += _section(title, group, urls.origin(site + "/"), LISTED)
    return "\n".join(lines).rstrip("\n") + "\n"


def agent_markdown(agent: Mapping[str, Any] | None, site: str) -> str:
    """Write the agent's part of a report document as a section, empty when no agent was asked.

    Args:
        agent: the value of `agent` in report.json.
        site: origin of the site; addresses on it are shown as paths.
    """
    if agent is None:
        return ""
    judged = agent.get("verdict")
    if judged is None:
        return f"\n## Agent\n{escape.prose(str(agent.get('note') or agent.get('state')))}\n"
    lists = {name: [Judged(**row) for row in rows] for name, rows in judged.items() if isinstance(rows, list)}
    return "\n" + verdict_markdown(Verdict(**lists), site=site)


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


def _sort(
    crawl: Crawl, claims: Iterable[Claim], scope: Scope
) -> tuple[dict[str, list[Claim]], dict[str, tuple[str, str] | None]]:
    """Return the claims by the target that each is about, and what can be said of each target without a request."""
    known = Known(crawl)
    said: dict[str, list[Claim]] = defaultdict(list)
    standing: set[str] = set()
    for claim in claims:
        target, stands = known.meant(claim)
        said[target].append(claim)
        if stands:
            standing.add(target)
    places = {target: _place(target, said[target], known, scope, stands=target in standing) for target in sorted(said)}
    return said, places


def _place(target: str, said: Sequence[Claim], known: Known, scope: Scope, *, stands: bool) -> tuple[str, str] | None:
    """Return the verdict that needs no request and its reason, or None when the target is to be fetched."""
    if known.is_bad(target) or not urls.is_web(target):
        return ("confirmed", "bad_url") if stands else ("false_alarms", "not_on_page")
    if not scope.on_site(target) and not scope.external:
        return "out_of_scope", "other_host"
    if not stands:
        unread = next(filter(None, (known.unread(claim.page) for claim in said)), None)
        return ("unverifiable", unread) if unread else ("false_alarms", "not_on_page")
    skipped = known.crawl.skipped.get(check.travel(target, known.crawl.records).at)  # itself or where it redirects to
    return ("unverifiable", skipped) if skipped else None


def _weigh(now: Outcome | None, crawled: Outcome | None) -> tuple[str, str]:
    """Return the verdict on a target from its fresh answer, and its reason."""
    if now is None:
        return "unverifiable", "not_checked"
    broken = now.result == check.BROKEN
    # What an answer alone does not show: that a host refuses everybody, and that a 200 stands for a 404.
    if crawled is not None and broken and crawled.result == check.UNVERIFIED and now.status == crawled.status:
        return "unverifiable", crawled.reason
    if crawled is not None and crawled.reason == "soft_404" and now.result in {check.OK, check.WARNING}:
        return "confirmed", crawled.reason
    if broken:
        return "confirmed", now.reason
    return ("unverifiable", now.reason) if now.result == check.UNVERIFIED else ("false_alarms", "works")


def _missed(crawl: Crawl, claimed: Mapping[str, object]) -> list[Judged]:
    first: dict[str, Judged] = {}
    for found in crawl.findings():
        on_site = crawl.scope.on_site(found.target) or found.reason == "bad_url"
        known = found.target in claimed or INVALID + found.target in claimed
        if found.result == check.BROKEN and on_site and not known:
            first.setdefault(found.target, Judged(found.target, found.page, "", found.reason))
    return sorted(first.values(), key=lambda judged: judged.target)


def _judged(target: str, said: Sequence[Claim], reason: str) -> Judged:
    page = next((claim.page for claim in said if claim.page), None)
    if reason in _AS_SAID and all(claim.target != target for claim in said):
        target = said[0].target  # the link that it was taken for is fine, so what was said is shown
    return Judged(target.removeprefix(INVALID), page, said[0].reason, reason)


def _share(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None


def _rate(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.2f}"


def _plain(judged: Judged) -> dict[str, Any]:
    return {name: getattr(judged, name) for name in ("target", "page", "claimed", "reason")}


def _section(title: str, group: Sequence[Judged], site: str, listed: int) -> Iterator[str]:
    if group:
        yield f"### {title}: {len(group)}"
        for judged in group[:listed]:
            where = f", on {escape.url(judged.page, site)}" if judged.page else ""
            reason = judged.reason.removeprefix("http_").replace("_", " ")
            yield f"- [{reason}] {escape.url(judged.target, site)}{where}"
        if len(group) > listed:
            yield f"… {len(group) - listed} more, all in report.json"
