"""What earlier audits of a site found, kept beside their reports, so that a nightly one says what is new."""

import hashlib
import json

import structlog

from gapless import links
from gapless.artifacts import ArtifactLost, ArtifactStore
from gapless.contract.link_audit import Changes
from gapless.encryption import KeyMissing
from gapless.links.report.document import Report
from gapless.links.report.history import History, read_history
from gapless_activities.pages import Page

log = structlog.get_logger()


async def tell(store: ArtifactStore, scope: links.Scope, report: Report, page: Page) -> Changes | None:
    """Keep what a report adds to what is known of its site, and say what differs from the audit before.

    The same call on the same day changes nothing more: an activity that is tried again counts once.

    Args:
        store: where histories are.
        scope: what the audit covered.
        report: of the audit.
        page: made of it.

    Raises:
        StoreUnavailable: the next attempt goes on.
    """
    kept = await store.put("history.json", page.history)
    await store.put_named(_name(scope), kept.digest.encode())
    judged = page.judged
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
