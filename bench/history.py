"""History of one interaction for 3, 30 and 300 polls: events and bytes. `python bench/history.py [--polls 3 30]`.

Temporal's dev server, a worker and the local Interactions API are real, and run in a folder that is removed
afterwards. Polls are a second apart, the least that the server allows, so 300 of them take six minutes.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

from common import MODEL, gapless_in, say
from gapless import Gapless, InteractionRequest, State
from gapless.telemetry import configure_logging
from gapless.testing.emulator import Emulator
from gapless_workers.main import run_main
from gapless_workers.worker import worker

QUEUE = "bench-history"


class Row(NamedTuple):
    """What was measured of one run."""

    polls: int
    gets: int
    events: int
    size: int
    created: int


async def _measure(gapless: Gapless, polls: int) -> Row:
    """Run one interaction against an emulator of its own, which counts what it was asked."""
    queue = f"{QUEUE}-{polls}"
    async with Emulator(run_seconds=0.0) as emulator:
        settings = gapless.settings.model_copy(update={"gemini_base_url": emulator.url})
        async with worker(gapless.client, settings, [queue]):
            request = InteractionRequest(model=MODEL, input="Say hello.", labels={"gapless-polls": str(polls)})
            outcome = await (await gapless.start(request, id=queue, queue=queue)).result()
        if outcome.state is not State.SUCCEEDED:
            raise SystemExit(f"{polls} polls: the run ended as {outcome.state}: {outcome.failure}")
        stats = emulator.stats()
    handle = gapless.client.get_workflow_handle(queue)
    size = (await handle.describe()).raw_description.workflow_execution_info.history_size_bytes
    events = len((await handle.fetch_history()).events)
    return Row(polls, stats["requests"]["get"], events, size, stats["created"])


async def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--polls", type=int, nargs="+", default=[3, 30, 300], help='how often it says "not yet"')
    wanted = parser.parse_args().polls
    configure_logging("warning")
    say(f"{max(wanted)} polls take about {max(wanted) * 1.25 / 60:.1f} min")
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        async with gapless_in(Path(folder)) as gapless:
            rows = await asyncio.gather(*(_measure(gapless, polls) for polls in wanted))
    print(f"{'not yet':>8}{'GETs':>8}{'events':>8}{'bytes':>8}{'created':>9}")
    for row in rows:
        print(f"{row.polls:>8}{row.gets:>8}{row.events:>8}{row.size:>8}{row.created:>9}")
    return 0


if __name__ == "__main__":
    run_main(_main())
