"""What is known is asked for without waiting for each answer, whatever the server makes of that."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gapless.links import Crawl, Scope, crawl, report_json
from unit.links.httpsite import Reply, Route, Serve, Site, page, redirect
from unit.links.test_rerun import DAY, mutations, remembering

KEYS = ("page", "href", "target", "result", "reason", "status", "chain", "line", "column")

Manners = Callable[[list[bytes]], tuple[bytes, bool]]
"""What a server makes of the answers to requests that came at once: what it sends, and whether it closes then."""


@dataclass
class Front:
    """A server before a site, with manners of its own.

    Attributes:
        port: where it listens.
        manners: how it answers.
        companies: how many requests came at once, each time.
    """

    port: int
    manners: Manners
    companies: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def standing_before(site: Site, manners: Manners) -> AsyncIterator[Front]:
    """Serve a site with these manners."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, to = await asyncio.open_connection("127.0.0.1", site.port)
        try:
            while data := await reader.read(1 << 20):
                requests = data.split(b"\r\n\r\n")[:-1]
                front.companies.append(len(requests))
                said, closes = front.manners([await ask(back, to, request) for request in requests])
                writer.write(said)
                await writer.drain()
                if closes:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            to.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    front = Front(server.sockets[0].getsockname()[1], manners)
    try:
        yield front
    finally:
        server.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """Return the whole answer to a request."""
    writer.write(request + b"\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
    return head + (await reader.readexactly(length) if b" 304 " not in head else b"")


def in_order(answers: list[bytes]) -> tuple[bytes, bool]:
    """Answer as RFC 9112 has it."""
    return b"".join(answers), False


def closes_each(answers: list[bytes]) -> tuple[bytes, bool]:
    """Close each connection with its first answer, and say so."""
    return answers[0].replace(b"\r\n", b"\r\nConnection: close\r\n", 1), True


def closes_without_a_word(answers: list[bytes]) -> tuple[bytes, bool]:
    """Answer the first of several requests, and close."""
    return answers[0], len(answers) > 1


def says_nothing(answers: list[bytes]) -> tuple[bytes, bool]:
    """Close a connection on which several requests come."""
    return (b"", True) if len(answers) > 1 else (answers[0], False)


def forgets(answers: list[bytes]) -> tuple[bytes, bool]:
    """Answer the first of several requests only."""
    return answers[0], False


def refuses(answers: list[bytes]) -> tuple[bytes, bool]:
    """Take several requests for a bad one."""
    bad = Reply("", 400).wire()
    return (bad, True) if len(answers) > 1 else (answers[0], False)


def refuses_each(answers: list[bytes]) -> tuple[bytes, bool]:
    """Take each of several requests for a bad one."""
    return b"".join([Reply("", 400).wire()] * len(answers) if len(answers) > 1 else answers), False


def last_first(answers: list[bytes]) -> tuple[bytes, bool]:
    """Answer in the wrong order."""
    return b"".join(reversed(answers)), False


def one_behind(answers: list[bytes]) -> tuple[bytes, bool]:
    """Answer the first of several requests twice, so that each answer is taken for that to the request before."""
    return b"".join([answers[0], *answers]) if len(answers) > 1 else answers[0], False


def shuffled(answers: list[bytes]) -> tuple[bytes, bool]:
    """Answer in any order."""
    mixed = list(answers)
    random.Random(len(answers)).shuffle(mixed)
    return b"".join(mixed), False


def cut_short(answers: list[bytes]) -> tuple[bytes, bool]:
    """Close several requests' connection in the middle of the last answer."""
    said = b"".join(answers)
    return (said[:-5], True) if len(answers) > 1 else (said, False)


MANNERS = [
    in_order,
    closes_each,
    closes_without_a_word,
    says_nothing,
    forgets,
    refuses,
    refuses_each,
    last_first,
    one_behind,
    shuffled,
    cut_short,
]


async def nights(front: Front, site: Site, after: dict[str, Route]) -> tuple[Crawl, Crawl]:
    """Audit a site, change it, and audit it again, and as one who has never been there."""
    scope = Scope(front.url, timeout=1)
    first = await crawl(scope, today=DAY)
    site.routes = after
    front.companies.clear()
    again = await crawl(scope, previous=Crawl.from_bytes(first.to_bytes()), today=DAY)
    seen = list(front.companies)
    cold = await crawl(scope, today=DAY)
    front.companies[:] = seen
    return again, cold


def told(found: Crawl) -> list[tuple[Any, ...]]:
    """Return what a report finds, but not what failed in company and did not alone, nor how often it was asked for."""
    return [tuple(each[key] for key in KEYS) for each in report_json(found)["findings"] if each["result"] != "flaky"]


@pytest.mark.parametrize("manners", MANNERS)
async def test_whatever_a_server_makes_of_it_the_report_is_right(serve: Serve, manners: Manners) -> None:
    """A server that mixes up, loses or refuses requests that come at once is audited as by who sends one at a time."""
    for before, after in mutations(1):
        site = await serve(before)
        async with standing_before(site, manners) as front:
            again, cold = await nights(front, site, after)
            assert told(again) == told(cold)


def twins(dice: random.Random) -> dict[str, Route]:
    """Write a site of pages under many queries: most answer as without one, others have another page, or fail."""
    ways: list[Callable[[str], Route]] = [
        *[lambda body: body] * 6,
        lambda body: body + page("/also-gone"),
        lambda body: Reply("no", 404),
        lambda body: Reply(body, 500),
        lambda body: redirect("/p/0"),
    ]
    bodies = {f"/p/{n}": page(f"/gone/{n}", f"/p/{(n + 1) % 20}", extra=f"<p>{n}") for n in range(20)}
    queries: dict[str, Route] = {f"{path}?q={n}": dice.choice(ways)(bodies[path]) for path in bodies for n in range(9)}
    return {"/": page(*bodies, *queries), **bodies, **queries}


@pytest.mark.parametrize("manners", MANNERS)
async def test_the_same_page_under_another_query_is_told_from_another(serve: Serve, manners: Manners) -> None:
    """What seems to be the same page is asked for at once, too; the report is that of who sends one at a time."""
    site = await serve(twins(random.Random(3)))
    alone = await crawl(Scope(site.url, connections=1))
    async with standing_before(site, manners) as front:
        found = await crawl(Scope(front.url, timeout=1))
        assert [str(row).replace(front.url, site.url) for row in told(found)] == [str(row) for row in told(alone)]
        assert max(front.companies) > 1 or manners is closes_each


async def test_pages_that_differ_by_their_query_are_not_asked_for_twice(serve: Serve) -> None:
    """Where a query leads to another page, no more is asked for than once, and by the second look at a failure."""
    numbered = {f"/list?page={n}": page(f"/item/{n}", extra=f"<p>{n}") for n in range(200)}
    items = {f"/item/{n}": f"item {n}" for n in range(200)}
    site = await serve({"/": page("/list", *numbered), "/list": "all", **numbered, **items})
    await crawl(Scope(site.url))
    assert {path: site.requests[path] for path in numbered} == dict.fromkeys(numbered, 1)


def wide(pages: int) -> dict[str, Route]:
    """Write a site whose pages all have validators."""
    routes = {f"/p/{n}": remembering(page(f"/p/{n + 1}")) for n in range(pages)}
    return {"/": remembering(page(*routes)), f"/p/{pages}": remembering("end"), **routes}


async def test_what_has_not_changed_is_asked_for_at_once(serve: Serve) -> None:
    """Soon many requests go out before the first of them is answered, and none goes out twice."""
    routes = wide(300)
    site = await serve(routes)
    async with standing_before(site, in_order) as front:
        await nights(front, site, {})
        assert max(front.companies) == 16


@pytest.mark.parametrize(("manners", "more"), [(in_order, 0), (closes_each, 0), (says_nothing, 16), (last_first, 16)])
async def test_nothing_is_asked_for_much_more_often(serve: Serve, manners: Manners, more: int) -> None:
    """What is sent in vain to a server that cannot take it is little, since it is not tried again."""
    routes = wide(300)
    site = await serve(routes)
    async with standing_before(site, manners) as front:
        scope = Scope(front.url)
        first = await crawl(scope, today=DAY)
        cold = site.requests.total()
        site.requests.clear()
        await crawl(scope, previous=first, today=DAY)
        assert site.requests.total() <= cold + more
