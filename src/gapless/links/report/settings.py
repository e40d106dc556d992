"""What a site's owner decides about the report, as read from a table of gapless.toml."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal, get_args

from gapless.links.report import patterns
from gapless.links.report.document import Report, ReportFinding

Severity = Literal["error", "warning", "ignore"]
FailOn = Literal["any", "new", "never"]

CRAWL_OPTIONS = (
    *("external", "robots", "max_pages", "connections", "allow"),
    *("prefix", "include", "exclude", "public", "contacts"),
)
"""Names in the same table that say how a site is crawled: whoever starts audits reads them, see `crawl_options`."""


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """Broken links that are known and accepted for a while; in patterns a star stands for anything.

    Attributes:
        reason: why, for whoever reads the report.
        target: what the link leads to: an address, or a path of the site.
        page: where it stands: an address, or a path of the site.
        kind: what is wrong, as a reason id, for example "http_404".
        expires: last day on which the rule applies, or None for always.
    """

    reason: str
    target: str = "*"
    page: str = "*"
    kind: str = "*"
    expires: date | None = None

    def covers(self, report: Report, found: ReportFinding) -> bool:
        """Say whether a finding is one that the rule is about."""
        return (
            patterns.covers(self.kind, found.reason)
            and _covers(self.target, report, found.target)
            and _covers(self.page, report, found.page)
        )

    def expired(self, today: date | None) -> bool:
        """Say whether the rule applies no longer."""
        return self.expires is not None and today is not None and today > self.expires


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """How findings are shown, and which of them count.

    Attributes:
        fold_share: a link on at least this share of the pages is shown once for all of them.
        fold_pages: and on at least this many.
        versions: prefixes of versioned documentation, "/1.4/" or "/{version}/"; a breakage in several is shown once.
        severity: path prefix of pages to "error", "warning" or "ignore"; the longest prefix counts.
        sources: page path to file in the repository, "/{path}/" to "docs/{path}.md"; the first that fits counts.
        edit_url: address at which such a file is edited, with {path} in it, or None.
        ignore: rules for what is known.
        nights: nights in a row that a link must be broken before it counts.
        fail_on: what makes the audit fail: "any" broken link, only "new" ones, or "never".
        baseline: path of a report.json or a list whose links do not count, or None.
        page_drop: share of the last good audit's pages that may be missing before an audit is called incomplete.
        refused_share: share of the site's addresses that may be refused before that.
    """

    fold_share: float = 0.1
    fold_pages: int = 10
    versions: tuple[str, ...] = ()
    severity: tuple[tuple[str, Severity], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    edit_url: str | None = None
    ignore: tuple[IgnoreRule, ...] = ()
    nights: int = 1
    fail_on: FailOn = "any"
    baseline: str | None = None
    page_drop: float = 0.2
    refused_share: float = 0.1

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> "ReportSettings":
        """Read a table of gapless.toml; options of the crawl may stand in it, too.

        Raises:
            ValueError: in one line that names the key and says what it must be.
        """
        own = [field.name for field in fields(cls)]
        _known(table, sorted([*own, *CRAWL_OPTIONS]), "links")
        return cls(**{key: _READERS[key](value, f"links.{key}") for key, value in table.items() if key in own})

    def source(self, path: str) -> str | None:
        """Return the file in the repository that a page is made from, or None when no rule knows."""
        if not self.sources:
            return None
        path = path.partition("?")[0]
        found = (patterns.repository_path(pattern, template, path) for pattern, template in self.sources)
        return next((file for file in found if file is not None), None)

    def edit_link(self, path: str) -> str | None:
        """Return the address at which the page's file is edited, or None."""
        file = self.source(path)
        return None if file is None or self.edit_url is None else self.edit_url.replace("{path}", patterns.in_url(file))

    def severity_of(self, path: str) -> Severity:
        """Return how a broken link on the page at this path is taken."""
        found = [(len(prefix), severity) for prefix, severity in self.severity if path.startswith(prefix)]
        return max(found)[1] if found else "error"


def _covers(pattern: str, report: Report, address: str) -> bool:
    return patterns.covers(pattern, address) or patterns.covers(pattern, report.path(address))


def _known(table: Mapping[str, Any], names: list[str], where: str) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{where}.{key} is not a setting{hint} (known: {', '.join(names)})")


def _fails(where: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"{where} must be {wanted}, not {value!r}")


def _share(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise _fails(where, "a number from 0 to 1", value)
    return float(value)


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _fails(where, "a whole number from 1", value)
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _fails(where, "text", value)
    return value


def _choice(kind: Any) -> Callable[[object, str], Any]:
    names = get_args(kind)

    def read(value: object, where: str) -> Any:
        if value not in names:
            raise _fails(where, " or ".join(f'"{name}"' for name in names), value)
        return value

    return read


def _prefix(value: object, where: str) -> str:
    text = _text(value, where)
    if not text.startswith("/"):
        raise _fails(where, 'a path that starts with "/"', value)
    return text


def _pattern(value: object, where: str) -> str:
    text = _prefix(value, where)
    try:
        patterns.compiled(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return text


def _versions(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _fails(where, 'a list of path prefixes, such as ["/{version}/"]', value)
    prefixes = tuple(_pattern(each, f"{where}[{number}]") for number, each in enumerate(value))
    for number, prefix in enumerate(prefixes):
        if not prefix.endswith("/"):
            raise _fails(f"{where}[{number}]", 'a path that ends with "/"', prefix)
    return prefixes


def _pairs(value: object, where: str, shape: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise _fails(where, f"a table, such as {shape}", value)
    return [(str(key), each) for key, each in value.items()]


def _severities(value: object, where: str) -> tuple[tuple[str, Severity], ...]:
    read = _choice(Severity)
    pairs = _pairs(value, where, '{ "/1.0/" = "ignore" }')
    return tuple((_prefix(key, where), read(each, f'{where}."{key}"')) for key, each in pairs)


def _sources(value: object, where: str) -> tuple[tuple[str, str], ...]:
    rules = []
    for key, each in _pairs(value, where, '{ "/{path}/" = "docs/{path}.md" }'):
        pattern, file = _pattern(key, where), _text(each, f'{where}."{key}"')
        unknown = patterns.names(file) - patterns.names(pattern)
        if file.startswith("/") or unknown:
            wanted = "a path inside the repository that uses the pattern's names only"
            raise _fails(f'{where}."{key}"', wanted, each)
        rules.append((pattern, file))
    return tuple(rules)


def _edit_url(value: object, where: str) -> str:
    text = _text(value, where)
    if not text.startswith(("https://", "http://")) or "{path}" not in text:
        raise _fails(where, "an address with {path} in it", value)
    return text


def _rules(value: object, where: str) -> tuple[IgnoreRule, ...]:
    if not isinstance(value, list):
        raise _fails(where, "a list of tables, each written as [[links.ignore]]", value)
    return tuple(_rule(each, f"{where}[{number}]") for number, each in enumerate(value))


def _rule(value: object, where: str) -> IgnoreRule:
    if not isinstance(value, Mapping):
        raise _fails(where, "a table", value)
    _known(value, [field.name for field in fields(IgnoreRule)], where)
    if "reason" not in value:
        raise ValueError(f"{where} has no reason; say why these links are ignored")
    if not {"target", "page", "kind"} & set(value):
        raise ValueError(f"{where} would ignore everything; give a target, a page or a kind")
    texts = {key: _text(each, f"{where}.{key}") for key, each in value.items() if key != "expires"}
    return IgnoreRule(**texts, expires=_day(value["expires"], f"{where}.expires") if "expires" in value else None)


def _day(value: object, where: str) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    elif isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise _fails(where, "a day such as 2027-01-31", value)


_READERS: dict[str, Callable[[object, str], Any]] = {
    "fold_share": _share,
    "fold_pages": _count,
    "versions": _versions,
    "severity": _severities,
    "sources": _sources,
    "edit_url": _edit_url,
    "ignore": _rules,
    "nights": _count,
    "fail_on": _choice(FailOn),
    "baseline": _text,
    "page_drop": _share,
    "refused_share": _share,
}
