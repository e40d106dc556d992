"""What commands say: results on stdout, everything else on stderr, foreign text made harmless for a terminal."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from io import StringIO
from time import monotonic
from typing import Any

from pydantic import BaseModel

from gapless.contract.interaction import Cost, Usage
from gapless.text import printable

LABEL_WIDTH = 10
LIVE, QUIET = 0.5, 5.0
"""Seconds between two lines of progress where they can be rewritten, and where they cannot."""


def say(line: str) -> None:
    """Say something on the way, on stderr."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def field(label: str, value: str) -> None:
    """Say one labelled line on stderr."""
    say(f"{label:<{LABEL_WIDTH}}{value}")


def result(text: str) -> None:
    """Write a result to stdout: made harmless for a terminal, as it is into a file or a pipe."""
    shown = printable(text) if sys.stdout.isatty() else text
    sys.stdout.write(shown.rstrip("\n") + "\n")
    sys.stdout.flush()


def result_json(value: Any) -> None:
    """Write a result for machines to stdout, in ASCII, which no terminal can be tricked with."""
    sys.stdout.write(json.dumps(value, indent=2, default=_jsonable) + "\n")
    sys.stdout.flush()


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout; the first column, which is to be copied, is never folded."""
    from rich.console import Console  # few commands have one
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(header))
    for number, name in enumerate(header):
        grid.add_column(name, overflow="fold", no_wrap=number == 0)
    for row in rows:
        grid.add_row(*(Text(printable(value)) for value in row))
    text = StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else 10_000).print(grid)
    result("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def plural(count: int, noun: str) -> str:
    """Return "1 page", "2 pages", "12,345 pages"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def cost(usage: Usage, cost: Cost | None) -> str:
    """Return what was used, and what that cost, in one line."""
    price = "cost unknown" if cost is None or cost.usd is None else f"{cost.usd:.4f} USD"
    why = f" ({'; '.join(cost.unknown[:3])})" if cost is not None and cost.unknown else ""
    return f"{plural(usage.total, 'token')}, {price}{why}"


class Ticker:
    """A progress line: rewritten on a terminal, else a new line now and then when it says something new."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self.interval = LIVE if self._live else QUIET
        """Seconds after which the next line is wanted."""
        self._line = ""
        self._said = ""
        self._at = -QUIET

    def show(self, line: str) -> None:
        """Show this line in the place of the last one."""
        if self._live and line == self._line:
            return
        self._line = line
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[2K{printable(line)[:width]}")
            sys.stderr.flush()
        elif monotonic() - self._at >= QUIET:
            self._say()

    def done(self) -> None:
        """Leave the last line where it is."""
        if self._live and self._line:
            sys.stderr.write("\n")
            sys.stderr.flush()
        elif not self._live:
            self._say()

    def _say(self) -> None:
        if self._line and self._line != self._said:
            say(self._line)
            self._said, self._at = self._line, monotonic()
