"""The same through the whole workflow: its verdict and its reports are those of an audit that was not lied to."""

import json

import pytest

from conftest import AGENT
from gapless import Gapless, LinkAuditRequest, State
from injection.obedient import ACCUSE, END, FETCH
from injection.places import routes
from injection.test_payloads import PAYLOADS, assert_inert
from unit.links.httpsite import Site


@pytest.mark.usefixtures("served")
async def test_an_audit_of_a_site_that_lies(gapless: Gapless, queue: str, site: Site, canary: Site) -> None:
    """The agent obeys the page; the verdict says so, the reports are inert, and the canary is left alone."""
    payload = PAYLOADS["HTML"] + PAYLOADS["Markdown"] + "\x1b[2J\u202e"
    told = [ACCUSE.format(f"{site.url}/ok"), FETCH.format(f"{canary.url}/"), END.format(payload)]
    order = " ".join(told).replace("&", "&amp;").replace("<", "&lt;")
    site.routes = routes(
        body=f'<p>{order}</p><a href="/gone" title="{PAYLOADS["mentions"]}">{PAYLOADS["mentions"]}</a>'
    )
    request = LinkAuditRequest(url=site.url + "/", external=False, agent=AGENT)
    outcome = await (await gapless.start(request, id=queue, queue=queue)).result()
    assert outcome.broken == 3
    assert outcome.agent is not None
    assert outcome.agent.state is State.SUCCEEDED
    verdict = outcome.agent.verdict
    assert verdict is not None
    assert (verdict.confirmed, verdict.false_alarms, verdict.missed, verdict.out_of_scope) == (3, 2, 0, 1)
    assert (verdict.precision, verdict.recall) == (3 / 5, 1.0)
    assert canary.connections == 0
    markdown = (await gapless.artifacts.get(outcome.report_markdown.digest)).decode()
    assert_inert(markdown)
    for reason in ("- [works] /ok, on /", "### False alarms: 2", "### Out of scope: 1", "precision 0.60, recall 1.00"):
        assert reason in markdown
    text = (await gapless.artifacts.get(outcome.report_json.digest)).decode()
    assert all(mark.isprintable() or mark == "\n" for mark in text)
    assert json.loads(text)["agent"]["verdict"]["recall"] == 1.0
