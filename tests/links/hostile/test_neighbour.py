"""Two audits at once: what hurts one does not slow the other."""

import asyncio
from functools import partial
from statistics import median

from gapless.links import Scope
from links.hostile.attack import GOOD, Attack, engine
from links.hostile.test_bodies import HEAD, always, bomb, compressed, drip, pour
from unit.links.httpsite import Route, Serve, page

SLOWER = 1.5
"""Seconds by which a good audit may be slower beside a hostile one: half a second is the machine's share."""


async def test_a_neighbour_is_not_slowed_down(serve: Serve, attack: Attack) -> None:
    """A good site takes hardly longer while another site throws bombs, drips, nests and pours."""
    hostile: dict[str, Route] = {f"/bomb/{number}": compressed(bomb(1 << 28, 31), "gzip") for number in range(8)}
    hostile |= {f"/drip/{number}": always(partial(drip, head=HEAD + b"\r\n")) for number in range(8)}
    hostile |= {f"/deep/{number}": "<div>" * 30_000 for number in range(4)}
    hostile |= {
        f"/pour/{number}": always(partial(pour, head=HEAD + b"\r\n", block=b"<p>" * 20_000)) for number in range(4)
    }
    bad = await serve({"/robots.txt": "", "/": page(*hostile)} | hostile)
    good = await serve({"/robots.txt": "", "/": page(*GOOD)} | GOOD)

    alone = median([(await engine(Scope(good.url + "/"))).seconds for _ in range(3)])
    attacked = asyncio.create_task(engine(Scope(bad.url + "/", timeout=2.0)))
    await asyncio.sleep(0.5)
    beside = await engine(Scope(good.url + "/"))
    assert not attacked.done()
    attack.record(beside)
    assert beside.document["total_broken"] == 16
    assert beside.seconds <= alone + SLOWER
    attacked.cancel()
    await asyncio.gather(attacked, return_exceptions=True)
