"""The audit's workflow: what it does when it is not wanted any more, and when a part of it fails."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from conftest import AGENT, MODEL, settings_for, until
from gapless import (
    AuditOutcome,
    Gapless,
    InteractionRequest,
    LinkAuditRequest,
    Run,
    RunCancelled,
    RunFailed,
    RunNotFound,
    Settings,
    State,
    devserver,
    links,
)
from gapless.artifacts import ArtifactStore, StoreUnavailable
from gapless.contract import attributes
from gapless.contract.host_lane import CRAWLING, lane_id
from gapless.contract.interaction import Artifact
from gapless.contract.link_audit import agent_run_id
from gapless.contract.queues import TaskQueue
from gapless.payloads import data_converter
from gapless.testing.emulator import Emulator
from gapless_activities.advice import Advisors
from gapless_activities.conclusions import Conclusions
from gapless_activities.interactions import ProviderActivities
from gapless_activities.lanes import LaneActivities
from gapless_activities.links import AuditActivities
from gapless_workers.worker import worker
from gapless_workflows import policies
from gapless_workflows.host_lane import HostLaneWorkflow
from gapless_workflows.interaction import InteractionWorkflow
from gapless_workflows.link_audit import LinkAuditWorkflow
from unit.links.httpsite import Reply, Site, page


@pytest.fixture
async def emulator(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Emulator]:
    """Start an emulator whose interactions take so many seconds, or for ever."""
    seconds: float = getattr(request, "param", 3600)
    async with Emulator(run_seconds=seconds, state=tmp_path / "emulator.sqlite") as emulator:
        yield emulator


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve a site that goes on for ever."""
    routes: dict[str, Any] = {f"/{n}": page(f"/{n + 1}", f"/{n + 2}") for n in range(5000)}
    async with Site(routes | {"/": page("/0"), "/robots.txt": Reply("", 404)}) as site:
        yield site


@pytest.fixture
async def small() -> AsyncIterator[Site]:
    """Serve ten pages; the last one has a broken link."""
    routes: dict[str, Any] = {f"/{n}": page(f"/{n + 1}") for n in range(9)}
    async with Site(routes | {"/": page("/0"), "/robots.txt": Reply("", 404)}) as site:
        yield site


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Gapless]:
    """Start a server of the test's own, so that its shared queues are the test's alone; no key is set."""
    settings = Settings.load(data_dir=tmp_path / "own")
    server = await devserver.start(settings)
    converter = data_converter(ArtifactStore(settings.artifacts_url))
    yield Gapless(await devserver.connect(settings, server, data_converter=converter), server, settings)
    devserver.stop(settings)


async def _running(gapless: Gapless, run_id: str) -> bool:
    try:
        return (await (await gapless.run(run_id)).status()).interaction_id is not None
    except RunNotFound:
        return False


@pytest.mark.parametrize("crawling", [True, False])
@pytest.mark.usefixtures("served")
async def test_cancel_reaches_everybody(
    gapless: Gapless, emulator: Emulator, queue: str, site: Site, crawling: bool
) -> None:
    """Cancelling an audit ends its crawl, its agent's run, and the interaction at the provider."""
    site.delay = lambda _: 0.02
    pages = 5000 if crawling else 10
    request = LinkAuditRequest(url=site.url, external=False, agent=AGENT, max_pages=pages)
    run = await gapless.start(request, id=queue, queue=queue)
    await until(lambda: _running(gapless, agent_run_id(queue)))
    await until(lambda: site.requests.total() > 10)
    if not crawling:
        await until(lambda: _crawled(run))
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    for run_id in (queue, agent_run_id(queue)):
        await until(lambda run_id=run_id: _closed(gapless, run_id))
        ended = await gapless.client.get_workflow_handle(run_id).describe()
        assert ended.status is WorkflowExecutionStatus.CANCELED
        assert ended.typed_search_attributes.get(attributes.STATE) == "cancelled"
    assert emulator.stats()["cancel_requests"] == 1
    assert site.requests.total() < 1000


async def _crawled(run: Run[Any]) -> bool:
    return all(pending.activity not in CRAWLING for pending in (await run.status()).pending)


async def _closed(gapless: Gapless, run_id: str) -> bool:
    return (await (await gapless.run(run_id)).status()).closed


async def _state(gapless: Gapless, run_id: str) -> str | None:
    description = await gapless.client.get_workflow_handle(run_id).describe()
    return description.typed_search_attributes.get(attributes.STATE)


def _request(site: Site) -> LinkAuditRequest:
    return LinkAuditRequest(url=site.url, external=False, agent=AGENT)


@asynccontextmanager
async def _serving_without(missing: str, gapless: Gapless, settings: Settings, queue: str) -> AsyncIterator[None]:
    """Serve a queue with everything but one activity or workflow; limits can be changed from outside."""
    store = ArtifactStore(settings.artifacts_url)
    tasks, audits = ProviderActivities(settings, store), AuditActivities(settings, store)
    activities: list[Callable[..., Any]] = [tasks.submit, tasks.poll, tasks.fetch, tasks.cancel]
    conclusions = Conclusions(store, audits, Advisors(settings, store))
    lanes = LaneActivities(store, audits, Advisors(settings, store), conclusions)
    activities += [audits.report, conclusions.report_in_lane, lanes.crawl_in_lane, lanes.leave_lane]
    activities += [lanes.serve, lanes.refuse]
    workflows: dict[str, type] = {"LinkAudit": LinkAuditWorkflow, "Interaction": InteractionWorkflow}
    workflows |= {"HostLane": HostLaneWorkflow}
    async with Worker(
        gapless.client,
        task_queue=queue,
        workflows=[workflow for name, workflow in workflows.items() if name != missing],
        activities=[activity for activity in activities if activity.__name__ != missing],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield
    await tasks.aclose()


async def _whole_without_verdict(gapless: Gapless, outcome: AuditOutcome) -> str:
    """Check that an audit has all but its verdict, and return why."""
    assert (outcome.pages, outcome.broken) == (10, 1)
    assert outcome.agent is not None
    assert (outcome.agent.state, outcome.agent.verdict) == (State.FAILED, None)
    report = (await gapless.artifacts.get(outcome.report_markdown.digest)).decode()
    assert "Total broken: 1 across 10 pages crawled." in report
    assert "## Agent\n" in report
    assert outcome.agent.note is not None
    return outcome.agent.note


@pytest.mark.parametrize(
    ("emulator", "missing", "limit", "said"),
    [
        (3600, "Interaction", "AGENT_LIMIT", "ended without an outcome"),
        (0.1, "report_in_lane", "JUDGE_LIMIT", "could not be judged"),
    ],
    indirect=["emulator"],
)
async def test_what_nobody_does_for_the_agent_is_not_waited_for_for_ever(
    gapless: Gapless,
    settings: Settings,
    queue: str,
    small: Site,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    limit: str,
    said: str,
) -> None:
    """Each part of the agent's work has a limit, after which the audit is whole without it."""
    monkeypatch.setattr(policies, limit, timedelta(seconds=3))
    async with _serving_without(missing, gapless, settings, queue):
        run = await gapless.start(_request(small), id=queue, queue=queue)
        assert said in await _whole_without_verdict(gapless, await run.result())
    assert await _state(gapless, queue) == "succeeded"


async def test_cancel_waits_for_nobody_who_is_not_there(shared: Gapless, emulator: Emulator, small: Site) -> None:
    """An audit ends at once although nobody works on its agent's run, which ends as soon as somebody does."""
    settings = settings_for(shared.settings.data_dir, emulator.url)
    admission = AuditActivities(settings, shared.artifacts).admit_agent
    async with worker(shared.client, settings, [TaskQueue.LINKS]):
        async with Worker(shared.client, task_queue=TaskQueue.INTERACTIONS, activities=[admission]):
            run = await shared.start(_request(small))
            await until(lambda: _started(shared, agent_run_id(run.id)))
            await until(lambda: _crawled(run))
            await run.cancel()
            with pytest.raises(RunCancelled):
                await run.result()
            assert await _state(shared, run.id) == "cancelled"
        assert not await _closed(shared, agent_run_id(run.id))
    async with worker(shared.client, settings, [TaskQueue.INTERACTIONS]):
        await until(lambda: _closed(shared, agent_run_id(run.id)))
    assert await _state(shared, agent_run_id(run.id)) == "cancelled"
    assert emulator.stats()["created"] == 0


async def _started(gapless: Gapless, run_id: str) -> bool:
    try:
        await gapless.run(run_id)
    except RunNotFound:
        return False
    return True


@pytest.mark.usefixtures("served")
async def test_an_id_that_is_taken(gapless: Gapless, emulator: Emulator, queue: str, small: Site) -> None:
    """When the id of the agent's run is another run's, that one goes on, and the audit is whole without an agent."""
    other = await gapless.start(
        InteractionRequest(model=MODEL, input="Say hello."), id=agent_run_id(queue), queue=queue
    )
    await until(lambda: _running(gapless, other.id))
    run = await gapless.start(_request(small), id=queue, queue=queue)
    assert "not asked" in await _whole_without_verdict(gapless, await run.result())
    assert emulator.stats()["created"] == 1
    assert await _state(gapless, queue) == "succeeded"
    await other.cancel()
    await until(lambda: _closed(gapless, other.id))


@pytest.mark.usefixtures("served")
async def test_a_crawl_that_cannot_be(gapless: Gapless, queue: str) -> None:
    """An audit that fails says so in its state as well."""
    run = await gapless.start(LinkAuditRequest(url="http://100%.test/", agent=AGENT), id=queue, queue=queue)
    with pytest.raises(RunFailed, match="not a web address"):
        await run.result()
    assert await _state(gapless, queue) == "failed"


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"url": "http://127.0.0.1/", "max_pages": 0}, "max_pages"),
        ({"url": "http://127.0.0.1/", "max_page": 10}, "max_page"),
        ({}, "url"),
        ("http://127.0.0.1/", "LinkAuditRequest"),
    ],
)
@pytest.mark.usefixtures("served")
async def test_a_start_that_nobody_can_read(gapless: Gapless, queue: str, request_: object, named: str) -> None:
    """A start from elsewhere with a wrong request fails with what is wrong in it, instead of waiting for ever."""
    await gapless.client.start_workflow("LinkAudit", request_, id=queue, task_queue=queue)
    with pytest.raises(RunFailed, match=named):
        await (await gapless.run(queue)).result()


async def test_a_name_that_dns_cannot_know(gapless: Gapless, settings: Settings, queue: str) -> None:
    """A host with a label that is too long counts as private, and its audit ends."""
    remote = settings.model_copy(update={"gemini_base_url": None})
    async with worker(gapless.client, remote, [queue]):
        request = LinkAuditRequest(url=f"http://{'a' * 70}.test/", agent=AGENT)
        outcome = await (await gapless.start(request, id=queue, queue=queue)).result()
    assert not outcome.complete
    assert outcome.agent is not None
    assert "private address" in str(outcome.agent.note)


async def test_a_store_that_is_away_for_a_while(
    gapless: Gapless, settings: Settings, queue: str, tmp_path: Path
) -> None:
    """What was crawled is found again when the store is back: no page is fetched twice for it."""
    shop = tmp_path / "artifacts"
    own = settings.model_copy(update={"artifacts": shop.as_uri()})
    pages: dict[str, Any] = {f"/{n}": page(f"/{n + 1}") for n in range(200)}
    async with Site(pages | {"/": page("/0"), "/robots.txt": Reply("", 404)}) as site:
        site.delay = lambda _: 0.4
        request = LinkAuditRequest(url=site.url, external=False, max_pages=150, connections=1)
        async with worker(gapless.client, own, [queue]):
            run = await gapless.start(request, id=queue, queue=queue)
            await until(lambda: _sealed(run))
        site.delay = lambda _: 0.0
        (shop / "sha256").rename(tmp_path / "away")
        (shop / "sha256").touch()
        async with worker(gapless.client, own, [queue]):
            lane = await gapless.run(lane_id(links.Scope(site.url).host, queue))
            await until(lambda: _failed_at(lane, "cannot be read"))
            (shop / "sha256").unlink()
            (tmp_path / "away").rename(shop / "sha256")
            assert (await run.result()).pages == 150
        assert site.requests.total() < 150 * 1.2


async def test_a_report_that_cannot_be_written_with_the_crawl(
    gapless: Gapless, settings: Settings, queue: str, small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the audit has it written by itself: a store that fails once costs no report, and no second crawl."""
    put, refused = ArtifactStore.put, list[str]()

    async def refusing_once(store: ArtifactStore, name: str, data: bytes) -> Artifact:
        if name == "report.html" and not refused:
            refused.append(name)
            raise StoreUnavailable("the disk is full")
        return await put(store, name, data)

    monkeypatch.setattr(ArtifactStore, "put", refusing_once)
    async with worker(gapless.client, settings, [queue]):
        run = await gapless.start(LinkAuditRequest(url=small.url, external=False), id=queue, queue=queue)
        assert (await run.result()).report_html is not None
    events = (await gapless.client.get_workflow_handle(queue).fetch_history()).events
    scheduled = [event for event in events if event.HasField("activity_task_scheduled_event_attributes")]
    assert refused
    assert len(scheduled) == 2
    assert small.requests["/"] == 1


async def _failed_at(run: Run[Any], what: str) -> bool:
    return any(what in str(pending.last_failure) for pending in (await run.status()).pending)


async def _sealed(run: Run[Any]) -> bool:
    return any(pending.heartbeat.get("segment") for pending in (await run.status()).pending)


async def test_a_crawl_that_began_before_there_were_lanes(settings: Settings, small: Site, tmp_path: Path) -> None:
    """Its activity is still there: it crawls by itself, and beats what the next attempt goes on with."""
    environment = ActivityEnvironment()
    beats: list[Any] = []
    environment.on_heartbeat = lambda *details: beats.append(details[0])
    audits = AuditActivities(settings, ArtifactStore(tmp_path.as_uri()))
    request = LinkAuditRequest(url=small.url, external=False)
    crawled = await environment.run(audits.crawl, request)
    assert (crawled.pages, crawled.broken, crawled.complete) == (10, 1, True)
    assert beats[-1]["segment"] is not None
    asked = sum(small.requests[f"/{n}"] for n in range(9))
    environment.info = replace(environment.info, heartbeat_details=[beats[-1]])
    assert await environment.run(audits.crawl, request) == crawled
    assert sum(small.requests[f"/{n}"] for n in range(9)) <= asked + 2  # what is broken is looked for in its page


@pytest.mark.parametrize("emulator", [0.5], indirect=True)
async def test_keys_are_needed_where_agents_are_asked(shared: Gapless, emulator: Emulator, small: Site) -> None:
    """On the shared queues, workers that audit links have no key, and need none for an audit with an agent."""
    keyed = settings_for(shared.settings.data_dir, emulator.url)
    async with (
        worker(shared.client, shared.settings, [TaskQueue.LINKS]),
        worker(shared.client, keyed, [TaskQueue.INTERACTIONS]),
    ):
        outcome = await (await shared.start(_request(small))).result()
    assert outcome.agent is not None
    assert (outcome.agent.state, outcome.agent.verdict is not None) == (State.SUCCEEDED, True)
