"""What commands say: results on stdout, everything else on stderr, foreign text made harmless."""

import dataclasses
import json
import sys
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape

from gapless.text import printable

err = Console(stderr=True, highlight=False, soft_wrap=True)
LABEL_WIDTH = 12


def say(line: str) -> None:
    """Say something on the way, on stderr."""
    err.print(escape(printable(line)))


def field(label: str, value: str) -> None:
    """Say one labelled line on stderr."""
    say(f"{label:<{LABEL_WIDTH}} {value}")


def result(text: str) -> None:
    """Write a result to stdout, made harmless for a terminal."""
    sys.stdout.write(printable(text).rstrip("\n") + "\n")
    sys.stdout.flush()


def result_json(value: Any) -> None:
    """Write a result for machines to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=_jsonable, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


class Ticker:
    """A progress line: rewritten on a terminal, else a new line each time that it says something new."""

    def __init__(self) -> None:
        self._last = ""
        self._live = err.is_terminal

    def show(self, line: str) -> None:
        """Show this line in the place of the last one."""
        if line == self._last:
            return
        self._last = line
        if self._live:
            err.file.write(f"\r\x1b[2K{printable(line)}")
            err.file.flush()
        else:
            say(line)

    def done(self) -> None:
        """Leave the last line where it is."""
        if self._live and self._last:
            err.file.write("\n")
            err.file.flush()
        self._last = ""
