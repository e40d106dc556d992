"""What the page for browsers was made of: who would make it of the very same can take the one that is there."""

import hashlib
import json
from dataclasses import replace
from datetime import date

from gapless.links.report.history import History
from gapless.links.report.settings import ReportSettings


def basis(report: str, flaky: str, settings: ReportSettings, today: date, history: History) -> str:
    """Return one SHA-256 for all that `review` and `html` are given when there is no baseline.

    Args:
        report: SHA-256 of report.json, the agents' parts included.
        flaky: SHA-256 of the findings that were flaky.
        settings: the site's rules; what makes the audit fail is no part of the page.
        today: the day of the audit.
        history: what was known before it.
    """
    rules = repr(replace(settings, fail_on="any"))
    known = json.dumps(history.to_dict(), sort_keys=True)
    return hashlib.sha256(f"{report}\n{flaky}\n{rules}\n{today.isoformat()}\n{known}".encode()).hexdigest()
