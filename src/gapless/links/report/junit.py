"""The report as JUnit XML, which build servers show as tests."""

from collections.abc import Iterator

from gapless.links import check, escape
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.groups import Group, fold
from gapless.links.report.reasons import label, meaning
from gapless.links.report.review import Review, review


def junit(document: Report, judged: Review | None = None) -> str:
    """Write a report as JUnit XML: a failure for each broken link that counts, skipped what does not.

    A link on many pages is one failure. One test case stands for the audit itself, so that a clean site has a test
    that passed, and an incomplete audit one with an error.
    """
    judged = judged or review(document)
    skipped = list(_skipped(document, judged))
    folded, single = fold(judged.errors, document, judged.settings)
    broken = folded + single
    number, failures = 1 + len(broken) + len(skipped), len(broken)
    errors = int(judged.incomplete is not None)
    counts = f'tests="{number}" failures="{failures}" errors="{errors}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="Broken Link Audit" {counts}>',
        f'<testsuite name="{escape.markup(document.host)}" {counts} skipped="{len(skipped)}">',
        _audit(document, judged),
        *(_failure(document, group) for group in broken),
        *(_skip(document, found, why) for found, why in skipped),
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _audit(document: Report, judged: Review) -> str:
    case = f'<testcase classname="audit" name="{document.pages} pages, {document.links} links"'
    if judged.incomplete is None:
        return f"{case}/>"
    return f'{case}><error type="incomplete" message="{escape.markup(judged.incomplete)}"/></testcase>'


def _skipped(document: Report, judged: Review) -> Iterator[tuple[ReportFinding, str]]:
    nights = judged.settings.nights
    yield from ((found, f"not yet broken for {nights} nights") for found in judged.waiting)
    yield from ((found, "in the baseline") for found in judged.known)
    yield from ((found, "a warning on this page") for found in judged.lowered)
    yield from judged.ignored
    yield from ((found, meaning(found.reason)) for found in document.findings if found.result != check.BROKEN)


def _case(document: Report, found: ReportFinding) -> str:
    page, target = document.path(found.page), document.path(found.target)
    return f'<testcase classname="{escape.markup(page, 2_000)}" name="{escape.markup(target, 2_000)}"'


def _failure(document: Report, group: Group) -> str:
    found = group.found
    message = f"[{label(found.reason)}] {document.path(found.target)}"
    details = [meaning(found.reason), f"Page: {found.page}", f"Written: {found.href}"]
    details += [f"Text: {found.text}"] if found.text else []
    details += [f"Line {found.line}, column {found.column or 1} of the page"] if found.line is not None else []
    details += [f"On {len(group.pages) - 1} more pages"] if len(group.pages) > 1 else []
    details += [f"{status or 'no answer'} {url}" for url, status in found.chain]
    text = "\n".join(escape.markup(detail, 2_000) for detail in details)
    kind, shown = escape.markup(found.reason), escape.markup(message, 2_000)
    return f'{_case(document, found)}><failure type="{kind}" message="{shown}">{text}</failure></testcase>'


def _skip(document: Report, found: ReportFinding, why: str) -> str:
    return f'{_case(document, found)}><skipped message="{escape.markup(why)}"/></testcase>'
