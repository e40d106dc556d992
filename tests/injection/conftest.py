"""A site that can be poisoned, a canary on another port, and an agent that obeys, all on real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gapless.testing.emulator import Emulator, agent
from gapless_workflows.link_audit import PROMPT
from injection import obedient
from unit.links.httpsite import Site


@pytest.fixture(autouse=True)
def _obeying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the emulator's agent obey pages."""
    monkeypatch.setattr(agent, "work", obedient.work)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve a site whose routes the test sets."""
    async with Site({}) as site:
        yield site


@pytest.fixture
async def canary() -> AsyncIterator[Site]:
    """Serve what nobody may ask: it counts who connects."""
    async with Site({}) as canary:
        yield canary


class Agent:
    """Asks the emulator's agent for an audit over HTTP, and brings its text and its files."""

    def __init__(self, emulator: Emulator) -> None:
        self._api = f"{emulator.url}/v1beta"

    async def audit(self, url: str) -> tuple[str, dict[str, bytes]]:
        """Return what the agent answers, and the files that it left."""
        body = {"agent": "antigravity-preview-09-2026", "input": PROMPT.format(url=url), "environment": "remote"}
        async with aiohttp.ClientSession(headers={"x-goog-api-key": "any"}) as session:
            async with session.post(f"{self._api}/interactions", json=body) as response:
                found: dict[str, Any] = await response.json()
            assert found["status"] == "completed", found
            files = f"{self._api}/environments/{found['environment_id']}/files"
            async with session.get(files, params={"recursive": "true"}) as response:
                listed = (await response.json())["files"]
            left = {}
            for path in [each["path"] for each in listed]:
                async with session.get(f"{files}/{path}", params={"alt": "media"}) as response:
                    left[path] = await response.read()
        return found["steps"][-1]["content"][0]["text"], left


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Agent]:
    """Start an emulator whose agent answers as soon as it is done."""
    async with Emulator(run_seconds=0, state=tmp_path / "agent.sqlite") as emulator:
        yield Agent(emulator)
