"""A lane whose history has grown long continues as new: whoever waits keeps its turn, and the host notices nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WithStartWorkflowOperation, WorkflowHistory
from temporalio.common import WorkflowIDConflictPolicy

from conftest import settings_for, until
from gapless import Gapless, LinkAuditRequest, devserver
from gapless.config import Settings
from gapless.contract.host_lane import Caller, HostLane, Lane, Piece, Work, lane_id
from gapless.devserver import process
from gapless.links import Scope
from gapless.links.urls import authority
from gapless.testing.emulator import Emulator
from unit.links.httpsite import Reply, Serve, page

LONG = 24
"""Events after which the server suggests to continue as new; 4,096 by default."""
PAGES, CONNECTIONS = 60, 4
ASKED = 48


@pytest.fixture
async def settings(tmp_path: Path, emulator: Emulator) -> AsyncIterator[Settings]:
    """Return settings with a data folder, and so a server, of the test's own."""
    settings = settings_for(tmp_path / "own", emulator.url)
    yield settings
    devserver.stop(settings)


@pytest.fixture
async def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> devserver.Server:
    """Start the test's own server, which takes histories for long soon."""
    limit = f"limit.historyCount.suggestContinueAsNew={LONG}"
    monkeypatch.setattr(process, "_DYNAMIC_CONFIG", (*process._DYNAMIC_CONFIG, limit))
    return await devserver.start(settings)


@pytest.mark.usefixtures("short_turns")
async def test_audits_that_take_turns(gapless: Gapless, queue: str, serve: Serve) -> None:
    """Each goes on where it was, nobody asks twice, and the host sees one of them at a time."""
    routes: dict[str, Any] = {f"/{n}": page(*(f"/{m}" for m in range(n + 1, n + 9))) for n in range(PAGES)}
    site = await serve(routes | {"/": page("/0"), "/robots.txt": Reply("", 404)})
    site.delay = lambda _: 0.1
    asked = LinkAuditRequest(url=site.url, external=False, connections=CONNECTIONS)
    runs = [await gapless.start(asked, id=f"{queue}-{n}", queue=queue) for n in range(3)]
    outcomes = await asyncio.gather(*(run.result() for run in runs))
    assert len({outcome.report_json.digest for outcome in outcomes}) == 1
    assert all(outcome.complete for outcome in outcomes)
    assert site.most_at_once <= CONNECTIONS
    histories = await _runs(gapless, lane_id(Scope(site.url).host, queue))
    assert len(histories) > 1
    pieces = _pieces(histories)
    for run in runs:
        reached = [piece.progress.pages for piece in pieces if piece.caller.workflow_id == run.id]
        assert reached == sorted(reached)
        assert reached.count(0) < len(reached)
    for run in runs:
        history = await gapless.client.get_workflow_handle(run.id).fetch_history()
        assert {event.activity_task_started_event_attributes.attempt for event in history.events} <= {0, 1}


@pytest.mark.usefixtures("short_turns")
async def test_everybody_who_asks_gets_one_turn(gapless: Gapless, queue: str) -> None:
    """Whenever a piece comes, while the lane moves as well as before and after: it is served, and once."""
    name = lane_id("any", queue)

    async def ask(number: int) -> None:
        await gapless.client.execute_update_with_start_workflow(
            HostLane.ask,
            _piece(queue, number),
            start_workflow_operation=WithStartWorkflowOperation(
                HostLane.run,
                Lane(host="any"),
                id=name,
                task_queue=queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            ),
        )

    async def ask_for(numbers: range) -> None:
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(ask_for(range(first, ASKED, 6)) for first in range(6)))
    served = await until(lambda: _served(gapless, name))
    assert served == Counter({str(number): 1 for number in range(ASKED)})
    assert len(await _runs(gapless, name)) > 3


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("waiting", range(3, 6))
async def test_nobody_waits_any_more(gapless: Gapless, queue: str, waiting: int) -> None:
    """A lane that has nobody to take along ends, however long its history is."""
    await gapless.client.execute_workflow(
        HostLane.run,
        Lane(host="any", waiting=[_piece(queue, number) for number in range(waiting)]),
        id=queue,
        task_queue=queue,
        execution_timeout=timedelta(seconds=20),  # an empty lane waits for longer than that for its first ask
    )


@pytest.mark.usefixtures("short_turns")
async def test_looks_that_wait(gapless: Gapless, queue: str, serve: Serve) -> None:
    """Audits that link to one host are answered, though its lane moves on while they wait."""
    other = await serve({f"/{n}": page() for n in range(8)})
    other.delay = lambda _: 0.1
    sites = [await serve({"/": page(*(f"{other.url}/{m}" for m in range(n, 9)))}) for n in range(8)]
    requests = [LinkAuditRequest(url=site.url, allow=[authority(other.url + "/")]) for site in sites]
    runs = [await gapless.start(each, id=f"{queue}-{n}", queue=queue) for n, each in enumerate(requests)]
    outcomes = await asyncio.gather(*(run.result() for run in runs))
    assert [(outcome.broken, outcome.unverified, outcome.complete) for outcome in outcomes] == [(1, 0, True)] * 8
    assert other.most_at_once <= 2
    assert len(await _runs(gapless, lane_id(Scope(other.url).host, queue))) > 1


def _piece(queue: str, number: int) -> Piece:
    """Return a piece that nobody waits for, so that its turn is over at once."""
    caller = Caller(workflow_id=f"{queue}-nobody", run_id="", activity_id=str(number))
    return Piece(caller=caller, work=Work.CRAWL, request=LinkAuditRequest(url="http://any/"))


async def _runs(gapless: Gapless, lane: str) -> list[WorkflowHistory]:
    """Return the histories of all runs of a lane that the server lists; it may be a moment late."""
    found = gapless.client.list_workflows(f"WorkflowId = '{lane}'")
    return [await gapless.client.get_workflow_handle(lane, run_id=run.run_id).fetch_history() async for run in found]


def _pieces(histories: list[WorkflowHistory]) -> list[Piece]:
    """Return the pieces in the order of their turns."""
    events = [event for history in histories for event in history.events]
    events.sort(key=lambda event: event.event_time.ToNanoseconds())
    scheduled = [event.activity_task_scheduled_event_attributes for event in events]
    served = [each.input.payloads[0].data for each in scheduled if each.activity_type.name == "serve"]
    return [Piece.model_validate_json(data) for data in served]


async def _served(gapless: Gapless, lane: str) -> Counter[str] | None:
    """Return how many turns each piece had, once all have had one."""
    turns = Counter(piece.caller.activity_id for piece in _pieces(await _runs(gapless, lane)))
    return turns if len(turns) == ASKED else None
