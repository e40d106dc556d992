import asyncio
import os
import random
import sys
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gapless.links import Crawl, Scope, crawl, report_json, report_markdown, soft404
from gapless.links import segments as segments_of_a_crawl
from unit.links.httpsite import Reply, Route, Serve, Site, gzipped, page, redirect

CRAWLER = """
import asyncio, itertools, pathlib, sys
from gapless.links import Scope, crawl, segments
from gapless.links.pool import Pool

segments.RECORDS = 8

async def main(scope, pool, folder):
    numbers = itertools.count()

    async def seal(segment):
        part = pathlib.Path(folder, "part")
        part.write_bytes(segment)
        part.rename(pathlib.Path(folder, f"{next(numbers):05}.segment"))

    async with pool:
        await crawl(scope, pool=pool, seal=seal)

scope = Scope(sys.argv[1])
asyncio.run(main(scope, Pool(scope, processes=2), sys.argv[2]))
"""


def alive(group: int) -> bool:
    """Say whether any process of a group still runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def large(pages: int = 300) -> dict[str, Route]:
    """Write a site with healthy and broken links of every kind."""
    dice = random.Random(7)
    routes: dict[str, Route] = {
        "/robots.txt": Reply("", 404),
        "/old": redirect("/p/1#sec"),
        "/to-gone": redirect("/gone"),
    }
    for number in range(pages):
        links = [f"/p/{number + 1}#sec", "/p/0#missing", "/old", "/to-gone", f"/gone/{number % 7}"]
        links += [f"/p/{dice.randrange(pages)}" for _ in range(5)]
        text = page(*links, extra='<h1 id="sec">')
        routes[f"/p/{number}"] = gzipped(text) if number % 2 else text
    return routes | {"/": page("/p/0", "/p/150")}


async def hurry(site: Site, seed: int) -> None:
    dice = random.Random(seed)
    site.delay = lambda path: dice.random() * 0.003


async def test_equal_sites_give_equal_bytes_whatever_comes_first(serve: Serve) -> None:
    """Two audits in which answers arrive in different orders give the same crawl and the same report."""
    site = await serve(large(80))
    written = []
    for seed in (1, 2):
        await hurry(site, seed)
        written.append(await crawl(Scope(site.url, connections=3 + seed)))
    assert report_markdown(written[0]) == report_markdown(written[1])
    assert report_json(written[0]) == report_json(written[1])
    assert written[0].records.keys() == written[1].records.keys()


@pytest.fixture(autouse=True)
def _sealed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal after a few records, as a large crawl does after a few percent."""
    monkeypatch.setattr(segments_of_a_crawl, "RECORDS", 8)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
async def test_a_crawl_that_dies_goes_on(serve: Serve, share: float) -> None:
    """After a kill the sealed segments suffice: the result is the same, for at most a tenth more requests."""
    site = await serve(large())
    whole = await crawl(Scope(site.url))
    plain = site.requests.total()
    site.requests.clear()
    await hurry(site, 3)
    segments: list[bytes] = []
    await die(site, segments, int(plain * share))
    resumed = await crawl(Scope(site.url), resume=segments, seal=keep(segments))
    assert resumed.to_bytes() == whole.to_bytes()
    assert site.requests.total() <= plain * 1.1


async def test_a_crawl_that_dies_again_and_again_goes_on(serve: Serve) -> None:
    """Several deaths add up to one crawl; of a finished one only what is broken is looked for in its pages again."""
    site = await serve(large(100))
    whole = await crawl(Scope(site.url))
    segments: list[bytes] = []
    for _ in range(4):
        await die(site, segments, site.requests.total() + 30)
    resumed = await crawl(Scope(site.url), resume=segments, seal=keep(segments))
    assert resumed.to_bytes() == whole.to_bytes()
    site.requests.clear()
    again = await crawl(Scope(site.url), resume=segments)
    assert again.to_bytes() == whole.to_bytes()
    pages = {page.removeprefix(site.url) for page in whole.places}
    assert set(site.requests) == pages


async def test_a_killed_process_leaves_nothing_running_and_can_be_resumed(serve: Serve, tmp_path: Path) -> None:
    """After a SIGKILL in the middle, those that fetch and parse end by themselves, and another process goes on."""
    big = "".join(f'<p id="{n}">' for n in range(3_000))  # parsed in a child process
    routes = {path: route + big if isinstance(route, str) else route for path, route in large(120).items()}
    site = await serve(routes)
    whole = await crawl(Scope(site.url))
    plain = site.requests.total()
    site.requests.clear()
    await hurry(site, 5)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRAWLER, site.url, tmp_path, start_new_session=True
    )
    async with asyncio.timeout(30):
        while site.requests.total() < plain // 2:
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    async with asyncio.timeout(30):
        while alive(process.pid):
            await asyncio.sleep(0.05)
    segments = [file.read_bytes() for file in sorted(tmp_path.glob("*.segment"))]
    assert segments
    resumed = await crawl(Scope(site.url), resume=segments)
    assert resumed.to_bytes() == whole.to_bytes()
    assert site.requests.total() <= plain * 1.2 + 16  # what was under way and unsealed, on a site this small


async def test_a_store_that_fails_ends_the_crawl(serve: Serve) -> None:
    """An audit that cannot keep its progress says so."""

    async def full(_: bytes) -> None:
        raise OSError("no space")

    site = await serve(large(50))
    with pytest.raises(OSError, match="no space"):
        await crawl(Scope(site.url), seal=full)


async def test_a_crawl_can_be_written_down_and_read_back(serve: Serve) -> None:
    """What is stored is all there is to know."""
    site = await serve(large(30))
    found = await crawl(Scope(site.url))
    read = Crawl.from_bytes(found.to_bytes())
    assert (read.scope, read.findings(), read.links) == (found.scope, found.findings(), found.links)
    assert read.to_bytes() == found.to_bytes()


@pytest.mark.parametrize("junk", [b"", b"junk", zlib.compress(b"[99,[],[],[]]"), zlib.compress(b"[1,[],[],[[1]]]")])
async def test_progress_that_cannot_be_read_is_refused(serve: Serve, junk: bytes) -> None:
    """Bytes that are no progress are named as such."""
    site = await serve({})
    with pytest.raises(ValueError, match="start the audit anew"):
        await crawl(Scope(site.url), resume=[junk])
    with pytest.raises(ValueError, match="start the audit anew"):
        Crawl.from_bytes(junk)


def keep(segments: list[bytes]) -> Callable[[bytes], Awaitable[None]]:
    """Keep segments as a store does."""

    async def seal(segment: bytes) -> None:
        segments.append(segment)

    return seal


async def die(site: Site, segments: list[bytes], requests: int) -> None:
    """Crawl until the site has seen so many requests, then stop without a word, as a killed process does."""
    dead = False

    async def seal(segment: bytes) -> None:
        if not dead:
            segments.append(segment)

    task = asyncio.create_task(crawl(Scope(site.url), resume=tuple(segments), seal=seal))
    while site.requests.total() < requests and not task.done():
        await asyncio.sleep(0.001)
    dead = True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_stands_beside_the_pages_is_asked_for_once(serve: Serve) -> None:
    """An audit that goes on has read robots.txt, the sitemaps, and how the site says that a page does not exist."""
    site = await serve(
        {
            "/robots.txt": "User-agent: *\nDisallow: /private\nSitemap: /index.xml\nSitemap: /gone.xml\n",
            "/index.xml": Reply("<sitemapindex><sitemap><loc>/a.xml</loc></sitemap></sitemapindex>", type="text/xml"),
            "/a.xml": Reply("<urlset><url><loc>/named</loc></url></urlset>", type="text/xml"),
            "/named": page("/private/", "/broken"),
            "/": page("/missing"),
            "/missing": page(extra="<h1>Not found</h1>"),
        }
    )
    site.routes = {**site.routes, soft404.path(Scope(site.url).host): page(extra="<h1>Not found</h1>")}
    segments: list[bytes] = []

    async def seal(segment: bytes) -> None:
        segments.append(segment)

    whole = await crawl(Scope(site.url), seal=seal)
    assert any(found.reason == "soft_404" for found in whole.findings())
    site.requests.clear()
    again = await crawl(Scope(site.url), resume=segments)
    assert report_json(again) == report_json(whole)
    assert set(site.requests) == {page.removeprefix(site.url) for page in whole.places}
