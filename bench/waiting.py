"""What a thousand waiting interactions cost: slots, memory, CPU per poll.

    python bench/waiting.py [--waiting 1000] [--seconds 60] [--json]

The worker is a process of its own with Temporal's 100 activity slots; so are the Temporal server and the local
Interactions API. The interactions never end; once all are accepted, the polls of some time are watched.
"""

import argparse
import asyncio
import json
import re
import tempfile
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import Any

from common import MODEL, gapless_in, say
from gapless import Gapless, InteractionRequest
from gapless.telemetry import configure_logging
from gapless_workers.main import run_main
from processes import EMULATOR, cpu_seconds, python, read, resident_bytes

QUEUE = "bench-waiting"
AT_ONCE = 50
POLL_INTERVAL = 15.0

WORKER = """
import asyncio, sys
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from gapless import Gapless
from gapless.telemetry import configure_logging
from gapless_workers.worker import worker

async def main():
    configure_logging("error")
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=sys.argv[2]))))
    gapless = await Gapless.connect()
    async with worker(gapless.client, gapless.settings, [sys.argv[1]]):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
"""The product's worker on a queue, with Temporal's own metrics at an address."""

SLOTS = re.compile(r'^temporal_worker_task_slots_used\{[^}]*worker_type="ActivityWorker"[^}]*\} (\d+)', re.MULTILINE)


async def _start_all(gapless: Gapless, count: int, url: str) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def start(number: int) -> None:
        async with slots:
            request = InteractionRequest(model=MODEL, input="Wait.")
            await gapless.start(request, id=f"waiting-{number}", queue=QUEUE)

    starting = asyncio.gather(*(start(number) for number in range(count)))
    while (accepted := read(f"{url}/_emulator/stats")["created"]) < count:
        say(f"{accepted:,} of {count:,} accepted")
        await asyncio.sleep(5)
    await starting


def _polls(url: str) -> int:
    return int(read(f"{url}/_emulator/stats")["requests"].get("get", 0))


async def _watch(pid: int, metrics: str, url: str, seconds: float) -> dict[str, Any]:
    polls, cpu, start, used = _polls(url), cpu_seconds(pid), monotonic(), list[int]()
    while monotonic() - start < seconds:
        found = SLOTS.search(await asyncio.to_thread(read, metrics))
        used.append(int(found[1]) if found else 0)
        await asyncio.sleep(0.1)
    made, spent = _polls(url) - polls, cpu_seconds(pid) - cpu
    return {
        "polls": made,
        "polls_per_second": made / (monotonic() - start),
        "cpu_ms_per_poll": 1000 * spent / made,
        "slots_used_mean": mean(used),
        "slots_used_most": max(used),
        "resident_mb": resident_bytes(pid) / 1e6,
    }


async def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure_logging("error")
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        async with gapless_in(Path(folder)) as gapless, python(EMULATOR, "1000000") as (_, url):
            metrics = "127.0.0.1:9464"
            told = {
                "GAPLESS_DATA_DIR": folder,
                "GAPLESS_POLL_MAX_INTERVAL": str(POLL_INTERVAL),
                "GEMINI_API_KEY": "any",
                "GOOGLE_GEMINI_BASE_URL": url,
            }
            async with python(WORKER, QUEUE, metrics, **told) as (pid, _):
                empty = resident_bytes(pid) / 1e6
                await _start_all(gapless, options.waiting, url)
                await asyncio.sleep(5 * POLL_INTERVAL)  # until every wait has reached its longest interval
                found = await _watch(pid, f"http://{metrics}/metrics", url, options.seconds)
    row = {"waiting": options.waiting, "resident_mb_before": empty, **found}
    _print(row, as_json=options.json)
    return 0


def _print(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(row, indent=2))
        return
    print(f"{row['waiting']:,} waiting interactions, {row['polls']:,} polls, {row['polls_per_second']:.1f}/s")
    print(f"slots used      {row['slots_used_mean']:.2f} on average, {row['slots_used_most']} at the most, of 100")
    print(f"CPU per poll    {row['cpu_ms_per_poll']:.2f} ms in the worker, Temporal's part included")
    print(f"resident        {row['resident_mb']:.0f} MB, {row['resident_mb_before']:.0f} MB before the first")


if __name__ == "__main__":
    run_main(_main())
