"""Later looks at what was broken on other hosts: what passes by itself is told from what is broken."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from conftest import until
from gapless import Gapless, LinkAuditRequest, RunNotFound
from gapless.contract.link_audit import ReportRevision, Revision, revision_id
from unit.links.httpsite import Reply, Site, page

pytestmark = pytest.mark.usefixtures("served")


@pytest.fixture
async def elsewhere() -> AsyncIterator[Site]:
    """Serve another host, on which nothing works."""
    async with Site({path: Reply("", 500) for path in ("/back", "/later", "/never")}) as site:
        yield site


@pytest.fixture
async def site(elsewhere: Site) -> AsyncIterator[Site]:
    """Serve a page with links to the other host, and one of its own that is broken."""
    links = [f"{elsewhere.url}{path}" for path in ("/back", "/later", "/never")]
    async with Site({"/": page("/gone", *links), "/robots.txt": Reply("", 404)}) as site:
        yield site


async def _audit(gapless: Gapless, queue: str, site: Site, elsewhere: Site, *seconds: float) -> None:
    request = LinkAuditRequest(
        url=site.url,
        allow=[elsewhere.url.removeprefix("http://")],
        recheck_after=[timedelta(seconds=each) for each in seconds],
    )
    outcome = await (await gapless.start(request, id=queue, rerun=True, queue=queue)).result()
    assert (outcome.broken, outcome.broken_elsewhere) == (4, 3)


async def _now(gapless: Gapless, queue: str) -> Revision:
    handle = gapless.client.get_workflow_handle_for(ReportRevision.run, revision_id(queue))
    return await handle.result()


async def test_what_recovers_is_told(gapless: Gapless, queue: str, site: Site, elsewhere: Site) -> None:
    """Two looks, of which each finds something, and a revised report that holds what both found."""
    await _audit(gapless, queue, site, elsewhere, 1, 2)
    own, before = site.requests.copy(), elsewhere.requests["/back"]
    elsewhere.routes = {**elsewhere.routes, "/back": Reply(page())}
    await until(lambda: elsewhere.requests["/back"] > before)
    elsewhere.routes = {**elsewhere.routes, "/later": Reply(page())}
    revision = await _now(gapless, queue)
    assert (revision.recovered, revision.still_broken) == (2, 1)
    report = json.loads(await gapless.artifacts.get(revision.report_json.digest))
    broken = {found["target"] for found in report["findings"] if found["result"] == "broken"}
    assert broken == {f"{site.url}/gone", f"{elsewhere.url}/never"}
    assert "Total broken: 2 across" in (await gapless.artifacts.get(revision.report_markdown.digest)).decode()
    assert site.requests == own


async def test_what_stays_broken_is_not_told_again(gapless: Gapless, queue: str, site: Site, elsewhere: Site) -> None:
    """Where nothing recovers, the report that is out holds."""
    await _audit(gapless, queue, site, elsewhere, 1)
    assert await _now(gapless, queue) == Revision(recovered=0, still_broken=3)


async def test_a_new_report_ends_the_looks_for_an_old_one(
    gapless: Gapless, queue: str, site: Site, elsewhere: Site
) -> None:
    """There is one revision of an audit, that of its newest report."""
    await _audit(gapless, queue, site, elsewhere, 3600)
    await _audit(gapless, queue, site, elsewhere, 1)
    assert (await _now(gapless, queue)).still_broken == 3


async def test_nobody_looks_where_nobody_asked(gapless: Gapless, queue: str, site: Site, elsewhere: Site) -> None:
    """Without times in the request there is no revision."""
    await _audit(gapless, queue, site, elsewhere)
    with pytest.raises(RunNotFound):
        await gapless.run(revision_id(queue))
