"""Logs: structlog on stderr, readable on a terminal and JSON elsewhere. Attached by entry points only."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from gapless.config import secret_values
from gapless.errors import ConfigurationError


@contextmanager
def _plain() -> Iterator[None]:
    """Hide rich: structlog would load it for tracebacks in colour, which takes three times as long as all else of it.

    Ours are plain text before they come to structlog's renderers.
    """
    modules: dict[str, Any] = sys.modules
    if "rich" in modules:
        yield
        return
    modules["rich"] = None
    try:
        yield
    finally:
        del modules["rich"]


with _plain():
    import structlog

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line, the standard library's included, to stderr (or `stream`) in one form.

    Context variables that are bound (workflow, run and interaction ids) stand on each line; keys are blotted out.

    Raises:
        ConfigurationError: no such level.
    """
    if level.lower() not in _LEVELS:
        raise ConfigurationError(f"setting log_level: {level!r} is none of {', '.join(_LEVELS)}")
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
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level.lower()]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_foreign(renderer)))
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, _LEVELS[level.lower()]), force=True)
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)  # the worker logs failures itself, in a line each


def forward_core_logs() -> None:
    """Send what Temporal's native core logs the same way: by itself it writes to stdout. Call before connecting."""
    core = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
    )
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=core)), error_if_already_set=False)


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
