"""Later looks at what an audit found broken on other hosts, as the command line shows them."""

import json
from typing import Any

from gapless import links
from gapless.client import Gapless, Run, RunNotFound
from gapless.contract.link_audit import Revision, revision_id
from gapless.contract.queues import TaskQueue
from gapless.links.report.settings import ReportSettings
from gapless_activities.revisions import Recovery, revise
from gapless_cli.follow import see_through
from gapless_cli.link_report import LinkReport


async def of(gapless: Gapless, audit: str) -> Run[Revision] | None:
    """Return the run that looks again for the newest run of an audit, or None when there is none."""
    try:
        run = await gapless.run(revision_id(audit))
    except RunNotFound:
        return None
    earlier = (await run.status()).started < (await (await gapless.run(audit)).status()).started
    return None if earlier else run


async def end(gapless: Gapless, run: Run[Revision]) -> Revision:
    """Serve and follow a revision to its end, which may be hours away."""
    return await see_through(gapless, run, f"gapless worker --queue {(await run.status()).queue}")


def about(run: Run[Any], revision: Revision | None, queue: str) -> str:
    """Return in one line what became of the later looks, or how to see it."""
    if revision is not None:
        return f"{run.id}: {revision.recovered} recovered, {revision.still_broken} still broken"
    serve = "" if queue in set(TaskQueue) else f"; gapless worker --queue {queue} serves it"
    return f"gapless show {run.id}{serve}"


async def apply(gapless: Gapless, revision: Revision, crawl: links.Crawl) -> None:
    """Make flaky in an audit's findings what has recovered since."""
    if revision.details is not None:
        rows = json.loads(await gapless.artifacts.get(revision.details.digest))
        revise(crawl, {target: Recovery(*row) for target, row in rows.items()})


async def report(gapless: Gapless, revision: Revision) -> LinkReport | None:
    """Return the revised report, or None when nothing has recovered."""
    if revision.report_json is None:
        return None
    return LinkReport(await gapless.artifacts.get(revision.report_json.digest), ReportSettings())
