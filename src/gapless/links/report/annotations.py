"""The report as GitHub workflow commands, which a run shows at the files they name."""

from collections.abc import Iterator

from gapless.links import escape
from gapless.links.report.document import Report
from gapless.links.report.groups import Group, fold
from gapless.links.report.reasons import label, meaning
from gapless.links.report.review import Review, review
from gapless.links.report.sarif import AS_SERVED

LIMIT = 10
"""Errors that GitHub shows of one step. Source: docs.github.com, "Limitations of annotations", read 2026-11."""


def annotations(document: Report, judged: Review | None = None, *, limit: int = LIMIT) -> str:
    """Write the broken links that count as workflow commands, one line each; the rest is counted in a notice.

    Args:
        document: the report.
        judged: what it comes to under rules and history.
        limit: errors to write at most.
    """
    judged = judged or review(document)
    folded, single = fold(judged.errors, document, judged.settings)
    groups = folded + single
    lines = [_error(document, judged, group) for group in groups[:limit]]
    lines += _notices(judged, len(groups) - limit)
    return "".join(f"{line}\n" for line in lines)


def _error(document: Report, judged: Review, group: Group) -> str:
    found = group.found
    file = judged.settings.source(document.path(found.page))
    properties = {"file": file} if file else {}
    if file and found.line is not None and file.endswith(AS_SERVED):  # lines are those of the page as served
        properties |= {"line": str(found.line), "col": str(found.column or 1)}
    properties["title"] = f"Broken link: {label(found.reason)}"
    written = ",".join(f"{name}={escape.command_property(value, 2_000)}" for name, value in properties.items())
    others = len(group.pages) - 1
    where = f"on {document.path(found.page)}" + (f" and {others} more pages" if others else "")
    text = f' "{escape.visible(found.text)}"' if found.text else ""
    message = f"{document.path(found.target)}{text} {where}. {meaning(found.reason)}"
    return f"::error {written}::{escape.command_data(message, 3_000)}"


def _notices(judged: Review, left: int) -> Iterator[str]:
    if judged.incomplete:
        yield f"::warning title=Link audit incomplete::{escape.command_data(judged.incomplete)}"
    for rule in judged.expired:
        text = f"{rule.target} on {rule.page}: {rule.reason}"
        yield f"::warning title=Ignore rule expired on {rule.expires}::{escape.command_data(text)}"
    if left > 0:
        yield f"::notice title=Broken links::{left} more; the report has them all"
