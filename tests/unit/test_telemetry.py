"""Logs: JSON off a terminal, ids on every line, keys on none."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from gapless.errors import ConfigurationError
from gapless.telemetry import configure_logging

KEY = "a-key-that-nobody-may-see"


class Screen(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as it was."""
    root, level = logging.getLogger(), logging.getLogger().level
    handlers = root.handlers[:]
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: StringIO) -> list[dict[str, Any]]:
    """Read the log."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_off_a_terminal_a_line_is_json() -> None:
    """Each line is a JSON object with its level, time and what is bound; lower levels are left out."""
    stream = StringIO()
    configure_logging("info", stream)
    with structlog.contextvars.bound_contextvars(workflow_id="run-1", interaction_id="v1_a"):
        structlog.get_logger().info("interaction.accepted", status="in_progress")
    structlog.get_logger().debug("hidden")
    [line] = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "interaction.accepted",
        "level": "info",
        "status": "in_progress",
        "workflow_id": "run-1",
        "interaction_id": "v1_a",
    }


def test_other_libraries_log_the_same_way() -> None:
    """The standard library's records come out in the same form, from warnings upwards, exceptions in one line."""
    stream = StringIO()
    configure_logging("debug", stream)
    logging.getLogger("aiohttp").info("hidden")
    with structlog.contextvars.bound_contextvars(workflow_id="run-1"):
        logging.getLogger("aiohttp").error("it failed for %s", "good", exc_info=OSError("the disk is full"))
    [line] = lines(stream)
    assert (line["event"], line["level"], line["workflow_id"]) == ("it failed for good", "error", "run-1")
    assert "OSError: the disk is full" in line["exception"]


def test_a_terminal_is_for_people() -> None:
    """On a terminal a line is text."""
    stream = Screen()
    configure_logging("info", stream)
    structlog.get_logger().info("worker.started")
    assert "worker.started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_keys_are_blotted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key does not reach the log, be it in a message, a value or a traceback."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    stream = StringIO()
    configure_logging("info", stream)
    structlog.get_logger().info(f"sent with {KEY}", header=f"x-goog-api-key: {KEY}")
    error = ValueError(f"bad header {KEY}")
    structlog.get_logger().error("failed", exc_info=error)
    logging.getLogger("httpx").error("failed with %s", KEY, exc_info=error)
    assert len(lines(stream)) == 3
    assert KEY not in stream.getvalue()


def test_an_unknown_level_is_an_error() -> None:
    """A level that is misspelt is not taken for another."""
    with pytest.raises(ConfigurationError, match="debug, info, warning, error"):
        configure_logging("verbose", StringIO())
