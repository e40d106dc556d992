"""Sites without end."""

import asyncio
import json
from collections.abc import Callable, Mapping

from gapless.links import Scope
from links.hostile.attack import Attack, command_line, engine
from unit.links.httpsite import Reply, Request, Route, Serve, page, redirect


class Endless(dict[str, Route]):
    """Routes that answer every path that begins so, but for those that are given."""

    def __init__(self, prefix: str, answer: Callable[[Request], Reply], known: Mapping[str, Route]) -> None:
        super().__init__(known)
        self._prefix, self._answer = prefix, answer

    def get(self, path: str, default: object = None) -> Route:
        return super().get(path, self._answer if path.startswith(self._prefix) else Reply("gone", 404))


def number(request: Request) -> int:
    """Return the number that an address ends with."""
    digits = request.path.rpartition("/")[2]
    return int(digits) if digits.isdigit() else 0


NOTHING: dict[str, Route] = {"/robots.txt": "", "/sitemap.xml": Reply("", 404)}


async def test_an_endless_calendar(serve: Serve, attack: Attack) -> None:
    """Page n links to 2n+1 and 2n+2: the audit ends at its limit and says so."""

    def day(request: Request) -> Reply:
        return Reply(page(f"/day/{2 * number(request) + 1}", f"/day/{2 * number(request) + 2}", extra=request.path))

    site = await serve(Endless("/day/", day, NOTHING | {"/": page("/day/0")}))
    run = await command_line(site.url + "/", "--max-pages", "2000")
    attack.record(run)
    attack.check(run, 10)
    assert not run.document["complete"]
    assert run.document["pages"] == 2_000
    assert site.requests.total() < 2_200


async def test_sessions_in_queries(serve: Serve, attack: Attack) -> None:
    """Each visit makes new addresses of the same three pages: they are one page each, and soon left alone."""
    seen = 0

    def session(request: Request) -> Reply:
        nonlocal seen
        seen += 1
        paths = [f"/s/{name}?sid={seen}{index}" for name in "abc" for index in range(8)]
        return Reply(page(*paths, extra=request.path.partition("?")[0]))

    known: dict[str, Route] = {"/": page("/s/a", "/good"), "/good": page("/missing"), "/missing": Reply("", 404)}
    site = await serve(Endless("/s/", session, NOTHING | known))
    run = await command_line(site.url + "/")
    attack.record(run)
    attack.check(run, 30)
    assert ("/good", "/missing", "broken:http_404") in run.verdicts
    assert site.requests.total() < 3 * 1_000 + 200


async def test_sessions_in_paths(serve: Serve, attack: Attack) -> None:
    """Addresses that never repeat end at the limit of pages."""
    seen = 0

    def session(request: Request) -> Reply:
        nonlocal seen
        seen += 1
        return Reply(page(*(f"/s/{seen}x{index}/" for index in range(30)), extra=request.path))

    site = await serve(Endless("/s/", session, NOTHING | {"/": page("/s/0/")}))
    run = await command_line(site.url + "/", "--max-pages", "500")
    attack.record(run)
    attack.check(run, 10)
    assert not run.document["complete"]


async def test_endless_paths(serve: Serve, attack: Attack) -> None:
    """/a/a/a and /a/b/a/b are seen through, and other pages are audited."""

    def deeper(request: Request) -> Reply:
        return Reply(page("a/", "a/b/", "x/y/z/", extra=request.path))

    known: dict[str, Route] = {"/": page("/t/", "/good"), "/good": page("/missing"), "/missing": Reply("", 404)}
    site = await serve(Endless("/t/", deeper, NOTHING | known))
    run = await command_line(site.url + "/", "--max-pages", "3000")
    attack.record(run)
    attack.check(run, 10)
    assert ("/good", "/missing", "broken:http_404") in run.verdicts
    assert "unverified:crawler_trap" in run.hostile.values()


async def test_endless_redirects(attack: Attack) -> None:
    """Loops, chains of all lengths, chains that grow, and a redirect that sets a new cookie each time."""
    routes: dict[str, Route] = {f"/chain/{step}": redirect(f"/chain/{step + 1}") for step in range(30)}
    routes |= {f"/short/{step}": redirect(f"/short/{step + 1}") for step in range(8)} | {"/short/8": page()}
    routes |= {"/self": redirect("/self"), "/a": redirect("/b"), "/b": redirect("/a")}
    routes |= {"/cookie": lambda request: redirect("/cookie", Set_Cookie=f"n={request.number}")}
    routes |= {"/gone": redirect("/missing")}
    expected = {
        "/chain/0": "broken:too_many_redirects",
        "/self": "broken:redirect_loop",
        "/a": "broken:redirect_loop",
        "/cookie": "broken:too_many_redirects",
        "/gone": "broken:redirect_to_broken",
    }
    await attack(routes, expected, links=[*expected, "/short/0"])
    assert attack.site.requests.total() < 150


async def test_redirects_that_never_end_in_a_page(serve: Serve, attack: Attack) -> None:
    """Each address redirects to a new one."""
    known: dict[str, Route] = {"/": page("/r/0", "/good"), "/good": page("/missing"), "/missing": Reply("", 404)}
    site = await serve(Endless("/r/", lambda request: redirect(f"/r/{number(request) + 1}"), NOTHING | known))
    run = await asyncio.wait_for(command_line(site.url + "/"), 5)
    attack.record(run)
    attack.check(run, 10)
    assert run.verdicts == {
        ("/", "/r/0", "broken:too_many_redirects"),
        ("/good", "/missing", "broken:http_404"),
    }
    assert site.requests.total() < 60


async def test_redirects_to_long_addresses(attack: Attack) -> None:
    """Thousands of redirects to addresses of 60 KB each are not kept in memory."""
    routes: dict[str, Route] = {f"/{step}": redirect(f"/{'x' * 60_000}{step}") for step in range(4_000)}
    await attack(routes, dict.fromkeys(routes, "unverified:crawler_trap"), limit=25)


async def test_credentials(serve: Serve, attack: Attack) -> None:
    """They go to their host and to no other, on a redirect too, and none of them is in the report."""
    other = await serve({"/": page(), "/back": page()})
    host = other.url.partition("//")[2]
    routes: dict[str, Route] = {
        "/robots.txt": "",
        "/sitemap.xml": Reply("", 404),
        "/": page("/away", f"http://user:secret1@{host}/", f"//root:secret2@{host}/gone", "/login"),
        "/away": redirect(f"http://me:secret3@{host}/back", Set_Cookie="session=secret4"),
        "/login": redirect("/in", Set_Cookie="session=secret5; Path=/"),
        "/in": lambda request: Reply(page() if "cookie" in request.headers else "", 200),
    }
    site = await serve(routes)
    own = site.url.partition("//")[2]
    scope = Scope(site.url + "/", allow=(host,))
    run = await engine(scope, credentials={f"http://{own}": ("Authorization: Bearer secret6",)})
    attack.record(run)
    assert all("authorization" in request.headers for request in site.seen)
    assert not any({"authorization", "cookie", "referer"} & request.headers.keys() for request in other.seen)
    assert len(other.seen) >= 3
    assert "secret" not in json.dumps(run.document)
    assert run.verdicts == {("/", f"{other.url}/gone", "broken:http_404")}
