"""How long a host asks to be left alone."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MINUTES = re.compile(r"(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def retry_after(header: str) -> float | None:
    """Return the seconds of a Retry-After header, or None: a number, a date (RFC 9110), or `1m1s` as some send."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    if header and (short := _MINUTES.fullmatch(header)):
        return float(int(short[1] or 0) * 60 + int(short[2] or 0))
    try:
        at = parsedate_to_datetime(header)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, IndexError, OverflowError):  # the latter from zones that no clock has
        return None
