"""A worker that is killed with SIGKILL, wherever it stands: the run ends right, and nothing is created twice."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from conftest import AGENT, WorkerProcess, until
from faults.runs import PAGES, audit, beat, fetched_twice, pending, request, state
from gapless import Gapless, InteractionRequest, OnLostSubmission, Outcome, Resolution, Run, State
from gapless.testing.emulator import Emulator
from unit.links.httpsite import Site

StartWorker = Callable[..., WorkerProcess]


async def test_before_the_post(gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker) -> None:
    """Nobody knows that nothing was sent, so the run is held; sent again by decision, it is created once."""
    worker = start_worker("before:submit")
    run = await gapless.start(request(), id=queue, queue=queue)
    await until(lambda: beat(run, "submit", "stalled"))
    worker.kill()
    start_worker()
    await until(lambda: state(run, "held"))
    assert emulator.stats()["created"] == 0
    await run.resolve(Resolution(action="resubmit"))
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert (outcome.submissions, len(outcome.lost_submissions)) == (2, 1)
    assert emulator.stats()["created"] == 1


@pytest.mark.parametrize("fault", ["slow", "hang"])
async def test_during_the_post(
    gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker, fault: str
) -> None:
    """What was created by a POST without an answer is held, adopted by decision, and never created again."""
    worker = start_worker()
    run = await gapless.start(request(fault), id=queue, queue=queue)
    await until(lambda: emulator.stats()["created"] == 1)
    worker.kill()
    start_worker()
    await until(lambda: state(run, "held"))
    await run.resolve(Resolution(action="adopt", interaction_id=emulator.stats()["interactions"][0]))
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert emulator.stats()["created"] == 1
    assert emulator.stats()["requests"]["create"] == 1


async def test_between_the_post_and_its_record(
    gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker
) -> None:
    """The id was in the heartbeat: the next worker goes on by itself, and nobody is asked."""
    worker = start_worker("after:submit")
    run = await gapless.start(request(), id=queue, queue=queue)
    await until(lambda: worker.says("stalled after submit"))
    # At once: Temporal's own throttle would hold the second beat back for 8 s, and a kill would lose it.
    interaction_id = await until(lambda: beat(run, "submit", "interaction_id"), seconds=4)
    worker.kill()
    start_worker()
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert outcome.interaction_id == interaction_id
    assert (outcome.submissions, outcome.lost_submissions) == (1, [])
    assert emulator.stats()["requests"]["create"] == emulator.stats()["created"] == 1


async def test_a_worker_that_stood_still_stops_what_it_created(
    gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker
) -> None:
    """A submission that was given up, sent again as the request allows, and answered after all, is stopped."""
    emulator.inject("slow", seconds=3)
    frozen = start_worker(submit_timeout=60.0)
    wanted = request(run_seconds="20").model_copy(update={"on_lost_submission": OnLostSubmission.RESUBMIT})
    run = await gapless.start(wanted, id=queue, queue=queue)
    await until(lambda: emulator.stats()["created"] == 1)
    frozen.process.send_signal(signal.SIGSTOP)
    await until(lambda: _given_up(run))
    frozen.process.send_signal(signal.SIGCONT)
    await until(lambda: frozen.says("interaction.orphan"))
    await until(lambda: emulator.stats()["cancel_requests"] == 1)
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert outcome.interaction_id == emulator.stats()["interactions"][1]
    assert len(outcome.lost_submissions) == 1


async def _given_up(run: Run[Outcome]) -> bool:
    return await pending(run, "submit") is None


async def test_while_held(gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker) -> None:
    """A decision that is made while nobody is there is carried out by the next worker."""
    worker = start_worker()
    run = await gapless.start(request("answer-lost"), id=queue, queue=queue)
    await until(lambda: state(run, "held"))
    worker.kill()
    adopt = Resolution(action="adopt", interaction_id=emulator.stats()["interactions"][0])
    resolved = asyncio.create_task(run.resolve(adopt))
    start_worker()
    assert (await resolved).interaction_id == adopt.interaction_id
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert emulator.stats()["created"] == 1


async def test_between_two_polls(gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker) -> None:
    """The server keeps the timer: whoever is there polls next, and counts on from where the dead one was."""
    worker = start_worker()
    run = await gapless.start(request(polls="6"), id=queue, queue=queue)

    async def waiting() -> bool:
        poll = await pending(run, "poll")
        return poll is not None and not poll.started and poll.heartbeat.get("polls", 0) >= 2

    await until(waiting)
    worker.kill()
    start_worker()
    await until(lambda: _polled(gapless, queue, 5))
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert emulator.stats()["created"] == 1
    assert emulator.stats()["requests"]["get"] == 7


async def _polled(gapless: Gapless, queue: str, times: int) -> bool:
    polls = await beat(await gapless.run(queue), "poll", "polls")
    return polls is not None and polls >= times


async def test_in_the_middle_of_a_poll(
    gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker
) -> None:
    """A GET that dies with its worker is made again."""
    worker = start_worker()
    run = await gapless.start(request("hang", fault_operation="get"), id=queue, queue=queue)
    await until(lambda: emulator.stats()["requests"].get("get") == 1)
    worker.kill()
    start_worker()
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert (outcome.submissions, outcome.lost_submissions) == (1, [])
    assert emulator.stats()["created"] == 1


@pytest.mark.parametrize("where", ["before", "after"])
async def test_while_fetching(
    gapless: Gapless, emulator: Emulator, queue: str, start_worker: StartWorker, where: str
) -> None:
    """The result is fetched by the next worker, with the agent's files."""
    emulator.inject("5xx-before", operation="files")  # else the look that sees the end takes the files along
    worker = start_worker(f"{where}:fetch")
    task = InteractionRequest(agent=AGENT, input="Write an answer.", environment="remote")
    run = await gapless.start(task, id=queue, queue=queue)
    await until(lambda: worker.says(f"stalled {where} fetch"))
    worker.kill()
    start_worker()
    outcome = await run.result()
    assert outcome.state is State.SUCCEEDED, outcome
    assert [file.name for file in outcome.result.files] == ["answer.md"]
    assert emulator.stats()["created"] == 1


async def test_while_crawling(gapless: Gapless, queue: str, start_worker: StartWorker, site: Site) -> None:
    """Another worker goes on from the last segment: what was fetched since is all that a kill costs."""
    worker = start_worker()
    whole = await (await gapless.start(audit(site.url), id=f"{queue}-whole", queue=queue)).result()
    site.requests.clear()
    site.delay = lambda _: 0.3  # so that a part is sealed on the way
    run = await gapless.start(audit(site.url), id=queue, queue=queue)
    await until(lambda: beat(run, "crawl_in_lane", "segment"))
    worker.kill()
    another = start_worker()
    outcome = await run.result()
    assert another.says("crawl.resumed")
    assert outcome == whole
    assert (outcome.pages, outcome.complete) == (PAGES + 1, True)
    assert fetched_twice(site) <= 2.5 * 8 / 0.3  # of two seconds, until the seal is seen here, on eight connections
