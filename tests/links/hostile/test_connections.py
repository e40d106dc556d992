"""Servers that misuse the connection itself."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gapless.links import Scope, crawl
from links.hostile.attack import Attack, command_line
from links.hostile.test_bodies import HEAD, TIMEOUT, TOO_LARGE, always, pour
from unit.links.httpsite import Reply, Route, Serve, Site, page, results
from unit.links.test_addresses import self_signed

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SMALL = HEAD + b"Content-Length: 2\r\n\r\nok"


@asynccontextmanager
async def listening(serving: Serving, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve connections by this, and return host and port."""

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serving(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side sees a reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def elsewhere(hosts: list[str]) -> dict[str, str | Reply]:
    """Return the route of a page that links to other hosts."""
    return {"/list": page(*(f"//{host}/" if "//" not in host else host for host in hosts))}


async def test_resets_at_each_stage(attack: Attack) -> None:
    """Before the request is read, in the head, between head and body, and in the body."""

    async def on_accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    def after(data: bytes) -> Serving:
        async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.02)
            reset(writer)

        return serving

    sized = HEAD + b"Content-Length: 999\r\n\r\n"
    async with (
        listening(on_accept) as accept,
        listening(after(b"")) as request,
        listening(after(b"HTTP/1.1 200 OK\r\nConte")) as head,
        listening(after(sized)) as between,
        listening(after(sized + b"<p>")) as body,
        listening(after(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel")) as chunk,
        listening(after(HEAD + b"\r\n<p>hello")) as unbounded,
    ):
        hosts = [accept, request, head, between, body, chunk, unbounded]
        expected = {f"http://{host}/#x": "broken:reset" for host in (accept, request, head)}
        expected |= {f"http://{host}/#x": "broken:truncated" for host in (between, body, chunk, unbounded)}
        await attack(elsewhere([f"//{host}/#x" for host in hosts]), expected, allow=hosts)


async def test_slow_and_wrong_tls(attack: Attack, tmp_path: Path) -> None:
    """A handshake that never ends, one that is garbage, one that is cut off, and plain HTTP on the port."""
    release = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        while not release.is_set():
            writer.write(b"\0")
            await writer.drain()
            await asyncio.sleep(0.1)

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(range(256)) * 400)
        await reader.read()

    async def closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        reset(writer)

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(SMALL)
        await writer.drain()

    async with (
        listening(silent) as a,
        listening(slow) as b,
        listening(garbage) as c,
        listening(closed) as d,
        listening(plain) as e,
        listening(plain, self_signed(tmp_path)) as f,
    ):
        reasons = (TIMEOUT, TIMEOUT, "broken:tls", "broken:reset", "broken:tls", "broken:tls")
        hosts = [f"https://{host}/" for host in (a, b, c, d, e, f)]
        expected = dict(zip(hosts, reasons, strict=True))
        await attack(elsewhere(hosts), expected, timeout=1.0, allow=(a, b, c, d, e, f))
        release.set()


async def test_large_bodies_over_tls(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS, too, one large body is read at a time, and endless ones end at the cap."""
    context, authority = trusted(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    body = b"<!doctype html><p>" + b"word " * 600_000
    large: dict[str, Route] = {
        f"/large/{number}": Reply(body + page(f"/gone/{number}").encode()) for number in range(12)
    }
    endless: dict[str, Route] = {
        f"/endless/{number}": always(partial(pour, head=HEAD + b"\r\n", block=b"<p>more" * 9_000))
        for number in range(4)
    }
    async with Site({"/robots.txt": "", "/": page(*large, *endless)} | large | endless, tls=context) as site:
        url = site.url.replace("http:", "https:")
        run = await command_line(url + "/")
    attack.record(run)
    attack.check(run, 15)
    assert run.verdicts == {(f"/large/{number}", f"/gone/{number}", "broken:http_404") for number in range(12)} | {
        ("/", path, TOO_LARGE) for path in endless
    }


def trusted(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for this machine, and the file of the authority that vouches for it: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, site = folder / "authority.pem", folder / "site.pem"
    authority.write_bytes(certificate.public_bytes(Encoding.PEM))
    site.write_bytes(authority.read_bytes() + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(site)
    return context, authority


async def test_a_second_answer_is_not_taken_for_that_to_the_next_request(serve: Serve) -> None:
    """What follows an answer is thrown away with the connection."""
    poison = HEAD + b"Content-Length: 24\r\n\r\n<a href=/poisoned>x</a>  "
    pages = [f"/{number}" for number in range(40)]
    said = 0

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ")[1].decode()
            said += 1
            if path == "/":
                body = page(*pages).encode()
            elif path in pages:
                body = b"<p>ok"
            else:
                writer.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")
                continue
            if said % 3 == 0:
                writer.write(
                    HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) + poison
                )
            elif said % 3 == 1:
                writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) + poison)
            else:
                writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()

    async with listening(serving) as host:
        found = await crawl(Scope(f"http://{host}/", robots=False, sitemaps=False, connections=1))
    assert results(found) == {}
    assert {url.removeprefix(f"http://{host}") for url in found.pages} == {"/", *pages}


async def test_connections_closed_between_requests(attack: Attack) -> None:
    """A kept connection that is closed, with and without a word, or reset before the next request, costs no answer."""
    pages = [f"/{number}" for number in range(30)]

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            status, body = (b"200 OK", page(*pages)) if path == "/" else (b"200 OK", "ok")
            if path != "/" and path not in pages:
                status = b"404 x"
            data = b"HTTP/1.1 %b\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
            writer.write(data % (status, len(body), body.encode()))
            await writer.drain()
            if number and sum(path.encode()) % 2:
                reset(writer)

    async with listening(serving) as host:
        found = await crawl(Scope(f"http://{host}/", robots=False, sitemaps=False, connections=3))
    assert results(found) == {}
    assert len(found.pages) == 31


async def test_an_answer_before_the_request(attack: Attack) -> None:
    """Who speaks first is heard once, and what it says is taken for no other answer."""

    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SMALL + HEAD + b"Content-Length: 24\r\n\r\n<a href=/poisoned>x</a>  ")
        await writer.drain()
        await reader.read()

    async with listening(eager) as host:
        links = [f"http://{host}/{number}#here" for number in range(6)]
        expected = dict.fromkeys(links, "broken:missing_fragment")
        await attack(elsewhere(links), expected, allow=[host])


async def test_a_server_that_reads_nothing(attack: Attack) -> None:
    """A listener that never accepts, and one that never answers."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        deaf = f"127.0.0.1:{full.getsockname()[1]}"
        async with listening(mute) as host:
            links = [f"http://{each}/{number}" for each in (deaf, host) for number in range(2)]
            expected = dict.fromkeys(links, TIMEOUT)
            await attack(elsewhere(links), expected, timeout=0.7, allow=(deaf, host))


@pytest.mark.parametrize("stage", ["robots", "start"])
async def test_a_site_that_resets_everything(serve: Serve, attack: Attack, stage: str) -> None:
    """The audit ends and says so."""

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if stage == "start" and b"robots" in head:
            writer.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        reset(writer)

    async with listening(serving) as host:
        found = await crawl(Scope(f"http://{host}/"))
    assert not found.complete
    assert "reset" in (found.incomplete_reason or "")
