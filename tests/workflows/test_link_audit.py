"""The audit's workflow: what it does when it is not wanted any more."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from conftest import AGENT, until
from gapless import Gapless, LinkAuditRequest, Run, RunCancelled, RunNotFound
from gapless.contract import attributes
from gapless.testing.emulator import Emulator
from unit.links.httpsite import Reply, Site, page

pytestmark = pytest.mark.usefixtures("served")


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    """Start an emulator whose interactions take for ever."""
    async with Emulator(run_seconds=3600, state=tmp_path / "emulator.sqlite") as emulator:
        yield emulator


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve a site that goes on for ever."""
    routes: dict[str, Any] = {f"/{n}": page(f"/{n + 1}", f"/{n + 2}") for n in range(5000)}
    async with Site(routes | {"/": page("/0"), "/robots.txt": Reply("", 404)}) as site:
        yield site


async def _running(gapless: Gapless, run_id: str) -> bool:
    try:
        return (await (await gapless.run(run_id)).status()).interaction_id is not None
    except RunNotFound:
        return False


@pytest.mark.parametrize("crawling", [True, False])
async def test_cancel_reaches_everybody(
    gapless: Gapless, emulator: Emulator, queue: str, site: Site, crawling: bool
) -> None:
    """Cancelling an audit ends its crawl, its agent's run, and the interaction at the provider."""
    site.delay = lambda _: 0.02
    pages = 5000 if crawling else 10
    request = LinkAuditRequest(url=site.url, external=False, agent=AGENT, max_pages=pages)
    run = await gapless.start(request, id=queue, queue=queue)
    await until(lambda: _running(gapless, f"{queue}-agent"))
    await until(lambda: site.requests.total() > 10)
    if not crawling:
        await until(lambda: _crawled(run))
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    for run_id in (queue, f"{queue}-agent"):
        ended = await gapless.client.get_workflow_handle(run_id).describe()
        assert ended.status is WorkflowExecutionStatus.CANCELED
        assert ended.typed_search_attributes.get(attributes.STATE) == "cancelled"
    assert emulator.stats()["cancel_requests"] == 1
    assert site.requests.total() < 1000


async def _crawled(run: Run[Any]) -> bool:
    return all(pending.activity != "crawl" for pending in (await run.status()).pending)
