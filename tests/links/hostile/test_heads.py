"""Status lines and header fields that are too much, too slow, or no HTTP."""

import asyncio
from functools import partial

import pytest

from links.hostile.attack import Attack
from links.hostile.test_bodies import HEAD, TIMEOUT, always, drip, pour
from unit.links.httpsite import Reply, Request, Route, Writer, page

INVALID = "broken:invalid_response"
OK = b"HTTP/1.1 200 OK\r\n"


async def test_dripping_headers(attack: Attack) -> None:
    """A header that never ends, a byte at a time."""
    routes = {
        "/name": always(partial(drip, head=OK + b"X")),
        "/value": always(partial(drip, head=OK + b"X: y", each=b"y")),
        "/nothing": always(partial(drip, head=b"", each=b"")),
    }
    await attack(routes, dict.fromkeys(routes, TIMEOUT), timeout=1.0)


async def test_endless_headers(attack: Attack) -> None:
    """Headers without end at full speed: many fields, one field, one name, spaces, and empty lines that are none."""
    blocks = {
        "/fields": b"X: y\r\n" * 9_000,
        "/value": b"y" * 65_536,
        "/spaces": b" " * 65_536,
        "/folded": b"\r\n " * 20_000,
        "/cookies": b"Set-Cookie: a=b\r\n" * 4_000,
    }
    routes = {path: always(partial(pour, head=OK + b"X: y", block=block)) for path, block in blocks.items()}
    await attack(routes, dict.fromkeys(routes, INVALID))


async def test_large_headers(attack: Attack) -> None:
    """50,000 fields, one line of 10 MB, and a head that is just small enough."""
    routes: dict[str, Route] = {
        "/fields": lambda _: OK + b"X: y\r\n" * 50_000 + b"\r\n",
        "/line": lambda _: OK + b"X: " + b"y" * 10_000_000 + b"\r\n\r\n",
        "/location": lambda _: b"HTTP/1.1 302 x\r\nLocation: /" + b"y" * 10_000_000 + b"\r\n\r\n",
        "/cookies": Reply(page(), headers={f"Set-Cookie{' ' * n}": "a=b" for n in range(1_000)}),
        "/small": lambda _: HEAD + b"X: " + b"y" * 60_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    }
    await attack(routes, dict.fromkeys(("/fields", "/line", "/location", "/cookies"), INVALID))


@pytest.mark.parametrize("fill", [" ", "\t ", "y ", "\r\n ", ":", ", "], ids=ascii)
async def test_headers_that_could_stall_a_pattern(attack: Attack, fill: str) -> None:
    """60 KB in one field take no longer than their bytes, whatever they are."""
    value = (fill * 60_000)[:60_000] + "x"
    names = ("X", "Content-Type", "Retry-After", "ETag", "Content-Encoding", "Connection")
    routes: dict[str, Route] = {
        f"/{name}": partial(lambda name, _: OK + f"{name}: {value}\r\nContent-Length: 0\r\n\r\n".encode(), name)
        for name in names
    }
    run = await attack(routes, {}, links=[*routes][:4], limit=4)
    assert run.document["complete"]


async def test_interim_answers(attack: Attack) -> None:
    """A few 1xx answers are waited for, a flood of them is not, and nobody switches protocols."""
    good = HEAD + b"Content-Length: 2\r\n\r\nok"
    routes: dict[str, Route] = {
        "/continue": lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + good,
        "/hints": lambda _: b"HTTP/1.1 103 Early Hints\r\nLink: </fine>\r\n\r\n" + good,
        "/flood": lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000 + good,
        "/endless": always(partial(pour, head=b"", block=b"HTTP/1.1 102 Processing\r\n\r\n" * 1_000)),
        "/switch": lambda _: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + good,
    }
    await attack(routes, dict.fromkeys(("/flood", "/endless", "/switch"), INVALID))


async def test_answers_that_are_no_http(attack: Attack) -> None:
    """HTTP/0.9, HTTP/2, other protocols, and status lines that cannot be meant; at once, not at the deadline."""

    async def stays(writer: Writer, data: bytes) -> None:
        writer.write(data)
        await asyncio.sleep(30)

    bodies = {
        "/0.9": b"<html><a href=/never>x</a></html>",
        "/2": b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        "/preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "/ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
        "/tls": b"\x15\x03\x01\0\x02\x02\x16",
        "/nul": b"\0" * 100,
        "/status/2": b"HTTP/1.1 20 x\r\n\r\n",
        "/status/0": b"HTTP/1.1 000 x\r\n\r\n",
        "/status/-": b"HTTP/1.1 -200 x\r\n\r\n",
        "/status/word": b"HTTP/1.1 OK\r\n\r\n",
        "/version": b"HTTP/1.7 200 OK\r\n\r\n",
    }
    routes = {path: always(partial(stays, data=data)) for path, data in bodies.items()}
    await attack(routes, dict.fromkeys(routes, INVALID), limit=6)


async def test_control_characters_in_headers(attack: Attack) -> None:
    """NUL and lonely carriage returns are refused, and bytes that are no UTF-8 reach the report in one piece."""
    routes: dict[str, Route] = {
        "/nul": lambda _: OK + b"X: a\0b\r\n\r\n",
        "/cr": lambda _: OK + b"X: a\rb\r\n\r\n",
        "/name": lambda _: OK + b"X\xff: a\r\n\r\n",
        "/colon": lambda _: OK + b"no field\r\n\r\n",
        "/status": lambda _: b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        "/etag": lambda _: HEAD + b'ETag: "\xff\xed\xa0\x80"\r\nLast-Modified: \xff\r\nContent-Length: 2\r\n\r\nok',
        "/type": lambda _: OK + b"Content-Type: text/html; charset=\xff\xfe\r\nContent-Length: 2\r\n\r\nok",
        "/bell": lambda _: OK + b"X: \x01\x07\x1b[2J\x7f\r\nContent-Length: 0\r\n\r\n",
    }
    await attack(routes, dict.fromkeys(("/nul", "/cr", "/name", "/colon"), INVALID))


async def test_locations_that_cannot_be_meant(attack: Attack) -> None:
    """Control characters, other schemes, bytes that are no UTF-8, and an address of 60 KB."""

    def to(location: bytes) -> Route:
        return lambda _: b"HTTP/1.1 302 x\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"

    routes = {
        "/tab": to(b"/fi\tne"),
        "/bell": to(b"/fine?\x07\x1b"),
        "/latin": to(b"/caf\xe9"),
        "/file": to(b"file:///etc/passwd"),
        "/gopher": to(b"gopher://127.0.0.1:6379/_FLUSHALL"),
        "/script": to(b"javascript:alert(1)"),
        "/port": to(b"http://127.0.0.1:99999/"),
        "/empty": to(b""),
        "/long": to(b"/" + b"y" * 60_000),
    }
    expected = dict.fromkeys(("/file", "/gopher", "/script", "/port"), "broken:bad_url")
    expected |= {"/latin": "broken:redirect_to_broken", "/empty": "broken:redirect_loop"}
    await attack(routes, expected | {"/long": "unverified:crawler_trap"}, limit=4)


async def test_304_that_nobody_asked_for(attack: Attack) -> None:
    """It says nothing of the page."""
    await attack({"/same": Reply("", 304)}, {"/same": INVALID})


def sets(*cookies: str) -> Route:
    """Redirect to the same address with cookies, and answer whoever brings one."""
    lines = "".join(f"Set-Cookie: {cookie}\r\n" for cookie in cookies)

    def answer(request: Request) -> bytes:
        if "cookie" in request.headers:
            return HEAD + b"Content-Length: 2\r\n\r\nok"
        return f"HTTP/1.1 302 x\r\nLocation: {request.path}\r\n{lines}Content-Length: 0\r\n\r\n".encode()

    return answer


async def test_cookie_floods(attack: Attack) -> None:
    """A redirect that sets 250 cookies is followed."""
    await attack({"/many": sets(*(f"c{number}={'v' * 200}" for number in range(250)))}, {}, limit=4)


async def test_cookies_that_could_stall_a_parser(attack: Attack) -> None:
    """A cookie whose value is all escapes is read in no time."""
    routes = {"/backslashes": sets('c="' + "\\" * 60_000 + '"'), "/octal": sets('c="' + "\\011" * 15_000 + '"')}
    await attack(routes, {}, limit=3)


async def test_pauses_that_cannot_be_meant(attack: Attack) -> None:
    """Who asks for a pause of years, of less than nothing or of nonsense is not waited for."""
    pauses = (
        "9" * 5_000,
        "-1",
        "1e9",
        "99999999m99s",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 1 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 99 Jan 99999 99:99:99 GMT",
        "\u0661\u0662",
        "m" * 60_000,
    )
    routes: dict[str, Route] = {f"/{n}": Reply("", 503, headers={"Retry-After": each}) for n, each in enumerate(pauses)}
    reasons = {"unverified:rate_limited", "broken:http_503"}
    await attack(routes, dict.fromkeys(routes, reasons), limit=6)
