"""What differs from an earlier audit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gapless.links import check
from gapless.links.report.document import Report, ReportFinding

Key = tuple[str, str]


class Gone(NamedTuple):
    """A link of an earlier audit; addresses on the site are paths."""

    page: str
    target: str
    reason: str


class Counts(NamedTuple):
    """Changes in distinct targets, as the total of broken links is counted: new and still broken make up the total.

    Attributes:
        new: targets with a link that is new.
        fixed: targets with a link that is fixed, and none that is broken or unknown.
        still: the other targets that are broken.
        unknown: the other targets of which this audit cannot tell.
    """

    new: int
    fixed: int
    still: int
    unknown: int

    def words(self) -> str:
        """Return them in a sentence."""
        unknown = f", {self.unknown} unknown" if self.unknown else ""
        return f"{self.new} new, {self.fixed} fixed, {self.still} still broken{unknown}"


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of links since an earlier audit. A link is known by page and target, not by what is wrong with it.

    Attributes:
        new: broken now, and not before.
        fixed: broken before, and in order or gone now.
        still: broken before and now, whatever the reason.
        unknown: broken before; whether it still is this audit cannot tell.
    """

    new: tuple[ReportFinding, ...] = ()
    fixed: tuple[Gone, ...] = ()
    still: tuple[ReportFinding, ...] = ()
    unknown: tuple[Gone, ...] = ()

    def counts(self, report: Report) -> Counts:
        """Count the targets of these links."""
        new = {report.path(found.target) for found in self.new}
        still = {report.path(found.target) for found in self.still} - new
        fixed, unknown = ({gone.target for gone in group} - new - still for group in (self.fixed, self.unknown))
        return Counts(len(new), len(fixed - unknown), len(still), len(unknown))


def changes(report: Report, previous: Report | None) -> Changes:
    """Compare two reports; without an earlier one all that is broken is new.

    Nothing is fixed in a report that is incomplete, nor what is only unverified now.
    """
    before = gone_from(previous) if previous else {}
    return compare(report, report.broken, before, complete=report.complete)


def gone_from(previous: Report) -> dict[Key, Gone]:
    """Return what was broken in an earlier report, by page and target."""
    return {previous.key(found): Gone(*previous.key(found), found.reason) for found in previous.broken}


def compare(
    report: Report,
    broken: Iterable[ReportFinding],
    before: Mapping[Key, Gone],
    *,
    complete: bool,
    flaky: Iterable[ReportFinding] = (),
) -> Changes:
    """Compare what counts as broken now with what did before.

    Args:
        report: the audit.
        broken: its findings that count as broken.
        before: what was broken before, by page and target.
        complete: whether what the report does not name is in order.
        flaky: what failed and then worked, and so is neither broken nor fixed.
    """
    if not before:
        return Changes(new=tuple(broken))
    new: list[ReportFinding] = []
    still: list[ReportFinding] = []
    for found in broken:
        (still if report.key(found) in before else new).append(found)
    result = {report.key(found): found.result for found in (*flaky, *report.findings)}
    fixed, unknown = [], []
    for key, gone in sorted(before.items()):
        now = result.get(key, check.OK)
        if now in (check.OK, check.WARNING) and complete:
            fixed.append(gone)
        elif now != check.BROKEN:
            unknown.append(gone)
    return Changes(tuple(new), tuple(fixed), tuple(still), tuple(unknown))
