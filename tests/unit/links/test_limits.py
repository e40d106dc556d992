"""Limits that a site exceeds: what is cut depends on the site alone."""

import asyncio
import json
import random
import sys
from typing import Any

import pytest

from unit.links.httpsite import Reply, Route, Serve, Site, page, redirect

CRAWLER = """
import asyncio, json, sys
from gapless.links import Scope, crawl, frontier, report_json
from gapless.links.pool import Pool

async def main(scope, pool):
    async with pool:
        print(json.dumps(report_json(await crawl(scope, pool=pool))))

options = json.loads(sys.argv[3])
frontier.MAX_VARIANTS = 5
sys.modules["gapless.links.crawl"].MAX_LINKS = options.pop("links", 5_000_000)
scope = Scope(sys.argv[1], **options)
asyncio.run(main(scope, Pool(scope, processes=int(sys.argv[2]))))
"""
PAGES = 120


def site_with_too_much() -> dict[str, Route]:
    """Write a site of several levels, with queries, redirects that meet, and addresses that many pages share."""
    dice = random.Random(3)
    routes: dict[str, Route] = {"/robots.txt": Reply("", 404), "/": page(*(f"/p/{each}" for each in range(12)))}
    for number in range(PAGES):
        links = [f"/p/{dice.randrange(PAGES)}" for _ in range(5)] + [f"/gone/{dice.randrange(60)}" for _ in range(3)]
        links += [f"/q?n={dice.randrange(40)}", f"/r/{dice.randrange(14)}", f"/p/{number}#no-{number}"]
        routes[f"/p/{number}"] = page(*links, extra="<p>" * dice.randrange(3))
    routes |= {f"/q?n={each}": page(f"/p/{each}", f"/gone/q{each}", extra=str(each)) for each in range(40)}
    routes |= {f"/r/{each}": redirect(f"/r/{each + 1}") for each in range(13)}
    return routes | {"/r/13": page("/gone/r")}


async def audited(site: Site, processes: int, seed: int, **options: Any) -> dict[str, Any]:
    """Audit with so many processes, a site whose answers take their time."""
    dice = random.Random(seed)
    site.delay = lambda _: dice.random() * 0.02
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRAWLER, site.url, str(processes), json.dumps(options)), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("options", [{"max_pages": 40}, {"max_pages": 77, "connections": 3}, {"links": 700}])
async def test_what_is_cut_does_not_depend_on_who_answers_first(serve: Serve, options: dict[str, Any]) -> None:
    """Neither the order of the answers nor the number of processes changes the report."""
    site = await serve(site_with_too_much())
    first = await audited(site, 1, 1, **options)
    assert not first["complete"]
    for processes, seed in ((1, 2), (2, 3), (2, 4), (3, 5)):
        assert await audited(site, processes, seed, **options) == first
