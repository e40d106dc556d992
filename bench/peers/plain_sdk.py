"""google-genai with its defaults in activities with Temporal's defaults, as the documentation of both has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from google import genai
    from google.genai import types

POLL_INTERVAL = timedelta(seconds=1)


@dataclass(frozen=True)
class Seen:
    """What a GET said."""

    status: str
    text: str


class PlainActivities:
    """One call of the API each."""

    def __init__(self, client: genai.Client) -> None:
        self._client = client

    @activity.defn
    async def create_interaction(self, model: str, prompt: str) -> str:
        """Create a background interaction, and return its id."""
        interaction: Any = await self._client.aio.interactions.create(model=model, input=prompt, background=True)
        return str(interaction.id)

    @activity.defn
    async def get_interaction(self, interaction_id: str) -> Seen:
        """Return where the interaction stands."""
        interaction: Any = await self._client.aio.interactions.get(interaction_id)
        return Seen(str(interaction.status), interaction.output_text or "")


@workflow.defn
class PlainInteraction:
    """Create, then a timer and a GET until it has ended."""

    @workflow.run
    async def run(self, model: str, prompt: str) -> str:
        """Return the text of the answer."""
        interaction_id = await workflow.execute_activity_method(
            PlainActivities.create_interaction, args=[model, prompt], start_to_close_timeout=timedelta(seconds=60)
        )
        while True:
            seen = await workflow.execute_activity_method(
                PlainActivities.get_interaction, interaction_id, start_to_close_timeout=timedelta(seconds=30)
            )
            if seen.status == "completed":
                return seen.text
            if seen.status not in {"queued", "in_progress"}:
                raise ApplicationError(f"{interaction_id} ended as {seen.status}", non_retryable=True)
            await workflow.sleep(POLL_INTERVAL)


@asynccontextmanager
async def plain_worker(client: Client, queue: str, url: str) -> AsyncIterator[None]:
    """Serve the queue with the API at this address."""
    gemini = genai.Client(api_key="any", vertexai=False, http_options=types.HttpOptions(base_url=url))
    activities = PlainActivities(gemini)
    try:
        async with Worker(
            client,
            task_queue=queue,
            workflows=[PlainInteraction],
            activities=[activities.create_interaction, activities.get_interaction],
        ):
            yield
    finally:
        await gemini.aio.aclose()
