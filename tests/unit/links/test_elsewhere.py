"""Other hosts are asked by the crawl, or by others before it goes on: what comes of it is the same."""

from functools import partial

import pytest

from gapless.links import Crawl, Scope, crawl, look, report_json
from gapless.links.elsewhere import Elsewhere, enough, onward, pack, unpack, unseen
from gapless.links.record import Record
from gapless.links.urls import authority
from unit.links.httpsite import Reply, Request, Route, Serve, Site, page, redirect, results


def _once(request: Request) -> Reply:
    return Reply("", 503 if request.number == 1 else 200)


@pytest.fixture
async def third(serve: Serve) -> Site:
    """Serve a host to which another one redirects."""
    return await serve({"/end": Reply(page(extra='<p id="here">'))})


@pytest.fixture
async def other(serve: Serve, third: Site) -> Site:
    """Serve a host on which all kinds of things happen."""
    routes: dict[str, Route] = {
        "/ok": Reply(page(extra='<p id="here">')),
        "/flaky": _once,
        "/down": Reply("", 500),
        "/shy": Reply("", 403),
        "/odd": Reply("", 418),
        "/to": redirect("/ok"),
        "/away": redirect(f"{third.url}/end"),
        "/": Reply("", 418),
    }
    return await serve(routes)


@pytest.fixture
async def scope(serve: Serve, other: Site, third: Site) -> Scope:
    """Serve a site that links there, and that one of its pages is only reached from there."""
    paths = ["/ok", "/ok#here", "/ok#gone", "/flaky", "/down", "/shy", "/odd", "/lost", "/to#here", "/away#gone"]
    site = await serve({"/robots.txt": Reply("", 404), "/hop": redirect(f"{other.url}/ok")})
    other.routes = {**other.routes, "/back": redirect(f"{site.url}/behind")}
    links = [other.url + path for path in (*paths, "/back")]
    site.routes = {**site.routes, "/": page("/hop", "/lost", *links), "/behind": page(f"{third.url}/deep")}
    return Scope(site.url, allow=(authority(other.url), authority(third.url)))


def _is_at(host: str, url: str) -> bool:
    return authority(url) == host


async def _through_others(scope: Scope) -> tuple[Crawl, int]:
    """Crawl, have hosts looked at one by one, and go on; returns the crawl and the number of times it went on."""
    segments: list[bytes] = []

    async def seal(data: bytes) -> None:
        segments.append(data)

    done = await crawl(scope, seal=seal, elsewhere=Elsewhere.LATER)
    records: dict[str, Record] = {}
    rounds = 0
    while waiting := unseen(done):
        rounds += 1
        while left := onward(waiting, records, scope):
            host = authority(left[0])
            here = [each for each in left if authority(each) == host]
            looked = await look(scope, here, partial(_is_at, host))
            assert {authority(url) for url in looked.records} == {host}
            records |= looked.records
        resume = [*segments, pack(records.values())]
        done = await crawl(scope, resume=resume, seal=seal, elsewhere=Elsewhere.GIVEN)
    return done, rounds


async def test_it_comes_to_the_same(scope: Scope, other: Site, third: Site) -> None:
    """Whoever asks, each host is asked as often, and the report says the same."""
    alone = await crawl(scope)
    asked = other.requests.copy(), third.requests.copy()
    for site in (other, third):
        site.requests.clear()
    done, rounds = await _through_others(scope)
    assert rounds == 2  # a page was found behind a redirect from elsewhere
    assert results(done) == results(alone)
    assert report_json(done) == report_json(alone)
    assert done.to_bytes() == alone.to_bytes()
    assert (other.requests, third.requests) == asked
    assert "unverified:blocked_418" in results(done).values()


async def test_what_nobody_looked_at_is_said(scope: Scope, other: Site) -> None:
    """A crawl that has to go on without answers says so, for each link, and asks nobody."""
    done = await crawl(scope, elsewhere=Elsewhere.GIVEN)
    assert other.requests.total() == 0
    found = results(done)
    assert found[f"{other.url}/ok#here"] == "unverified:not_checked"
    assert found["/hop"] == "unverified:not_checked"
    assert found["/lost"] == "broken:http_404"
    place = next(each for each in done.findings() if each.target == f"{other.url}/ok")
    assert place.line == 3


async def test_a_fragment_needs_more_than_an_answer() -> None:
    """An answer is of no use for a fragment that was not looked for when it was given."""
    plain, read = Record("http://a/1", status=200, final="http://a/1"), Record("http://a/2", status=200, ids="x")
    records = unpack(pack([read, plain]))
    targets = ["http://a/1#x", "http://a/2#y"]
    assert list(enough(targets, records)) == [read.url]
    assert enough(["http://a/1", "http://a/1#top"], records) == records
