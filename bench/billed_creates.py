"""How often one task is created, and so billed, when its create goes wrong: Gapless and two others side by side.

`python bench/billed_creates.py [--faults answer-lost] [--strikes always] [--ways gapless sdk] [--seconds 30] [--json]`

The same background interaction is run in three ways: by Gapless, by google-genai in ordinary activities
(`peers/plain_sdk.py`), and by the package temporalio-google-genai (`peers/google_genai_plugin.py`, in an environment
of its own). Everybody's defaults hold, but that all poll every second. Each cell has a local Interactions API, a task
queue and a worker of its own on one real Temporal dev server, in a folder that is removed afterwards.
"""

import argparse
import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from temporalio.api.failure.v1 import Failure
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
)
from temporalio.service import RPCError

from common import MODEL, gapless_in, say
from gapless import Gapless, InteractionRequest, Outcome
from gapless.contract import attributes
from gapless.contract.interaction import Interaction, State
from gapless.telemetry import configure_logging, forward_core_logs
from gapless.testing.emulator import Emulator
from gapless.testing.emulator.faults import Fault
from gapless.testing.emulator.wire import ApiError
from gapless_workers.main import run_main
from gapless_workers.worker import worker
from peers import peer
from peers.plain_sdk import PlainInteraction, plain_worker

T = TypeVar("T")

PROMPT = "Say hello."
CONTROL = "none"
FAULTS = (
    CONTROL,
    *("answer-lost", "5xx-after", "malformed-200", "hang"),
    *("5xx-before", "status-408", "status-409", "status-429", "status-400"),
)
WAYS = ("gapless", "sdk", "plugin")
STRIKES = ("always", "once")
HANG_LONGER = 100.0
"""Seconds that a hang is watched longer: by their defaults all ways wait 60 s for an answer."""
ROWS_AT_ONCE = 6
LOOK_EVERY = 0.5
QUERY = timedelta(seconds=5)
LEGEND = """
strikes  every create for as long as the run was watched ({watched}), or only the first one
created  interactions that there are in the end, each of them billed
end      seconds until the run had its result, or was held for a person or failed with a text that is true
cause    whether the run's page in the Temporal UI names it at once, nested in what it shows, or not at all"""


class Way(NamedTuple):
    """One way to run the task: serve a queue with the API at an address, start a run there, read its result.

    `answer` returns the text of the answer, or None when the result is that there is none.
    """

    name: str
    runs_on: str
    serve: Callable[[str, str], AbstractAsyncContextManager[None]]
    start: Callable[[str], Awaitable[WorkflowHandle[Any, Any]]]
    answer: Callable[[Any], str | None]


class Case(NamedTuple):
    """A fault that strikes every create for so many seconds, or only the first one."""

    fault: str
    strikes: str
    seconds: float


class Seen(NamedTuple):
    """Where a run stands: how it ended, if it has, seconds after its start, and what its page in the UI shows."""

    end: str | None
    seconds: float | None
    shown: list[str]


@dataclass(frozen=True)
class Cell:
    """What was measured of one case in one way.

    `end` is `result`, `held` or `failed` where that is the truth, else None; `resolved` is whether nobody has to decide
    or wait any more. `cause` is how the UI names it: `named` at once, `nested`, `hidden`; None beside a result.
    """

    fault: str
    strikes: str
    way: str
    runs_on: str
    watched: float
    posts: int
    created: int
    end: str | None
    seconds: float | None
    resolved: bool
    cause: str | None
    shown: list[str]


# The three ways


def _gapless_way(gapless: Gapless) -> Way:
    @asynccontextmanager
    async def serve(queue: str, url: str) -> AsyncIterator[None]:
        settings = gapless.settings.model_copy(update={"gemini_base_url": url})
        async with worker(gapless.client, settings, [queue]):
            yield

    async def start(queue: str) -> WorkflowHandle[Any, Any]:
        await gapless.start(InteractionRequest(model=MODEL, input=PROMPT), id=queue, queue=queue)
        return gapless.client.get_workflow_handle(queue, result_type=Outcome)

    def answer(outcome: Outcome) -> str | None:
        return outcome.result.text if outcome.state is State.SUCCEEDED and outcome.result else None

    return Way("gapless", f"gapless {version('gapless')}", serve, start, answer)


def _sdk_way(client: Client) -> Way:
    async def start(queue: str) -> WorkflowHandle[Any, Any]:
        return await client.start_workflow(PlainInteraction.run, args=[MODEL, PROMPT], id=queue, task_queue=queue)

    def serve(queue: str, url: str) -> AbstractAsyncContextManager[None]:
        return plain_worker(client, queue, url)

    return Way("sdk", f"google-genai {version('google-genai')} in activities", serve, start, str)


def _plugin_way(client: Client, running: peer.Peer) -> Way:
    @asynccontextmanager
    async def serve(queue: str, url: str) -> AsyncIterator[None]:
        await running.serve(queue, url)
        yield

    async def start(queue: str) -> WorkflowHandle[Any, Any]:
        return await client.start_workflow("PluginInteraction", args=[MODEL, PROMPT], id=queue, task_queue=queue)

    return Way("plugin", running.versions, serve, start, str)


@asynccontextmanager
async def _ways(folder: Path, wanted: Sequence[str]) -> AsyncIterator[list[Way]]:
    """Yield the ways on one server in this folder."""
    async with AsyncExitStack() as stack:
        gapless = await stack.enter_async_context(gapless_in(folder))
        plain = await Client.connect(gapless.server.address, namespace=gapless.server.namespace)
        ways = {"gapless": _gapless_way(gapless), "sdk": _sdk_way(plain)}
        if "plugin" in wanted:
            running = await stack.enter_async_context(peer.running(gapless.server.address, folder / "peer.log"))
            ways["plugin"] = _plugin_way(plain, running)
        yield [ways[name] for name in wanted]


# What became of a run


async def _seen(way: Way, handle: WorkflowHandle[Any, Any]) -> Seen:
    description = await handle.describe()
    shown = await _shown(handle, description)
    if description.close_time is not None:
        done = description.status is WorkflowExecutionStatus.COMPLETED
        text = way.answer(await handle.result()) if done else None
        end = "result" if text is not None and PROMPT in text else "failed"
        return Seen(end, (description.close_time - description.start_time).total_seconds(), shown)
    if description.typed_search_attributes.get(attributes.STATE) == State.HELD:
        status = await handle.query(Interaction.status)
        return Seen("held", (status.since - description.start_time).total_seconds(), shown)
    return Seen(None, None, shown)


async def _shown(handle: WorkflowHandle[Any, Any], description: WorkflowExecutionDescription) -> list[str]:
    """Return what the run's page in the Temporal UI tells: its details, and why activities or the run failed."""
    failures = [activity.last_failure for activity in description.raw_description.pending_activities]
    if description.close_time is not None:
        events = handle.fetch_history_events(event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT)
        failures += [event.workflow_execution_failed_event_attributes.failure async for event in events]
    told = [line for failure in failures for line in _told(failure)]
    return [part for part in (await _details(handle), *told) if part]


async def _details(handle: WorkflowHandle[Any, Any]) -> str:
    """Return the run's current details, which the UI asks its worker for."""
    try:
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata, rpc_timeout=QUERY)
    except RPCError:  # a workflow whose code fails cannot be asked, by the UI neither
        return ""
    return str(metadata.current_details)


def _told(failure: Failure) -> Iterator[str]:
    """Yield type and message of a failure, then of what caused it."""
    yield f"{failure.application_failure_info.type}: {failure.message}".removeprefix(": ")
    if failure.HasField("cause"):
        yield from _told(failure.cause)


def _pattern(fault: str) -> str:
    """Return what a text matches that names the cause."""
    match fault:
        case "answer-lost" | "answer-lost-before" | "reset-mid-body":
            return "connection|disconnected|peer closed"
        case "hang" | "slow":
            return "time ?out|timed out|no answer in time"
        case "5xx-before" | "5xx-after":
            return r"\b503\b"
    status = Fault(fault).refusal
    return rf"\b{status}\b" if status else r"response validation|parsing|json|\b200\b"


def _cause(case: Case, shown: Sequence[str]) -> str:
    """Say whether the cause is named in what is shown first, nested in what follows, or hidden."""
    if case.fault == CONTROL:
        return "hidden"
    named = [re.search(_pattern(case.fault), text, re.IGNORECASE) is not None for text in shown]
    return "named" if named[:1] == [True] else "nested" if any(named) else "hidden"


def _judge(case: Case, way: Way, stats: dict[str, Any], seen: Seen) -> Cell:
    """Take an end for one only if it is the result, or a text that names the cause and does not deny what runs."""
    result = seen.end == "result"
    cause = None if result else _cause(case, seen.shown)
    denied = stats["created"] and any(re.search("nothing (runs|is billed)", text, re.IGNORECASE) for text in seen.shown)
    truth = result or (cause == "named" and not denied)
    return Cell(
        fault=case.fault,
        strikes=case.strikes,
        way=way.name,
        runs_on=way.runs_on,
        watched=case.seconds,
        posts=stats["requests"].get("create", 0),
        created=stats["created"],
        end=seen.end if truth else None,
        seconds=seen.seconds if truth else None,
        resolved=truth and seen.end in {"result", "failed"},
        cause=cause,
        shown=seen.shown,
    )


# Measuring


async def _measure_all(cases: Sequence[Case], ways: Sequence[Way]) -> list[list[Cell]]:
    """Measure a few rows at a time; the longest begin."""
    slots, setting_up = asyncio.Semaphore(ROWS_AT_ONCE), asyncio.Lock()

    async def row(case: Case) -> list[Cell]:
        async with slots, AsyncExitStack() as stack:
            async with setting_up:  # what loads code would hold up the others' first seconds
                runs = [await stack.enter_async_context(_ready(case, way)) for way in ways]
            return await _together(run() for run in runs)

    order = sorted(cases, key=lambda case: -case.seconds)
    rows = dict(zip(order, await _together(row(case) for case in order), strict=True))
    return [rows[case] for case in cases]


@asynccontextmanager
async def _ready(case: Case, way: Way) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Cell]]]:
    """Yield what measures one cell, with an emulator and a worker of its own."""
    queue = f"bench-{way.name}-{uuid4().hex[:12]}"
    async with AsyncExitStack() as api, AsyncExitStack() as serving:
        emulator = await api.enter_async_context(Emulator(run_seconds=1.0))
        await serving.enter_async_context(way.serve(queue, emulator.url))
        if case.fault != CONTROL:
            always = case.strikes == "always"
            emulator.inject(case.fault, rate=1.0 if always else None, times=None if always else 1)

        async def run() -> Cell:
            handle = await way.start(queue)
            await _watch(handle, case.seconds)
            stats, seen = emulator.stats(), await _seen(way, handle)
            if seen.end in {None, "held"}:
                await handle.terminate()
            return _judge(case, way, stats, seen)

        try:
            yield run
        finally:
            await api.aclose()  # before the worker, which would wait for an answer that never comes


async def _watch(handle: WorkflowHandle[Any, Any], seconds: float) -> None:
    """Return when the run is closed, or the time over: what is held shows only then that nothing more was sent."""
    over = asyncio.get_running_loop().time() + seconds
    while (await handle.describe()).close_time is None:
        left = over - asyncio.get_running_loop().time()
        if left <= 0:
            return
        await asyncio.sleep(min(left, LOOK_EVERY))


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results in order; the first failure stops the rest."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
    return [task.result() for task in tasks]


def _cases(faults: Sequence[str], strikes: Sequence[str], seconds: float) -> list[Case]:
    def watched(fault: str) -> float:
        return seconds + (HANG_LONGER if fault == "hang" else 0.0)

    control = [Case(CONTROL, "", seconds)] if CONTROL in faults else []
    return control + [Case(f, how, watched(f)) for how in strikes for f in faults if f != CONTROL]


# Printing


def _table(rows: list[list[Cell]]) -> None:
    """Print a line for each case, with four columns for each way."""
    for cell in rows[0]:
        print(f"{cell.way:<9}{cell.runs_on}")
    print("\n" + " " * 23 + "".join(f" | {cell.way:<35}" for cell in rows[0]).rstrip())
    columns = f" | {'POSTs':>5}{'created':>9}  {'end':<13}{'cause':<6}"
    print((f"{'fault':<15}{'strikes':<8}" + columns * len(rows[0])).rstrip())
    for row in rows:
        print((f"{row[0].fault:<15}{row[0].strikes:<8}" + "".join(map(_columns, row))).rstrip())
    print(LEGEND.format(watched=_watched(rows)))


def _columns(cell: Cell) -> str:
    end = "none" if cell.seconds is None else f"{cell.end} {cell.seconds:.1f}"
    return f" | {cell.posts:>5}{cell.created:>9}  {end:<13}{cell.cause or '':<6}"


def _watched(rows: list[list[Cell]]) -> str:
    spans = sorted({(row[0].watched, "hang: " if row[0].fault == "hang" else "") for row in rows})
    return ", ".join(f"{fault}{seconds:g} s" for seconds, fault in spans)


def _fault(name: str) -> str:
    """Check the name of a fault of one request."""
    try:
        if name != CONTROL and Fault(name).of_interaction:
            raise argparse.ArgumentTypeError(f"{name} is not a fault of a create's answer")
    except ApiError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each run is watched")
    parser.add_argument("--faults", type=_fault, nargs="+", default=list(FAULTS), metavar="FAULT", help="which faults")
    parser.add_argument("--strikes", choices=STRIKES, nargs="+", default=list(STRIKES), help="how often they strike")
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=list(WAYS), help="which ways")
    parser.add_argument("--json", action="store_true", help="a JSON object in a line for each fault and way")
    return parser.parse_args()


async def _main() -> int:
    wanted = _arguments()
    configure_logging("error")  # failed attempts are what is measured
    forward_core_logs()
    cases = _cases(wanted.faults, wanted.strikes, wanted.seconds)
    seconds = [case.seconds for case in cases]
    rounds = max(sum(seconds) / ROWS_AT_ONCE, *seconds)
    say(f"{len(cases)} cases in {len(wanted.ways)} ways take about {rounds / 60 + 0.5:.1f} min")
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        async with _ways(Path(folder), wanted.ways) as ways:
            rows = await _measure_all(cases, ways)
    if wanted.json:
        for cell in (cell for row in rows for cell in row):
            print(json.dumps(asdict(cell)))
    else:
        _table(rows)
    return 0


if __name__ == "__main__":
    run_main(_main())
