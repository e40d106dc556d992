"""How long an audit's own history gets, whatever is asked of it."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from conftest import AGENT, MODEL, until
from gapless import Gapless, LinkAuditRequest, Run, RunCancelled
from gapless.contract.advice import advice_run_id
from gapless.contract.link_audit import ReportRevision, revision_id
from gapless.links.urls import authority
from gapless.testing.emulator import Emulator, agent
from gapless.testing.emulator.answers import Answer
from unit.links.httpsite import Reply, Site, page, redirect

pytestmark = pytest.mark.usefixtures("served")

MOST = 50
NO_ROBOTS = {"/robots.txt": Reply("", 404)}
LATER: dict[str, Any] = {"recheck_after": [timedelta(seconds=1)] * 2}
ALL: dict[str, Any] = {"agent": AGENT, "advisor": MODEL} | LATER


@pytest.fixture
async def other() -> AsyncIterator[Site]:
    """Serve another host, on which two pages are gone."""
    async with Site({"/": page(), "/1": page()}) as other:
        yield other


@pytest.fixture
async def site(other: Site) -> AsyncIterator[Site]:
    """Serve a site that links there, also from a page that nobody knows of until the other host has answered."""
    async with Site(NO_ROBOTS) as site:
        other.routes = {**other.routes, "/back": redirect(f"{site.url}/behind")}
        links = [f"{other.url}{path}" for path in ("/1", "/back", "/gone")]
        site.routes = {**site.routes, "/": page("/lost", *links), "/behind": page(f"{other.url}/lost")}
        yield site


@pytest.fixture(autouse=True)
def _claims(site: Site, other: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the agent claim something of each host."""
    claimed = [f"{other.url}/gone", f"{other.url}/1", f"{site.url}/lost"]

    async def work(prompt: str, answer: Answer, save: Callable[[], None], **options: int) -> None:
        broken = [{"page": f"{site.url}/", "href": each, "target": each, "reason": "404"} for each in claimed]
        answer.write("link-audit.json", json.dumps({"broken": broken}))
        answer.say("Total broken: 3 across 2 pages crawled.")

    monkeypatch.setattr(agent, "work", work)


async def _start(gapless: Gapless, queue: str, site: Site, other: Site, options: dict[str, Any]) -> Run[Any]:
    asked = LinkAuditRequest(url=site.url, allow=[authority(other.url + "/")], **options)
    return await gapless.start(asked, id=queue, queue=queue)


async def _events(gapless: Gapless, run: Run[Any]) -> list[str]:
    history = json.loads((await gapless.client.get_workflow_handle(run.id).fetch_history()).to_json())
    return [event["eventType"].removeprefix("EVENT_TYPE_") for event in history["events"]]


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"external": False}, 17),
        ({}, 17),
        (LATER, 22),
        ({"agent": AGENT}, 30),
        ({"advisor": MODEL}, 30),
        (ALL, 44),
    ],
    ids=["alone", "other hosts", "later looks", "agent", "advice", "all"],
)
async def test_an_audit_is_a_few_events(
    gapless: Gapless, queue: str, site: Site, other: Site, options: dict[str, Any], most: int
) -> None:
    """An agent, claims about other hosts, links there that only they lead to, advice, and later looks at all that."""
    run = await _start(gapless, queue, site, other, options)
    outcome = await run.result()
    assert len(await _events(gapless, run)) <= most <= MOST
    assert outcome.broken == (3 if options.get("external", True) else 1)
    if "agent" in options:
        assert (outcome.agent.verdict.confirmed, outcome.agent.verdict.false_alarms) == (2, 1)
    if "advisor" in options:
        assert outcome.advice.usage is not None
        assert outcome.advice.details is not None
    if "recheck_after" in options:
        later = gapless.client.get_workflow_handle_for(ReportRevision.run, revision_id(queue))
        assert (await later.result()).still_broken == 2


async def test_cancelled_at_its_end(gapless: Gapless, emulator: Emulator, queue: str, site: Site, other: Site) -> None:
    """What is to be done when nobody wants the audit any more has its room, also where all else was done."""
    run = await _start(gapless, queue, site, other, ALL)
    await until(lambda: emulator.stats()["created"] == 2)
    site.delay = lambda _: 3600.0
    await until(lambda: _reports(run))
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    assert len(await _events(gapless, run)) <= MOST
    assert (await (await gapless.run(advice_run_id(queue))).status()).closed


async def _reports(run: Run[Any]) -> bool:
    return any(pending.activity == "report_in_lane" for pending in (await run.status()).pending)
