"""The report in one paragraph, for a message."""

from collections.abc import Sequence

from gapless.links import escape
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.groups import by_target
from gapless.links.report.reasons import label
from gapless.links.report.review import Review, review

EXAMPLES = 3


def digest(document: Report, judged: Review | None = None) -> str:
    """Say in one paragraph of Markdown what is new, fixed and still broken, or that the audit proves nothing."""
    judged = judged or review(document)
    host = escape.url(document.host)
    if judged.ill:
        return f"{host}: the audit is incomplete, {escape.prose(judged.ill)}. Nothing is called new or fixed."
    parts = [f"{host}: {_state(document, judged)}."]
    if judged.changes:
        parts += [f"New: {_examples(document, judged.changes.new)}."] if judged.changes.new else []
        parts += [f"Fixed: {_fixed(judged)}."] if judged.changes.fixed else []
    if judged.incomplete:
        parts.append(f"The audit is incomplete: {escape.prose(judged.incomplete)}.")
    if judged.expired:
        parts.append(f"Expired rules: {len(judged.expired)}.")
    return " ".join(parts)


def _state(document: Report, judged: Review) -> str:
    pages = f"{document.pages} {'page' if document.pages == 1 else 'pages'}"
    if judged.changes is None:
        number = judged.total_broken
        return f"{number} broken across {pages}" if number else f"no broken links across {pages}"
    return f"{judged.changes.counts(document).words()} across {pages}"


def _examples(document: Report, findings: Sequence[ReportFinding]) -> str:
    groups = by_target(findings)
    shown = [
        f"[{label(group.found.reason)}] {_target(document, group.found)} on {escape.url(group.pages[0], document.site)}"
        + (f" and {len(group.pages) - 1} more pages" if len(group.pages) > 1 else "")
        for group in groups[:EXAMPLES]
    ]
    return ", ".join(shown) + _more(len(groups))


def _target(document: Report, found: ReportFinding) -> str:
    return escape.code(found.target) if found.reason == "bad_url" else escape.url(found.target, document.site)


def _fixed(judged: Review) -> str:
    targets = sorted({gone.target for gone in judged.changes.fixed}) if judged.changes else []
    return ", ".join(escape.url(target) for target in targets[:EXAMPLES]) + _more(len(targets))


def _more(number: int) -> str:
    return f" and {number - EXAMPLES} more" if number > EXAMPLES else ""
