"""A worker is killed while other hosts are looked at: the report is the same, and nobody is asked twice for long."""

from collections.abc import AsyncIterator, Callable

import pytest

from conftest import WorkerProcess, until
from gapless import AuditOutcome, Gapless, LinkAuditRequest
from gapless.links import Crawl, Scope, crawl, report_json
from gapless.links.urls import authority
from unit.links.httpsite import Reply, Site, page

StartWorker = Callable[..., WorkerProcess]
HOSTS, PAGES = 4, 20


@pytest.fixture
async def others() -> AsyncIterator[list[Site]]:
    """Serve hosts to which the site links, each slow, with a page that is gone."""
    routes = {f"/{n}": page(extra=f'<p id="p{n}">') for n in range(PAGES)}
    sites = [Site(routes) for _ in range(HOSTS)]
    for site in sites:
        await site.__aenter__()
        site.delay = lambda _: 0.3
    yield sites
    for site in sites:
        await site.__aexit__(None, None, None)


@pytest.fixture
async def site(others: list[Site]) -> AsyncIterator[Site]:
    """Serve the audited site."""
    links = [f"{each.url}/{n}#p{n}" for each in others for n in range(PAGES + 1)]
    async with Site({"/": page(*links), "/robots.txt": Reply("", 404)}) as site:
        yield site


def _request(site: Site, others: list[Site]) -> LinkAuditRequest:
    return LinkAuditRequest(url=site.url, allow=[authority(each.url + "/") for each in others])


async def _is_that_of_the_auditor_alone(gapless: Gapless, outcome: AuditOutcome, others: list[Site]) -> bool:
    found = Crawl.from_bytes(await gapless.artifacts.get(outcome.crawl.digest))
    for each in others:
        each.delay = lambda _: 0.0
    alone = await crawl(Scope(outcome.url, allow=found.scope.allow))
    return report_json(found) == report_json(alone) and outcome.broken == HOSTS


@pytest.mark.parametrize("moment", ["looking", "after:serve", "before:look_elsewhere", "after:look_elsewhere"])
async def test_killed_at_any_moment(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site, others: list[Site], moment: str
) -> None:
    """The next worker goes on; what a host answered before the kill is asked again for one seal at the most."""
    worker = start_worker("" if moment == "looking" else moment)
    run = await gapless.start(_request(site, others), id=queue, queue=queue)
    if moment == "looking":
        await until(lambda: all(each.requests.total() > 5 for each in others))
    else:
        await until(lambda: worker.says(f"stalled {moment.replace(':', ' ')}"))
    worker.kill()
    start_worker()
    outcome = await run.result()
    asked = [each.requests.total() for each in others]
    assert max(asked) <= 2 * (PAGES + 1 + 2)
    assert await _is_that_of_the_auditor_alone(gapless, outcome, others)


async def test_cancelled_on_the_way(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site, others: list[Site]
) -> None:
    """An audit that is cancelled takes its looks out of the lanes: soon nobody asks the other hosts any more."""
    start_worker()
    run = await gapless.start(_request(site, others), id=queue, queue=queue)
    await until(lambda: all(each.requests.total() > 2 for each in others))
    await run.cancel()
    await until(lambda: _closed(gapless, queue))
    asked = [each.requests.total() for each in others]
    assert max(asked) < PAGES
    assert [each.requests.total() for each in others] == asked


async def _closed(gapless: Gapless, id_: str) -> bool:
    return (await (await gapless.run(id_)).status()).closed
