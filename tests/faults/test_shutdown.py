"""A worker that is told to stop: what cannot be repeated is seen to its end, everything else goes on elsewhere."""

import asyncio
from collections.abc import Callable

from conftest import WorkerProcess, until
from faults.runs import audit, request
from gapless import Gapless, State
from gapless.testing.emulator import Emulator
from unit.links.httpsite import Site

StartWorker = Callable[..., WorkerProcess]


async def test_a_post_in_flight_is_not_dropped(
    gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker
) -> None:
    """The worker waits for the answer, and the run goes on with it; it is never held."""
    worker = start_worker()
    run = await gapless.start(request("slow", fault_seconds="3"), id=queue, queue=queue)
    await until(lambda: emulator.stats()["created"] == 1)
    assert await worker.stop() == 0
    assert worker.says("interaction.accepted")
    start_worker()
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert (outcome.submissions, outcome.lost_submissions) == (1, [])
    assert emulator.stats()["created"] == 1


async def test_a_crawl_stops_at_once_and_goes_on_elsewhere(
    gapless: Gapless, queue: str, start_worker: StartWorker, site: Site
) -> None:
    """Long before the graceful period of 65 s is over the worker has left, and another goes on with the crawl."""
    worker = start_worker(submit_timeout=60.0)
    whole = await (await gapless.start(audit(site.url), id=f"{queue}-whole", queue=queue)).result()
    plain = site.requests.total()
    site.requests.clear()
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: site.requests.total() > plain / 2)
    assert await worker.stop(seconds=20) == 0
    another = start_worker()
    outcome = await run.result()
    assert another.says("crawl.resumed")
    assert outcome == whole
    assert site.requests.total() <= plain * 1.1


async def test_a_poll_in_flight_is_left_at_once(
    gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker
) -> None:
    """A GET can be repeated, so nobody waits for it; the next worker makes it again."""
    worker = start_worker(submit_timeout=60.0, read_timeout=45.0)
    run = await gapless.start(request("hang", fault_operation="get"), id=queue, queue=queue)
    await until(lambda: emulator.stats()["requests"].get("get") == 1)
    assert await worker.stop(seconds=20) == 0
    start_worker()
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert emulator.stats()["created"] == 1


async def test_a_worker_leaves_with_exit_code_0(gapless: Gapless, queue: str, start_worker: StartWorker) -> None:
    """The SDK's crash at interpreter exit does not reach the user, however often a worker ends."""
    for number in range(3):
        workers = [start_worker() for _ in range(2)]
        await (await gapless.start(request(run_seconds="0"), id=f"{queue}-{number}", queue=queue)).result()
        await until(lambda: all(worker.says("worker.started") for worker in workers))  # noqa: B023 - awaited here
        assert await asyncio.gather(*(worker.stop() for worker in workers)) == [0, 0]
        assert all(worker.says("worker.stopped") for worker in workers)
