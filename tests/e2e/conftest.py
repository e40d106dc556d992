"""Fixtures of the tests that run the console script."""

from pathlib import Path

import pytest

from conftest import settings_for
from e2e.command import Command
from gapless.config import Settings


@pytest.fixture
def command(settings: Settings, tmp_path: Path) -> Command:
    """Return the console script, with the session's server already up."""
    return Command(settings, tmp_path)


@pytest.fixture
def alone(tmp_path: Path) -> Command:
    """Return the console script with a data folder in which nothing was ever started."""
    return Command(settings_for(tmp_path / "data", "http://127.0.0.1:9"), tmp_path)
