"""The client alone: what no page can show, and answers that are all noise."""

import gzip
import random
import selectors
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import pytest

from gapless.links import inflate
from gapless.links.client import Client
from gapless.links.connection import READ, Answer, Get
from gapless.links.names import Names

SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Talk:
    """A client, and a server that sends the next of these for each request, on as many connections as are opened."""

    def __init__(self, says: list[bytes], **options: float) -> None:
        self._says = iter(says)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        self.connections = 0
        self.once = self.dawdles = False
        self.selector = selectors.DefaultSelector()
        limits = {"timeout": 2.0, "max_bytes": 1_000_000} | options
        self.client = Client(
            self.selector,
            timeout=limits["timeout"],
            max_bytes=int(limits["max_bytes"]),
            trusted=frozenset({(str(self.address[0]), int(self.address[1]))}),
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    if not connection.recv(65_536):
                        return
                    said = next(self._says)
                    if self.dawdles and said.endswith(b"F"):
                        connection.sendall(said[:-1_000_000])
                        sleep(0.5)
                        said = said[-1_000_000:]
                    elif self.dawdles:
                        sleep(0.2)
                    connection.sendall(said)
                    if self.once:
                        return
                except (OSError, StopIteration):
                    return

    def ask(self, count: int = 1) -> list[Answer]:
        """Send GETs at the same time, and wait for their answers."""
        answers: list[Answer] = []
        url = f"http://{self.address[0]}:{self.address[1]}/"
        for _ in range(count):
            self.client.get(Get(url, answers.append, lambda status, fields: READ, lambda start: True))
        until = monotonic() + 10
        while len(answers) < count and monotonic() < until:
            for key, mask in self.selector.select(0.05):
                key.data(mask)
            self.client.expire()
            self.client.send()
        return answers

    def close(self) -> None:
        """Close both."""
        self.client.close()
        self.selector.close()
        self._listening.close()


@pytest.fixture
def talk() -> Iterator[Callable[..., Talk]]:
    """Start talks that end with the test."""
    talks: list[Talk] = []

    def start(says: list[bytes], **options: float) -> Talk:
        talks.append(Talk(says, **options))
        return talks[-1]

    yield start
    for each in talks:
        each.close()


def test_what_is_said_unasked_costs_the_connection(talk: Callable[..., Talk]) -> None:
    """An answer that lies in wait on a kept connection is not taken for that to the next request."""
    each = talk([SMALL + b"ab", SMALL + b"cd"])
    assert [answer.body for _ in range(2) for answer in each.ask()] == [b"ab", b"cd"]
    assert each.connections == 1

    unasked = talk([SMALL + b"ab", SMALL + b"ef"])
    serve = unasked._serve

    def twice(connection: socket.socket) -> None:
        if unasked.connections == 1:
            threading.Timer(0.1, connection.sendall, (SMALL + b"no",)).start()
        serve(connection)

    unasked._serve = twice  # type: ignore[method-assign] # it says one thing more
    assert [answer.body for answer in unasked.ask()] == [b"ab"]
    sleep(0.3)
    assert [answer.body for answer in unasked.ask()] == [b"ef"]
    assert unasked.connections == 2


def test_noise(talk: Callable[..., Talk]) -> None:
    """Answers that are cut, mixed and mutated come to an answer each, and no error."""
    chance = random.Random(7)
    body = b"<a href=/x>y</a>" * 40
    packed = gzip.compress(body)
    raw = zlib.compressobj(wbits=-15)
    flat = raw.compress(body) + raw.flush()
    seeds = [
        SMALL + b"ok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n280\r\n%b\r\n0\r\nX: y\r\n\r\n" % body,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%b" % (len(flat), flat),
    ]
    says = []
    for _ in range(600):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randrange(1, 20)]
                case 2:
                    data[at:at] = chance.choice((b"\r\n", b"\n", b"\0", b" ", b":", b"9" * 20, b"\xff", seeds[0]))
                case _:
                    del data[at + 1 :]
            data = data or bytearray(b"x")
        says.append(bytes(data))
    each = talk(says, timeout=0.01)
    reasons = {answer.error for _ in range(300) for answer in each.ask()}
    assert reasons <= {None, "timeout", "invalid_response", "truncated", "reset", "unsupported_encoding", "too_large"}
    assert {None, "invalid_response", "timeout"} <= reasons


@pytest.mark.parametrize("wrapping", ["length", "chunked", "unbounded"])
@pytest.mark.parametrize("packed", [True, False])
def test_large_bodies_take_turns_and_come_out_whole(talk: Callable[..., Talk], wrapping: str, packed: bool) -> None:
    """However it is wrapped and packed, a body that had to wait is the whole body, at the first try."""
    texts = [bytes([48 + number]) * 3_000_000 for number in range(6)]
    first = b"F" * 3_000_000  # all others wait for it
    says = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(first), first)]
    for text in texts:
        body = gzip.compress(text) if packed else text
        head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Encoding: gzip\r\n" if packed else b"")
        if wrapping == "length":
            says.append(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        elif wrapping == "chunked":
            says.append(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        else:
            says.append(head + b"\r\n" + body)
    each = talk(says, max_bytes=4_000_000)
    each.once, each.dawdles = wrapping == "unbounded", True
    answers = each.ask(7)
    assert [answer.error for answer in answers] == [None] * 7
    assert sorted(answer.body or b"" for answer in answers) == [*texts, first]
    assert each.client.big is None


def test_a_large_body_that_stops_holds_up_the_others_for_its_own_time_only(talk: Callable[..., Talk]) -> None:
    """Its deadline runs on while others wait for it, theirs do not."""
    stops = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 2_000_000
    goes = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"y" * 2_000_000
    each = talk([stops, goes, goes, stops, goes], max_bytes=4_000_000, timeout=0.5)
    begin = monotonic()
    answers = each.ask(5)
    assert sorted(answer.error or "" for answer in answers) == ["", "", "", "timeout", "timeout"]
    assert monotonic() - begin < 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw"])
@pytest.mark.parametrize("stop", [1, 70_000, 1_000_000])
def test_inflating_stops_and_goes_on(encoding: str, stop: int) -> None:
    """Wherever it is cut and however often it has to wait, a body comes out whole."""
    chance = random.Random(stop)
    text = bytes(chance.choices(b"abcdefg <>", k=200_000)) + b"x" * 300_000
    packer = zlib.compressobj(wbits={"gzip": 31, "deflate": 15, "raw": -15}[encoding])
    packed = packer.compress(text) + packer.flush()
    if encoding == "gzip":
        packed += gzip.compress(b"and more") + b"\0\0"
        text += b"and more"
    for _ in range(5):
        body = inflate.Body("gzip" if encoding == "gzip" else "deflate", 1_000_000)
        at = 0
        while at < len(packed):
            size = chance.choice((1, 2, 500, 65_536))
            body.feed(packed[at : at + size], stop)
            at += size
        assert stop == 1_000_000 or len(body.data) <= stop + 65_536
        body.feed(b"", 1_000_000)
        assert body.finish() == text


@contextmanager
def resolving(answer: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the system's resolver say this."""

    def getaddrinfo(host: str, port: int, **options: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer(host)]

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


def look_up(names: Names, selector: selectors.BaseSelector, *hosts: str, seconds: float = 5) -> dict[str, list[str]]:
    """Look names up at the same time, and return what arrives in time."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        names.find(host, 80, lambda addresses, host=host: found.update({host: addresses}))  # type: ignore[misc]
    until = monotonic() + seconds
    while len(found) < len(hosts) and monotonic() < until:
        for key, mask in selector.select(0.05):
            key.data(mask)
    return found


def test_a_slow_zone_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand names whose servers never answer leave threads for those of others."""
    release = threading.Event()

    def answer(host: str) -> list[str]:
        if host.endswith("slow.test"):
            release.wait(10)
        return ["93.184.215.14"]

    with resolving(answer, monkeypatch), selectors.DefaultSelector() as selector:
        names = Names(selector)
        slow = [f"n{number}.slow.test" for number in range(1_000)]
        assert look_up(names, selector, *slow, seconds=0.1) == {}
        assert look_up(names, selector, "docs.good.test", "good.test", seconds=2).keys() == {
            "docs.good.test",
            "good.test",
        }
        release.set()
        names.close()


def test_a_name_that_failed_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver fails now and then: the second pass over failures asks it, and not a memory of it."""
    answers = iter([[], ["93.184.215.14"], ["10.0.0.1"]])
    with resolving(lambda host: next(answers), monkeypatch), selectors.DefaultSelector() as selector:
        names = Names(selector)
        assert look_up(names, selector, "a.test") == {"a.test": []}
        assert look_up(names, selector, "a.test") == {"a.test": []}
        sleep(0.25)
        assert look_up(names, selector, "a.test") == {"a.test": ["93.184.215.14"]}
        assert look_up(names, selector, "a.test") == {"a.test": ["93.184.215.14"]}  # and no rebinding
        names.close()
