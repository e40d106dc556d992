"""A worker is killed while another host is asked about an agent's claims: the verdict is the same, the host is spared."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import AGENT, WorkerProcess, until
from faults.moments import SEED
from gapless import AuditOutcome, Gapless, LinkAuditRequest, Settings
from gapless.contract.link_audit import Verdict
from gapless.links.urls import authority
from gapless.testing.emulator import agent
from gapless.testing.emulator.answers import Answer
from unit.links.httpsite import Reply, Serve, Site, page

StartWorker = Callable[[], WorkerProcess]
PAGES, CONNECTIONS = 16, 2
MOMENTS = 3


@pytest.fixture
def start_worker(settings: Settings, queue: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Return a function that starts a worker which soon notices that an audit's report has nobody who prepares it."""
    started: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        started.append(WorkerProcess(settings, queue, log, TEST_ASK_AGAIN="5"))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
async def other(serve: Serve) -> Site:
    """Serve the host that the claims are about: some pages, each of which takes a moment."""
    other = await serve({f"/{n}": page(extra=f'<p id="p{n}">') for n in range(PAGES)})
    other.delay = lambda _: 0.1
    return other


@pytest.fixture
async def site(serve: Serve, other: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Serve the audited site, and have the agent claim that all of the other host is broken, and nothing else."""
    claimed = [f"{other.url}/{n}#p{n}" for n in range(PAGES)] + [f"{other.url}/lost"]
    site = await serve({"/": page("/gone", *claimed), "/robots.txt": Reply("", 404)})

    async def work(prompt: str, answer: Answer, save: Callable[[], None], **options: int) -> None:
        broken = [{"page": f"{site.url}/", "href": each, "target": each, "reason": "404"} for each in claimed]
        answer.write("link-audit.json", json.dumps({"broken": broken}))
        answer.say(f"Total broken: {len(broken)} across 1 pages crawled.")

    monkeypatch.setattr(agent, "work", work)
    return site


def _verdict(outcome: AuditOutcome) -> Verdict:
    assert outcome.agent is not None
    assert outcome.agent.verdict is not None, outcome.agent.note
    return outcome.agent.verdict


async def test_killed_while_another_host_is_asked(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site, other: Site
) -> None:
    """Whichever request about a claim is the worker's last: the next worker asks again for no more than was lost."""
    request = LinkAuditRequest(url=site.url, allow=[authority(other.url + "/")], agent=AGENT)
    worker = start_worker()

    async def audit(last: int = 0) -> AuditOutcome:
        """Audit, and kill the worker at such a request for a page that the crawl knows from the audit before."""
        nonlocal worker
        doomed = worker
        other.requests.clear()

        def asked(_: str) -> float:
            if _working(other) == last > 0:
                doomed.kill()
            return 0.1

        other.delay = asked
        run = await gapless.start(request, id=queue, rerun=True, queue=queue)
        if last:
            await until(lambda: doomed.process.poll() is not None)
            worker = start_worker()
        return await run.result()

    first, alone = await audit(), await audit()
    plain = other.requests.total()
    assert (_verdict(alone).confirmed, _verdict(alone).false_alarms, _verdict(alone).missed) == (1, PAGES, 1)
    assert (_working(other), _verdict(first)) == (PAGES, _verdict(alone))
    for last in random.Random(SEED).sample(range(1, PAGES + 1), MOMENTS):
        outcome = await audit(last)
        killed = f"killed at request {last}; again with GAPLESS_TEST_SEED={SEED}"
        assert _verdict(outcome) == _verdict(alone), killed
        assert (outcome.report_json, outcome.report_markdown) == (alone.report_json, alone.report_markdown), killed
        assert other.most_at_once <= CONNECTIONS, killed
        assert other.requests.total() - plain <= last + CONNECTIONS, killed


def _working(other: Site) -> int:
    return sum(other.requests[f"/{n}"] for n in range(PAGES))
