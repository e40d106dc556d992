"""An interaction that its provider does not know: not visible yet, then expired."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from conftest import MODEL
from gapless import InteractionRequest, Settings, State
from gapless.artifacts import ArtifactStore
from gapless.contract.interaction import Handle, Watch
from gapless.testing.emulator import Emulator
from gapless_activities.interactions import ProviderActivities


@pytest.mark.parametrize(("age", "expired"), [(timedelta(seconds=5), False), (timedelta(minutes=10), True)])
async def test_a_404_means_expired_only_after_a_while(
    settings: Settings, emulator: Emulator, age: timedelta, expired: bool
) -> None:
    """Shortly after the accept a 404 is waited out; later it is the end."""
    activities = ProviderActivities(settings, ArtifactStore(settings.artifacts_url))
    lost = InteractionRequest(model=MODEL, input="Hello.", labels={"gapless-fault": "404-forever"})
    accepted = await (await activities.provider("gemini")).submit(lost)
    handle = Handle(provider="gemini", interaction_id=accepted.interaction_id, accepted_at=datetime.now(UTC) - age)
    watch = Watch(handle=handle, queued=timedelta(hours=1), running=timedelta(hours=1))
    if expired:
        assert (await ActivityEnvironment().run(activities.poll, watch)).state is State.EXPIRED
    else:
        with pytest.raises(ApplicationError, match="not visible yet") as caught:
            await ActivityEnvironment().run(activities.poll, watch)
        assert caught.value.type == "NotYet"
    await activities.aclose()
