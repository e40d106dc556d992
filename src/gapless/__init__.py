"""Durable agent tasks on Temporal: submitted once, polled without footprint, checked, and proven.

Names load on first use (PEP 562): `import gapless` alone loads neither Temporal's SDK nor a provider's.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gapless.client import Gapless, Run, RunCancelled, RunFailed, RunNotFound, RunStatus
    from gapless.config import Settings
    from gapless.contract.interaction import (
        InteractionRequest,
        Limits,
        OnLostSubmission,
        Outcome,
        Resolution,
        State,
    )
    from gapless.contract.link_audit import AuditOutcome, LinkAuditRequest
    from gapless.errors import ConfigurationError, GaplessError

__all__ = [
    "AuditOutcome",
    "ConfigurationError",
    "Gapless",
    "GaplessError",
    "InteractionRequest",
    "Limits",
    "LinkAuditRequest",
    "OnLostSubmission",
    "Outcome",
    "Resolution",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunNotFound",
    "RunStatus",
    "Settings",
    "State",
]

_MODULES = {
    "gapless.client": ("Gapless", "Run", "RunCancelled", "RunFailed", "RunNotFound", "RunStatus"),
    "gapless.config": ("Settings",),
    "gapless.contract.interaction": (
        "InteractionRequest",
        "Limits",
        "OnLostSubmission",
        "Outcome",
        "Resolution",
        "State",
    ),
    "gapless.contract.link_audit": ("AuditOutcome", "LinkAuditRequest"),
    "gapless.errors": ("ConfigurationError", "GaplessError"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name == "__version__":
        from importlib.metadata import version

        return version("gapless")
    if name not in _HOME:
        raise AttributeError(f"module 'gapless' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return [*__all__, "__version__"]
