"""Two audits at once: what hurts one does not slow the other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from uuid import uuid4

import pytest

from conftest import WorkerProcess, until
from faults.runs import audit
from gapless import Gapless
from gapless.links import Scope
from links.hostile.attack import GOOD, Attack, engine
from links.hostile.test_bodies import HEAD, always, bomb, compressed, drip, pour
from links.hostile.test_traps import NOTHING, Endless, number
from unit.links.httpsite import Reply, Request, Route, Serve, Site, page

SLOWER = 1.0
"""Seconds by which a good audit may be slower beside a hostile one."""
ROUNDS = 5
"""How often both are measured, one right after the other, before the difference is not put down to the machine."""


def nested(each: int) -> Route:
    return "<div>" * (30_000 + each)


def day(request: Request) -> Reply:
    return Reply(page(f"/day/{2 * number(request) + 1}", f"/day/{2 * number(request) + 2}", extra=request.path))


HOSTILE: dict[str, dict[str, Route]] = {
    "bombs": {f"/bomb/{each}": compressed(bomb(1 << 28, 31), "gzip") for each in range(8)},
    "drips": {f"/drip/{each}": always(partial(drip, head=HEAD + b"\r\n")) for each in range(8)},
    "nesting": {f"/deep/{each}": nested(each) for each in range(4)},
    "floods": {f"/pour/{each}": always(partial(pour, head=HEAD + b"\r\n", block=b"<p>" * 20_000)) for each in range(4)},
    "a calendar": {"/day/0": day},
}
HOSTILE["all of them"] = {path: route for routes in HOSTILE.values() for path, route in routes.items()}


@asynccontextmanager
async def attacked(serve: Serve, kind: str, once: Callable[[Site], Awaitable[object]]) -> AsyncIterator[None]:
    """Audit a hostile site all the time, again and again if need be."""
    routes = HOSTILE[kind]
    bad = await serve(Endless("/day/", day, NOTHING | {"/": page(*routes)} | routes))

    async def again() -> None:
        while True:
            await once(bad)

    attacking = asyncio.create_task(again())
    try:
        await until(lambda: bad.requests.keys() & routes.keys())
        await asyncio.sleep(0.3)
        yield
        assert not attacking.done()
    finally:
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_neighbour_is_not_slowed_down(serve: Serve, attack: Attack, kind: str) -> None:
    """A good audit ends within a second of its time alone, whatever another audit's site does meanwhile."""
    good = await serve({"/robots.txt": "", "/": page(*GOOD)} | GOOD)
    differences: list[float] = []
    while not differences or (min(differences) > SLOWER and len(differences) < ROUNDS):
        alone = await engine(Scope(good.url + "/"))
        async with attacked(serve, kind, lambda bad: engine(Scope(bad.url + "/", timeout=2.0))):
            beside = await engine(Scope(good.url + "/"))
        assert beside.document["total_broken"] == alone.document["total_broken"] == 16
        differences.append(beside.seconds - alone.seconds)
    attack.record(beside)
    assert min(differences) <= SLOWER, differences


async def test_a_neighbour_on_the_same_worker(
    gapless: Gapless, queue: str, serve: Serve, start_worker: Callable[..., WorkerProcess]
) -> None:
    """The same through Temporal, with everything at once."""
    start_worker()
    good = await serve({"/robots.txt": "", "/": page(*GOOD)} | GOOD)

    async def seconds(site: Site) -> float:
        begun = monotonic()
        run = await gapless.start(audit(site.url), id=f"{queue}-{uuid4().hex[:8]}", queue=queue)
        try:
            await run.result()
        except asyncio.CancelledError:
            await gapless.client.get_workflow_handle(run.id).terminate()
            raise
        return monotonic() - begun

    await seconds(good)  # the worker's first run loads what the others find loaded
    differences: list[float] = []
    while not differences or (min(differences) > SLOWER and len(differences) < ROUNDS):
        alone = await seconds(good)
        async with attacked(serve, "all of them", seconds):
            differences.append(await seconds(good) - alone)
    assert min(differences) <= SLOWER, differences
