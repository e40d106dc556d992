"""The deterministic link auditor. It needs nothing else of Gapless; names load on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gapless.links.crawl import crawl, look, recheck  # at once: `crawl` is also the name of the module

if TYPE_CHECKING:
    from gapless.links.claims import Claim, parse_claims
    from gapless.links.engine import crawl_apart
    from gapless.links.pool import ChildLost
    from gapless.links.report.document import report_json
    from gapless.links.report.markdown import report_markdown
    from gapless.links.result import Crawl, Finding
    from gapless.links.scope import Progress, Scope
    from gapless.links.verdict import Judged, Verdict, claimed_elsewhere, judge, verdict_markdown, verdict_summary

__all__ = [
    "ChildLost",
    "Claim",
    "Crawl",
    "Finding",
    "Judged",
    "Progress",
    "Scope",
    "Verdict",
    "claimed_elsewhere",
    "crawl",
    "crawl_apart",
    "judge",
    "look",
    "parse_claims",
    "recheck",
    "report_json",
    "report_markdown",
    "verdict_markdown",
    "verdict_summary",
]

_MODULES = {
    "claims": ("Claim", "parse_claims"),
    "engine": ("crawl_apart",),
    "pool": ("ChildLost",),
    "report.document": ("report_json",),
    "report.markdown": ("report_markdown",),
    "result": ("Crawl", "Finding"),
    "scope": ("Progress", "Scope"),
    "verdict": ("Judged", "Verdict", "claimed_elsewhere", "judge", "verdict_markdown", "verdict_summary"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
