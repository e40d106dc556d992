"""The site that is crawled while workers die, and audits that die with them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from faults.mortals import Mortals
from faults.runs import large
from gapless import Gapless, Settings
from unit.links.httpsite import Site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve a site of some hundred pages, each of which takes a moment."""
    async with Site(large()) as site:
        site.delay = lambda _: 0.05
        yield site


@pytest.fixture
def mortals(gapless: Gapless, settings: Settings, queue: str, tmp_path: Path) -> Iterator[Mortals]:
    """Return audits whose workers die."""
    mortals = Mortals(gapless, settings, queue, tmp_path)
    yield mortals
    for worker in mortals.workers:
        worker.kill()
