"""The deterministic link auditor. It needs nothing else of Gapless."""

from gapless.links.claims import Claim, parse_claims
from gapless.links.crawl import crawl
from gapless.links.report import report_json, report_markdown
from gapless.links.result import Crawl, Finding
from gapless.links.scope import Progress, Scope
from gapless.links.verdict import Judged, Verdict, judge, verdict_markdown, verdict_summary

__all__ = [
    "Claim",
    "Crawl",
    "Finding",
    "Judged",
    "Progress",
    "Scope",
    "Verdict",
    "crawl",
    "judge",
    "parse_claims",
    "report_json",
    "report_markdown",
    "verdict_markdown",
    "verdict_summary",
]
