from collections.abc import Callable

import pytest

from links.hostile.attack import Attack
from unit.links.httpsite import Serve


@pytest.fixture
def attack(serve: Serve, record_property: Callable[[str, object], None]) -> Attack:
    """Serve hostile pages among good ones, and audit them."""
    return Attack(serve, record_property)
