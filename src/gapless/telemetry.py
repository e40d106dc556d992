"""Logs: structlog on stderr, readable on a terminal and JSON elsewhere. Attached by entry points only."""

import logging
import sys
from typing import Any, TextIO

import structlog

from gapless.config import secret_values

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line, the standard library's included, to stderr (or `stream`) in one form.

    Context variables that are bound (workflow, run and interaction ids) stand on each line; keys are blotted out.
    """
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level.lower(), 20)),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_foreign(renderer)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)  # the worker logs failures itself, in a line each


def _foreign(renderer: Any) -> list[Any]:
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]


def _without_secrets(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    secrets = secret_values()
    if not secrets:
        return event
    return {key: _blot(value, secrets) for key, value in event.items()}


def _blot(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
    return value
