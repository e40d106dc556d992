"""The result of a link, from the records of the addresses on its way.

Reasons by result; they are stable:
    broken: http_<status>, dns, refused, reset, tls, timeout, truncated, invalid_response, no_location,
        redirect_loop, redirect_to_broken, too_many_redirects, bad_url, missing_fragment, soft_404.
    unverified: blocked_<status>, cf_challenge, rate_limited, robots_disallowed, crawler_trap, js_anchor,
        private_address, not_checked, too_large, too_deep, unparsable, unsupported_encoding.
    flaky: the reason of the failure that the second pass did not see again.
    warning: permanent_redirect, too_many_links.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from gapless.links import urls
from gapless.links.record import INVALID, TOO_MANY_IDS, Hop, Record

MAX_HOPS = 10

OK, BROKEN, UNVERIFIED, FLAKY, WARNING = "ok", "broken", "unverified", "flaky", "warning"

UNVERIFIED_ERRORS = frozenset(
    {
        "cf_challenge",
        "crawler_trap",
        "private_address",
        "rate_limited",
        "too_deep",
        "too_large",
        "unparsable",
        "unsupported_encoding",
    }
)
BLOCKING_STATUSES = frozenset({401, 403, 429, 999})
CERTAIN = frozenset({"bad_url", "missing_fragment", "redirect_loop", "too_many_redirects", "permanent_redirect"})
"""Reasons that are seen by comparing, not by asking once more."""
PERMANENT = frozenset({301, 308})

_LINES = re.compile(r"L\d+(?:C\d+)?(?:-L?\d+(?:C\d+)?)?")


class Outcome(NamedTuple):
    """What a link comes to.

    Attributes:
        result: "ok", "broken", "unverified", "flaky" or "warning".
        reason: stable id, empty when ok.
        status: last HTTP status, or None.
        chain: the answers on the way, when there was more than one.
        attempts: requests that the last address on the way took; 0 where none was sent.
    """

    result: str
    reason: str = ""
    status: int | None = None
    chain: tuple[Hop, ...] = ()
    attempts: int = 1


class Journey(NamedTuple):
    """The way from a target through its redirects.

    Attributes:
        hops: answers so far.
        at: where it stands.
        fragment: what to look for there, or None.
        end: record of the last answer, or None when that address was not visited.
        fault: "redirect_loop", "too_many_redirects" or None.
        recovered: reason of a failure on the way that the second pass did not see again, or None.
    """

    hops: tuple[Hop, ...]
    at: str
    fragment: str | None
    end: Record | None
    fault: str | None
    recovered: str | None


def standing(record: Record) -> tuple[str, str]:
    """Return result and reason of an address for itself."""
    if record.error is not None:
        unverified = record.error in UNVERIFIED_ERRORS or record.error.startswith("blocked_")
        return (UNVERIFIED if unverified else BROKEN), record.error
    if record.status in BLOCKING_STATUSES:
        return UNVERIFIED, f"blocked_{record.status}"
    if record.status is None or record.status >= 400:
        return BROKEN, f"http_{record.status}"
    return OK, ""


def travel(target: str, records: Mapping[str, Record]) -> Journey:
    """Follow a target through the records until an answer that is no redirect, or a fault."""
    at, fragment = urls.split_fragment(target)
    hops: list[Hop] = []
    seen: set[str] = set()
    recovered = None
    while True:
        if at in seen:
            return Journey(tuple(hops), at, fragment, None, "redirect_loop", recovered)
        seen.add(at)
        record = records.get(at)
        if record is None:
            return Journey(tuple(hops), at, fragment, None, None, recovered)
        hops += (*record.chain, Hop(record.final, record.status))
        recovered = recovered or record.recovered
        if record.location is None:
            return Journey(tuple(hops), record.final, fragment, record, None, recovered)
        if len(hops) > MAX_HOPS:
            return Journey(tuple(hops), at, fragment, None, "too_many_redirects", recovered)
        at, new = urls.split_fragment(record.location)
        fragment = fragment if new is None else new


def judge(target: str, records: Mapping[str, Record], skipped: Mapping[str, str]) -> Outcome | None:
    """Return what a link to the target comes to, or None when the audit did not go there."""
    if target.startswith(INVALID):
        return Outcome(BROKEN, "bad_url", attempts=0)
    document, fragment = urls.split_fragment(target)
    if (record := records.get(document)) is not None and is_fine(record):
        result, reason = _fragment(fragment, record) if fragment else (OK, "")
        return _FINE if result is OK else Outcome(result, reason, record.status, (), record.attempts)
    journey = travel(target, records)
    chain = journey.hops if len(journey.hops) > 1 else ()
    status = journey.hops[-1].status if journey.hops else None
    if journey.fault:
        return Outcome(BROKEN, journey.fault, status, chain)
    if journey.end is None:
        return _unvisited(journey, skipped)
    result, reason = standing(journey.end)
    if result is BROKEN and chain and not journey.end.chain:
        reason = "redirect_to_broken"
    if result is OK and journey.fragment:
        result, reason = _fragment(journey.fragment, journey.end)
    if result is OK and journey.recovered:
        result, reason = FLAKY, journey.recovered
    if result is OK and chain and chain[0].status in PERMANENT:
        result, reason = WARNING, "permanent_redirect"
    return Outcome(result, reason, status, chain, journey.end.attempts)


_FINE = Outcome(OK)


def is_fine(record: Record) -> bool:
    """Say what nearly every address is: there, at once, and where it says."""
    at_once = record.location is None and not record.chain
    return record.status == 200 and at_once and record.error is None and record.recovered is None


def needs_ids(fragment: str | None) -> bool:
    """Say whether a fragment names something that must stand on the page."""
    if fragment is None:
        return False
    name = fragment.partition(":~:")[0]
    return bool(name) and name.lower() != "top" and not _LINES.fullmatch(name)


def has_id(fragment: str, page: Record) -> bool:
    """Say whether a fragment is an id of the page as it is written; when it is not, it may be there all the same."""
    return page.ids is not None and ":~:" not in fragment and fragment in _names(page.ids)


def has_fragment(fragment: str, ids: str) -> bool:
    """Say whether a page with these ids, joined by NUL, has what the fragment names."""
    page = _names(ids)
    return any(name in page or f"user-content-{name}" in page for name in (fragment, urls.decoded(fragment)))


@lru_cache(maxsize=16)
def _names(ids: str) -> frozenset[str]:
    return frozenset(ids.split("\0"))


def _fragment(fragment: str, page: Record) -> tuple[str, str]:
    if page.ids is None or not needs_ids(fragment):
        return OK, ""
    if page.ids == TOO_MANY_IDS:
        return UNVERIFIED, "too_large"
    name = fragment.partition(":~:")[0]
    if has_fragment(name, page.ids):
        return OK, ""
    return (UNVERIFIED, "js_anchor") if name.startswith(("!", "/")) else (BROKEN, "missing_fragment")


def _unvisited(journey: Journey, skipped: Mapping[str, str]) -> Outcome | None:
    if journey.at in skipped:
        return Outcome(UNVERIFIED, skipped[journey.at], None, journey.hops, attempts=0)
    if journey.hops:  # a redirect to where the audit does not go
        return Outcome(UNVERIFIED, "not_checked", journey.hops[-1].status, journey.hops)
    return None
