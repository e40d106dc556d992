"""What earlier audits of a site found. It is kept beside the report, which knows nothing of time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from gapless.links.report.document import write

VERSION = 1
KEPT_RUNS = 366
FLAKY_NIGHTS = 30


@dataclass(frozen=True, slots=True)
class Known:
    """A link that is broken, or was fixed on the day of the last audit.

    Attributes:
        page: path of the page on the site.
        target: path on the site, or address elsewhere.
        reason: what was wrong with it last.
        first_seen: day of the audit that found it, since it was last in order.
        last_seen: day of the last audit that found it broken.
        nights: audits in a row, one a day, that found it broken.
        fixed: day of the audit that found it in order, or None.
    """

    page: str
    target: str
    reason: str
    first_seen: date
    last_seen: date
    nights: int
    fixed: date | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What the link is known by."""
        return self.page, self.target


@dataclass(frozen=True, slots=True)
class Run:
    """One audit.

    Attributes:
        date: its day; a second audit on a day takes the place of the first.
        pages: pages crawled.
        broken: distinct broken targets that count as broken links.
        new: targets with links that are broken since this audit.
        fixed: targets whose links are in order since this audit.
        flaky: targets that failed and then worked.
        fingerprint: of what was broken.
        incomplete: why the audit proves nothing, or None.
        precision: share of the agent's claims that were right, or None.
        recall: share of what is broken that the agent named, or None.
    """

    date: date
    pages: int
    broken: int
    new: int
    fixed: int
    flaky: int = 0
    fingerprint: str = ""
    incomplete: str | None = None
    precision: float | None = None
    recall: float | None = None


@dataclass(frozen=True, slots=True)
class Flaky:
    """A target that failed and then worked; `dates` are the days of the last 30 on which it did."""

    target: str
    dates: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What is known from earlier audits of one site.

    Attributes:
        links: what is broken, by page and target.
        runs: audits by day.
        flaky: targets that come and go, those that do so most often first.
    """

    links: tuple[Known, ...] = ()
    runs: tuple[Run, ...] = ()
    flaky: tuple[Flaky, ...] = ()

    def before(self, today: date) -> dict[tuple[str, str], Known]:
        """Return what was broken before today's audit, whether or not that audit is in here already."""
        return {known.key: known for known in self.links if known.first_seen < today and known.fixed in (None, today)}

    def has_before(self, today: date) -> bool:
        """Say whether there was an audit before today's."""
        return any(run.date < today for run in self.runs)

    def last_good(self, today: date) -> Run | None:
        """Return the last audit before today that saw the whole site."""
        return next((run for run in reversed(self.runs) if run.date < today and run.incomplete is None), None)

    def with_run(self, run: Run) -> "History":
        """Return it with an audit added, in place of an earlier one on that day."""
        others = [each for each in self.runs if each.date != run.date]
        return replace(self, runs=tuple(sorted([*others, run], key=lambda each: each.date)[-KEPT_RUNS:]))

    def with_flaky(self, targets: set[str], today: date) -> "History":
        """Return it with today's flaky targets added, and what is older than 30 nights left out."""
        since = today - timedelta(days=FLAKY_NIGHTS - 1)
        days = {each.target: {day for day in each.dates if since <= day != today} for each in self.flaky}
        for target in targets:
            days.setdefault(target, set()).add(today)
        rows = [Flaky(target, tuple(sorted(dates))) for target, dates in days.items() if dates]
        return replace(self, flaky=tuple(sorted(rows, key=lambda each: (-len(each.dates), each.target))))

    def to_dict(self) -> dict[str, Any]:
        """Return it with plain values only."""
        return {
            "version": VERSION,
            "links": [_plain(known) for known in self.links],
            "runs": [_plain(run) for run in self.runs],
            "flaky": [{"target": each.target, "dates": [day.isoformat() for day in each.dates]} for each in self.flaky],
        }

    def to_bytes(self) -> bytes:
        """Write it down, for a file or a store."""
        return write(self.to_dict())


def read_history(document: object) -> History:
    """Read what `History.to_dict` wrote. Raises ValueError, in one line, when it is something else."""
    if not isinstance(document, Mapping) or document.get("version") != VERSION:
        raise ValueError(f"this is no history of link audits in version {VERSION}")
    try:
        return History(
            links=tuple(_row(Known, row) for row in document["links"]),
            runs=tuple(_row(Run, row) for row in document["runs"]),
            flaky=tuple(
                Flaky(row["target"], tuple(map(date.fromisoformat, row["dates"]))) for row in document["flaky"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"this history of link audits is damaged: {error}") from None


def load_history(path: Path) -> History:
    """Read a history file; an empty history when there is none.

    Raises:
        ValueError: when it is something else, in one line that names the file.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return History()
    try:
        return read_history(json.loads(text))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_history(path: Path, history: bytes) -> None:
    """Write a history file, whole or not at all. Raises OSError when it cannot be written."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(history)
    part.replace(path)


def _plain(row: Known | Run) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value := getattr(row, name), date) else value for name in row.__slots__
    }


_DAYS = frozenset({"date", "first_seen", "last_seen", "fixed"})
_Row = TypeVar("_Row", Known, Run)


def _row(kind: type[_Row], row: Mapping[str, Any]) -> _Row:
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name not in row:
            continue
        value = row[field.name]
        if field.name in _DAYS and isinstance(value, str):
            value = date.fromisoformat(value)
        if not isinstance(value, cast("type", field.type)):
            raise TypeError(f"{field.name} must not be {value!r}")
        values[field.name] = value
    return kind(**values)
