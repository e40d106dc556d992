"""A host's lane: whoever wants something of a host waits its turn, and nobody is forgotten or served twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from conftest import until
from gapless import AuditOutcome, Gapless, LinkAuditRequest, Run, RunCancelled, RunFailed, Settings
from gapless.contract.host_lane import WAITS_ALREADY, Caller, HostLane, Lane, Piece, Work, lane_id
from gapless.links import Scope
from gapless_activities import crawling
from gapless_workers.worker import worker
from gapless_workflows import policies
from unit.links.httpsite import Reply, Request, Site, page

PAGES = 120


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve some pages, each of which takes a moment; the last one has a broken link."""
    routes: dict[str, Any] = {f"/{n}": page(*(f"/{m}" for m in range(n + 1, n + 9))) for n in range(PAGES - 9)}
    routes |= {f"/{n}": page() for n in range(PAGES - 9, PAGES - 1)}
    async with Site(routes | {"/": page("/0", "/gone"), "/robots.txt": Reply("", 404)}) as site:
        site.delay = lambda _: 0.03
        yield site


@pytest.fixture
def impatient(short_turns: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a lane that does not answer soon asked again, beside the short turns."""
    monkeypatch.setitem(policies.IN_LANE, "start_to_close_timeout", timedelta(seconds=4))


def _request(site: Site, connections: int = 4) -> LinkAuditRequest:
    return LinkAuditRequest(url=site.url, external=False, connections=connections)


def _lane(gapless: Gapless, site: Site, queue: str) -> WorkflowHandle[Any, None]:
    return gapless.client.get_workflow_handle_for(HostLane.run, lane_id(Scope(site.url).host, queue))


async def _served(lane: WorkflowHandle[Any, Any]) -> int:
    """Return how many turns there were in the lane's newest run."""
    events = (await lane.fetch_history()).events
    started = [event.activity_task_scheduled_event_attributes.activity_type.name for event in events]
    return started.count("serve")


async def _ended(lane: WorkflowHandle[Any, Any]) -> bool:
    return (await lane.describe()).status is not WorkflowExecutionStatus.RUNNING


def _whole(outcome: AuditOutcome) -> bool:
    return (outcome.pages, outcome.broken, outcome.complete) == (PAGES, 1, True)


@pytest.mark.usefixtures("impatient")
async def test_audits_of_one_host_share_its_connections(gapless: Gapless, queue: str, site: Site) -> None:
    """Three at once never use more than one may, take turns, and each page is read once for each of them."""
    site.delay = lambda _: 0.08
    runs = [await gapless.start(_request(site), id=f"{queue}-{n}", queue=queue) for n in range(3)]
    outcomes = await asyncio.gather(*(run.result() for run in runs))
    assert all(map(_whole, outcomes))
    assert len({outcome.report_json.digest for outcome in outcomes}) == 1
    assert site.most_at_once <= 4
    assert site.requests.total() <= 3 * (PAGES + 10) * 1.1
    lane = _lane(gapless, site, queue)
    await until(lambda: _ended(lane))
    assert await _served(lane) > 3


@pytest.mark.usefixtures("served")
async def test_an_audit_leaves_few_events(gapless: Gapless, queue: str, site: Site) -> None:
    """History does not grow with pages, neither an audit's nor its lane's."""
    counts = []
    for pages in (2, PAGES):
        request = _request(site).model_copy(update={"max_pages": pages})
        run = await gapless.start(request, id=f"{queue}-{pages}", queue=queue)
        assert (await run.result()).pages == pages
        await until(lambda: _ended(_lane(gapless, site, queue)))
        handles = gapless.client.get_workflow_handle(run.id), _lane(gapless, site, queue)
        counts.append([len((await handle.fetch_history()).events) for handle in handles])
    assert counts[0] == counts[1]
    assert sum(counts[0]) <= 50


async def test_asked_twice_it_waits_once(gapless: Gapless, settings: Settings, queue: str, site: Site) -> None:
    """A piece is known by who waits for it; one that nobody waits for is dropped without a request."""
    caller = Caller(workflow_id=f"{queue}-nobody", run_id="", activity_id="1")
    piece = Piece(caller=caller, work=Work.CRAWL, request=_request(site))
    other = piece.model_copy(update={"caller": caller.model_copy(update={"activity_id": "2"})})

    async def ask(asked: Piece) -> int:
        return await gapless.client.execute_update_with_start_workflow(
            HostLane.ask,
            asked,
            start_workflow_operation=WithStartWorkflowOperation(
                HostLane.run,
                Lane(host="any"),
                id=lane_id(Scope(site.url).host, queue),
                task_queue=queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            ),
        )

    asking = [asyncio.create_task(ask(each)) for each in (piece, piece, other, piece)]
    await asyncio.sleep(1)  # until the server has them all
    async with worker(gapless.client, settings, [queue]):
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert sorted(answer for answer in answers if isinstance(answer, int)) == [0, 1]
        refused = [
            getattr(answer.cause, "type", None) for answer in answers if isinstance(answer, WorkflowUpdateFailedError)
        ]
        assert refused == [WAITS_ALREADY] * 2
        lane = _lane(gapless, site, queue)
        await lane.result()
        assert await _served(lane) == 2
    assert site.requests.total() == 0


@pytest.mark.usefixtures("served")
async def test_a_lane_goes_on_with_who_waited_before(gapless: Gapless, queue: str, site: Site) -> None:
    """A lane that continues as new takes along who waits."""
    caller = Caller(workflow_id=f"{queue}-nobody", run_id="", activity_id="1")
    waiting = [
        Piece(caller=caller.model_copy(update={"activity_id": str(n)}), work=Work.CRAWL, request=_request(site))
        for n in range(3)
    ]
    lane = await gapless.client.start_workflow(
        HostLane.run, Lane(host="any", waiting=waiting), id=queue, task_queue=queue
    )
    await lane.result()
    assert await _served(lane) == 3


@pytest.mark.usefixtures("impatient")
async def test_a_lane_that_is_lost_is_started_again(gapless: Gapless, queue: str, site: Site) -> None:
    """Somebody terminates the lane; the audit asks again, and goes on where it was."""
    site.delay = lambda _: 0.3
    run = await gapless.start(_request(site), id=queue, queue=queue)
    await until(lambda: _has_sealed(run))
    lane = _lane(gapless, site, queue)
    first = (await lane.describe()).run_id
    await lane.terminate("by the test")
    assert _whole(await run.result())
    assert (await lane.describe()).run_id != first
    assert site.most_at_once <= 4
    assert site.requests.total() < (PAGES + 10) * 1.5


async def _has_sealed(run: Run[Any]) -> bool:
    return any(pending.heartbeat.get("segment") for pending in (await run.status()).pending)


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("way", ["cancel", "terminate"])
async def test_who_ends_leaves_the_lane(gapless: Gapless, queue: str, site: Site, way: str) -> None:
    """Neither the audit that has its turn nor the one that waits is worked on when it has ended; the third one is."""
    site.delay = lambda _: 0.1
    runs = [await gapless.start(_request(site), id=f"{queue}-{n}", queue=queue) for n in range(3)]
    await until(lambda: site.requests.total() > 10)
    await until(lambda: _all_ask(gapless, site, queue, 3))
    for run in runs[:2]:
        await getattr(gapless.client.get_workflow_handle(run.id), way)()
    if way == "cancel":
        for run in runs[:2]:
            with pytest.raises(RunCancelled):
                await run.result()
        asked = site.requests.total()
    assert _whole(await runs[2].result())
    if way == "cancel":
        assert site.requests.total() <= asked + PAGES + 10
    assert site.most_at_once <= 4
    lane = _lane(gapless, site, queue)
    await until(lambda: _ended(lane))
    assert await _served(lane) in {2, 3}


async def _all_ask(gapless: Gapless, site: Site, queue: str, count: int) -> bool:
    events = (await _lane(gapless, site, queue).fetch_history()).events
    accepted = [event for event in events if event.HasField("workflow_execution_update_accepted_event_attributes")]
    return len(accepted) == count


class Unable(Interceptor):
    """Makes every turn fail for good."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Unable(next)


class _Unable(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        if activity.info().activity_type == "serve":
            raise ApplicationError("not on this machine", type="Unable", non_retryable=True)
        return await super().execute_activity(input)


async def test_what_cannot_be_done_is_told(gapless: Gapless, settings: Settings, queue: str, site: Site) -> None:
    """An audit whose turn fails for good fails with the reason, and the lane ends."""
    async with worker(gapless.client, settings, [queue], interceptors=[Unable()]):
        run = await gapless.start(_request(site), id=queue, queue=queue)
        with pytest.raises(RunFailed, match="not on this machine"):
            await run.result()
        await until(lambda: _ended(_lane(gapless, site, queue)))


@pytest.mark.usefixtures("served")
async def test_a_host_that_asks_for_a_pause_gets_it(
    gapless: Gapless, queue: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused is asked again after the pause, on a timer of the lane, and nothing else is."""
    monkeypatch.setattr(crawling, "ENGINE_PATIENCE", 1.0)
    refusals: list[float] = []
    clock = asyncio.get_running_loop().time

    def refused(request: Request) -> Reply:
        refusals.append(clock())
        return page_or_pause(len(refusals) > 4)

    def page_or_pause(open_: bool) -> Reply:
        return Reply(page()) if open_ else Reply("", 429, headers={"Retry-After": "3"})

    site.routes = {**site.routes, "/busy": refused, "/": page("/0", "/gone", "/busy")}
    run = await gapless.start(_request(site), id=queue, queue=queue)
    outcome = await run.result()
    assert (outcome.pages, outcome.unverified) == (PAGES + 1, 0)
    assert refusals[-1] - refusals[-2] >= 3
    assert {count for path, count in site.requests.items() if path[1:].isdigit()} == {1}
    timers = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
        for event in (await _lane(gapless, site, queue).fetch_history()).events
        if event.HasField("timer_started_event_attributes")
    ]
    assert timers == [timedelta(seconds=3)]


@pytest.mark.usefixtures("served")
async def test_a_night_in_which_nothing_changed(gapless: Gapless, queue: str) -> None:
    """The second audit of a site asks for what has changed; its report is the same, byte for byte."""

    def fresh(text: str, tag: str) -> Callable[[Request], Reply]:
        def answer(request: Request) -> Reply:
            same = request.headers.get("if-none-match") == tag
            return Reply("", 304) if same else Reply(text, headers={"ETag": tag})

        return answer

    pages = {f"/{n}": fresh(page(f"/{n + 1}"), f'"{n}"') for n in range(60)}
    async with Site(pages | {"/": page("/0"), "/robots.txt": Reply("", 404)}) as site:
        outcomes = []
        for night in range(2):
            run = await gapless.start(_request(site), id=f"{queue}-{night}", queue=queue)
            outcomes.append(await run.result())
        conditional = [request for request in site.seen if "if-none-match" in request.headers]
    assert outcomes[0].report_json == outcomes[1].report_json
    assert outcomes[0].report_markdown == outcomes[1].report_markdown
    assert len(conditional) > 50  # but for those that are read again to see whether the server tells the truth
