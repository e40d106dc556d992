import pytest

from unit.links.httpsite import Audit, Serve


@pytest.fixture
def audit(serve: Serve) -> Audit:
    """Serve routes, audit them, and return the crawl."""
    return Audit(serve)
