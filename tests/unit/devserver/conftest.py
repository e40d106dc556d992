"""Servers of their own: a temporary data folder each, the user's cache for the binary."""

import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gapless import devserver
from gapless.config import Settings
from gapless.devserver import process


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests away from whatever cluster and settings the environment names."""
    for name in [name for name in os.environ if name.startswith(("TEMPORAL_", "GAPLESS_"))]:
        monkeypatch.delenv(name)
    profiles = tmp_path / "temporal.toml"
    profiles.touch()
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profiles))


@pytest.fixture(scope="session")
async def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `temporal` binary, found in the usual order; built once where there is none."""
    return await devserver.binary(Settings.load(data_dir=tmp_path_factory.mktemp("binary")), print)


@pytest.fixture
def make(program: Path, tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """Make settings with a data folder; servers in them are killed at the end.

    They have ports of their own, so that no other server can take them while one is down.
    """
    made: list[Settings] = []

    def settings(folder: str = "data", **flags: Any) -> Settings:
        made.append(Settings.load(**{"data_dir": tmp_path / folder, "temporal_cli": program, **flags}))
        _off_the_usual_ports(made[-1])
        return made[-1]

    yield settings
    for each in made:
        _kill(each)


@pytest.fixture(scope="session")
async def up(program: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    """Settings whose server is running, for tests that only look at it."""
    settings = Settings.load(data_dir=tmp_path_factory.mktemp("up"), temporal_cli=program)
    await devserver.start(settings)
    yield settings
    _kill(settings)


@pytest.fixture
def kill() -> Callable[[Settings], None]:
    """SIGKILL the server of a data folder, if there is one, and wait until it is gone."""
    return _kill


def _off_the_usual_ports(settings: Settings) -> None:
    files = devserver.Files.of(settings)
    files.root.mkdir(parents=True, exist_ok=True)
    files.state.write_text(json.dumps({"grpc": process._any_port(), "ui": process._any_port()}))


def _kill(settings: Settings) -> None:
    files = devserver.Files.of(settings)
    while files.alive():
        with suppress(ProcessLookupError):
            os.kill(int(files.pid.read_text()), signal.SIGKILL)
