"""Advice in an audit: asked for when what is broken has changed, kept when it has not, and checked each time."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import UnsandboxedWorkflowRunner

from conftest import AGENT, MODEL, until
from gapless import AuditOutcome, Gapless, LinkAuditRequest, RunCancelled, Settings, State
from gapless.contract.advice import advice_run_id
from gapless.contract.host_lane import lane_id
from gapless.links import Scope
from gapless.links.report.suggestions import read_advice
from gapless.testing.emulator import Emulator
from gapless_workers import worker as wiring
from gapless_workers.worker import worker
from gapless_workflows import policies
from unit.links.httpsite import Reply, Site, page

ROUTES: dict[str, Any] = {
    "/": page("/guide/setup", "/guide/install.html", "/old/install.html", "/reference#pool-size"),
    "/guide/setup": page("/old/setup"),
    "/guide/install.html": page("/"),
    "/reference": page(extra='<h2 id="pool_size">x</h2>'),
    "/robots.txt": Reply("", 404),
}


@pytest.fixture
async def emulator(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Emulator]:
    """Start an emulator that makes so many addresses up."""
    options: dict[str, Any] = getattr(request, "param", {})
    async with Emulator(**{"run_seconds": 0.1, **options}, state=tmp_path / "emulator.sqlite") as emulator:
        yield emulator


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve a site with three broken links."""
    async with Site(dict(ROUTES)) as site:
        yield site


def request(site: Site, **options: Any) -> LinkAuditRequest:
    """Ask for an audit with advice."""
    return LinkAuditRequest(**{"url": site.url, "external": False, "advisor": MODEL} | options)


async def audited(gapless: Gapless, queue: str, asked: LinkAuditRequest) -> AuditOutcome:
    """Run an audit to its end."""
    run = await gapless.start(asked, id=queue, queue=queue, rerun=True)
    return await run.result()


async def reports(gapless: Gapless, outcome: AuditOutcome) -> tuple[str, dict[str, Any], str]:
    """Return an audit's reports."""
    assert outcome.report_html is not None
    markdown, document, browser = [
        (await gapless.artifacts.get(each.digest)).decode()
        for each in (outcome.report_markdown, outcome.report_json, outcome.report_html)
    ]
    return markdown, json.loads(document), browser


@pytest.mark.usefixtures("served")
async def test_asked_once_for_what_has_not_changed(
    gapless: Gapless, emulator: Emulator, queue: str, site: Site
) -> None:
    """The first audit asks, the second uses what was kept to the byte, and a changed set is asked about again."""
    first = await audited(gapless, queue, request(site))
    assert first.advice is not None
    assert (first.advice.state, first.advice.kept) == (State.SUCCEEDED, False)
    assert (first.advice.works, first.advice.suggested) == (3, 3)
    assert first.advice.usage is not None
    assert first.advice.interaction_id in emulator.stats()["interactions"]
    markdown, document, browser = await reports(gapless, first)
    assert "/old/install.html `to it` at 4:1, perhaps now /guide/install.html\n" in markdown.replace("at 3:1", "at 4:1")
    assert "Advice: 3 of 3 suggestions work." in markdown
    assert document["advice"]["suggestions"][0]["suggestion"] == f"{site.url}/guide/install.html"
    assert '"instead":"/reference#pool_size"' in browser

    second = await audited(gapless, queue, request(site))
    assert emulator.stats()["created"] == 1
    assert second.advice is not None
    assert (second.advice.kept, second.advice.usage, second.advice.works) == (True, None, 3)
    assert second.report_markdown == first.report_markdown
    assert second.report_json == first.report_json

    site.routes = {**ROUTES, "/guide/setup": page("/old/setup", "/gone")}
    third = await audited(gapless, queue, request(site))
    assert emulator.stats()["created"] == 2
    assert third.advice is not None
    assert not third.advice.kept

    site.routes = dict(ROUTES)
    await audited(gapless, queue, request(site))
    assert emulator.stats()["created"] == 3  # only the last answer is kept
    await audited(gapless, queue, request(site, advisor=f"agents/{AGENT}"))
    assert emulator.stats()["created"] == 4  # somebody else has not been asked yet


@pytest.mark.usefixtures("served")
async def test_kept_advice_is_checked_again(gapless: Gapless, emulator: Emulator, queue: str, site: Site) -> None:
    """What worked when it was suggested and is gone tonight is not shown, though nobody is asked."""
    site.routes = {**ROUTES, "/": page("/guide/setup", "/old/unlinked-guide"), "/guide/setup": page("/unlinked-guide")}
    site.routes["/unlinked-guide"] = page()
    first = await audited(gapless, queue, request(site))
    assert first.advice is not None
    assert first.advice.works == 1
    site.routes = {**site.routes, "/guide/setup": page()}
    second = await audited(gapless, queue, request(site))
    assert second.advice is not None
    assert (second.advice.kept, second.advice.works) == (True, 1)  # fetched, since no page links there any more
    assert second.report_json != first.report_json  # fewer pages
    site.routes.pop("/unlinked-guide")
    third = await audited(gapless, queue, request(site))
    assert third.advice is not None
    assert (third.advice.kept, third.advice.works, third.advice.suggested) == (True, 0, 1)
    assert "perhaps now" not in (await reports(gapless, third))[0]
    assert emulator.stats()["created"] == 1


@pytest.mark.parametrize("emulator", [{"invent": 2}], indirect=True)
@pytest.mark.parametrize("advisor", [MODEL, f"agents/{AGENT}"])
@pytest.mark.usefixtures("served")
async def test_what_is_made_up_is_not_shown(
    gapless: Gapless, emulator: Emulator, queue: str, site: Site, advisor: str
) -> None:
    """An address that does not work is counted only; one on a host that the site does not link to is listed."""
    outcome = await audited(gapless, queue, request(site, advisor=advisor))
    assert outcome.advice is not None
    assert (outcome.advice.works, outcome.advice.suggested) == (1, 3)
    markdown, document, browser = await reports(gapless, outcome)
    assert "moved-0" not in markdown + browser + json.dumps(document)
    assert "Advice: 1 of 3 suggestions work, 1 not checked." in markdown
    assert "`https://elsewhere.example/1`" in markdown
    assert site.requests["/moved-0.html"] == 1
    advice = read_advice(document["advice"])
    assert advice is not None
    assert (advice.advisor, advice.asked, advice.broken, advice.not_checked) == (advisor, 3, 1, 1)


@pytest.mark.usefixtures("served")
async def test_without_an_advisor_nobody_is_asked(gapless: Gapless, emulator: Emulator, queue: str, site: Site) -> None:
    """A key in the environment starts no bill, and nothing in the report speaks of advice."""
    outcome = await audited(gapless, queue, request(site, advisor=None))
    markdown, document, _ = await reports(gapless, outcome)
    assert (outcome.advice, "advice" in document, "Advice" in markdown) == (None, False, False)
    assert emulator.stats()["created"] == 0


@pytest.mark.usefixtures("served")
async def test_nothing_broken(gapless: Gapless, emulator: Emulator, queue: str, site: Site) -> None:
    """A site in order is not asked about, nor is one that could not be read."""
    site.routes = {"/": page(), "/robots.txt": Reply("", 404)}
    assert (await audited(gapless, queue, request(site))).advice is None
    site.routes = {"/": Reply("", 500), "/robots.txt": Reply("", 404)}
    ill = await audited(gapless, queue, request(site))
    assert (ill.broken, ill.advice) == (1, None)
    assert emulator.stats()["created"] == 0


@pytest.mark.parametrize(
    ("fault", "asked"),
    [("status-400", 2), ("ends-failed", 2), ("ends-incomplete", 1), ("malformed-200", 2)],
)
async def test_a_failure_of_the_advice_is_a_note(
    gapless: Gapless,
    settings: Settings,
    emulator: Emulator,
    queue: str,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    asked: int,
) -> None:
    """The audit is whole without it; what brought no answer is asked for again, what was answered is not."""
    monkeypatch.setattr(policies, "ADVICE_HELD", timedelta(seconds=1))
    monkeypatch.setattr(wiring, "RUNNER", UnsandboxedWorkflowRunner())  # a sandbox would load the policies anew
    async with worker(gapless.client, settings, [queue]):
        emulator.inject(fault, times=1)
        outcome = await audited(gapless, queue, request(site))
        assert (outcome.broken, outcome.complete) == (3, True)
        assert outcome.advice is not None
        assert outcome.advice.state is not State.SUCCEEDED
        assert "## Advice\n" in (await reports(gapless, outcome))[0]
        again = await audited(gapless, queue, request(site))
        assert again.advice is not None
    assert emulator.stats()["requests"]["create"] == asked


async def test_a_private_site_is_nobodys_business(gapless: Gapless, settings: Settings, queue: str, site: Site) -> None:
    """What stands on a private site is not sent to a model elsewhere, no more than an agent is sent there."""
    remote = settings.model_copy(update={"gemini_base_url": None})
    async with worker(gapless.client, remote, [queue]):
        outcome = await audited(gapless, queue, request(site))
    assert outcome.advice is not None
    assert outcome.advice.state is State.CANCELLED
    assert "private address" in str(outcome.advice.note)
    assert outcome.advice.submissions == 0


@pytest.mark.parametrize("emulator", [{"run_seconds": 3600}], indirect=True)
@pytest.mark.usefixtures("served")
async def test_cancelling_the_audit_stops_the_advisor(
    gapless: Gapless, emulator: Emulator, queue: str, site: Site
) -> None:
    """The interaction at the provider is cancelled, too."""
    run = await gapless.start(request(site), id=queue, queue=queue)
    await until(lambda: emulator.stats()["created"] == 1)
    await until(lambda: _polled(gapless, advice_run_id(queue)))
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    await until(lambda: _closed(gapless, advice_run_id(queue)))
    ended = await gapless.client.get_workflow_handle(advice_run_id(queue)).describe()
    assert ended.status is WorkflowExecutionStatus.CANCELED
    assert emulator.stats()["cancel_requests"] == 1


async def _polled(gapless: Gapless, run_id: str) -> bool:
    return (await (await gapless.run(run_id)).status()).interaction_id is not None


async def _closed(gapless: Gapless, run_id: str) -> bool:
    return (await (await gapless.run(run_id)).status()).closed


@pytest.mark.usefixtures("served")
async def test_limits_hold_for_advice(gapless: Gapless, emulator: Emulator, queue: str, site: Site) -> None:
    """What the request allows bounds the advisor's run."""
    outcome = await audited(gapless, queue, request(site, max_total_tokens=1))
    assert outcome.advice is not None
    history = await gapless.client.get_workflow_handle(advice_run_id(queue)).fetch_history()
    [asked] = history.events[0].workflow_execution_started_event_attributes.input.payloads
    assert json.loads(asked.data)["limits"]["max_total_tokens"] == 1
    assert json.loads(asked.data)["response_schema"]["required"] == ["suggestions"]


@pytest.mark.usefixtures("served")
async def test_an_audit_that_has_to_end_soon(gapless: Gapless, emulator: Emulator, queue: str, site: Site) -> None:
    """The report goes before the advice when both do not fit into the audit's time."""
    outcome = await gapless.client.execute_workflow(
        "LinkAudit",
        request(site),
        id=queue,
        task_queue=queue,
        execution_timeout=timedelta(minutes=30),
        result_type=AuditOutcome,
    )
    assert outcome.advice is not None
    assert "has to end soon" in str(outcome.advice.note)
    assert emulator.stats()["created"] == 0


@pytest.mark.parametrize("emulator", [{"run_seconds": 3600}], indirect=True)
async def test_an_advisor_that_takes_too_long(
    gapless: Gapless, settings: Settings, emulator: Emulator, queue: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is written without it, and the interaction is stopped."""
    monkeypatch.setattr(policies, "ADVICE_LEAST", timedelta(0))
    monkeypatch.setattr(policies, "ADVICE_TOTAL", timedelta(seconds=16))
    monkeypatch.setattr(wiring, "RUNNER", UnsandboxedWorkflowRunner())  # a sandbox would load the policies anew
    async with worker(gapless.client, settings, [queue]):
        outcome = await audited(gapless, queue, request(site))
        assert outcome.broken == 3
        assert outcome.advice is not None
        assert outcome.advice.state is State.FAILED
        assert "Not finished within 0:00:08" in str(outcome.advice.note)
        await until(lambda: _closed(gapless, advice_run_id(queue)))
    assert emulator.stats()["cancel_requests"] == 1


@pytest.mark.usefixtures("served")
async def test_suggestions_are_looked_at_in_the_sites_lane(
    gapless: Gapless, emulator: Emulator, queue: str, site: Site
) -> None:
    """One host is asked by one at a time, for advice as well."""
    await audited(gapless, queue, request(site))
    lane = gapless.client.get_workflow_handle(lane_id(Scope(site.url).host, queue))
    assert "report" in str([event async for event in lane.fetch_history_events()])
