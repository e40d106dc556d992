"""What a report comes to under a site's rules and history: what counts, what is new, and whether to wake anybody."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from gapless.links import check, escape
from gapless.links.report.changes import Changes, Gone, compare, gone_from
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.history import History, Known, Run
from gapless.links.report.settings import IgnoreRule, ReportSettings

Baseline = frozenset[tuple[str | None, str]]
"""Page, or None for all pages, and target of links that do not count; addresses on the site are paths."""

CLEAN, FAILED, INCOMPLETE = 0, 1, 3
UNKNOWN = timedelta(days=30)
"""How long a link is remembered as broken of which no audit can tell any more."""
FEW_REFUSALS = 10
"""Refusals up to which nothing is said of the site's health: a small site may well have a page behind a login."""


@dataclass(frozen=True, slots=True)
class Review:
    """A report under rules.

    Attributes:
        settings: the rules.
        ill: why the audit itself cannot be trusted, or None; then nothing is new or fixed, and nobody is woken.
        incomplete: why not the whole site was seen, `ill` included, or None.
        errors: broken links that count.
        waiting: broken links that have not been broken for enough nights.
        known: broken links of the baseline.
        lowered: broken links on pages where they are warnings only.
        ignored: broken links that a rule or a prefix leaves out, each with the reason.
        expired: rules that no longer apply.
        changes: what differs from the audit before, or None when there is nothing to compare with.
        new: what is new among the errors.
        history: what to keep for the next audit.
        flaky: links that failed and then worked.
        links: what the history knows of a link that is broken now.
    """

    settings: ReportSettings
    ill: str | None = None
    incomplete: str | None = None
    errors: tuple[ReportFinding, ...] = ()
    waiting: tuple[ReportFinding, ...] = ()
    known: tuple[ReportFinding, ...] = ()
    lowered: tuple[ReportFinding, ...] = ()
    ignored: tuple[tuple[ReportFinding, str], ...] = ()
    expired: tuple[IgnoreRule, ...] = ()
    changes: Changes | None = None
    new: tuple[ReportFinding, ...] = ()
    history: History = field(default_factory=History)
    flaky: tuple[ReportFinding, ...] = ()
    links: Mapping[tuple[str, str], Known] = field(default_factory=dict)

    @property
    def broken(self) -> tuple[ReportFinding, ...]:
        """Every link that is called broken: what counts, what waits and what is in the baseline."""
        return tuple(sorted((*self.errors, *self.waiting, *self.known), key=attrgetter("page", "target", "reason")))

    @property
    def total_broken(self) -> int:
        """Distinct targets that are called broken, fragment included."""
        return len({found.target for found in chain(self.errors, self.waiting, self.known)})

    @property
    def exit_code(self) -> int:
        """0 for a clean audit, 1 when what `fail_on` names was found, 3 when the audit does not prove anything."""
        if self.ill:
            return INCOMPLETE
        if {"any": self.errors, "new": self.new, "never": ()}[self.settings.fail_on]:
            return FAILED
        return INCOMPLETE if self.incomplete else CLEAN


def health(report: Report, last_good: Run | Report | None, settings: ReportSettings | None = None) -> str | None:
    """Say why an audit cannot be trusted, in one line, or None when it can.

    Args:
        report: the audit.
        last_good: an earlier one of the same site that was complete, or None.
        settings: what shares are too much.
    """
    settings = settings or ReportSettings()
    if report.start_reason is not None:
        return f"the first page could not be read ({report.start_reason})"
    if report.refused > max(FEW_REFUSALS, settings.refused_share * report.addresses):
        return f"the site refused {report.refused} of {report.addresses} requests"
    if last_good is not None and report.pages < (1 - settings.page_drop) * last_good.pages:
        return f"only {report.pages} pages, where the last good audit saw {last_good.pages}"
    return None


def review(
    report: Report,
    settings: ReportSettings | None = None,
    *,
    today: date | None = None,
    previous: Report | None = None,
    history: History | None = None,
    baseline: Baseline = frozenset(),
    flaky: Sequence[ReportFinding] = (),
    agent: Mapping[str, Any] | None = None,
) -> Review:
    """Judge a report by a site's rules, what was known before, and whether the audit was sound.

    The same call on the same day gives the same result: an audit that is repeated counts once.

    Args:
        report: the audit.
        settings: the rules.
        today: the audit's day; without it no rule expires and no history is kept.
        previous: the report to compare with when there is no history.
        history: what earlier audits found.
        baseline: links that do not count, see `read_baseline`.
        flaky: links that failed and then worked.
        agent: the agent's part of the report, for its precision and recall.
    """
    settings = settings or ReportSettings()
    old = history or History()
    ill = health(report, _last_good(old, previous, today), settings)
    incomplete = ill or report.incomplete_reason
    active, lowered, ignored = _sorted_by_rule(report, settings, today)
    known = old.before(today) if today else {}
    before = _before(old, known, previous, today)
    changed = _changed(report, active, before, ill=ill, incomplete=incomplete, flaky=flaky)
    links = old.links if ill or today is None else _links(report, active, known, changed, today)
    by_key = {known.key: known for known in links}
    counted = _counted(report, active, settings, baseline, by_key, changed)
    result = Review(
        settings=settings,
        ill=ill,
        incomplete=incomplete,
        errors=tuple(counted.errors),
        waiting=tuple(counted.waiting),
        known=tuple(counted.known),
        new=tuple(counted.new),
        lowered=lowered,
        ignored=ignored,
        expired=tuple(rule for rule in settings.ignore if rule.expired(today)),
        changes=changed if before is not None else None,
        flaky=tuple(flaky),
        links=by_key,
    )
    if today is None:
        return result
    return replace(result, history=_history(report, result, old, links, changed, today, agent))


def _last_good(old: History, previous: Report | None, today: date | None) -> Run | Report | None:
    run = old.last_good(today) if today else None
    return run or (previous if previous and previous.complete else None)


def _before(
    old: History, known: Mapping[tuple[str, str], Known], previous: Report | None, today: date | None
) -> dict[tuple[str, str], Gone] | None:
    """Return what was broken before, or None when there is nothing to compare with."""
    if today and old.has_before(today):
        return {key: Gone(*key, each.reason) for key, each in known.items()}
    return None if previous is None else gone_from(previous)


def read_baseline(document: object) -> Baseline:
    """Read a baseline: a report.json, or a list of targets and of objects with `target` and perhaps `page`.

    Raises:
        ValueError: when it is neither, in one line.
    """
    if isinstance(document, Mapping) and isinstance(document.get("findings"), list):
        site = str(document.get("site", ""))
        rows = [row for row in document["findings"] if isinstance(row, Mapping) and row.get("result") == check.BROKEN]
        links = map(_baseline_row, rows)
        return frozenset((page and _path(site, page), _path(site, target)) for page, target in links)
    if not isinstance(document, list):
        raise ValueError("a baseline is a report or a list")  # noqa: TRY004 -- the document is wrong
    return frozenset(_baseline_row(row) for row in document)


def _baseline_row(row: object) -> tuple[str | None, str]:
    match row:
        case str(target):
            return None, target
        case {"page": str(page), "target": str(target)}:
            return page, target
        case {"target": str(target)}:
            return None, target
    raise ValueError(f"{escape.visible(repr(row), 100)} is no link of a baseline: it needs a target")


def _path(site: str, address: str) -> str:
    return address[len(site) :] if site and address.startswith(site + "/") else address


def _sorted_by_rule(
    report: Report, settings: ReportSettings, today: date | None
) -> tuple[list[ReportFinding], tuple[ReportFinding, ...], tuple[tuple[ReportFinding, str], ...]]:
    rules = [rule for rule in settings.ignore if not rule.expired(today)]
    active, lowered, ignored = [], [], []
    for found in report.broken:
        rule = next((rule for rule in rules if rule.covers(report, found)), None)
        severity = settings.severity_of(report.path(found.page))
        if rule is not None:
            ignored.append((found, rule.reason))
        elif severity == "ignore":
            ignored.append((found, "broken links on this part of the site are ignored"))
        elif severity == "warning":
            lowered.append(found)
        else:
            active.append(found)
    return active, tuple(lowered), tuple(ignored)


def _changed(
    report: Report,
    active: Sequence[ReportFinding],
    before: Mapping[tuple[str, str], Gone] | None,
    *,
    ill: str | None,
    incomplete: str | None,
    flaky: Iterable[ReportFinding],
) -> Changes:
    if ill:
        return Changes(unknown=tuple(gone for _, gone in sorted((before or {}).items())))
    return compare(report, active, before or {}, complete=incomplete is None, flaky=flaky)


def _links(
    report: Report,
    active: Sequence[ReportFinding],
    before: Mapping[tuple[str, str], Known],
    changed: Changes,
    today: date,
) -> tuple[Known, ...]:
    rows = []
    for found in active:
        key = report.key(found)
        known = before.get(key)
        if known is None:
            rows.append(Known(*key, found.reason, today, today, 1))
        else:
            nights = known.nights + (known.last_seen < today)
            rows.append(replace(known, reason=found.reason, last_seen=today, nights=nights, fixed=None))
    # What only an earlier report knew has no history that could go on.
    fixed = (before.get((gone.page, gone.target)) for gone in changed.fixed)
    unknown = (before.get((gone.page, gone.target)) for gone in changed.unknown)
    rows += [replace(known, fixed=today) for known in fixed if known]
    rows += [known for known in unknown if known and today - known.last_seen <= UNKNOWN]
    return tuple(sorted(rows, key=attrgetter("page", "target")))


class _Counted(NamedTuple):
    errors: list[ReportFinding]
    waiting: list[ReportFinding]
    known: list[ReportFinding]
    new: list[ReportFinding]


def _counted(
    report: Report,
    active: Iterable[ReportFinding],
    settings: ReportSettings,
    baseline: Baseline,
    links: Mapping[tuple[str, str], Known],
    changed: Changes,
) -> _Counted:
    groups = _Counted([], [], [], [])
    fresh = {report.key(found) for found in changed.new}
    for found in active:
        page, target = key = report.key(found)
        nights = links[key].nights if key in links else 1
        if baseline and {(page, target), (None, target), (None, found.target)} & baseline:
            groups.known.append(found)
        elif nights < settings.nights:
            groups.waiting.append(found)
        else:
            groups.errors.append(found)
            if key in fresh or (key in links and nights == settings.nights > 1):
                groups.new.append(found)
    return groups


def _history(
    report: Report,
    result: Review,
    old: History,
    links: tuple[Known, ...],
    changed: Changes,
    today: date,
    agent: Mapping[str, Any] | None,
) -> History:
    verdict = (agent or {}).get("verdict") or {}
    counts = changed.counts(report)
    run = Run(
        date=today,
        pages=report.pages,
        broken=result.total_broken,
        new=counts.new,
        fixed=counts.fixed,
        flaky=len({report.path(found.target) for found in result.flaky}),
        fingerprint=report.fingerprint,
        incomplete=result.incomplete,
        precision=verdict.get("precision"),
        recall=verdict.get("recall"),
    )
    kept = replace(old, links=links).with_run(run)
    # A site that is ill makes everything flaky; that says nothing about its links.
    return kept.with_flaky(set() if result.ill else {report.path(found.target) for found in result.flaky}, today)
