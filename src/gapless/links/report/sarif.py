"""The report as SARIF 2.1.0, which code hosts show as alerts. Source: OASIS, sarif-v2.1.0-os, sections 3.13 to 3.35."""

import hashlib
import json
from typing import Any

from gapless.links import escape
from gapless.links.report import patterns
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.reasons import advice, label, meaning
from gapless.links.report.review import Review, review

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
AS_SERVED = (".html", ".htm", ".xhtml")
_LEVELS = {"broken": "error", "warning": "warning", "unverified": "note", "flaky": "note"}


def sarif(document: Report, judged: Review | None = None) -> str:
    """Write a report as SARIF 2.1.0, one result for each finding, one rule for each reason.

    A result's place is the source file when a rule of the settings knows it, else the page's address. Line and column
    are those of the page as served, so a place has them only when its file is served as it is.
    """
    return json.dumps(_document(document, judged or review(document)), indent=1) + "\n"


def _document(document: Report, judged: Review) -> dict[str, Any]:
    ids = sorted({found.reason for found in document.findings})
    notifications = (
        [{"level": "error", "message": {"text": escape.visible(judged.incomplete)}}] if judged.incomplete else []
    )
    run = {
        "tool": {"driver": {"name": "gapless", "rules": [_rule(reason) for reason in ids]}},
        "automationDetails": {"id": f"gapless/links/{escape.uri(document.host)}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": judged.incomplete is None, "toolExecutionNotifications": notifications}
        ],
        "results": _Results(document, judged, ids).all(),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(reason: str) -> dict[str, Any]:
    return {
        "id": reason,
        "name": "".join(part.capitalize() for part in reason.split("_")),
        "shortDescription": {"text": meaning(reason)},
        "fullDescription": {"text": meaning(reason)},
        "help": {"text": f"{meaning(reason)} {advice(reason)}"},
        "defaultConfiguration": {"level": "error"},
    }


class _Results:
    def __init__(self, document: Report, judged: Review, ids: list[str]) -> None:
        self._report = document
        self._review = judged
        self._index = {reason: number for number, reason in enumerate(ids)}
        self._ignored = {document.key(found): why for found, why in judged.ignored}
        self._lowered = {document.key(found) for found in judged.lowered}
        self._known = {document.key(found) for found in judged.known}
        changes = judged.changes
        self._new = {document.key(found) for found in changes.new} if changes else set()
        self._still = {document.key(found) for found in changes.still} if changes else set()

    def all(self) -> list[dict[str, Any]]:
        return [self._result(found) for found in self._report.findings]

    def _result(self, found: ReportFinding) -> dict[str, Any]:
        key = self._report.key(found)
        prints = hashlib.sha256(json.dumps([*key, found.reason]).encode()).hexdigest()
        result: dict[str, Any] = {
            "ruleId": found.reason,
            "ruleIndex": self._index[found.reason],
            "level": "warning" if key in self._lowered else _LEVELS[found.result],
            "message": {"text": self._message(found)},
            "locations": [{"physicalLocation": self._place(found)}],
            # The first is the one that GitHub tells alerts apart by.
            "partialFingerprints": {"primaryLocationLineHash": f"{prints[:16]}:1", "pageTargetReason/v1": prints},
        }
        if key in self._ignored:
            result["suppressions"] = [{"kind": "external", "justification": escape.visible(self._ignored[key])}]
        elif key in self._known:
            result["suppressions"] = [{"kind": "external", "justification": "in the baseline"}]
        if key in self._new | self._still:
            result["baselineState"] = "new" if key in self._new else "unchanged"
        return result

    def _message(self, found: ReportFinding) -> str:
        parts = [f"[{label(found.reason)}] {found.target}", f"on {found.page}"]
        parts += [f'as "{escape.visible(found.text)}"'] if found.text else []
        parts += [f"line {found.line}, column {found.column or 1} of the page"] if found.line is not None else []
        # Brackets and backslashes would be links and escapes of SARIF's own (section 3.11.6).
        text = escape.visible(f"{', '.join(parts)}. {meaning(found.reason)}", 3_000)
        return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")

    def _place(self, found: ReportFinding) -> dict[str, Any]:
        file = self._review.settings.source(self._report.path(found.page))
        if file is None:
            place: dict[str, Any] = {"artifactLocation": {"uri": escape.uri(found.page)}}
        else:
            place = {"artifactLocation": {"uri": patterns.in_url(file), "uriBaseId": "%SRCROOT%"}}
        if found.line is not None and (file is None or file.endswith(AS_SERVED)):
            place["region"] = {"startLine": found.line, "startColumn": found.column or 1}
        return place
