"""An audit whose worker is killed or stands still: the report is the same, byte for byte, and the site is spared."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from conftest import AGENT, WorkerProcess, until
from faults.moments import SEED, draw
from faults.mortals import SEALED, SMALL, Mortals, seals_sooner
from faults.processes import descendants, lives
from faults.runs import PAGES, audit, beat, fetched_twice, large
from gapless import AuditOutcome, Gapless, Settings
from gapless.artifacts import ArtifactStore
from unit.links.httpsite import Site

StartWorker = Callable[..., WorkerProcess]
CONNECTIONS = 8
DELAY = 0.3
LOST = 2.5 * CONNECTIONS / DELAY
"""Requests of two seconds, until a seal is seen here, and what was on its way."""


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve a site that takes long enough for a crawl to seal a part of its record on the way."""
    async with Site(large()) as site:
        site.delay = lambda _: DELAY
        yield site


async def _whole(gapless: Gapless, site: Site, queue: str, *, agent: str | None = None) -> AuditOutcome:
    """Audit the site undisturbed and fast, and forget that it was asked anything."""
    delay, site.delay = site.delay, lambda _: 0.0
    request = audit(site.url).model_copy(update={"agent": agent})
    outcome = await (await gapless.start(request, id=f"{queue}-whole", queue=queue)).result()
    site.delay = delay
    site.requests.clear()
    site.most_at_once = 0
    return outcome


def _same(one: AuditOutcome, other: AuditOutcome) -> bool:
    """Say whether two audits came to the same, their reports byte for byte."""
    return (one.report_markdown, one.report_json, one.crawl) == (other.report_markdown, other.report_json, other.crawl)


async def _sealed(gapless: Gapless, queue: str) -> bool:
    return await beat(await gapless.run(queue), "crawl_in_lane", "segment") is not None


async def test_on_another_machine(
    gapless: Gapless, settings: Settings, queue: str, site: Site, tmp_path: Path, extra: "ExtraWorkers"
) -> None:
    """A worker whose disk is empty goes on where the other one was, since they share the store and nothing else."""
    store = (tmp_path / "shared").as_uri()
    own, other = (settings.model_copy(update={"artifacts": store, "data_dir": tmp_path / name}) for name in "ab")
    worker = extra(own, gapless)
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: _sealed(gapless, queue))
    worker.kill()
    resumed = extra(other, gapless)
    await until(lambda: resumed.says("crawl.resumed"))
    site.delay = lambda _: 0.0
    outcome = await run.result()
    assert (outcome.pages, outcome.complete) == (PAGES + 1, True)
    assert (await ArtifactStore(store).get(outcome.report_markdown.digest)).startswith(b"# Broken Link Audit")
    assert fetched_twice(site) <= LOST
    assert not (tmp_path / "b" / "artifacts").exists()


async def test_killed_at_any_moment(mortals: Mortals) -> None:
    """Ten moments, drawn from a seed: no report shows that the worker was killed, or when."""
    alone, judged = await asyncio.gather(mortals.audit(), mortals.audit(agent=AGENT))
    moments = draw(SEED, segments=SMALL // SEALED, crawling=judged.asked.crawling, requests=judged.asked.requests)
    agents = [AGENT if moment.agent else None for moment in moments]
    told = await asyncio.gather(*(mortals.audit(*each) for each in zip(moments, agents, strict=True)))
    for moment, each in zip(moments, told, strict=True):
        same = each.files == (judged if moment.agent else alone).files
        assert same, f"another report after {moment}; again with GAPLESS_TEST_SEED={SEED}"


async def test_a_killed_worker_takes_its_processes_along(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site
) -> None:
    """What crawls for a worker ends within a second of it, and asks the site for nothing more."""
    worker = start_worker()
    await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: site.requests.total() > 20)
    crawling = descendants(worker.process.pid or 0)
    assert len(crawling) >= 2  # the engine and those that fetch
    worker.kill()
    killed = time.monotonic()
    await until(lambda: not any(map(lives, crawling)), seconds=5)
    assert time.monotonic() - killed < 1
    asked = site.requests.total()
    await asyncio.sleep(1)
    assert site.requests.total() == asked
    await gapless.client.get_workflow_handle(queue).terminate()


@pytest.mark.parametrize("children", [True, False])
async def test_its_processes_are_killed(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site, children: bool
) -> None:
    """Those that fetch are replaced within the attempt, the one that decides with the next; nothing shows it."""
    worker = start_worker()
    whole = await _whole(gapless, site, queue)
    site.delay = lambda _: 0.05
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: site.requests.total() > PAGES / 3)
    engine, *fetching = descendants(worker.process.pid or 0)
    assert fetching
    for pid in fetching if children else [engine]:
        os.kill(pid, signal.SIGKILL)
    site.delay = lambda _: 0.0
    assert _same(await run.result(), whole)
    assert worker.says("ended on its own") is not children


async def test_a_worker_that_stood_still_is_not_at_the_site_any_more(
    gapless: Gapless, settings: Settings, queue: str, site: Site, extra: "ExtraWorkers"
) -> None:
    """One that is taken for dead, and wakes up when another one has gone on, leaves the site to that one.

    So it does with the turn that it was given while it stood still.
    """
    plain = extra(settings, gapless)
    whole = await _whole(gapless, site, queue)
    await plain.stop()
    site.delay = lambda _: 0.6
    frozen = extra(settings, gapless, TEST_SLOTS="2")  # one for the turn, and one that polls
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: _sealed(gapless, queue))
    frozen.process.send_signal(signal.SIGSTOP)
    another = extra(settings, gapless)
    await until(lambda: another.says("crawl.resumed"))
    asked = site.requests.total()
    await until(lambda: site.requests.total() > asked + 20)
    frozen.process.send_signal(signal.SIGCONT)
    asked = site.requests.total()
    await until(lambda: site.requests.total() > asked + 40)  # three seconds, in which it could be back at the site
    site.delay = lambda _: 0.05
    assert _same(await run.result(), whole)
    assert site.most_at_once <= CONNECTIONS
    assert frozen.log.read_text().count("StoodStill") == 1


ExtraWorkers = Callable[..., WorkerProcess]


@pytest.fixture
def extra(queue: str, tmp_path: Path) -> Iterator[ExtraWorkers]:
    """Return a function that starts a worker which seals each second, and finds the server as one elsewhere would."""
    started: list[WorkerProcess] = []
    sooner = seals_sooner(tmp_path, SECONDS=1.0)

    def start(settings: Settings, gapless: Gapless, **more: str) -> WorkerProcess:
        place = {"GAPLESS_ARTIFACTS": settings.artifacts_url, "TEMPORAL_ADDRESS": gapless.server.address}
        log = tmp_path / f"extra-{len(started)}.log"
        started.append(WorkerProcess(settings, queue, log, **place, **sooner, **more))
        return started[-1]

    yield start
    for process in started:
        process.kill()
