"""A page that ends the process which reads it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gapless.links import Crawl, Scope, crawl_apart
from unit.links.httpsite import Reply, Route, Serve, Site, Writer, page, results

GOOD: dict[str, Route] = {
    "/fine": page(),
    **{f"/good/{number}": page("/fine", f"/gone/{number}") for number in range(40)},
}
MISSING = {f"/gone/{number}": "broken:http_404" for number in range(40)}
SLOW = "<div>" * 12_000
"""Takes some tenths of a second in a process of its own."""


async def audited(site: Site) -> Crawl:
    """Audit as a worker does it, with processes that fetch and parse."""
    data = await asyncio.wait_for(crawl_apart(Scope(site.url, timeout=5.0)), 30)
    assert data is not None
    return Crawl.from_bytes(data)


def kill(writer: Writer) -> None:
    """Kill the process at the other end of a connection, as a fault of the parser would."""
    port = writer.get_extra_info("peername")[1]
    for pid in descendants(os.getpid()):
        with suppress(OSError):  # one that has gone by itself
            if port in ports(pid):
                os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below this one."""
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                yield child
                yield from descendants(child)


def ports(pid: int) -> set[int]:
    """Return the local ports of a process's connections."""
    inodes = {str(file.readlink()).strip("socket:[]") for file in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[9] in inodes}


def crash(times: int = 1_000) -> Route:
    """Kill who asks, so many times; then answer."""
    left = times

    def answer(_: object) -> Reply | Callable[[Writer], Awaitable[None]]:
        nonlocal left
        left -= 1
        return deadly if left >= 0 else Reply(page("/gone/0"))

    async def deadly(writer: Writer) -> None:
        kill(writer)

    return answer


@pytest.mark.parametrize("number", [1, 5])
async def test_a_page_that_ends_its_process_twice_is_given_up(serve: Serve, number: int) -> None:
    """It is unverified, and every other page has its own result."""
    crashes: dict[str, Route] = {f"/crash/{each}": crash() for each in range(number)}
    site = await serve(GOOD | crashes | {"/": page(*crashes, *GOOD)})
    found = await audited(site)
    assert results(found) == MISSING | dict.fromkeys(crashes, "unverified:parser_crashed")
    assert found.complete
    assert all(site.requests[path] <= 2 for path in crashes)


async def test_a_page_that_was_there_when_its_process_ended_is_read_again(serve: Serve) -> None:
    """The report is that of an audit in which no process ended."""
    site = await serve(GOOD | {"/crash": crash(1), "/": page("/crash", *GOOD)})
    found = await audited(site)
    assert results(found) == MISSING
    assert site.requests["/crash"] > 1
    assert (await audited(site)).to_bytes() == found.to_bytes()


async def test_robots_and_sitemaps_that_end_the_process(serve: Serve) -> None:
    """What stands beside the pages is given up as they are."""
    routes = {"/sitemap.xml": crash(), "/": page("/good/0")}
    assert results(await audited(await serve(GOOD | routes))) == {"/gone/0": "broken:http_404"}
    found = await audited(await serve(GOOD | routes | {"/robots.txt": crash()}))
    assert "parser_crashed" in (found.incomplete_reason or "")


async def test_who_ends_while_it_parses_a_page_apart_leaves_the_turn_to_others(serve: Serve) -> None:
    """One page at a time is parsed in a process of its own; that one's owner may be gone before it is."""
    slow: dict[str, Route] = {f"/slow/{each}": SLOW + f"<a href=/gone/{each}>x</a>" for each in range(6)}
    late: dict[str, Route] = {f"/late/{each}": crash(1) for each in range(4)}  # some for each process
    site = await serve(GOOD | slow | late | {"/": page(*slow, *late)})
    site.delay = lambda path: 0.4 * path.startswith("/late")
    assert results(await audited(site)) == {f"/gone/{each}": "broken:http_404" for each in range(6)}
