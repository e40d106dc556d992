"""What the benchmarks share: a Temporal server of their own, and lines for a person."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gapless import Gapless, Settings, devserver
from gapless.artifacts import ArtifactStore
from gapless.payloads import data_converter

MODEL = "gemini-3.8-flash"


def say(line: str) -> None:
    """Tell a person on stderr; stdout is for what was measured."""
    print(line, file=sys.stderr, flush=True)


@asynccontextmanager
async def gapless_in(folder: Path) -> AsyncIterator[Gapless]:
    """Yield a client of a Temporal server in this folder, without an emulator's address yet.

    Polls are a second apart, the least that the server allows.
    """
    settings = Settings.load(data_dir=folder, GEMINI_API_KEY="any", poll_max_interval=1.0)
    server = await devserver.start(settings, say=say)
    try:
        converter = data_converter(ArtifactStore(settings.artifacts_url))
        yield Gapless(await devserver.connect(settings, server, data_converter=converter), server, settings)
    finally:
        devserver.stop(settings)
