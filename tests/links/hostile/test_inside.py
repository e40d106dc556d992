"""Ways into the private net."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from gapless.links import Scope, crawl
from links.hostile.attack import Attack
from unit.links.httpsite import Route, Serve, page, redirect, results

PRIVATE = "unverified:private_address"
METADATA = [
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[fd00:ec2::254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[::a9fe:a9fe]",
    "\uff11\uff16\uff19.254.169.254",
]
HERE = ["127.0.0.1", "0x7f.1", "2130706433", "127.1", "017700000001", "0", "[::1]", "[::]", "localhost.", "LOCALHOST"]


@pytest.mark.parametrize("how", ["link", "redirect"])
async def test_addresses_of_the_private_net(attack: Attack, serve: Serve, how: str) -> None:
    """However an address is written, and whether the site links or redirects to it, it is not connected to.

    Some systems' resolvers do not know `localhost.` with its dot; then that one is broken.
    """
    inside = await serve({"/": page()})
    urls = [f"http://{host}/latest/meta-data/" for host in METADATA] + [
        f"http://{host}:{inside.port}/" for host in HERE
    ]
    urls += [url.replace("http:", "https:") for url in urls[:4]]
    routes: dict[str, Route] = {"/list": page(*urls)}
    if how == "redirect":
        routes = {f"/{number}": redirect(url) for number, url in enumerate(urls)}
        await attack(routes, {path: {PRIVATE, "broken:redirect_to_broken"} for path in routes})
    else:
        run = await attack(routes, {}, ignoring=lambda target: "//" in target)
        assert {why for url, why in run.hostile.items() if "localhost." not in url} == {PRIVATE}
        assert len(run.hostile) >= 12
    assert inside.connections == 0


class Resolver:
    """Answers look-ups of one name in turn, and passes all others on."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self._system = socket.getaddrinfo

    def __call__(self, host: str, port: int, *args: int, **options: int) -> list[tuple[object, ...]]:
        if host not in self.answers:
            return [*self._system(host, port, *args, **options)]
        self.asked.append(host)
        turns = self.answers[host]
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[list[str]]]], Resolver]:
    """Put a resolver between the auditor and the system's."""

    def start(answers: dict[str, list[list[str]]]) -> Resolver:
        resolver = Resolver(answers)
        monkeypatch.setattr(socket, "getaddrinfo", resolver)
        return resolver

    return start


async def test_a_name_that_is_rebound(serve: Serve, resolver: Callable[..., Resolver]) -> None:
    """Public when it is checked and private afterwards: the address that was checked is the one connected to."""
    inside = await serve({"/": page(), "/a": page(), "/b": page()})
    resolver({"rebound.test": [["192.0.2.1", "203.0.113.9"], ["127.0.0.1"]], "both.test": [["1.1.1.1", "127.0.0.1"]]})
    urls = [f"http://{host}:{inside.port}/{path}" for host in ("rebound.test", "both.test") for path in ("a", "b")]
    site = await serve({"/robots.txt": "", "/": page(*urls)})
    found = await crawl(Scope(site.url + "/", timeout=1.0, sitemaps=False))
    assert set(results(found).values()) == {PRIVATE}
    assert inside.connections == 0


async def test_a_public_address_is_resolved_once(
    serve: Serve, resolver: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to the address that was judged; a second answer, which is private, is never asked for."""
    inside = await serve({"/": page()})
    asked = resolver({"rebound.test": [["203.0.114.7"], ["127.0.0.1"]]})
    connected: list[object] = []
    connect = socket.socket.connect_ex

    class Watched(socket.socket):
        def connect_ex(self, address: tuple[str, int], /) -> int:  # type: ignore[override]
            connected.append(address)
            return 111 if address[0] == "203.0.114.7" else connect(self, address)

    monkeypatch.setattr(socket, "socket", Watched)
    urls = [f"http://rebound.test:{inside.port}/{number}" for number in range(3)]
    site = await serve({"/robots.txt": "", "/": page(*urls)})
    found = await crawl(Scope(site.url + "/", timeout=1.0, sitemaps=False))
    assert set(results(found).values()) == {"broken:refused"}
    assert asked.asked == ["rebound.test"]
    assert {address for address in connected if address[0] != "127.0.0.1"} == {("203.0.114.7", inside.port)}  # type: ignore[index]
    assert inside.connections == 0


async def test_a_site_whose_name_leads_to_cloud_credentials(resolver: Callable[..., Resolver]) -> None:
    """The audited site may be private, but a name is no way to where clouds keep their credentials."""
    resolver({"docs.test": [["169.254.169.254"]]})
    found = await asyncio.wait_for(crawl(Scope("http://docs.test/", timeout=1.0)), 10)
    assert not found.complete
    assert "private_address" in (found.incomplete_reason or "")
