import asyncio
from typing import Any

import pytest

from gapless.links import Progress, Scope, crawl
from gapless.links.frontier import Frontier
from unit.links.httpsite import Audit, Reply, Request, Serve, page, redirect, results


@pytest.mark.parametrize(
    "start",
    [
        "",
        "docs.example.com",
        "localhost:8000",
        "ftp://example.com/",
        "http://",
        "file:///etc/passwd",
        "http://[::1",
        "http://a:b@c/",
    ],
)
def test_what_is_no_web_address_is_refused(start: str) -> None:
    """Bad input gets one clear line."""
    with pytest.raises(ValueError) as refusal:
        Scope(start)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "wrong", [{"max_pages": 0}, {"timeout": 0}, {"prefix": "docs"}, {"connections": -1}, {"allow": ("a b",)}]
)
def test_values_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    """Limits are more than zero, prefixes are paths, hosts are hosts."""
    with pytest.raises(ValueError):
        Scope("http://example.com", **wrong)


def test_the_start_is_normalised() -> None:
    """A host alone gets its slash, and a fragment is dropped."""
    assert Scope(" HTTPS://Example.com:443#x ").start == "https://example.com/"


async def test_the_crawl_stays_on_its_prefix(audit: Audit) -> None:
    """Pages beside the prefix are checked, fragments included, and not crawled."""
    found = await audit(
        {
            "/docs/": page("/docs/a", "/blog#x", "/blog#y"),
            "/docs/a": page(),
            "/blog": page("/beyond", extra="<p id=x>"),
        },
        start="/docs/",
        prefix="/docs/",
    )
    assert len(found.pages) == 2
    assert results(found) == {"/blog#y": "broken:missing_fragment"}
    assert "/beyond" not in audit.site.requests


async def test_a_crawl_that_reaches_its_limit_is_incomplete(audit: Audit) -> None:
    """An endless site ends at the page limit, costs little more than that, and is called incomplete."""
    routes = {f"/{n}": page(f"/{2 * n + 1}", f"/{2 * n + 2}") for n in range(1_000)}
    found = await audit({"/": page("/0"), **routes}, max_pages=20)
    assert len(found.pages) == 20
    assert not found.complete
    assert "20 pages" in (found.incomplete_reason or "")
    assert audit.site.requests.total() <= 30


async def test_a_limit_that_is_just_enough_is_no_limit(audit: Audit) -> None:
    """A site with as many pages as the limit is complete."""
    assert (await audit({"/": page("/a"), "/a": page()}, max_pages=2)).complete


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (Reply("", 404), "http_404"),
        (Reply("", 403), "blocked_403"),
        (Reply("x", type="text/plain"), "not an HTML page"),
        (redirect("/"), "redirect_loop"),
    ],
)
async def test_a_start_page_that_cannot_be_read_is_said(audit: Audit, start: Reply, why: str) -> None:
    """Without a start page nothing is complete, and the reason is named."""
    found = await audit({"/": start})
    assert not found.complete
    assert why in (found.incomplete_reason or "")


async def test_a_site_that_does_not_answer_is_incomplete(audit: Audit) -> None:
    """A connection that is closed at once is no empty site."""
    found = await audit({"/": lambda _: b""})
    assert (found.complete, results(found)) == (False, {"/": "broken:reset"})


async def test_a_site_that_goes_away_is_incomplete(audit: Audit) -> None:
    """When the site stops answering, the audit says so instead of calling its pages broken."""

    def once(request: Request) -> Reply | bytes:
        return Reply(page(*(f"/{n}" for n in range(20)))) if request.number == 1 else b""

    found = await audit({"/": once, **dict.fromkeys((f"/{n}" for n in range(20)), lambda _: b"")})
    assert found.incomplete_reason == "the site stopped answering (reset); 20 addresses could not be read"


async def test_a_site_can_be_named(serve: Serve) -> None:
    """The host of the site may be a name that leads to a private address, since the caller gave it."""
    site = await serve({"/": page("/gone", "http://127.0.0.1:1/")})
    found = await crawl(Scope(f"http://localhost:{site.port}"))
    assert sorted(results(found).values()) == ["broken:http_404", "unverified:private_address"]


async def test_robots_are_obeyed(audit: Audit) -> None:
    """What robots.txt forbids is not visited and unverified, by RFC 9309's wildcards too."""
    rules = Reply("User-agent: *\nDisallow: /private\nDisallow: /*.pdf$\nAllow: /private/ok\n", type="text/plain")
    start = page("/private/x", "/private/ok", "/a.pdf", "/a.pdf?x")
    found = await audit({"/robots.txt": rules, "/": start, "/private/ok": page()})
    forbidden = "unverified:robots_disallowed"
    assert results(found) == {"/private/x": forbidden, "/a.pdf": forbidden, "/a.pdf?x": "broken:http_404"}
    assert not {"/private/x", "/a.pdf"} & set(audit.site.requests)


async def test_robots_can_be_ignored(audit: Audit) -> None:
    """The owner of a site may audit what others may not."""
    rules = Reply("User-agent: *\nDisallow: /", type="text/plain")
    found = await audit({"/robots.txt": rules, "/": page("/gone")}, robots=False)
    assert results(found) == {"/gone": "broken:http_404"}
    assert "/robots.txt" not in audit.site.requests


async def test_robots_that_fail_forbid_all(audit: Audit) -> None:
    """A robots.txt that answers 5xx forbids the crawl (RFC 9309), and the audit is incomplete."""
    found = await audit({"/robots.txt": Reply("", 500), "/": page()})
    assert not found.complete
    assert "robots.txt" in (found.incomplete_reason or "")
    assert "/" not in audit.site.requests


async def test_robots_behind_a_redirect_count(audit: Audit) -> None:
    """Rules are followed to where they are."""
    rules = Reply("User-agent: Gapless\nDisallow: /x", type="text/plain")
    found = await audit({"/robots.txt": redirect("/rules"), "/rules": rules, "/": page("/x")})
    assert results(found) == {"/x": "unverified:robots_disallowed"}


def test_traps_are_held_off() -> None:
    """Paths that repeat, addresses without end and queries without number are not visited."""
    frontier = Frontier(Scope("http://a/"), None)
    traps = ["http://a/x/x/x/x/", "http://a/x/y/x/y/x/y/x/y/z", "http://a/" + "y" * 2_000]
    for url in [*traps, "http://a/x/x/x/", *(f"http://a/c?m={n}" for n in range(1_001))]:
        frontier.offer(url)
    assert "http://a/x/x/x/" in frontier.level()
    assert set(frontier.skipped) == {*traps, "http://a/c?m=999"}
    assert set(frontier.skipped.values()) == {"crawler_trap"}


async def test_progress_is_told(serve: Serve) -> None:
    """Pages, links, failures and the phase are told as the audit goes on."""
    site = await serve({"/": page("/a", "/gone", "http://127.0.0.1:1/"), "/a": page()})
    told: list[Progress] = []
    await crawl(Scope(site.url), progress=told.append)
    assert Progress(1, 3, 0, "crawling") in told
    assert told[-1] == Progress(2, 3, 1, "locating")
    assert list(dict.fromkeys(each.phase for each in told)) == [
        "crawling",
        "checking other hosts",
        "confirming",
        "locating",
    ]
    assert max(each.failures for each in told) == 1


async def test_a_crawl_can_be_cancelled(serve: Serve) -> None:
    """Cancelling ends all connections and leaves no task behind."""
    site = await serve({"/": page(*(f"/{n}" for n in range(50)))})
    site.delay = lambda path: 60.0 if path[1:].isdigit() else 0.0
    before = asyncio.all_tasks()
    task = asyncio.create_task(crawl(Scope(site.url)))
    async with asyncio.timeout(5):
        while site.at_once < 8:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while asyncio.all_tasks() - before - site.tasks:
            await asyncio.sleep(0.01)
