"""Links to other hosts: each host is asked in its own lane, by one audit at a time, and audits share the answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
)

import gapless_workers.worker as wiring
from conftest import AGENT, until
from gapless import AuditOutcome, Gapless, LinkAuditRequest, Settings
from gapless.contract.host_lane import HostLane, lane_id
from gapless.links import Crawl, Scope, crawl, report_json
from gapless.links.urls import authority
from gapless.testing.emulator import agent
from gapless.testing.emulator.answers import Answer
from gapless_activities import answers, crawling, elsewhere, looking
from gapless_workers.worker import worker
from gapless_workflows import policies
from unit.links.httpsite import Reply, Request, Site, page, redirect, results

pytestmark = pytest.mark.usefixtures("served")

PAGES = 20
NO_ROBOTS = {"/robots.txt": Reply("", 404)}


@pytest.fixture
async def third() -> AsyncIterator[Site]:
    """Serve a host to which others link."""
    pages: dict[str, Any] = {f"/{n}": page(extra=f'<p id="p{n}">') for n in range(PAGES)}
    async with Site(pages | {"/": page()}) as site:
        yield site


@pytest.fixture
async def sites(third: Site) -> AsyncIterator[list[Site]]:
    """Serve two sites that link to that host: to its pages, to a place on each, and to one that is not there."""
    links = [f"{third.url}/{n}{place}" for n in range(PAGES) for place in ("", f"#p{n}")]
    routes = {"/": page("/gone", f"{third.url}/lost", f"{third.url}/0#nowhere", *links)}
    async with Site(routes | NO_ROBOTS) as one, Site(routes | NO_ROBOTS) as other:
        yield [one, other]


def _request(site: Site, *others: Site, **more: Any) -> LinkAuditRequest:
    return LinkAuditRequest(url=site.url, allow=[authority(each.url + "/") for each in others], **more)


async def _audit(gapless: Gapless, queue: str, name: str, request: LinkAuditRequest) -> AuditOutcome:
    return await (await gapless.start(request, id=f"{queue}-{name}", rerun=True, queue=queue)).result()


async def _crawl(gapless: Gapless, outcome: AuditOutcome) -> Crawl:
    return Crawl.from_bytes(await gapless.artifacts.get(outcome.crawl.digest))


def _lane(gapless: Gapless, site: Site, queue: str) -> WorkflowHandle[Any, None]:
    return gapless.client.get_workflow_handle_for(HostLane.run, lane_id(authority(site.url + "/"), queue))


async def _ended(lane: WorkflowHandle[Any, Any]) -> bool:
    return (await lane.describe()).status is not WorkflowExecutionStatus.RUNNING


async def test_audits_share_a_host_that_they_link_to(
    gapless: Gapless, queue: str, sites: list[Site], third: Site
) -> None:
    """Two audits at once ask it one after the other, and the second one only for what is wrong."""
    third.delay = lambda _: 0.1
    outcomes = await asyncio.gather(
        *(_audit(gapless, queue, str(n), _request(site, third)) for n, site in enumerate(sites))
    )
    assert third.most_at_once <= 2  # connections of one look
    assert {third.requests[f"/{n}"] for n in range(PAGES)} == {1}
    assert third.requests["/lost"] == 4  # twice for each
    for outcome, site in zip(outcomes, sites, strict=True):
        assert results(await _crawl(gapless, outcome)) == {
            "/gone": "broken:http_404",
            f"{third.url}/lost": "broken:http_404",
            f"{third.url}/0#nowhere": "broken:missing_fragment",
        }
        assert (outcome.broken, outcome.broken_elsewhere, outcome.unseen) == (3, 2, None)
        assert site.requests["/"] <= 3  # its links, its places, and the look at a soft 404


async def test_the_report_is_that_of_the_auditor_alone(
    gapless: Gapless, queue: str, sites: list[Site], third: Site
) -> None:
    """So it is the first time, and the next, when most answers are known."""
    request = _request(sites[0], third)
    alone = report_json(await crawl(Scope(request.url, allow=tuple(request.allow))))
    third.requests.clear()
    first, second = [report_json(await _crawl(gapless, await _audit(gapless, queue, "x", request))) for _ in range(2)]
    assert first == second == alone
    assert third.requests["/1"] == 1


async def test_answers_grow_old(
    gapless: Gapless, queue: str, sites: list[Site], third: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next night asks again."""
    monkeypatch.setattr(answers, "FRESH", -1.0)
    for _ in range(2):
        await _audit(gapless, queue, "x", _request(sites[0], third))
    assert third.requests["/1"] == 2


async def test_what_one_audit_may_see_another_is_not_told(
    gapless: Gapless, queue: str, sites: list[Site], third: Site
) -> None:
    """An audit that may not visit a private host does not learn from one that may."""
    await _audit(gapless, queue, "may", _request(sites[0], third))
    outcome = await _audit(gapless, queue, "may-not", _request(sites[0]))
    found = results(await _crawl(gapless, outcome))
    assert {found[f"{third.url}/{n}"] for n in range(PAGES)} == {"unverified:private_address"}


async def test_few_events_for_many_hosts(gapless: Gapless, queue: str) -> None:
    """Forty hosts cost an audit no more events than one, or none: the site's lane has them looked at."""
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(Site({"/": page(), "/r": redirect("/")})) for _ in range(40)]
        links = [f"{host.url}/{path}" for host in hosts for path in ("", "r", "gone")]
        site = await stack.enter_async_context(Site(NO_ROBOTS))
        counts = []
        for others, name in ((hosts, "40"), (hosts[:1], "1"), ([], "0")):
            shown = page(*(link for link in links if link.startswith(tuple(host.url for host in others))))
            site.routes = {**NO_ROBOTS, "/": shown}
            outcome = await _audit(gapless, queue, name, _request(site, *others))
            assert outcome.broken == len(others)
            events = (await gapless.client.get_workflow_handle(f"{queue}-{name}").fetch_history()).events
            counts.append(len(events))
    assert counts == [17, 17, 17]


async def test_a_redirect_is_followed_in_the_lane_it_leads_to(gapless: Gapless, queue: str, third: Site) -> None:
    """Each host is asked in its own lane, also when another one sends there; and so is the site."""
    async with Site({"/away": redirect(f"{third.url}/1")}) as other, Site(NO_ROBOTS) as site:
        other.routes = {**other.routes, "/back": redirect(f"{site.url}/behind")}
        links = [f"{other.url}/away#p1", f"{other.url}/away#p2", f"{other.url}/back"]
        site.routes = {**site.routes, "/": page(*links), "/behind": page(f"{third.url}/lost")}
        outcome = await _audit(gapless, queue, "x", _request(site, other, third))
        assert results(await _crawl(gapless, outcome)) == {
            f"{other.url}/away#p2": "broken:missing_fragment",
            f"{third.url}/lost": "broken:http_404",
        }
        assert outcome.pages == 2
        assert other.requests == {"/away": 1, "/back": 1}
        for each in (other, third):
            await until(lambda each=each: _ended(_lane(gapless, each, queue)))


async def test_a_host_that_asks_for_a_pause_gets_it(
    gapless: Gapless, queue: str, sites: list[Site], third: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short pause is a timer of its lane; nobody waits for a long one, and nobody asks until it is over."""
    monkeypatch.setattr(crawling, "ENGINE_PATIENCE", 0.5)
    monkeypatch.setattr(looking, "LONGEST_REST", timedelta(seconds=10))
    monkeypatch.setattr(elsewhere, "ATTEMPT", 1.0)
    clock = asyncio.get_running_loop().time
    asked: list[float] = []

    def refused(request: Request) -> Reply:
        asked.append(clock())
        return Reply(page()) if len(asked) > 6 else Reply("", 429, headers={"Retry-After": "3"})

    third.routes = {**third.routes, "/1": refused}
    first = await _audit(gapless, queue, "short", _request(sites[0], third))
    assert first.unverified == 0
    assert asked[-1] - asked[-2] >= 3
    closed = Reply("", 429, headers={"Retry-After": "3600"})
    third.routes = {**third.routes, "/lost": closed}
    second = await _audit(gapless, queue, "long", _request(sites[0], third))
    assert second.unverified == 1
    before = third.requests.total()
    last = await _audit(gapless, queue, "closed", _request(sites[1], third))
    assert third.requests.total() == before
    assert results(await _crawl(gapless, last))[f"{third.url}/lost"] == "unverified:rate_limited"


async def test_a_turn_that_is_over_loses_nothing(
    gapless: Gapless, settings: Settings, queue: str, sites: list[Site], third: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large looks take turns; only what was on its way when a turn ended is fetched again."""
    monkeypatch.setattr(wiring, "RUNNER", UnsandboxedWorkflowRunner())
    monkeypatch.setattr(policies, "LANE_SLICE", timedelta(seconds=0.5))
    monkeypatch.setattr(answers, "FRESH", -1.0)
    third.delay = lambda _: 0.5
    private = f"{queue}-turns"
    async with worker(gapless.client, settings, [private]):
        await asyncio.gather(*(_audit(gapless, private, str(n), _request(each, third)) for n, each in enumerate(sites)))
    events = (await _lane(gapless, third, private).fetch_history()).events
    turns = [event for event in events if event.HasField("activity_task_scheduled_event_attributes")]
    assert len(turns) > 2
    assert max(third.requests[f"/{n}"] for n in range(PAGES)) <= 2 + len(turns)  # one may be on its way at each end
    assert sum(third.requests[f"/{n}"] for n in range(PAGES)) <= 2 * PAGES + 2 * len(turns)


async def test_a_site_whose_crawl_waits_for_others_is_free(
    gapless: Gapless, queue: str, sites: list[Site], third: Site
) -> None:
    """Its lane serves another audit meanwhile; it ends the look when the audit that waits is not there any more."""
    third.delay = lambda _: 2.0
    waits = await gapless.start(_request(sites[0], third), id=f"{queue}-waits", queue=queue)
    await until(lambda: third.requests.total() > 2)
    assert (await _audit(gapless, queue, "other", _request(sites[0], external=False))).complete
    assert not (await waits.status()).closed
    await gapless.client.get_workflow_handle(waits.id).terminate()
    for each in (sites[0], third):
        await until(lambda each=each: _ended(_lane(gapless, each, queue)))
    assert third.requests.total() < PAGES


async def test_a_lane_that_is_lost_while_its_crawl_waits(
    gapless: Gapless, settings: Settings, queue: str, sites: list[Site], third: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit asks for it anew, and other hosts are asked anew for what they have not answered."""
    monkeypatch.setattr(wiring, "RUNNER", UnsandboxedWorkflowRunner())
    monkeypatch.setitem(policies.IN_LANE, "start_to_close_timeout", timedelta(seconds=4))
    private, third.delay = f"{queue}-lost", lambda _: 0.3
    async with worker(gapless.client, settings, [private]):
        run = await gapless.start(_request(sites[0], third), id=private, queue=private)
        await until(lambda: third.requests.total() > 2)
        await _lane(gapless, sites[0], private).terminate()
        outcome = await run.result()
    assert results(await _crawl(gapless, outcome)).keys() == {"/gone", f"{third.url}/lost", f"{third.url}/0#nowhere"}
    assert max(third.requests[f"/{n}"] for n in range(PAGES)) <= 2


async def test_more_audits_than_a_lane_answers_at_once(gapless: Gapless, queue: str, third: Site) -> None:
    """The server takes ten updates of a workflow at a time; the others ask again."""
    third.delay = lambda _: 0.3
    async with AsyncExitStack() as stack:
        routes = {"/": page(f"{third.url}/1", f"{third.url}/lost")}
        sites = [await stack.enter_async_context(Site(routes | NO_ROBOTS)) for _ in range(13)]
        outcomes = await asyncio.gather(
            *(_audit(gapless, queue, str(n), _request(site, third)) for n, site in enumerate(sites))
        )
    assert {outcome.broken for outcome in outcomes} == {1}
    assert third.requests["/1"] == 1
    assert third.most_at_once <= 2


async def test_claims_about_other_hosts_are_checked_in_their_lanes(
    gapless: Gapless, queue: str, sites: list[Site], third: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an agent says of another host is fetched again, whatever was known of it, by that host's lane."""
    claimed = [f"{third.url}/lost", f"{third.url}/0", f"{third.url}/1#p1"]

    async def work(prompt: str, answer: Answer, save: Callable[[], None], **options: int) -> None:
        broken = [{"page": f"{sites[0].url}/", "href": each, "target": each, "reason": "404"} for each in claimed]
        answer.write("link-audit.json", json.dumps({"broken": broken}))
        answer.say("Total broken: 3 across 1 pages crawled.")

    monkeypatch.setattr(agent, "work", work)
    outcome = await _audit(gapless, queue, "x", _request(sites[0], third, agent=AGENT))
    assert outcome.agent is not None
    verdict = outcome.agent.verdict
    assert verdict is not None
    assert (verdict.confirmed, verdict.false_alarms, verdict.unverifiable, verdict.missed) == (1, 2, 0, 1)
    assert (third.requests["/0"], third.requests["/2"], third.requests["/lost"]) == (2, 1, 4)
    lane = _lane(gapless, third, queue)
    await until(lambda: _ended(lane))
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in (await gapless.client.get_workflow_handle(f"{queue}-x").fetch_history()).events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert scheduled == ["crawl_in_lane", "report_in_lane"]


async def test_a_host_that_nobody_can_ask(
    gapless: Gapless, settings: Settings, queue: str, sites: list[Site], third: Site
) -> None:
    """When the lane cannot work on a look for good, the audit goes on, and says what was not checked."""
    private = f"{queue}-unable"
    async with worker(gapless.client, settings, [private], interceptors=[Unable()]):
        outcome = await _audit(gapless, private, "x", _request(sites[0], third))
    found = results(await _crawl(gapless, outcome))
    assert third.requests.total() == 0
    assert found[f"{third.url}/0"] == "unverified:not_checked"
    assert found["/gone"] == "broken:http_404"


class Unable(Interceptor):
    """Makes every look fail for good."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Unable(next)


class _Unable(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        if activity.info().activity_type == "serve" and input.args[0].work == "look":
            raise ApplicationError("not on this machine", type="Unable", non_retryable=True)
        return await super().execute_activity(input)
