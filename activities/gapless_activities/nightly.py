"""What earlier audits of a site found, kept beside their reports, so that a nightly one says what is new."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

import structlog

from gapless import links
from gapless.artifacts import ArtifactLost, ArtifactStore
from gapless.contract.link_audit import Changes
from gapless.encryption import KeyMissing
from gapless.links.report.document import Report
from gapless.links.report.history import History, read_history
from gapless.links.report.page import html
from gapless.links.report.review import Review, review
from gapless.links.report.settings import ReportSettings
from gapless.links.report.suggestions import Advice
from gapless_activities.findings import Found

log = structlog.get_logger()


class Told(NamedTuple):
    """A report beside the history, which is what was known before."""

    page: bytes
    history: History
    changes: Changes | None


async def tell(
    store: ArtifactStore,
    scope: links.Scope,
    found: Found,
    settings: ReportSettings,
    today: date,
    *,
    agent: Mapping[str, Any] | None = None,
    advised: Advice | None = None,
) -> Told:
    """Compare a report with what is known of its site, keep what it adds, and write the page for browsers.

    The same call on the same day changes nothing more: an activity that is tried again counts once.

    Args:
        store: where histories are.
        scope: what the audit covered.
        found: what it came to.
        settings: the site's rules.
        today: the day of the audit.
        agent: the agent's part of the report.
        advised: the advice's part.

    Raises:
        StoreUnavailable: the next attempt goes on.
    """
    name, report = _name(scope), found.report
    known = await past(store, scope)
    judged = await asyncio.to_thread(
        review, report, settings, today=today, history=known, flaky=found.flaky, agent=agent
    )
    page = await asyncio.to_thread(html, report, judged.history, agent, judged=judged, advised=advised)
    kept = await store.put("history.json", json.dumps(judged.history.to_dict()).encode())
    await store.put_named(name, kept.digest.encode())
    return Told(page.encode(), known, _changes(judged, report))


def _changes(judged: Review, report: Report) -> Changes | None:
    if judged.ill is not None:
        return Changes(new=0, fixed=0, still_broken=0, ill=judged.ill[:1000])
    if judged.changes is None:
        return None
    counts = judged.changes.counts(report)
    return Changes(new=counts.new, fixed=counts.fixed, still_broken=counts.still)


async def past(store: ArtifactStore, scope: links.Scope) -> History:
    """Return a site's history; an empty one when there is none that can be read.

    Raises:
        StoreUnavailable: the next attempt goes on.
    """
    try:
        digest = await store.get_named(_name(scope))
        return read_history(json.loads(await store.get(digest.decode()))) if digest else History()
    except (ArtifactLost, KeyMissing, ValueError) as error:
        log.warning("report.history_lost", error=str(error))
        return History()


def _name(scope: links.Scope) -> str:
    known_by = f"{scope.public or scope.site}{scope.prefix}"
    return f"link-history/{hashlib.sha256(known_by.encode()).hexdigest()}"
