"""Worker of the package temporalio-google-genai, used as its README shows, in an environment of its own.

It needs google-genai below 3, which Gapless does not: see `peer.py`. The address of a Temporal server is its
argument. It first prints the versions it runs on, then takes lines `QUEUE URL` on stdin, serves each queue with the
Interactions API at that address, and prints the queue once its worker is there. It ends with stdin.
"""

import asyncio
import logging
import sys
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from google import genai
from google.genai import types
from temporalio import workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.google_genai import (  # type: ignore[import-not-found] # installed in the peer's environment only
    GoogleGenAIPlugin,
    TemporalAsyncClient,
)
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

POLL_INTERVAL = timedelta(seconds=1)


@workflow.defn
class PluginInteraction:
    """Create, then a timer and a GET until it has ended: the package has no polling of its own."""

    @workflow.run
    async def run(self, model: str, prompt: str) -> str:
        """Return the text of the answer."""
        client = TemporalAsyncClient()
        interaction: Any = await client.interactions.create(model=model, input=prompt, background=True)
        while interaction.status in {"queued", "in_progress"}:
            await workflow.sleep(POLL_INTERVAL)
            interaction = await client.interactions.get(interaction.id)
        if interaction.status != "completed":
            raise ApplicationError(f"{interaction.id} ended as {interaction.status}", non_retryable=True)
        return interaction.output_text or ""


async def serve(address: str, queue: str, url: str) -> None:
    """Serve one queue until the process ends."""
    plugin = GoogleGenAIPlugin(genai.Client(api_key="any", http_options=types.HttpOptions(base_url=url)))
    client = await Client.connect(address, plugins=[plugin])
    async with Worker(client, task_queue=queue, workflows=[PluginInteraction]):
        print(queue, flush=True)
        await asyncio.Event().wait()


async def main(address: str) -> None:
    """Serve what stdin names."""
    logging.getLogger("temporalio").setLevel(logging.ERROR)  # each failed attempt is a warning with its traceback
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))  # it would write to stdout
    print(*(f"{name} {version(name)}" for name in ("temporalio-google-genai", "google-genai")), sep=", ", flush=True)
    async with asyncio.TaskGroup() as serving:
        while line := await asyncio.to_thread(sys.stdin.readline):
            queue, url = line.split()
            serving.create_task(serve(address, queue, url))
        raise SystemExit


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
