"""Workers whose lanes give short turns."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.worker import UnsandboxedWorkflowRunner

import gapless_workers.worker as wiring
from gapless import Gapless, Settings
from gapless_workers.worker import worker
from gapless_workflows import policies


@pytest.fixture
async def short_turns(
    gapless: Gapless, settings: Settings, queue: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Serve the test's queue with turns of a second."""
    monkeypatch.setattr(wiring, "RUNNER", UnsandboxedWorkflowRunner())  # a sandbox would load the policies anew
    monkeypatch.setattr(policies, "LANE_SLICE", timedelta(seconds=1))
    async with worker(gapless.client, settings, [queue]):
        yield
