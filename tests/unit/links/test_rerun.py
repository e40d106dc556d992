import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta

import pytest

from gapless.links import Crawl, Scope, crawl, report_json, report_markdown
from gapless.links import segments as segments_of_a_crawl
from gapless.links.frontier import Frontier
from unit.links.httpsite import Reply, Request, Route, Serve, Site, page, redirect

DAY = date(2026, 1, 1)


def remembering(body: str, type: str = "text/html") -> Callable[[Request], Reply]:  # noqa: A002
    """Serve a body with its validator, and 304 to who has it already."""
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:8]}"'

    def serve(request: Request) -> Reply:
        if request.headers.get("if-none-match") == tag:
            return Reply("", 304, headers={"ETag": tag})
        return Reply(body, type=type, headers={"ETag": tag})

    return serve


def wide(pages: int = 40) -> dict[str, Route]:
    """Write a site whose pages all have validators; one of them has a broken link."""
    routes = {f"/p/{n}": remembering(page(f"/p/{n + 1}", "/style.css", extra="<h1 id=x>")) for n in range(pages)}
    links = [f"/p/{n}#x" for n in range(pages)]
    return {
        "/robots.txt": Reply("", 404),
        "/": remembering(page(*links, "/bad")),
        "/bad": remembering(page("/gone", f"/p/{pages - 1}#none")),
        f"/p/{pages}": remembering("end"),
        "/style.css": remembering("a{background:url(/gone.png)}", "text/css"),
        **routes,
    }


async def again(site: Site, before: Crawl, day: date = DAY) -> Crawl:
    """Audit a site a second time, with what the first time has stored."""
    site.requests.clear()
    site.seen.clear()
    return await crawl(Scope(site.url), previous=Crawl.from_bytes(before.to_bytes()), today=day)


def whole_bodies(site: Site) -> set[str]:
    """Return the paths of which the body was asked for whatever was known."""
    return {request.path for request in site.seen if "if-none-match" not in request.headers}


async def test_what_has_not_changed_is_not_read_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second audit sends validators, reads in full what has a finding, and gives the same report to the byte."""
    monkeypatch.setattr(sys.modules["gapless.links.crawl"], "SAMPLE", 1 << 40)
    site = await serve(wide())
    first = await crawl(Scope(site.url))
    second = await again(site, first)
    assert report_markdown(second) == report_markdown(first)
    assert report_json(second) == report_json(first)
    assert {"/bad", "/style.css"} <= whole_bodies(site)
    assert "/" not in whole_bodies(site)
    assert len(first.findings()) == 3
    third = await again(site, second)
    assert third.to_bytes() == second.to_bytes()


async def test_a_change_is_seen(serve: Serve) -> None:
    """A page that has changed is read, and links to pages that are gone since are found on pages that are not read."""
    site = await serve(wide())
    first = await crawl(Scope(site.url))
    site.routes = {**site.routes, "/p/3": remembering(page("/new", extra="<h1 id=x>")), "/p/9": Reply("", 404)}
    second = await again(site, first)
    found = {(each.page, each.target) for each in second.findings()}
    assert (f"{site.url}/p/3", f"{site.url}/new") in found
    assert (f"{site.url}/p/8", f"{site.url}/p/9") in found
    cold = await crawl(Scope(site.url))
    assert report_json(second) == report_json(cold)


async def test_a_page_that_fails_once_in_the_second_night_is_flaky(serve: Serve) -> None:
    """What is asked again after a failure is what comes now, and what was known before stays as it was."""
    site = await serve(wide(5))
    first = await crawl(Scope(site.url), today=DAY)
    stored = Crawl.from_bytes(first.to_bytes())
    whole = remembering(page("/p/3", "/style.css", extra="<h1 id=x>"))

    def fails_first(request: Request) -> Reply:
        return Reply("", 500) if request.number == 1 else whole(request)

    site.routes = {**site.routes, "/p/2": fails_first}
    site.requests.clear()
    second = await crawl(Scope(site.url), previous=stored, today=DAY)
    assert [(found.target, found.reason) for found in second.findings() if found.result == "flaky"] == [
        (f"{site.url}/p/2#x", "http_500"),
        (f"{site.url}/p/2", "http_500"),
    ]
    assert stored.records[f"{site.url}/p/2"] == first.records[f"{site.url}/p/2"]
    assert second != stored


async def test_some_pages_are_read_again_all_the_same(serve: Serve) -> None:
    """Servers whose validators lie are found out: each day other pages are read whatever the server says."""
    site = await serve(wide(100))
    first = await crawl(Scope(site.url))
    read = []
    for day in range(20):
        first = await again(site, first, DAY + timedelta(days=day))
        read.append({path for path in whole_bodies(site) if path.startswith("/p/")})
    assert len(set().union(*read)) > max(map(len, read))
    assert all(len(paths) < 20 for paths in read)


async def test_a_304_that_nobody_asked_for_is_no_answer(serve: Serve) -> None:
    """A server that says that nothing has changed since never has not answered."""
    site = await serve({"/robots.txt": Reply("", 404), "/": page("/a"), "/a": Reply("", 304)})
    found = await crawl(Scope(site.url))
    assert [(each.target, each.reason) for each in found.findings()] == [(f"{site.url}/a", "invalid_response")]


async def test_another_scope_is_another_audit(serve: Serve) -> None:
    """What was known of one scope says nothing of another."""
    site = await serve(wide(5))
    first = await crawl(Scope(site.url))
    site.seen.clear()
    await crawl(Scope(site.url, prefix="/p/"), previous=first, today=DAY)
    assert whole_bodies(site) == {request.path for request in site.seen}


async def test_a_rerun_that_was_killed_goes_on(serve: Serve) -> None:
    """Segments of a second audit name what is the same, and hold what is not."""
    site = await serve(wide())
    first = await crawl(Scope(site.url))
    stored, segments = first.to_bytes(), []

    async def seal(segment: bytes) -> None:
        segments.append(segment)

    whole = await crawl(Scope(site.url), previous=Crawl.from_bytes(stored), seal=seal, today=DAY)
    site.requests.clear()
    resumed = await crawl(Scope(site.url), previous=Crawl.from_bytes(stored), resume=segments, today=DAY)
    assert resumed.to_bytes() == whole.to_bytes()
    assert not [path for path in site.requests if path.startswith("/p/")]


def wild(dice: random.Random) -> dict[str, Route]:
    """Write a site at random: pages with and without validators, redirects, errors, queries, a sitemap, robots.txt."""
    routes: dict[str, Route] = {"/robots.txt": f"User-agent: *\nDisallow: /p/{dice.randrange(60)}\n"}
    for number in range(40):
        routes[f"/p/{number}"] = _anything(dice, number)
    named = "".join(f"<url><loc>/p/{dice.randrange(40)}</loc></url>" for _ in range(5))
    routes["/sitemap.xml"] = remembering(f"<urlset>{named}</urlset>", "application/xml")
    routes["/"] = remembering(page(*(f"/p/{number}" for number in range(0, 40, 4))))
    return routes


def _anything(dice: random.Random, number: int) -> Route:
    links = [f"/p/{dice.randrange(45)}{dice.choice(['', '', '#x', '#y', '?q=1'])}" for _ in range(4)]
    body = page(*links, extra=dice.choice(["<h1 id=x>", "<h1 id=y>", ""]))
    kinds: list[Route] = [
        Reply("", 404),
        Reply("", 500),
        Reply("", 301, headers={"Location": f"/p/{number + 1}"}),
        Reply("", 302, headers={"Location": f"/p/{dice.randrange(45)}"}),
        body,
    ]
    return dice.choice([*kinds, *[remembering(body)] * 10])


def mutations(seed: int) -> Iterator[tuple[dict[str, Route], dict[str, Route]]]:
    """Return sites with what becomes of them in the night."""
    dice = random.Random(seed)
    for share in (0.0, 0.1, 0.9):
        before, after = wild(dice), wild(dice)
        kept = {path: before[path] if dice.random() >= share else route for path, route in after.items()}
        yield before, kept


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_changes_a_rerun_reports_what_a_cold_audit_does(serve: Serve, seed: int) -> None:
    """Pages that change, go, come, move or fail in the night are reported as by who has never been there."""
    for before, after in mutations(seed):
        site = await serve(before)
        first = await crawl(Scope(site.url), today=DAY)
        site.routes = after
        second = await again(site, first)
        cold = await crawl(Scope(site.url), today=DAY)
        assert report_json(second) == report_json(cold)
        assert second.skipped == cold.skipped


@pytest.mark.parametrize("requests", [1, 10, 25, 60])
async def test_a_rerun_that_dies_goes_on(serve: Serve, requests: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second audit that is killed, whatever it was asking, ends as one that is not."""
    monkeypatch.setattr(segments_of_a_crawl, "RECORDS", 4)
    [_, (before, after), _] = mutations(5)
    site = await serve(before)
    stored = (await crawl(Scope(site.url), today=DAY)).to_bytes()
    site.routes = after
    whole = await crawl(Scope(site.url), previous=Crawl.from_bytes(stored), today=DAY)
    site.requests.clear()
    segments: list[bytes] = []

    async def seal(segment: bytes) -> None:
        if site.requests.total() >= requests:
            raise InterruptedError
        segments.append(segment)

    with pytest.raises(InterruptedError):
        await crawl(Scope(site.url), previous=Crawl.from_bytes(stored), seal=seal, today=DAY)
    resumed = await crawl(Scope(site.url), previous=Crawl.from_bytes(stored), resume=segments, today=DAY)
    assert resumed.to_bytes() == whole.to_bytes()


def failing(times: int, then: str) -> Callable[[Request], Reply]:
    """Fail so many times, and then serve a page."""
    return lambda request: Reply("", 500) if request.number <= times else Reply(then)


async def test_what_leads_on_where_all_is_as_it_was_is_followed(serve: Serve) -> None:
    """Nothing has changed but for a page that answers at the third try, and leads to what nobody knew of."""
    routes = wide(10) | {"/p/10": remembering(page("/late")), "/late": failing(1_000, "")}
    site = await serve(routes)
    first = await crawl(Scope(site.url), today=DAY)
    site.routes = routes | {"/late": failing(2, page("/new", "/p/1#none")), "/new": page("/nowhere")}
    site.requests.clear()
    second = await again(site, first)
    site.requests.clear()
    cold = await crawl(Scope(site.url), today=DAY)
    assert f"{site.url}/nowhere" in second.broken()
    assert report_json(second) == report_json(cold)


async def test_rules_that_allow_more_than_last_night_are_obeyed(serve: Serve) -> None:
    """What robots.txt forbade is visited when it does not any more, though all else is as it was."""
    routes = wide(10) | {"/robots.txt": "User-agent: *\nDisallow: /p/3\nDisallow: /bad"}
    site = await serve(routes)
    first = await crawl(Scope(site.url), today=DAY)
    site.routes = routes | {"/robots.txt": "User-agent: *\nDisallow: /p/3"}
    second, cold = await again(site, first), await crawl(Scope(site.url), today=DAY)
    assert second.skipped == {f"{site.url}/p/3": "robots_disallowed"}
    assert f"{site.url}/gone" in second.broken()
    assert report_json(second) == report_json(cold)


async def test_where_another_host_leads_back_to_is_asked_of_it(serve: Serve) -> None:
    """A page that only another host's redirect leads to is a page while that redirect is there."""
    site, other = await serve(wide(10)), await serve({})
    site.routes = wide(10) | {"/p/10": remembering(page(f"{other.url}/back")), "/hidden": page("/nowhere")}
    other.routes = {"/back": redirect(f"{site.url}/hidden", 302)}
    scope = Scope(site.url, allow=(f"127.0.0.1:{other.port}",))
    first = await crawl(scope, today=DAY)
    same = await crawl(scope, previous=Crawl.from_bytes(first.to_bytes()), today=DAY)
    assert f"{site.url}/nowhere" in first.broken()
    assert report_json(same) == report_json(first)
    other.routes = {"/back": page()}
    second = await crawl(scope, previous=Crawl.from_bytes(first.to_bytes()), today=DAY)
    assert f"{site.url}/hidden" not in second.records
    assert report_json(second) == report_json(await crawl(scope, today=DAY))


async def test_a_site_that_is_as_it_was_is_not_walked(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """When every address answers what it answered, the audit comes to the same without following the links."""
    site = await serve(wide())
    first = await crawl(Scope(site.url), today=DAY)
    walked: list[str] = []
    level = Frontier.level

    def noted(frontier: Frontier) -> list[str]:
        walked.extend(found := level(frontier))
        return found

    monkeypatch.setattr(Frontier, "level", noted)
    second = await again(site, first)
    assert not walked
    assert second.to_bytes() == first.to_bytes()
