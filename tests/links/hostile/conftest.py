from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack

import pytest

from links.hostile.attack import Attack
from unit.links.httpsite import Route, Serve, Site


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start sites that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(routes: Mapping[str, Route]) -> Site:
            return await stack.enter_async_context(Site(routes))

        yield start


@pytest.fixture
def attack(serve: Serve, record_property: Callable[[str, object], None]) -> Attack:
    """Serve hostile pages among good ones, and audit them."""
    return Attack(serve, record_property)
