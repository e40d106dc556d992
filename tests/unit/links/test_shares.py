"""A site with more targets of links than an audit keeps: what is cut depends on the site alone."""

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from gapless.links import Crawl, Scope, child, crawl, report_json, segments, shares
from gapless.links.pool import Pool
from gapless.links.record import SHARE, Numbers, Record
from gapless.links.shares import TARGET, Shares, fitting
from unit.links.httpsite import Reply, Route, Serve, Site, page, redirect
from unit.links.test_rerun import DAY, remembering

ROOM, OWN = 90_000, 600
CRAWLER = f"""
import asyncio, json, sys
from gapless.links import Scope, child, crawl, report_json, shares
from gapless.links.pool import Pool

async def main(scope, pool):
    async with pool:
        print(json.dumps(report_json(await crawl(scope, pool=pool))))

shares.TARGETS, shares.TARGETS_OF_A_PAGE = {ROOM}, {OWN}
child.NAMES, child.TARGETS_OF_A_PAGE = int(sys.argv[3]), {OWN}
scope = Scope(sys.argv[1])
asyncio.run(main(scope, Pool(scope, processes=int(sys.argv[2]))))
"""
PAGES = 60


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep few targets, forget what was told soon, and seal often, as on a large site."""
    monkeypatch.setattr(shares, "TARGETS", ROOM)
    monkeypatch.setattr(shares, "TARGETS_OF_A_PAGE", OWN)
    monkeypatch.setattr(child, "TARGETS_OF_A_PAGE", OWN)
    monkeypatch.setattr(child, "NAMES", 4_000)
    monkeypatch.setattr(segments, "RECORDS", 4)


def hungry(seed: int = 1, pages: int = PAGES) -> dict[str, Route]:
    """Write a site of several levels: some pages have a few targets, others more than they may keep, broken ones too."""
    dice = random.Random(seed)
    routes: dict[str, Route] = {"/robots.txt": Reply("", 404), "/old": redirect("/p/1#x")}
    for number in range(pages):
        links = [f"/p/{dice.randrange(pages)}{dice.choice(['', '#x', '?q=1'])}" for _ in range(4)]
        many = dice.choice([0, 0, 10, 50, 150])
        links += [f"/gone/{dice.randrange(200)}" for _ in range(many // 10)]
        links += [f"/p/{dice.randrange(pages)}#{number}-{each}" for each in range(many)]
        links += [dice.choice(links) for _ in range(many)] + ["/old", f"/last/{number}"]
        routes[f"/p/{number}"] = remembering(page(*links, extra="<h1 id=x>"))
    style = "".join(f"a{{background:url(/image/{each})}}" for each in range(100))
    start = page("/p/0", "/p/1", "/p/2", "/style.css")
    return routes | {"/": remembering(start), "/style.css": remembering(style, "text/css")}


def slowly(site: Site, seed: int) -> None:
    """Answer in some order of its own."""
    dice = random.Random(seed)
    site.delay = lambda _: dice.random() * 0.01


def cuts(found: Crawl) -> set[int]:
    """Return the shares that pages were cut to."""
    return {record.cut for record in found.records.values()} - {0}


async def audited(site: Site, processes: int, names: int) -> dict[str, Any]:
    """Audit with so many processes, each of which forgets what it has told after so many bytes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRAWLER, site.url, str(processes), str(names)), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    found: dict[str, Any] = json.loads(out)
    return found


async def test_what_is_cut_does_not_depend_on_who_reads_what(serve: Serve) -> None:
    """One process, two, three or a thread, in whatever order: the report is the same."""
    site = await serve(hungry())
    whole = await crawl(Scope(site.url))
    assert len(cuts(whole)) > 1
    assert max(cuts(whole)) < SHARE
    first = json.loads(json.dumps(report_json(whole)))
    assert {each["reason"] for each in first["findings"]} >= {"too_many_links", "http_404", "missing_fragment"}
    for seed, (processes, names) in enumerate(((1, 4_000), (2, 10**9), (2, 0), (3, 4_000))):
        slowly(site, seed)
        assert await audited(site, processes, names) == first


@pytest.mark.parametrize("seed", range(3))
async def test_equal_bytes_whatever_comes_first(serve: Serve, seed: int) -> None:
    """Two audits in which answers arrive in different orders give the same crawl, to the byte."""
    site = await serve(hungry(seed))
    whole = await crawl(Scope(site.url))
    slowly(site, seed)
    scope = Scope(site.url)
    async with Pool(scope, processes=2) as pool:
        assert (await crawl(scope, pool=pool)).to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
async def test_an_audit_that_dies_goes_on(serve: Serve, share: float) -> None:
    """What was cut before a kill, and what was sealed before it was cut, comes to the same; nothing is asked twice."""
    site = await serve(hungry())
    whole = await crawl(Scope(site.url))
    plain = site.requests.total()
    site.requests.clear()
    slowly(site, 5)
    sealed: list[bytes] = []
    await die(site, sealed, int(plain * share))
    await die(site, sealed, site.requests.total() + 15)
    resumed = await crawl(Scope(site.url), resume=sealed)
    assert resumed.to_bytes() == whole.to_bytes()
    assert site.requests.total() < plain * 1.2


async def die(site: Site, sealed: list[bytes], requests: int) -> None:
    """Crawl until the site has seen so many requests, then stop without a word."""

    async def seal(segment: bytes) -> None:
        if site.requests.total() >= requests:
            raise InterruptedError
        sealed.append(segment)

    with suppress(InterruptedError):
        await crawl(Scope(site.url), resume=tuple(sealed), seal=seal)


async def test_an_unchanged_site_comes_to_the_same(serve: Serve) -> None:
    """A second audit reads pages that were cut, and no others, and comes to the same."""
    site = await serve(hungry())
    first = await crawl(Scope(site.url), today=DAY)
    site.seen.clear()
    stored = Crawl.from_bytes(first.to_bytes())
    second = await crawl(Scope(site.url), previous=stored, today=DAY)
    assert second.to_bytes() == first.to_bytes()


@pytest.mark.parametrize("seed", range(4))
async def test_a_changed_site_comes_to_what_a_cold_audit_does(serve: Serve, seed: int) -> None:
    """When pages grow or shrink, others are cut more or less: the second audit sees what the first would have."""
    site = await serve(hungry(seed))
    before = (await crawl(Scope(site.url), today=DAY)).to_bytes()
    dice = random.Random(seed)
    changed = hungry(seed + 10)
    site.routes = {path: changed[path] if dice.random() < 0.3 else route for path, route in site.routes.items()}
    cold = await crawl(Scope(site.url), today=DAY)
    slowly(site, seed)
    sealed: list[bytes] = []

    async def seal(segment: bytes) -> None:
        sealed.append(segment)

    warm = await crawl(Scope(site.url), previous=Crawl.from_bytes(before), today=DAY, seal=seal)
    assert report_json(warm) == report_json(cold)
    half = sealed[: len(sealed) // 2]
    resumed = await crawl(Scope(site.url), previous=Crawl.from_bytes(before), today=DAY, resume=half)
    assert report_json(resumed) == report_json(cold)


def levels(dice: random.Random) -> Iterator[list[list[str]]]:
    """Yield levels of pages, each a list of targets."""
    for _ in range(4):
        common = [f"/{dice.randrange(300)}{'x' * dice.randrange(60)}" for _ in range(40)]
        yield [
            [*dice.sample(common, 5), *(f"/{dice.randrange(2_000)}/" for _ in range(dice.choice([0, 2, 40, 90])))]
            for _ in range(dice.choice([3, 20]))
        ]


Kept = tuple[list[str], int]
"""Targets that a page keeps, and what it was cut to."""
Sealed = dict[tuple[int, int], Kept]


def shared(site: list[list[list[str]]], order: random.Random, sealed: Sealed) -> tuple[Sealed, list[set[str]], Sealed]:
    """Let pages arrive in an order, some at a time, cut by whoever reads them to a share told now or before.

    Returns:
        What each page keeps, the new targets of each level, and what was sealed, in order and then and there.
    """
    numbers = Numbers()
    every = Shares(numbers)
    found: list[set[str]] = []
    records: dict[tuple[int, int], Record] = {}
    sealing: Sealed = {}

    def arrives(at: tuple[int, int], names: list[str], cut: int) -> Record:
        record = records[at] = Record(str(at), cut=cut)
        record.links.extend(numbers[name] for name in names)
        return record

    def kept(record: Record) -> Kept:
        return [numbers.names[number] for number in record.links], record.cut

    for depth, level in enumerate(site):
        every.begin()
        every.take([arrives(at, *each) for at, each in sealed.items() if at[0] == depth])
        arriving = [each for each in range(len(level)) if (depth, each) not in sealed]
        order.shuffle(arriving)
        told = every.share
        while arriving:
            batch = [arriving.pop() for _ in range(min(len(arriving), order.randrange(1, 4)))]
            now = []
            for each in batch:
                names = list(dict.fromkeys(level[each]))
                fit = fitting(names, range(len(names)), told)
                now.append(arrives((depth, each), names[:fit], told if fit < len(names) else 0))
            told = order.choice([told, every.share])
            every.take(now)
            sealing |= {at: kept(each) for at, each in records.items() if at not in sealing and order.random() < 0.2}
        found.append({numbers.names[number] for number in every.settle()})
        sealing |= {at: kept(each) for at, each in records.items() if at not in sealing}
    live = [name for name in numbers.names if name]
    assert set(live) >= set().union(*found)
    assert len(live) == len(set(live))
    assert sum(len(name) + TARGET for name in set().union(*found)) <= ROOM + OWN * len(records)
    return {at: kept(record) for at, record in sorted(records.items())}, found, sealing


@pytest.mark.parametrize("seed", range(60))
def test_shares_do_not_depend_on_the_order(seed: int) -> None:
    """In whatever order, whoever cuts, and wherever it was killed, each page keeps the same, and all is bounded."""
    site = list(levels(random.Random(seed)))
    pages, found, sealed = shared(site, random.Random(0), {})
    for order in range(1, 9):
        dice = random.Random(order)
        part = dict(list(sealed.items())[: dice.randrange(len(sealed))]) if order % 2 else {}
        now = shared(site, dice, part)
        assert now[:2] == (pages, found)
        sealed = part | now[2]
