from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest

from unit.links.httpsite import Audit, Route, Serve, Site


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start sites that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(routes: Mapping[str, Route]) -> Site:
            return await stack.enter_async_context(Site(routes))

        yield start


@pytest.fixture
def audit(serve: Serve) -> Audit:
    """Serve routes, audit them, and return the crawl."""
    return Audit(serve)
