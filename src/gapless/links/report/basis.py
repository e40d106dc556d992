"""What the page for browsers was made of: who would make it of the very same can take the one that is there."""

import hashlib
from dataclasses import replace
from datetime import date

from gapless.links.report.review import Review


def basis(report: str, flaky: str, judged: Review, today: date, history: bytes) -> str:
    """Return one SHA-256 for all that a page shows; an audit that is told again on its day has the same.

    Args:
        report: SHA-256 of report.json, the agents' parts included.
        flaky: SHA-256 of the findings that were flaky.
        judged: what the report comes to without a baseline; what makes the audit fail is no part of the page.
        today: the day of the audit.
        history: that of `judged` as bytes. What was known before follows from it, but for links that it dropped since
            no audit can tell of them any more.
    """
    rules = repr(replace(judged.settings, fail_on="any"))
    unknown = repr(judged.changes.unknown if judged.changes else None)
    known = hashlib.sha256(history).hexdigest()
    return hashlib.sha256(f"{report}\n{flaky}\n{rules}\n{today.isoformat()}\n{unknown}\n{known}".encode()).hexdigest()
