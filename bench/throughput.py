"""Whole interactions per second, against a bare workflow of three activities that do nothing.

    python bench/throughput.py [--rounds 5] [--runs 120] [--json]

All three kinds run on the same Temporal server and worker, in turn and in changing order, in one go; what counts is
the ratio. The server, the worker with the client, and the local Interactions API are three processes, so that it can
be said where the time goes.
"""

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import NamedTuple

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from common import MODEL, gapless_in, say
from gapless import Gapless, InteractionRequest, State, devserver
from gapless.telemetry import configure_logging
from gapless_workers.main import run_main
from gapless_workers.worker import worker
from processes import EMULATOR, cpu_seconds, python

QUEUE = "bench-throughput"
BARE = f"{QUEUE}-bare"
IN_FLIGHT = 60


@activity.defn
async def nothing(value: str) -> str:
    """Do nothing."""
    return value


@workflow.defn(sandboxed=False)
class Bare:
    """Three activities, one after the other: what any submit, poll and fetch costs on Temporal."""

    @workflow.run
    async def run(self, value: str) -> str:
        """Run them."""
        for _ in range(3):
            value = await workflow.execute_activity(nothing, value, start_to_close_timeout=timedelta(seconds=30))
        return value


class Batch(NamedTuple):
    """One batch: runs per second, and milliseconds of CPU per run in each process."""

    rate: float
    worker: float
    server: float
    provider: float


async def bare(client: Client, id_: str) -> None:
    """Run the workflow that everything is compared with."""
    await client.execute_workflow(Bare.run, "x" * 100, id=id_, task_queue=BARE)


async def interaction(gapless: Gapless, id_: str, seconds: str) -> None:
    """Run one interaction to its end."""
    request = InteractionRequest(model=MODEL, input="Say hello.", labels={"gapless-run-seconds": seconds})
    outcome = await (await gapless.start(request, id=id_, queue=QUEUE)).result()
    if outcome.state is not State.SUCCEEDED:
        raise SystemExit(f"{id_} ended as {outcome.state}: {outcome.failure}")


async def _batch(name: str, one: Callable[[str], Awaitable[None]], runs: int, pids: tuple[int, int]) -> Batch:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def run(number: int) -> None:
        async with slots:
            await one(f"{name}-{number}")

    before = (process_time(), *map(cpu_seconds, pids))
    start = monotonic()
    await asyncio.gather(*(run(number) for number in range(runs)))
    took = monotonic() - start
    spent = [
        (after - then) * 1000 / runs
        for after, then in zip((process_time(), *map(cpu_seconds, pids)), before, strict=True)
    ]
    return Batch(runs / took, *spent)


async def _measure(gapless: Gapless, rounds: int, runs: int, pids: tuple[int, int]) -> dict[str, list[Batch]]:
    kinds: dict[str, Callable[[str], Awaitable[None]]] = {
        "bare": lambda id_: bare(gapless.client, id_),
        "no wait": lambda id_: interaction(gapless, id_, "0"),
        "a wait": lambda id_: interaction(gapless, id_, "1"),
    }
    found: dict[str, list[Batch]] = {name: [] for name in kinds}
    for number in range(-1, rounds):  # the first round warms everything up
        for name in random.sample(list(kinds), len(kinds)):
            size = runs if number >= 0 else 20
            batch = await _batch(f"{name.replace(' ', '-')}-{number}", kinds[name], size, pids)
            if number >= 0:
                found[name].append(batch)
                say(f"round {number + 1} of {rounds}: {name:<8}{batch.rate:6.1f}/s")
    return found


def _row(name: str, batches: list[Batch], bare_batches: list[Batch]) -> dict[str, float | str]:
    ratios = [batch.rate / other.rate for batch, other in zip(batches, bare_batches, strict=True)]
    row: dict[str, float | str] = {"kind": name, "ratio": median(ratios), "least": min(ratios), "most": max(ratios)}
    return row | {name: median(getattr(batch, name) for batch in batches) for name in Batch._fields}


async def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=120, help="of each kind in each round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure_logging("error")
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        async with gapless_in(Path(folder)) as gapless, python(EMULATOR, "0") as (provider, url):
            settings = gapless.settings.model_copy(update={"gemini_base_url": url})
            server = int(devserver.Files.of(gapless.settings).pid.read_text())
            bare_worker = Worker(gapless.client, task_queue=BARE, workflows=[Bare], activities=[nothing])
            async with bare_worker, worker(gapless.client, settings, [QUEUE]):
                found = await _measure(gapless, options.rounds, options.runs, (server, provider))
    rows = [_row(name, batches, found["bare"]) for name, batches in found.items()]
    _print(rows, as_json=options.json)
    return 0


def _print(rows: list[dict[str, float | str]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':<10}{'per second':>12}{'ratio':>8}{'from':>7}{'to':>7}   CPU ms per run: worker, server, provider")
    for row in rows:
        figures = "{rate:>12.1f}{ratio:>8.2f}{least:>7.2f}{most:>7.2f}{worker:>26.1f}{server:>8.1f}{provider:>10.1f}"
        print(f"{row['kind']:<10}" + figures.format(**row))


if __name__ == "__main__":
    run_main(_main())
