import asyncio
import gzip
import zlib

import pytest

from unit.links.httpsite import Audit, Reply, Writer, gzipped, page, results

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


async def test_a_body_shorter_than_it_says_is_truncated(audit: Audit) -> None:
    """A page whose body ends early is broken, plain, chunked or compressed."""
    whole = gzip.compress(page().encode() * 100)
    found = await audit(
        {
            "/": page("/plain", "/chunked", "/gzip"),
            "/plain": lambda _: HEAD + b"Content-Length: 1000\r\n\r\n<p>short",
            "/chunked": lambda _: HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nshort",
            "/gzip": Reply(whole[:-20], headers={"Content-Encoding": "gzip"}),
        },
    )
    assert results(found) == dict.fromkeys(("/plain", "/chunked", "/gzip"), "broken:truncated")


async def test_compressed_pages_are_read(audit: Audit) -> None:
    """Gzip in one or more members, zlib and raw deflate are all inflated."""
    text = page("/gone").encode()
    raw = zlib.compressobj(wbits=-15)
    bodies = {
        "/gzip": ("gzip", gzip.compress(text)),
        "/members": ("gzip", gzip.compress(text[:30]) + gzip.compress(text[30:])),
        "/zlib": ("deflate", zlib.compress(text)),
        "/raw": ("deflate", raw.compress(text) + raw.flush()),
    }
    routes = {path: Reply(body, headers={"Content-Encoding": kind}) for path, (kind, body) in bodies.items()}
    found = await audit({"/": page(*bodies), **routes})
    assert {finding.page.removeprefix(audit.site.url) for finding in found.findings()} == set(bodies)


async def test_an_encoding_nobody_asked_for_is_unverified(audit: Audit) -> None:
    """A page in brotli, which was not accepted, cannot be read and is not called broken."""
    found = await audit({"/": page("/a"), "/a": Reply(b"x", headers={"Content-Encoding": "br"})})
    assert results(found) == {"/a": "unverified:unsupported_encoding"}


async def test_a_gzip_bomb_ends_at_the_cap(audit: Audit) -> None:
    """A small body that inflates to far more than the cap is left unread."""
    found = await audit({"/": page("/bomb"), "/bomb": gzipped("<p>" * 3_000_000)}, max_bytes=100_000)
    assert results(found) == {"/bomb": "unverified:too_large"}


async def test_an_endless_body_ends_at_the_cap(audit: Audit) -> None:
    """A body without end at full speed is left at the cap."""

    async def endless(writer: Writer) -> None:
        writer.write(HEAD + b"\r\n")
        while True:
            writer.write(b"<p>more" * 1_000)
            await writer.drain()

    found = await audit({"/": page("/endless"), "/endless": lambda _: endless}, max_bytes=1_000_000)
    assert results(found) == {"/endless": "unverified:too_large"}


async def test_a_slow_body_ends_at_the_deadline(audit: Audit) -> None:
    """A byte now and then does not prolong the time one request has in total."""

    async def slow(writer: Writer) -> None:
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    found = await audit({"/": page("/slow"), "/slow": lambda _: slow}, timeout=0.3)
    assert results(found) == {"/slow": "broken:timeout"}


async def test_answers_that_are_no_http_are_broken(audit: Audit) -> None:
    """Garbage, headers without end and a header of a megabyte are broken and do no harm."""
    many = b"".join(b"X-%d: y\r\n" % number for number in range(50_000))
    found = await audit(
        {
            "/": page("/garbage", "/many", "/long"),
            "/garbage": lambda _: b"220 ftp ready\r\n\r\n",
            "/many": lambda _: b"HTTP/1.1 200 OK\r\n" + many + b"\r\n",
            "/long": lambda _: b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        },
    )
    assert set(results(found).values()) == {"broken:invalid_response"}
    assert len(results(found)) == 3


async def test_large_files_are_not_read(audit: Audit) -> None:
    """A file that is no page is left after its headers."""
    sent = 0

    async def film(writer: Writer) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    found = await audit({"/": page("/film"), "/film": lambda _: film})
    assert results(found) == {}
    assert sent < 20_000_000


@pytest.mark.parametrize(
    ("media", "body", "crawled"),
    [
        (None, "  <!DOCTYPE html>" + page("/gone"), True),
        (None, "<!-- x --><a href='/gone'>", True),
        (None, "just text <a href='/gone'>", False),
        ("application/xhtml+xml", page("/gone"), True),
        ("TEXT/HTML ; charset=utf-8", page("/gone"), True),
        ("text/plain", page("/gone"), False),
        ("application/json", page("/gone"), False),
    ],
)
async def test_what_counts_as_html(audit: Audit, media: str | None, body: str, crawled: bool) -> None:
    """HTML is what is called so, or what a browser would take for it when it is called nothing."""
    found = await audit({"/": page("/a"), "/a": Reply(body, type=media)})
    assert results(found) == ({"/gone": "broken:http_404"} if crawled else {})


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("text/html; charset=ISO-8859-1", '<a href="/p#x">é</a>'.encode("cp1252")),
        ("text/html", '<meta charset="windows-1251"><a href="/p#x">ж</a>'.encode("cp1251")),
        ("text/html", "\ufeff<a href='/p#x'>ж</a>".encode("utf-16-le")),
        ("text/html; charset=nonsense", "<a href='/p#x'>ж</a>".encode()),
        ("text/html; charset=unicode_escape", "<a href='/p#x'>ж</a>".encode()),
    ],
)
async def test_the_charset_is_honoured(audit: Audit, media: str, body: bytes) -> None:
    """Byte order mark, header and meta element say how a page is written, unknown names nothing."""
    found = await audit({"/": Reply(body, type=media), "/p": "x"})
    [finding] = found.findings()
    assert finding.text in {"é", "ж"}


async def test_a_connection_is_used_again(audit: Audit) -> None:
    """Keep-alive is used: many requests, few connections."""
    await audit({"/": page(*(f"/{n}" for n in range(40)))} | {f"/{n}": page() for n in range(40)}, connections=2)
    assert audit.site.connections <= 3


async def test_connections_are_limited(audit: Audit) -> None:
    """No more requests run at once than the scope allows."""
    routes = {"/": page(*(f"/{n}" for n in range(40)))} | {f"/{n}": page() for n in range(40)}
    audit.delay = 0.01
    await audit(routes, connections=3)
    assert audit.site.most_at_once == 3
