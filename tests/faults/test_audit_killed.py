"""An audit whose worker is killed or stands still: the report is the same, byte for byte, and the site is spared."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import AGENT, WorkerProcess, until
from faults.moments import SEED, Asked, Moment, draw
from faults.processes import descendants, lives
from faults.runs import PAGES, audit, beat, fetched_twice, large
from gapless import AuditOutcome, Gapless, Settings
from gapless.artifacts import ArtifactStore
from gapless.links.report.document import read_report
from gapless.links.report.junit import junit
from gapless.links.report.sarif import sarif
from unit.links.httpsite import Site

StartWorker = Callable[..., WorkerProcess]
CONNECTIONS = 8
DELAY = 0.3
LOST = 2.5 * CONNECTIONS / DELAY
"""Requests of two seconds, until a seal is seen here, and what was on its way."""
SMALL, SEALED = 96, 16
"""Pages of the sites on which workers are killed at many moments, and records after which a segment is sealed there."""
PUBLIC = "https://docs.example.com"


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


def _seals(folder: Path, **limits: float) -> dict[str, str]:
    """Return the environment of a worker whose crawls seal sooner, as on a larger site.

    The engine imports `sitecustomize` before all else, since it inherits the worker's path.
    """
    lines = [f"segments.{name} = {limit}" for name, limit in limits.items()]
    (folder / "sitecustomize.py").write_text("\n".join(("from gapless.links import segments", *lines, "")))
    return {"PYTHONPATH": str(folder)}


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


async def test_killed_at_any_moment(mortals: "Mortals") -> None:
    """Ten moments, drawn anew each time: no report shows that the worker was killed, or when."""
    alone, judged = await asyncio.gather(mortals.audit(), mortals.audit(agent=True))
    moments = draw(SEED, segments=SMALL // SEALED, crawling=judged.asked.crawling, requests=judged.asked.requests)
    told = await asyncio.gather(*(mortals.audit(moment, agent=moment.agent) for moment in moments))
    for moment, each in zip(moments, told, strict=True):
        same = each.files == (judged if moment.agent else alone).files
        assert same, f"another report after {moment}; again with GAPLESS_TEST_SEED={SEED}"


@dataclass(frozen=True)
class Told:
    """What an audit told in the end: the files of its report by name, and what the auditor asked for."""

    files: dict[str, bytes]
    asked: Asked


class Mortals:
    """Audits whose workers die, each with a site, a store and a queue of its own, so that all can go on at once."""

    def __init__(self, gapless: Gapless, settings: Settings, queue: str, folder: Path) -> None:
        self._gapless, self._settings, self._queue, self._folder = gapless, settings, queue, folder
        self._audits = 0
        self.workers: list[WorkerProcess] = []
        self._seals = _seals(folder, RECORDS=SEALED)

    async def audit(self, moment: Moment | None = None, *, agent: bool = False) -> Told:
        """Audit a site, and kill the worker at this moment."""
        self._audits += 1
        name, asked = f"{self._queue}-{self._audits}", Asked()
        async with Site(large(SMALL)) as site:
            worker = self._start(name, moment.stall if moment else "")

            def asks(_: str) -> float:
                if asked.count(site.seen[-1]) == (moment.request if moment else 0) > 0:
                    worker.kill()
                return 0.0

            site.delay = asks
            asks_for = {"public": PUBLIC, "agent": AGENT if agent else None}
            run = await self._gapless.start(audit(site.url).model_copy(update=asks_for), id=name, queue=name)
            if moment is not None:
                await until(lambda: worker.process.poll() is not None or worker.says("stalled "))
                worker.kill()
                self._start(name)
            return Told(await self._files(name, await run.result(), site.url), asked)

    def _start(self, name: str, stall: str = "") -> WorkerProcess:
        log = self._folder / f"worker-{len(self.workers)}.log"
        place = {"GAPLESS_ARTIFACTS": self._store(name), **self._seals}
        self.workers.append(WorkerProcess(self._settings, name, log, stall, **place))
        return self.workers[-1]

    def _store(self, name: str) -> str:
        return (self._folder / name).as_uri()

    async def _files(self, name: str, outcome: AuditOutcome, url: str) -> dict[str, bytes]:
        """Return the report in its forms; sites differ in their port, which only an agent's claims show."""
        store = ArtifactStore(self._store(name), self._settings.keys)
        body = await store.get(outcome.report_json.digest)
        report = read_report(json.loads(body))
        assert report.complete
        files = {
            "report.md": await store.get(outcome.report_markdown.digest),
            "report.json": body,
            "report.sarif": sarif(report).encode(),
            "junit.xml": junit(report).encode(),
        }
        return {name: data.replace(url.encode(), PUBLIC.encode()) for name, data in files.items()}


@pytest.fixture
def mortals(gapless: Gapless, settings: Settings, queue: str, tmp_path: Path) -> Iterator[Mortals]:
    """Return audits whose workers die."""
    mortals = Mortals(gapless, settings, queue, tmp_path)
    yield mortals
    for worker in mortals.workers:
        worker.kill()


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
    seals = _seals(tmp_path, SECONDS=1.0)

    def start(settings: Settings, gapless: Gapless, **more: str) -> WorkerProcess:
        place = {"GAPLESS_ARTIFACTS": settings.artifacts_url, "TEMPORAL_ADDRESS": gapless.server.address}
        log = tmp_path / f"extra-{len(started)}.log"
        started.append(WorkerProcess(settings, queue, log, **place, **seals, **more))
        return started[-1]

    yield start
    for process in started:
        process.kill()
