"""Findings put together as a reader wants them: one line for what is one mistake."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from gapless.links.report import patterns
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.settings import ReportSettings


@dataclass(frozen=True, slots=True)
class Group:
    """Findings that are one line for a reader.

    Attributes:
        found: the one that stands for all.
        pages: addresses of all pages it stands on, in order.
        versions: prefixes of the versions it stands in, the one that is shown first; empty when there is only one.
    """

    found: ReportFinding
    pages: tuple[str, ...]
    versions: tuple[str, ...] = ()


def fold(
    findings: Iterable[ReportFinding], report: Report, settings: ReportSettings
) -> tuple[list[Group], list[Group]]:
    """Put findings together: versions into one, then links on many pages into one.

    Returns:
        The links on many pages, those on most of them first, and the others by page, missing fragments last.
    """
    by_target: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in _across_versions(findings, report, settings):
        _, target = patterns.split_version(settings.versions, report.path(group.found.target))
        by_target[target, group.found.reason].append(group)
    many = max(settings.fold_pages, settings.fold_share * report.pages)
    folded, single = [], []
    for groups in by_target.values():
        merged = _merged(groups)
        if len(merged.pages) >= many:
            folded.append(merged)
        else:
            single += groups
    folded.sort(key=lambda group: (-len(group.pages), group.found.target, group.found.reason))
    return folded, sorted(single, key=_order)


def by_target(findings: Iterable[ReportFinding]) -> list[Group]:
    """Put findings with the same target and reason together, those on most pages first."""
    groups: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for found in findings:
        groups[found.target, found.reason].append(Group(found, (found.page,)))
    merged = [_merged(group) for group in groups.values()]
    return sorted(merged, key=lambda group: (-len(group.pages), group.found.target, group.found.reason))


def _order(group: Group) -> tuple[str, bool, str, str]:
    found = group.found
    return found.page, found.reason == "missing_fragment", found.target, found.reason


def _across_versions(findings: Iterable[ReportFinding], report: Report, settings: ReportSettings) -> list[Group]:
    if not settings.versions:
        return [Group(found, (found.page,)) for found in findings]
    same: dict[tuple[str, str, str], list[tuple[str, ReportFinding]]] = defaultdict(list)
    for found in findings:
        version, page = patterns.split_version(settings.versions, report.path(found.page))
        _, target = patterns.split_version(settings.versions, report.path(found.target))
        same[page, target, found.reason].append((version, found))
    return [_group(members) for members in same.values()]


def _group(members: list[tuple[str, ReportFinding]]) -> Group:
    if len(members) == 1:  # most
        return Group(members[0][1], (members[0][1].page,))
    members.sort(key=lambda member: patterns.rank(member[0]))
    versions = tuple(dict.fromkeys(version for version, _ in members))
    pages = tuple(sorted({found.page for _, found in members}))
    return Group(members[0][1], pages, versions if len(versions) > 1 else ())


def _merged(groups: list[Group]) -> Group:
    if len(groups) == 1:
        return groups[0]
    pages = tuple(sorted({page for group in groups for page in group.pages}))
    first = min(groups, key=lambda group: (group.found.page, group.found.target))
    versions = tuple(dict.fromkeys(version for group in groups for version in group.versions))
    return Group(first.found, pages, tuple(sorted(versions, key=patterns.rank)))
