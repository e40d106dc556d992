"""The report as one page of HTML that needs nothing else: no other file, no host, no network."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from gapless.links import check, escape
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.groups import Group, fold
from gapless.links.report.history import History
from gapless.links.report.reasons import advice, label, meaning
from gapless.links.report.review import Review, review
from gapless.links.report.suggestions import Advice
from gapless.links.report.trend import agent_trend, share, trend

LONG = 2_000
FIXED = "fixed"
CLEAN = ' class="clean"'
_RESULTS = {
    "broken": "broken",
    "unverified": "unverified",
    "warning": "warnings",
    "flaky": "recovered",
    "ignored": "not counted",
    FIXED: "fixed",
}

_USUAL: dict[str, Any] = {
    "text": "",
    "chain": [],
    "line": None,
    "column": None,
    "attempts": 1,
    "source": "",
    "state": "",
    "since": "",
    "nights": 0,
    "versions": [],
    "why": "",
    "instead": "",
    "many": False,
}
"""What most rows have, so that it is written once: a row holds what is different."""


def html(
    document: Report,
    history: History | None = None,
    agent: Mapping[str, Any] | None = None,
    *,
    judged: Review | None = None,
    advised: Advice | None = None,
) -> str:
    """Write a report as one page: filtered and searched in the browser, light and dark, by keyboard or by hand.

    Args:
        document: the report.
        history: earlier audits, for the trend; that of `judged` when it is left out.
        agent: the agent's part of the report, for what its claims were worth.
        judged: what the report comes to under rules and history.
        advised: where broken links should lead.
    """
    judged = judged or review(document)
    runs = (history or judged.history).runs
    rows = list(_Rows(document, judged, advised).all())
    style, script = _part("page.css"), _part("page.js")
    charts = trend(runs) + agent_trend(runs)
    return Template(_part("page.html")).substitute(
        policy=_policy(style, script),
        host=escape.markup(document.host),
        style=style,
        script=script,
        lead=_lead(document, judged),
        notes="".join(_notes(judged, agent, advised)),
        results=_buttons(rows, judged),
        trends=f'<div class="trends">{charts}</div>' if charts else "",
        fresh='<label><input id="fresh" type="checkbox"> New only</label>'
        if judged.changes and judged.changes.new
        else "",
        footer=f"Fingerprint of what is broken: <code>{escape.markup(document.fingerprint)}</code>",
        tools="" if rows else " hidden",
        data=escape.script_data(_data(document, judged, rows)),
    )


def _part(name: str) -> str:
    return files("gapless.links.report").joinpath(name).read_text("utf-8").strip()


def _policy(style: str, script: str) -> str:
    """Allow this style and this script by their digests, and nothing else. Source: W3C, CSP Level 3, section 8.4."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _lead(document: Report, judged: Review) -> str:
    pages = f"{document.pages:,} {'page' if document.pages == 1 else 'pages'}"
    broken = f"{judged.total_broken:,} broken" if judged.total_broken or judged.incomplete else "No broken links"
    text = f"<strong>{broken}</strong> across {pages} with {document.links:,} links."
    if judged.changes is None or judged.ill:
        return text
    counts = judged.changes.counts(document)
    if not counts.new and not counts.fixed and not counts.unknown:
        return f"{text} Nothing has changed since the last audit."
    return f"{text} Since the last audit: {counts.words()}."


def _notes(judged: Review, agent: Mapping[str, Any] | None, advised: Advice | None) -> Iterator[str]:
    if judged.incomplete:
        yield _note(f"The audit is incomplete: {judged.incomplete}. Nothing is called fixed.")
    for rule in judged.expired:
        yield _note(f"A rule expired on {rule.expires} and no longer applies: {rule.target} ({rule.reason})")
    if agent:
        yield _note(_agent(agent), "note quiet")
    if advised:
        yield _note(f"Advice of {advised.advisor}: {advised.summary()}.", "note quiet")


def _note(text: str, kind: str = "note") -> str:
    return f'<p class="{kind}">{escape.markup(text, LONG)}</p>'


def _agent(agent: Mapping[str, Any]) -> str:
    verdict = agent.get("verdict")
    if not isinstance(verdict, Mapping):
        return f"Agent {agent.get('agent')}: {agent.get('note') or agent.get('state')}"
    parts = {"confirmed": "confirmed", "false_alarms": "false alarms", "missed": "missed"}
    counts = ", ".join(f"{len(verdict.get(name, ()))} {text}" for name, text in parts.items())
    shares = f"precision {share(verdict.get('precision'))}, recall {share(verdict.get('recall'))}"
    return f"Agent {agent.get('agent')}: {counts}; {shares}."


def _buttons(rows: list[dict[str, Any]], judged: Review) -> str:
    numbers = {name: len({row["target"] for row in rows if row["result"] == name}) for name in _RESULTS}
    numbers["broken"] = judged.total_broken
    return "".join(
        f'<button type="button" data-result="{name}" aria-pressed="false"{"" if numbers[name] else CLEAN}>'
        f"<b>{numbers[name]:,}</b><span>{text}</span></button>"
        for name, text in _RESULTS.items()
        if numbers[name] or name == "broken"
    )


def _data(document: Report, judged: Review, rows: list[dict[str, Any]]) -> dict[str, Any]:
    pages, targets = _Numbers(), _Numbers()
    for row in rows:
        row["pages"] = [pages.of(page) for page in row["pages"]]
        row["target"] = targets.of(row["target"])
    reasons = sorted({row["reason"] for row in rows})
    present = {row["result"] for row in rows}
    edit = {page: judged.settings.edit_link(page) for page in pages.values}
    return {
        "site": document.site,
        "pages": list(pages.values),
        "targets": list(targets.values),
        "usual": _USUAL,
        "rows": rows,
        "reasons": {reason: [meaning(reason), advice(reason), escape.visible(label(reason))] for reason in reasons},
        "edit": {page: url for page, url in edit.items() if url},
        "results": [name for name in _RESULTS if name in present],
        "first": "broken" if "broken" in present else "",
    }


class _Numbers:
    """Values by the order in which they come, each written once."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def of(self, value: str) -> int:
        return self.values.setdefault(value, len(self.values))


class _Rows:
    """What the list shows, one row for each line of the report."""

    def __init__(self, document: Report, judged: Review, advised: Advice | None) -> None:
        self._report = document
        self._review = judged
        self._instead = advised.by_target if advised else {}
        self._shown = cache(lambda address: escape.visible(document.path(address), LONG))
        self._new = {document.key(found) for found in judged.changes.new} if judged.changes else set()
        self._why = {document.key(found): why for found, why in judged.ignored}
        self._why |= {document.key(found): "in the baseline" for found in judged.known}
        nights = f"not yet broken for {judged.settings.nights} nights"
        self._why |= {document.key(found): nights for found in judged.waiting}

    def all(self) -> Iterator[dict[str, Any]]:
        report, judged = self._report, self._review
        unverified = [found for found in report.findings if found.result == check.UNVERIFIED]
        warnings = [found for found in report.findings if found.result == check.WARNING]
        yield from self._section("broken", judged.broken)
        yield from self._section("unverified", unverified)
        yield from self._section("warning", (*judged.lowered, *warnings))
        yield from self._section("flaky", judged.flaky)
        yield from self._section("ignored", tuple(found for found, _ in judged.ignored))
        for gone in judged.changes.fixed if judged.changes else ():
            yield self._fixed(gone.page, gone.target, gone.reason)

    def _section(
        self, result: str, findings: tuple[ReportFinding, ...] | list[ReportFinding]
    ) -> Iterator[dict[str, Any]]:
        folded, single = fold(findings, self._report, self._review.settings)
        yield from (self._row(result, group, many=True) for group in folded)
        yield from (self._row(result, group, many=False) for group in single)

    def _row(self, result: str, group: Group, *, many: bool) -> dict[str, Any]:
        found = group.found
        row: dict[str, Any] = {
            "result": result,
            "reason": found.reason,
            "label": _label(found.reason),
            "pages": [self._shown(page) for page in group.pages],
            "target": self._shown(found.target),
            "href": escape.visible(found.href, LONG),
        }
        if text := escape.visible(found.text):
            row["text"] = text
        if found.chain:
            row["chain"] = [[self._shown(url), status] for url, status in found.chain]
        if found.line is not None and not many:
            row |= {"line": found.line, "column": found.column or 1}
        if found.attempts != 1:
            row["attempts"] = found.attempts
        row["confirmation"] = found.confirmation
        self._add_known(row, group)
        if many:
            row["many"] = True
        return row

    def _add_known(self, row: dict[str, Any], group: Group) -> None:
        """Add what is known of a row besides what the audit found."""
        path, _ = key = self._report.key(group.found)
        if source := escape.visible(self._review.settings.source(path) or ""):
            row["source"] = source
        if key in self._new and row["result"] != FIXED:
            row["state"] = "new"
        if row["result"] == check.BROKEN and (known := self._review.links.get(key)):
            if known.nights > 1:
                row["since"] = str(known.first_seen)
            row["nights"] = known.nights
        if group.versions:
            row["versions"] = list(group.versions)
        if key in self._why:
            row["why"] = escape.visible(self._why[key])
        if group.found.target in self._instead:
            row["instead"] = self._shown(self._instead[group.found.target])

    def _fixed(self, page: str, target: str, reason: str) -> dict[str, Any]:
        found = ReportFinding(page, "", target, "broken", reason)
        return self._row(FIXED, Group(found, (page,)), many=False) | {"confirmation": ""}


@cache
def _label(reason: str) -> str:
    return escape.visible(label(reason))
