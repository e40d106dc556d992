"""The process that a worker starts ahead of its crawl is killed: the audit is the same, and nobody has to know."""

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator

import pytest

from conftest import until
from faults.processes import lives
from faults.runs import PAGES, audit
from gapless import AuditOutcome, Gapless, Settings
from gapless.contract.host_lane import lane_id
from gapless.links import Scope
from gapless.links import engine as engine_
from gapless.links.pool import ChildLost
from gapless_workers.worker import worker
from unit.links.httpsite import Site


@pytest.fixture
async def engine(gapless: Gapless, settings: Settings, queue: str) -> AsyncIterator[int]:
    """Serve the test's queue with an engine started ahead; returns its pid."""
    process = await engine_.start()
    async with worker(gapless.client, settings, [queue], engine=process):
        yield process.pid


async def test_while_it_idles(gapless: Gapless, queue: str, site: Site, engine: int) -> None:
    """Another one is started in its place, within the same attempt."""
    os.kill(engine, signal.SIGKILL)
    await until(lambda: not lives(engine))
    outcome = await _audited(gapless, queue, site)
    assert await _attempts(gapless, queue, site) == [1]
    assert await _audited(gapless, f"{queue}-again", site, queue) == outcome


async def test_between_hand_over_and_first_job(gapless: Gapless, queue: str, site: Site, engine: int) -> None:
    """The next attempt has one of its own."""
    os.kill(engine, signal.SIGSTOP)
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: _unread(engine) > 0)
    os.kill(engine, signal.SIGKILL)
    await run.result()
    assert await _attempts(gapless, queue, site) == [2]
    outcome = await _audited(gapless, queue, site)
    assert await _audited(gapless, f"{queue}-again", site, queue) == outcome


async def test_while_it_is_told(site: Site) -> None:
    """The reason says so, and not which of the pipe's errors it was."""
    process = await engine_.start()
    os.kill(process.pid, signal.SIGSTOP)
    crawling = asyncio.create_task(engine_.crawl_apart(Scope(site.url), process=process, previous=bytes(10_000_000)))
    await until(lambda: _unread(process.pid) > 0)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ChildLost, match="ended on its own"):
        await crawling


async def _audited(gapless: Gapless, name: str, site: Site, queue: str | None = None) -> AuditOutcome:
    outcome = await (await gapless.start(audit(site.url), id=name, queue=queue or name)).result()
    assert (outcome.pages, outcome.complete) == (PAGES + 1, True)
    return outcome.model_copy(update={"html_basis": None})  # what was known before: nothing, and then the first audit


async def _attempts(gapless: Gapless, queue: str, site: Site) -> list[int]:
    """Return the last attempt of each turn in the site's lane."""
    lane = gapless.client.get_workflow_handle(lane_id(Scope(site.url).host, queue))
    started = [event.activity_task_started_event_attributes async for event in lane.fetch_history_events()]
    return [each.attempt for each in started if each.attempt]


def _unread(pid: int) -> int:
    """Return how many bytes wait on a process's standard input."""
    stdin = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int(struct.unpack("i", fcntl.ioctl(stdin, termios.FIONREAD, b"\0" * 4))[0])
    finally:
        os.close(stdin)
