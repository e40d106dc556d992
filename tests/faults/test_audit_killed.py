"""An audit whose worker is killed or stands still: the report is the same, byte for byte, and the site is spared."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from conftest import AGENT, WorkerProcess, environment, until
from faults.runs import PAGES, audit, beat, fetched_twice, large, pending
from gapless import AuditOutcome, Gapless, Settings, State
from gapless.artifacts import ArtifactStore
from gapless.testing.emulator import Emulator
from unit.links.httpsite import Reply, Site, page
from worker_process import Fork

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


@pytest.fixture
async def small() -> AsyncIterator[Site]:
    """Serve a few pages with a broken link."""
    routes = {f"/{n}": page(f"/{n + 1}") for n in range(9)}
    async with Site({**routes, "/": page("/0"), "/robots.txt": Reply("", 404)}) as site:
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
    worker.wait()
    extra(other, gapless)
    outcome = await run.result()
    assert (outcome.pages, outcome.complete) == (PAGES + 1, True)
    assert (await ArtifactStore(store).get(outcome.report_markdown.digest)).startswith(b"# Broken Link Audit")
    assert fetched_twice(site) <= LOST
    assert not (tmp_path / "b" / "artifacts").exists()


@pytest.mark.parametrize("moment", ["before:serve", "seal", "after:serve", "before:report", "after:report"])
async def test_killed_at_any_moment(
    gapless: Gapless, settings: Settings, queue: str, start_worker: StartWorker, site: Site, moment: str
) -> None:
    """The report does not show when the worker was killed."""
    site.delay = lambda _: DELAY if moment == "seal" else 0.01
    plain = start_worker()
    whole = await _whole(gapless, site, queue)
    await plain.stop()
    stall = "" if moment == "seal" else moment
    worker = start_worker(stall)
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    if stall:
        await until(lambda: worker.says(f"stalled {stall.replace(':', ' ')}"))
    else:
        store = settings.data_dir / "artifacts" / "sha256"
        before = set(store.rglob("*"))
        await until(lambda: set(store.rglob("*")) - before and site.requests.total())
    worker.kill()
    start_worker()
    assert _same(await run.result(), whole)


async def test_killed_with_a_verdict(
    gapless: Gapless, queue: str, start_worker: StartWorker, small: Site, emulator: Emulator
) -> None:
    """So it is with what an agent claims: the verdict is reached by whoever is there."""
    worker = start_worker()
    whole = await _whole(gapless, small, queue, agent=AGENT)
    request = audit(small.url).model_copy(update={"agent": AGENT})
    run = await gapless.start(request, id=queue, queue=queue)
    await until(lambda: pending(run, "judge_in_lane"))
    small.delay = lambda _: 5.0
    asked = small.requests.total()
    await until(lambda: small.requests.total() > asked)
    worker.kill()
    small.delay = lambda _: 0.0
    start_worker()
    outcome = await run.result()
    assert outcome.agent.state is State.SUCCEEDED
    assert outcome.agent.verdict is not None
    assert _same(outcome, whole)


async def test_a_killed_worker_takes_its_processes_along(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site
) -> None:
    """What crawls for a worker ends within a second of it, and asks the site for nothing more."""
    worker = start_worker()
    await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: site.requests.total() > 20)
    crawling = _descendants(worker.process.pid or 0)
    assert len(crawling) >= 2  # the engine and those that fetch
    worker.kill()
    killed = time.monotonic()
    await until(lambda: not any(map(_lives, crawling)), seconds=5)
    assert time.monotonic() - killed < 1
    asked = site.requests.total()
    await asyncio.sleep(1)
    assert site.requests.total() == asked
    await gapless.client.get_workflow_handle(queue).terminate()


async def test_a_worker_that_stood_still_is_not_at_the_site_any_more(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site
) -> None:
    """One that is taken for dead, and wakes up when another one has gone on, leaves the site to that one."""
    plain = start_worker()
    whole = await _whole(gapless, site, queue)
    await plain.stop()
    site.delay = lambda _: 0.6
    frozen = start_worker()
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: _sealed(gapless, queue))
    frozen.process.send_signal(signal.SIGSTOP)
    another = start_worker()
    await until(lambda: another.says("crawl.resumed"))
    asked = site.requests.total()
    await until(lambda: site.requests.total() > asked + 20)
    frozen.process.send_signal(signal.SIGCONT)
    assert _same(await run.result(), whole)
    assert site.most_at_once <= CONNECTIONS


def _descendants(pid: int) -> list[int]:
    """Return the processes below this one."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        parent = _parent(status)
        if parent == pid:
            child = int(status.parent.name)
            found += [child, *_descendants(child)]
    return found


def _parent(status: Path) -> int | None:
    try:
        return int(status.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):  # it has gone
        return None


def _lives(pid: int) -> bool:
    """Say whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


ExtraWorkers = Callable[[Settings, Gapless], Fork]


@pytest.fixture
def extra(queue: str, tmp_path: Path) -> Iterator[ExtraWorkers]:
    """Return a function that starts a worker which finds the server by its address, as one elsewhere would."""
    started: list[Fork] = []

    def start(settings: Settings, gapless: Gapless) -> Fork:
        place = environment(settings, GAPLESS_ARTIFACTS=settings.artifacts_url, TEMPORAL_ADDRESS=gapless.server.address)
        started.append(Fork(place, tmp_path / f"extra-{len(started)}.log", queue, ""))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
