"""The report document: whatever people and machines read of an audit is made from it alone.

Equal sites give equal documents: no clock, no run id, no history, and nothing that failed once and then worked.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property, lru_cache
from types import NoneType
from typing import Any, Final, Literal, NamedTuple

from gapless.links import check
from gapless.links.record import INVALID, Hop
from gapless.links.result import Crawl, Finding

VERSION: Final = 1
_NOT_PLAIN = re.compile(r"[^ -~\n]")
REFUSALS = frozenset({"cf_challenge", "rate_limited", "refused"})

Result = Literal["broken", "unverified", "warning", "flaky"]


@dataclass(frozen=True, slots=True)
class ReportFinding:
    """A link that is not ok, once for each page and target.

    Attributes:
        page: address of the page it stands on.
        href: the link as written, where it stands first.
        target: the address it means, fragment included; the link as written when it is no valid address.
        result: "broken", "unverified" or "warning"; "flaky" only beside a report, never in it.
        reason: stable id, for example "http_404", "missing_fragment", "blocked_403".
        status: last HTTP status on the way, or None.
        chain: address and status of each answer on the way, when there was more than one.
        text: what a reader sees of the link.
        line: line of the link in the page as served, from 1, or None when it was not found again.
        column: column in that line, in characters, from 1, or None.
        attempts: how often the target was asked for.
        confirmation: "confirmed" when a later attempt failed as well, else "single".
    """

    page: str
    href: str
    target: str
    result: Result
    reason: str
    status: int | None = None
    chain: tuple[tuple[str, int | None], ...] = ()
    text: str = ""
    line: int | None = None
    column: int | None = None
    attempts: int = 1
    confirmation: Literal["confirmed", "single"] = "single"

    def to_dict(self) -> dict[str, Any]:
        """Return it with plain values only."""
        values = {name: getattr(self, name) for name in self.__slots__}  # asdict copies deeply, ten times as slow
        if self.chain:
            values["chain"] = [list(hop) for hop in self.chain]
        return values


class _Paths(dict[str, str]):
    """Addresses of a site as what follows its origin, any other as it is: each is asked for again and again."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self._root, self._origin = site + "/", len(site)

    def __missing__(self, address: str) -> str:
        path = self[address] = address[self._origin :] if address.startswith(self._root) else address
        return path


@dataclass(frozen=True)
class Report:
    """What an audit found.

    Attributes:
        version: of this document's form.
        site: origin of the site, without a slash at the end.
        start: address the audit began at.
        start_reason: why the first page could not be read, as a reason id, or None when it could.
        pages: pages crawled; a page is a final address.
        links: links on them that the audit covers, repeated ones included.
        addresses: addresses of the site that were asked for.
        refused: how many of them were answered with a refusal: 401, 403, 429, a bot wall, a refused connection.
        total_broken: distinct targets that are broken, fragment included.
        complete: whether the whole site was seen.
        incomplete_reason: why not, in one line, or None.
        fingerprint: SHA-256 of the sorted (page, target, reason) of what is broken.
        findings: every link that is not ok, sorted by page, target and reason.
    """

    site: str
    start: str
    start_reason: str | None
    pages: int
    links: int
    addresses: int
    refused: int
    total_broken: int
    complete: bool
    incomplete_reason: str | None
    fingerprint: str
    findings: tuple[ReportFinding, ...]
    version: Literal[1] = VERSION

    @property
    def host(self) -> str:
        """Host of the site, with its port when it is not the scheme's own."""
        return self.site.partition("//")[2]

    @property
    def broken(self) -> tuple[ReportFinding, ...]:
        """The findings that are broken."""
        return tuple(found for found in self.findings if found.result == check.BROKEN)

    def path(self, address: str) -> str:
        """Return an address of the site as what follows the origin, any other as it is."""
        return self._paths[address]

    def key(self, found: ReportFinding) -> tuple[str, str]:
        """Return what a link is known by from one audit to the next, wherever the site is served."""
        return self._paths[found.page], self._paths[found.target]

    @cached_property
    def _paths(self) -> _Paths:
        return _Paths(self.site)

    def to_dict(self) -> dict[str, Any]:
        """Return it with plain values only, as it is written to report.json."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"findings": [found.to_dict() for found in self.findings]}


def report_of(crawl: Crawl) -> Report:
    """Return the report of a finished crawl; what was only flaky is left to `flaky`."""
    shown = crawl.scope.shown
    findings = tuple(_shown(crawl, found) for found in crawl.findings() if found.result != check.FLAKY)
    broken = [found for found in findings if found.result == check.BROKEN]
    standings = [check.standing(record) for url, record in crawl.records.items() if crawl.scope.on_site(url)]
    return Report(
        site=shown(crawl.scope.site),
        start=shown(crawl.scope.start),
        start_reason=_start_reason(crawl),
        pages=len(crawl.pages),
        links=crawl.links,
        addresses=len(standings),
        refused=sum(reason in REFUSALS or reason.startswith("blocked_") for _, reason in standings),
        total_broken=len({found.target for found in broken}),
        complete=crawl.complete,
        incomplete_reason=crawl.incomplete_reason,
        fingerprint=fingerprint(broken),
        findings=findings,
    )


def documents(crawl: Crawl) -> tuple[bytes, bytes]:
    """Return what report.json holds of a finished crawl, and beside it, as a list of findings, what was flaky."""
    return write(report_of(crawl).to_dict()), write([found.to_dict() for found in flaky(crawl)])


def report_json(crawl: Crawl) -> dict[str, Any]:
    """Return the report of a finished crawl as plain values, one finding for each page and target that is not ok."""
    return report_of(crawl).to_dict()


def flaky(crawl: Crawl) -> tuple[ReportFinding, ...]:
    """Return the links that failed and then worked; no two nights need agree on them, so the report has none."""
    return tuple(_shown(crawl, found) for found in crawl.findings() if found.result == check.FLAKY)


def _shown(crawl: Crawl, found: Finding) -> ReportFinding:
    """Return a finding with addresses as people know them."""
    if crawl.scope.public:
        shown = crawl.scope.shown
        chain = tuple(Hop(shown(url), status) for url, status in found.chain)
        found = found._replace(page=shown(found.page), target=shown(found.target), chain=chain)
    values: tuple[Any, ...] = found
    return ReportFinding(*values)


def write(value: Any) -> bytes:
    """Write JSON, a value a line, in which controls, bidirectional marks and the like stand as escapes."""
    # With `indent` Python leaves this to slower code.
    text = json.dumps(value, separators=(",\n", ": "), ensure_ascii=False, sort_keys=True) + "\n"
    if text.isascii() and "\x7f" not in text:  # JSON has escaped all other controls
        return text.encode()
    return _NOT_PLAIN.sub(lambda mark: mark[0] if mark[0].isprintable() else json.dumps(mark[0])[1:-1], text).encode()


def fingerprint(broken: Iterable[ReportFinding]) -> str:
    """Return the SHA-256 of the sorted (page, target, reason); it changes when what is broken changes."""
    rows = sorted({(found.page, found.target, found.reason) for found in broken})
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


class Written(NamedTuple):
    """What stands in a report.json: the auditor's part, and those of the agents that were asked."""

    report: Report
    agent: Mapping[str, Any] | None
    advice: Mapping[str, Any] | None


@lru_cache(maxsize=1)  # a process that serves one audit reads its report three times
def read(body: bytes) -> Written:
    """Read the bytes of a report.json; errors as of `read_report`."""
    document = json.loads(body)
    report = read_report(document)
    return Written(report, document.get("agent"), document.get("advice"))


def read_report(document: object) -> Report:
    """Read a report.json; keys that are not known are left out.

    Raises:
        ValueError: when it is no report, in one line that names what is wrong.
    """
    if not isinstance(document, Mapping) or "findings" not in document:
        raise ValueError("this is no report: it has no findings")
    if document.get("version") != VERSION:
        raise ValueError(f"this report has version {document.get('version')!r}, not {VERSION}")
    values = {key: column[0] for key, column in _columns(Report, [document], "report")}
    return Report(**values | {"findings": read_findings(values["findings"])})


def read_findings(rows: object) -> tuple[ReportFinding, ...]:
    """Read a list of findings; keys that are not known are left out.

    Raises:
        ValueError: when it is none, in one line that names what is wrong.
    """
    if not isinstance(rows, list | tuple):
        raise ValueError(f"findings must be a list, not {rows!r}")  # noqa: TRY004 -- the document is wrong
    if strange := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"a finding must be an object, not {strange[0]!r}")
    columns = dict(_columns(ReportFinding, rows, "finding"))
    if "bad_url" in columns["reason"]:
        columns["target"] = [_without_mark(*each) for each in zip(columns["target"], columns["reason"], strict=True)]
    columns["chain"] = [tuple(map(_hop, chain)) if chain else () for chain in columns["chain"]]
    return tuple(map(ReportFinding, *columns.values()))


def _start_reason(crawl: Crawl) -> str | None:
    record = crawl.records.get(crawl.scope.start)
    result, reason = check.standing(record) if record is not None else (check.OK, "")
    if result != check.OK:
        return reason
    return None if crawl.pages else "not_checked"


_KINDS: dict[str, set[type]] = {
    "status": {int, NoneType},
    "line": {int, NoneType},
    "column": {int, NoneType},
    "start_reason": {str, NoneType},
    "incomplete_reason": {str, NoneType},
    "chain": {list, tuple},
    "findings": {list, tuple},
    "complete": {bool},
    **{name: {int} for name in ("version", "attempts", "pages", "links", "addresses", "refused", "total_broken")},
}
_CHOICES = {"result": {"broken", "unverified", "warning", "flaky"}, "confirmation": {"confirmed", "single"}}


def _without_mark(target: str, reason: str) -> str:
    return target.removeprefix(INVALID) if reason == "bad_url" else target


def _hop(hop: object) -> tuple[str, int | None]:
    match hop:
        case [str(url), (int() | None) as status]:
            return url, status
    raise ValueError(f"a hop must be an address and a status, not {hop!r}")


def _columns(kind: type, documents: Sequence[Mapping[str, Any]], name: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the values of each field, in all documents; at once, since there may be very many of them."""
    for field in fields(kind):
        if field.default is MISSING and not all(field.name in document for document in documents):
            raise ValueError(f"{name}.{field.name} is missing")
        column = [document.get(field.name, field.default) for document in documents]
        kinds, choices = _KINDS.get(field.name, {str}), _CHOICES.get(field.name)
        if not kinds.issuperset(map(type, column)) or not (choices is None or choices.issuperset(column)):
            wrong = next(each for each in column if type(each) not in kinds or (choices and each not in choices))
            raise ValueError(f"{name}.{field.name} must not be {wrong!r}")
        yield field.name, column
