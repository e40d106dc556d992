"""The site that is crawled while workers die."""

from collections.abc import AsyncIterator

import pytest

from faults.runs import large
from unit.links.httpsite import Site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve a site of some hundred pages, each of which takes a moment."""
    async with Site(large()) as site:
        site.delay = lambda _: 0.05
        yield site
