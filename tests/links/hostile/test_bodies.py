"""Bodies that are too much, too slow, or not what they say."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from functools import partial

from links.hostile.attack import Attack
from unit.links.httpsite import Reply, Request, Route, Writer, page

Send = Callable[[Writer], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
TOO_LARGE, TIMEOUT = "unverified:too_large", "broken:timeout"


def bomb(size: int, wbits: int) -> bytes:
    """Return at least so many bytes of a page, compressed about a thousandfold, without an end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = b"<p>" * 349_525
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (size // len(block))


def compressed(body: bytes, encoding: str) -> Reply:
    """Answer with a body that is said to be compressed."""
    return Reply(body, headers={"Content-Encoding": encoding})


async def pour(writer: Writer, head: bytes, block: bytes) -> None:
    """Send without end, as fast as it is read."""
    writer.write(head)
    while True:
        writer.write(block)
        await writer.drain()
        await asyncio.sleep(0)


async def drip(writer: Writer, head: bytes, each: bytes = b"x", pause: float = 0.1) -> None:
    """Send a little now and then, without end."""
    writer.write(head)
    while True:
        writer.write(each)
        await writer.drain()
        await asyncio.sleep(pause)


def always(send: Send) -> Callable[[Request], Send]:
    """Answer every request by this."""
    return lambda _: send


async def test_gzip_bomb(attack: Attack) -> None:
    """1 MB that inflates to 1 GiB ends at the cap."""
    await attack({"/bomb": compressed(bomb(1 << 30, 31), "gzip")}, {"/bomb": TOO_LARGE})


async def test_sixteen_gzip_bombs_at_once(attack: Attack) -> None:
    """Bombs on as many connections as there are inflate one after another."""
    body = bomb(200_000_000, 31)
    routes = {f"/bomb/{number}": compressed(body, "gzip") for number in range(16)}
    await attack(routes, dict.fromkeys(routes, TOO_LARGE), connections=16)


async def test_sixteen_bombs_just_below_the_cap(attack: Attack) -> None:
    """Bodies that inflate to 19 MB of text are read, one after another."""
    body = gzip.compress(b"<!doctype html><p>" + b"word " * 3_800_000 + b"<a href=/gone>x</a>")
    head = HEAD + b"Content-Encoding: gzip\r\n"
    routes: dict[str, Route] = {f"/near/{number}": compressed(body, "gzip") for number in range(8)}
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    routes |= {f"/chunked/{number}": lambda _: chunked for number in range(4)}
    routes |= {f"/unbounded/{number}": lambda _: head + b"\r\n" + body for number in range(4)}
    expected = {"/gone": "broken:http_404"}
    run = await attack(routes, expected, connections=16, limit=20)
    assert {page for page, target, _ in run.verdicts if target == "/gone"} == set(routes)


async def test_deflate_bomb(attack: Attack) -> None:
    """With and without zlib's wrapping."""
    routes = {"/zlib": compressed(bomb(1 << 28, 15), "deflate"), "/raw": compressed(bomb(1 << 28, -15), "deflate")}
    await attack(routes, dict.fromkeys(routes, TOO_LARGE))


async def test_nested_gzip(attack: Attack) -> None:
    """A bomb within a bomb is inflated once, however often the header says it, and a list of codings not at all."""
    inner = gzip.compress(bomb(1 << 30, 31))
    routes = {"/once": compressed(inner, "gzip"), "/twice": compressed(inner, "gzip, gzip")}
    await attack(routes, {"/twice": "unverified:unsupported_encoding"})


async def test_two_headers_for_two_codings(attack: Attack) -> None:
    """The second Content-Encoding counts, too."""
    twice = gzip.compress(gzip.compress(page("/gone").encode()))
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(twice)
    await attack({"/twice": lambda _: head + twice}, {"/twice": "unverified:unsupported_encoding"})


async def test_a_million_gzip_members(attack: Attack) -> None:
    """Members that hold nothing are counted, not unpacked for ever."""
    await attack({"/members": compressed(gzip.compress(b"") * 900_000, "gzip")}, {"/members": TOO_LARGE})


async def test_what_stands_behind_a_gzip_file(attack: Attack) -> None:
    """Padding does no harm, and what is no gzip at all is no page."""
    good = gzip.compress(page("/gone").encode())
    routes = {
        "/padded": compressed(good + b"\0" * 1_000, "gzip"),
        "/newline": compressed(good + b"\n", "gzip"),
        "/plain": compressed(page("/never").encode(), "gzip"),
        "/cut": compressed(good[:-12], "gzip"),
    }
    expected = {"/gone": "broken:http_404", "/plain": "broken:invalid_response", "/cut": "broken:truncated"}
    await attack(routes, expected)


async def test_codings_nobody_asked_for(attack: Attack) -> None:
    """Brotli, Zstandard and nonsense are not guessed at."""
    routes = {
        f"/{name}": compressed(b"\x28\xb5\x2f\xfd" * 1_000, name) for name in ("br", "zstd", "compress", "x" * 300)
    }
    await attack(routes, dict.fromkeys(routes, "unverified:unsupported_encoding"))


async def test_endless_bodies(attack: Attack) -> None:
    """Chunked and without a length, at full speed."""
    block = b"<p>more" * 9_000
    chunk = b"%x\r\n%b\r\n" % (len(block), block)
    routes = {
        "/chunked": always(partial(pour, head=HEAD + b"Transfer-Encoding: chunked\r\n\r\n", block=chunk)),
        "/unbounded": always(partial(pour, head=HEAD + b"\r\n", block=block)),
        "/long": always(partial(pour, head=HEAD + b"Content-Length: 9000000000\r\n\r\n", block=block)),
        "/untyped": always(partial(pour, head=b"HTTP/1.1 200 OK\r\n\r\n<!doctype html>", block=block)),
    }
    await attack(routes, dict.fromkeys(routes, TOO_LARGE))


async def test_sixteen_endless_bodies_at_once(attack: Attack) -> None:
    """One large body is read at a time."""
    routes = {
        f"/{number}": always(partial(pour, head=HEAD + b"\r\n", block=b"<p>more" * 9_000)) for number in range(16)
    }
    await attack(routes, dict.fromkeys(routes, TOO_LARGE), connections=16, limit=20)


async def test_endless_bodies_that_nobody_wants(attack: Attack) -> None:
    """Of what is no page, and of errors and redirects, no body is read."""
    film = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n"
    routes = {
        "/film": always(partial(pour, head=film, block=b"x" * 65_536)),
        "/gone": always(partial(pour, head=b"HTTP/1.1 404 x\r\n\r\n", block=b"x" * 65_536)),
        "/moved": always(partial(pour, head=b"HTTP/1.1 302 x\r\nLocation: /fine\r\n\r\n", block=b"x" * 65_536)),
    }
    await attack(routes, {"/gone": "broken:http_404"})


async def test_dripping_bodies(attack: Attack) -> None:
    """A byte now and then does not prolong the time a request has."""
    routes = {f"/{number}": always(partial(drip, head=HEAD + b"Content-Length: 9999\r\n\r\n")) for number in range(4)}
    await attack(routes, dict.fromkeys(routes, TIMEOUT), timeout=1.0)


async def test_dripping_bodies_that_are_large(attack: Attack) -> None:
    """A large body that stops on its way does not hold up the others for longer than its own time."""
    slow = HEAD + b"\r\n" + b"<p>" * 500_000
    routes = {f"/{number}": always(partial(drip, head=slow)) for number in range(3)}
    large = page("/gone") + "text " * 500_000
    expected = dict.fromkeys(routes, TIMEOUT) | {"/gone": "broken:http_404"}
    await attack(routes | {"/large": large}, expected, timeout=1.0)


async def test_content_lengths_that_lie(attack: Attack) -> None:
    """Too long is truncated, too short is cut, and what cannot be meant is no answer."""
    body = page("/gone").encode()

    def saying(*lengths: str) -> Callable[[Request], bytes]:
        lines = b"".join(b"Content-Length: %b\r\n" % length.encode() for length in lengths)
        return lambda _: HEAD + lines + b"\r\n" + body

    routes = {
        "/longer": saying("100000"),
        "/shorter": saying(str(len(body) - 6)),
        "/negative": saying("-1"),
        "/huge": saying("9" * 17),
        "/enormous": saying("9" * 5_000),
        "/plus": saying("+10"),
        "/hex": saying("0x10"),
        "/two": saying(str(len(body)), "5"),
        "/list": saying(f"{len(body)}, 5"),
        "/same": saying(str(len(body)), f"{len(body)}, {len(body)}"),
    }
    wrong = dict.fromkeys(("/negative", "/enormous", "/plus", "/hex", "/two", "/list"), "broken:invalid_response")
    expected = wrong | {"/longer": "broken:truncated", "/huge": TOO_LARGE, "/gone": "broken:http_404"}
    run = await attack(routes, expected)
    assert {page for page, target, _ in run.verdicts if target == "/gone"} == {"/shorter", "/same"}


async def test_chunks_that_lie(attack: Attack) -> None:
    """Sizes that are no numbers, ends that are missing, and lines without end."""
    body = page("/gone").encode()
    good = b"%x\r\n%b\r\n" % (len(body), body)

    def chunked(data: bytes, more: bytes = b"") -> Callable[[Request], bytes]:
        return lambda _: HEAD + more + b"Transfer-Encoding: chunked\r\n\r\n" + data

    invalid = {
        "/negative": chunked(b"-5\r\nhello\r\n0\r\n\r\n"),
        "/nonsense": chunked(b"hello\r\n0\r\n\r\n"),
        "/sixteen": chunked(b"fffffffffffffffff\r\n" + body),
        "/glued": chunked(b"5\r\nhello5\r\nworld0\r\n\r\n"),
        "/extension": chunked(b"5;" + b"x=" * 90_000 + b"\r\nhello\r\n0\r\n\r\n"),
        "/trailer": chunked(good + b"0\r\n" + b"X: y\r\n" * 90_000),
    }
    cut = {
        "/huge": chunked(b"fffffffffffffff\r\n" + body),
        "/unended": chunked(good),
        "/half": chunked(good + b"0\r\n"),
    }
    read = {
        "/extended": chunked(b"%x;a=b\r\n%b\r\n0;c\r\nX: y\r\n\r\n" % (len(body), body)),
        "/both": chunked(good + b"0\r\n\r\n", b"Content-Length: 3\r\n"),
        "/single": chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"),
    }
    expected = dict.fromkeys(invalid, "broken:invalid_response") | dict.fromkeys(cut, "broken:truncated")
    coding = {"/coding": lambda _: HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + good}
    expected |= {"/coding": "unverified:unsupported_encoding", "/gone": "broken:http_404"}
    run = await attack(invalid | cut | read | coding, expected)
    assert {page for page, target, _ in run.verdicts if target == "/gone"} == set(read)


async def test_bodies_that_are_all_wrapping(attack: Attack) -> None:
    """Chunks of one byte, and with four kilobytes of extension each, count as what they weigh on the wire."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    routes = {
        "/tiny": always(partial(pour, head=head, block=b"1\r\nx\r\n" * 10_000)),
        "/extended": always(partial(pour, head=head, block=(b"1;" + b"x" * 4_000 + b"\r\ny\r\n") * 16)),
    }
    await attack(routes, dict.fromkeys(routes, TOO_LARGE), limit=25)
