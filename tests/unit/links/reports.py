"""Reports made by hand, for tests of what is made from them."""

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from pydantic import TypeAdapter

from gapless.links.report.document import Report, ReportFinding, fingerprint

SITE = "https://docs.example.com"
TODAY = date(2026, 11, 25)
NASTY = (
    "\x1b[31mred\x1b[0m \x07 \u202egnp.exe\u202c \u200b \ufffe </code></script><script>window.pwned=1</script>"
    "<img src=x onerror=window.pwned=1> ]]> ]( http://x ) `` | @team #12 **b** ##[error]x ##vso[task.x] ::error::x %0A,:"
)


def validate(document: dict[str, Any]) -> None:
    """Raise unless a document is what the published schema says of report.json."""
    TypeAdapter(Report).validate_json(json.dumps(document), strict=True, extra="forbid")


def finding(page: str, target: str, reason: str = "http_404", result: str = "broken", **others: Any) -> ReportFinding:
    """Make a finding; addresses on the site are written as paths."""
    number = reason.rpartition("_")[2]
    values = {
        "page": SITE + page if page.startswith("/") else page,
        "href": target,
        "target": SITE + target if target.startswith("/") else target,
        "result": result,
        "reason": reason,
        "status": int(number) if number.isdigit() else None,
    }
    return ReportFinding(**values | others)


def report(*findings: ReportFinding, pages: int = 20, site: str = SITE, **others: Any) -> Report:
    """Make a report of a site with these findings."""
    moved = [_moved(found, site) for found in findings]
    rows = tuple(sorted(moved, key=lambda found: (found.page, found.target, found.reason)))
    broken = [found for found in rows if found.result == "broken"]
    values: dict[str, Any] = {
        "site": site,
        "start": f"{site}/",
        "start_reason": None,
        "pages": pages,
        "links": 40 * pages,
        "addresses": 2 * pages,
        "refused": 0,
        "total_broken": len({found.target for found in broken}),
        "complete": "incomplete_reason" not in others,
        "incomplete_reason": None,
        "fingerprint": fingerprint(broken),
        "findings": rows,
    }
    return Report(**values | others)


def everywhere(pages: Iterable[int], target: str = "/_static/gone.css") -> list[ReportFinding]:
    """Make one broken link that stands on all of these pages."""
    return [finding(f"/page/{number:03}", target) for number in pages]


def _moved(found: ReportFinding, site: str) -> ReportFinding:
    if site == SITE:
        return found
    values = found.to_dict() | {"chain": found.chain}
    values["page"], values["target"] = (values[name].replace(SITE, site) for name in ("page", "target"))
    return ReportFinding(**values)
