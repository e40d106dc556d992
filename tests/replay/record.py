"""Records the histories that `test_replay.py` replays: `python tests/replay/record.py`, from the root of the repository.

Each scenario really runs: on a dev server, with a worker, against the local Interactions API. A history that was
released is never recorded again: it is kept, and the workflow's change is guarded by `workflow.patched`.
"""

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.worker import UnsandboxedWorkflowRunner

from gapless import (
    Gapless,
    InteractionRequest,
    Limits,
    LinkAuditRequest,
    OnLostSubmission,
    Resolution,
    Run,
    RunCancelled,
    devserver,
)
from gapless.artifacts import ArtifactStore
from gapless.config import Settings
from gapless.contract.host_lane import lane_id
from gapless.contract.link_audit import revision_id
from gapless.links import Scope
from gapless.payloads import data_converter
from gapless.telemetry import configure_logging
from gapless.testing.emulator import Emulator
from gapless_activities import crawling
from gapless_workers import worker as wiring
from gapless_workers.main import run_main
from gapless_workers.worker import worker
from gapless_workflows import policies

sys.path.insert(0, str(Path(__file__).parents[1]))

from unit.links.httpsite import Reply, Request, Site, page

FOLDER = Path(__file__).parent
QUEUE = "recorded"
AGENT = "antigravity-preview-09-2026"
IDENTITY = re.compile(r"\d+@[\w.-]+")
PATH = re.compile(r'File "[^"]*?/((?:gapless\w*|temporalio|asyncio)/[^"]*|[^"/]*)"')


def request(fault: str | None = None, **fields: Any) -> InteractionRequest:
    """Return a request to a model, with a fault in its labels."""
    labels = {"gapless-fault": fault} if fault else {}
    return InteractionRequest(model="gemini-3.8-flash", input="Say hello.", labels=labels, **fields)


async def state(run: Run[Any], wanted: str) -> None:
    """Wait until the run is in this state."""
    async for status in run.watch(every=0.1):
        if status.state == wanted:
            return


async def succeeded(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """A model answers after a few polls."""
    await (await gapless.start(request(), id=name, queue=QUEUE)).result()


async def held_and_adopted(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The answer to the POST is lost; a person names the id."""
    run = await gapless.start(request("answer-lost"), id=name, queue=QUEUE)
    await state(run, "held")
    await run.resolve(Resolution(action="adopt", interaction_id=emulator.stats()["interactions"][-1]))
    await run.result()


async def held_and_resubmitted(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The provider fails without having created anything; a person has the task sent again."""
    emulator.inject("5xx-before")
    run = await gapless.start(request(), id=name, queue=QUEUE)
    await state(run, "held")
    await run.resolve(Resolution(action="resubmit"))
    await run.result()


async def refused(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """A 429 is waited out."""
    emulator.inject("status-429", seconds=1)
    await (await gapless.start(request(), id=name, queue=QUEUE)).result()


async def cancelled(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The run is cancelled while the provider works."""
    run = await gapless.start(request("stuck-running"), id=name, queue=QUEUE)
    await state(run, "running")
    await run.cancel()
    try:
        await run.result()
    except RunCancelled:
        return


async def deadline(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The provider takes longer than the run may."""
    limits = Limits(deadline=timedelta(seconds=4))
    await (await gapless.start(request("stuck-running", limits=limits), id=name, queue=QUEUE)).result()


async def resubmitted(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """Answers are lost under a limit: each loss counts, until nothing is left."""
    emulator.inject("answer-lost", times=3)
    lost = request(limits=Limits(max_total_tokens=100), on_lost_submission=OnLostSubmission.RESUBMIT)
    await (await gapless.start(lost, id=name, queue=QUEUE)).result()


async def final_at_once(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The accept shows the end: neither poll nor fetch."""
    task = InteractionRequest(model="gemini-3.8-flash", input="Say hello.", labels={"gapless-run-seconds": "0"})
    await (await gapless.start(task, id=name, queue=QUEUE)).result()


async def fetched(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The look that sees the end cannot have the files, so they are fetched."""
    emulator.inject("5xx-before", operation="files")
    task = InteractionRequest(agent=AGENT, input="Write an answer.", environment="remote")
    await (await gapless.start(task, id=name, queue=QUEUE)).result()


async def audit(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The auditor alone."""
    asked = LinkAuditRequest(url=site.url, external=False)
    await (await gapless.start(asked, id=name, queue=QUEUE)).result()


async def audit_with_agent(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The auditor, an agent beside it, and a verdict."""
    asked = LinkAuditRequest(url=site.url, external=False, agent=AGENT)
    await (await gapless.start(asked, id=name, queue=QUEUE)).result()


async def audit_cancelled(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The audit is cancelled while auditor and agent work."""
    site.delay = lambda _: 1.0
    run = await gapless.start(LinkAuditRequest(url=site.url, external=False, agent=AGENT), id=name, queue=QUEUE)
    while emulator.stats()["created"] == 0 or not site.requests.total():
        await asyncio.sleep(0.05)
    await run.cancel()
    try:
        await run.result()
    except RunCancelled:
        return


async def lane_turns(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> str:
    """Two audits of one host take turns."""
    pages = {f"/{n}": page(f"/{n + 1}") for n in range(30)}
    site.routes = {**site.routes, **pages, "/": page("/0")}
    site.delay = lambda _: 0.1
    asked = LinkAuditRequest(url=site.url, external=False)
    runs = [await gapless.start(asked, id=f"{name}-{n}", queue=QUEUE) for n in range(2)]
    await asyncio.gather(*(run.result() for run in runs))
    return lane_id(Scope(site.url).host, QUEUE)


async def lane_rest(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> str:
    """The host asks for a pause that is longer than a crawl waits."""

    def busy(asked: Request) -> Reply:
        return Reply(page()) if asked.number > 4 else Reply("", 429, headers={"Retry-After": "2"})

    site.routes = {**site.routes, "/gone": busy}
    await (await gapless.start(LinkAuditRequest(url=site.url, external=False), id=name, queue=QUEUE)).result()
    return lane_id(Scope(site.url).host, QUEUE)


async def lane_left(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> str:
    """The audit that has its turn is cancelled."""
    await audit_cancelled(gapless, emulator, site, name)
    return lane_id(Scope(site.url).host, QUEUE)


async def audit_elsewhere(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """Another host is looked at in its own lane, and one that nobody may visit."""
    await (await gapless.start(_linking(site), id=name, queue=QUEUE)).result()


async def audit_elsewhere_cancelled(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The audit is cancelled while another host is looked at."""
    asked = _linking(site)
    site.delay = lambda path: 2.0 * path.startswith("/else")
    run = await gapless.start(asked, id=name, queue=QUEUE)
    while not any(site.requests[path] for path in ("/elsewhere-1", "/elsewhere-2")):
        await asyncio.sleep(0.05)
    await run.cancel()
    try:
        await run.result()
    except RunCancelled:
        return


async def lane_away(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> str:
    """A crawl goes on once other hosts have been looked at, while its lane waits."""
    await audit_elsewhere(gapless, emulator, site, name)
    return lane_id(Scope(site.url).host, QUEUE)


async def lane_away_left(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> str:
    """The audit is cancelled while its lane waits for other hosts."""
    await audit_elsewhere_cancelled(gapless, emulator, site, name)
    return lane_id(Scope(site.url).host, QUEUE)


async def lane_looks(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> str:
    """Two audits have links to another host looked at, in turns, and it asks for a pause."""

    def busy(asked: Request) -> Reply:
        return Reply(page()) if asked.number > 6 else Reply("", 429, headers={"Retry-After": "2"})

    site.routes = {**site.routes, **{f"/else-{n}": page() for n in range(20)}, "/else-busy": busy}
    asked = _linking(site, *(f"/else-{n}" for n in range(20)), "/else-busy")
    site.delay = lambda path: 0.5 * path.startswith("/else")
    runs = [await gapless.start(asked, id=f"{name}-{n}", queue=QUEUE) for n in range(2)]
    await asyncio.gather(*(run.result() for run in runs))
    return lane_id(asked.allow[0], QUEUE)


def _linking(site: Site, *paths: str) -> LinkAuditRequest:
    """Return what to audit: a site that links to itself under another name, which is another host."""
    other = site.url.replace("127.0.0.1", "localhost")
    links = (other + path for path in paths or ("/a", "/elsewhere-1", "/elsewhere-2"))
    site.routes = {**site.routes, "/": page("/a", "http://127.0.0.2/", *links)}
    return LinkAuditRequest(url=site.url, allow=[other.removeprefix("http://")])


async def revision(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> str:
    """What is broken on another host is looked at again, twice."""
    await audit_with_revision(gapless, emulator, site, name)
    await gapless.client.get_workflow_handle(revision_id(name)).result()
    return revision_id(name)


async def audit_with_revision(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The auditor alone, and a later look at another host."""
    other = site.url.replace("127.0.0.1", "localhost")
    site.routes = {**site.routes, "/": page("/a", f"{other}/gone")}
    looks = [timedelta(seconds=1)] * 2
    asked = LinkAuditRequest(url=site.url, allow=[other.removeprefix("http://")], recheck_after=looks)
    await (await gapless.start(asked, id=name, queue=QUEUE)).result()


async def audit_with_advice(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The auditor alone, and a model that says where broken links should lead."""
    asked = LinkAuditRequest(url=site.url, external=False, advisor="gemini-3.8-flash")
    await (await gapless.start(asked, id=name, queue=QUEUE)).result()


async def audit_with_all(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """An agent, links to another host, advice, and a later look."""
    asked = _linking(site, "/a", "/elsewhere-1")
    more = {"agent": AGENT, "advisor": "gemini-3.8-flash", "recheck_after": [timedelta(seconds=1)]}
    await (await gapless.start(asked.model_copy(update=more), id=name, queue=QUEUE)).result()


async def audit_with_kept_advice(gapless: Gapless, emulator: Emulator, site: Site, name: str) -> None:
    """The same once more: what is broken has not changed."""
    for id_ in (f"{name}-first", name):
        await audit_with_advice(gapless, emulator, site, id_)


Scenario = Callable[[Gapless, Emulator, Site, str], Awaitable[str | None]]
"""What runs, and the id of the run whose history is recorded, where that is not the scenario's name."""
SCENARIOS: dict[str, Scenario] = {
    "interaction-succeeded": succeeded,
    "interaction-held-adopted": held_and_adopted,
    "interaction-held-resubmitted": held_and_resubmitted,
    "interaction-refused": refused,
    "interaction-cancelled": cancelled,
    "interaction-deadline": deadline,
    "audit": audit,
    "audit-with-agent": audit_with_agent,
    "audit-cancelled": audit_cancelled,
    # Since a run carries its search attributes from the start, and a look takes the result along:
    "interaction-2-succeeded": succeeded,
    "interaction-2-final-at-once": final_at_once,
    "interaction-2-fetched": fetched,
    "interaction-2-held-adopted": held_and_adopted,
    "interaction-2-resubmitted": resubmitted,
    "interaction-2-refused": refused,
    "interaction-2-cancelled": cancelled,
    "interaction-2-deadline": deadline,
    "audit-2-with-agent": audit_with_agent,
    # Since audits wait their turn in the site's lane:
    "audit-3": audit,
    "audit-3-with-agent": audit_with_agent,
    "audit-3-cancelled": audit_cancelled,
    "audit-3-with-revision": audit_with_revision,
    "audit-3-with-advice": audit_with_advice,
    "audit-3-with-kept-advice": audit_with_kept_advice,
    "lane-turns": lane_turns,
    "lane-rest": lane_rest,
    "lane-left": lane_left,
    "revision": revision,
    # Since other hosts are asked in their own lanes:
    "audit-4": audit,
    "audit-4-elsewhere": audit_elsewhere,
    "audit-4-elsewhere-cancelled": audit_elsewhere_cancelled,
    "audit-4-with-agent": audit_with_agent,
    "lane-looks": lane_looks,
    # Since an audit is a few steps:
    "audit-5": audit,
    "audit-5-cancelled": audit_cancelled,
    "audit-5-elsewhere": audit_elsewhere,
    "audit-5-elsewhere-cancelled": audit_elsewhere_cancelled,
    "audit-5-with-agent": audit_with_agent,
    "audit-5-with-advice": audit_with_advice,
    "audit-5-with-kept-advice": audit_with_kept_advice,
    "audit-5-with-all": audit_with_all,
    "lane-away": lane_away,
    "lane-away-left": lane_away_left,
    # Since the lane writes the report where nobody else is asked, and with workflows of the release before:
    "audit-6": audit,
    "audit-6-elsewhere": audit_elsewhere,
    "audit-6-with-revision": audit_with_revision,
    "audit-6-ended-by-release-before": audit,
}


def scrubbed(value: Any) -> Any:
    """Return a history without what belongs to the machine it was recorded on: processes, host, folders."""
    if isinstance(value, dict):
        return {key: scrubbed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    if isinstance(value, str):
        return PATH.sub(r'File "\1"', IDENTITY.sub("worker@host", value))
    return value


@asynccontextmanager
async def _gapless(folder: Path) -> AsyncIterator[Gapless]:
    settings = Settings.load(data_dir=folder, GEMINI_API_KEY="any", poll_max_interval=1.0, submit_timeout=5.0)
    server = await devserver.start(settings)
    try:
        converter = data_converter(ArtifactStore(settings.artifacts_url))
        yield Gapless(await devserver.connect(settings, server, data_converter=converter), server, settings)
    finally:
        devserver.stop(settings)


async def _record(gapless: Gapless, name: str) -> None:
    routes: dict[str, Any] = {"/": page("/a", "/gone"), "/a": page("/", "#nowhere"), "/robots.txt": Reply("", 404)}
    async with Emulator(run_seconds=1.0) as emulator, Site(routes) as site:
        settings = gapless.settings.model_copy(update={"gemini_base_url": emulator.url})
        async with worker(gapless.client, settings, [QUEUE]):
            recorded = await SCENARIOS[name](gapless, emulator, site, name) or name
            while (await gapless.client.get_workflow_handle(recorded).describe()).close_time is None:
                await asyncio.sleep(0.05)
    history = await gapless.client.get_workflow_handle(recorded).fetch_history()
    text = json.dumps(scrubbed(json.loads(history.to_json())), indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n")


async def main(wanted: list[str]) -> int:
    """Record the scenarios that are named, or all."""
    configure_logging("error")
    # Turns and pauses take seconds here; a sandbox would load the policies anew, with their minutes.
    wiring.RUNNER = UnsandboxedWorkflowRunner()
    policies.LANE_SLICE = timedelta(seconds=1)
    crawling.ENGINE_PATIENCE = 1.0
    with tempfile.TemporaryDirectory(prefix="gapless-record-") as folder:
        async with _gapless(Path(folder)) as gapless:
            for name in wanted or SCENARIOS:
                await _record(gapless, name)
                print(name, file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_main(main(sys.argv[1:]))
