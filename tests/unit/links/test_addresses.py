import selectors
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gapless.links.addresses import PrivateAddress, is_public
from gapless.links.client import Client
from unit.links.httpsite import Audit, Reply, Serve, Site, page, redirect, results

PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2001:0:1::1",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_off_the_public_internet(address: str) -> None:
    """Loopback, private, link-local, shared, test, multicast, reserved and tunnelled addresses are not public."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses(address: str) -> None:
    """Global unicast addresses are public."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_other_hosts_on_private_addresses_are_never_connected(audit: Audit, serve: Serve, host: str) -> None:
    """However the address is written, a service beside the site is not visited."""
    other = await serve({"/": page()})
    found = await audit({"/": page(f"http://{host}:{other.port}/admin")})
    assert list(results(found).values()) == ["unverified:private_address"]
    assert other.connections == 0


async def test_a_redirect_into_the_private_net_is_not_followed(audit: Audit, serve: Serve) -> None:
    """The site cannot send the auditor where its own links could not."""
    other = await serve({"/": page()})
    found = await audit({"/": page("/out"), "/out": redirect(f"http://localhost:{other.port}/")})
    assert results(found) == {"/out": "unverified:private_address"}
    assert other.connections == 0


def test_names_are_judged_by_what_they_resolve_to() -> None:
    """One private answer among those for a name is one too many, unless the host is trusted."""
    with selectors.DefaultSelector() as selector:
        client = Client(selector, timeout=1, max_bytes=1, trusted=frozenset({("localhost", 80)}))
        client.check("localhost", 80, ["127.0.0.1"])
        client.check("example.com", 81, ["1.1.1.1"])
        with pytest.raises(PrivateAddress):
            client.check("localhost", 81, ["1.1.1.1", "127.0.0.1"])
        client.close()


async def test_other_hosts_that_are_allowed_are_checked_and_not_crawled(audit: Audit, serve: Serve) -> None:
    """Links to other hosts are checked with their fragments, and no links are taken from there."""
    other = await serve(
        {"/p": page("/beyond", extra='<p id="here">'), "/moved": redirect("/p#gone"), "/no": Reply("", 403)}
    )
    paths = ("/p", "/p#here", "/p#there", "/gone", "/moved", "/no")
    found = await audit(
        {"/": page(*(other.url + path for path in paths))},
        allow=(f"127.0.0.1:{other.port}",),
    )
    assert {target.removeprefix(other.url): why for target, why in results(found).items()} == {
        "/p#there": "broken:missing_fragment",
        "/gone": "broken:http_404",
        "/moved": "broken:missing_fragment",
        "/no": "unverified:blocked_403",
    }
    assert "/beyond" not in other.requests
    assert len(found.pages) == 1


async def test_other_hosts_get_two_connections(audit: Audit, serve: Serve) -> None:
    """Another host is asked politely."""
    paths = [f"/{number}" for number in range(12)]
    other = await serve(dict.fromkeys(paths, "x"))
    other.delay = lambda path: 0.01
    await audit({"/": page(*(other.url + path for path in paths))}, allow=(f"127.0.0.1:{other.port}",))
    assert other.most_at_once == 2
    assert other.requests.total() == 12


async def test_links_to_other_hosts_can_be_left_alone(audit: Audit, serve: Serve) -> None:
    """Without external, other hosts are neither visited nor counted; a redirect there is unverified."""
    other = await serve({"/": page()})
    found = await audit(
        {"/": page(other.url + "/", "/out"), "/out": redirect(other.url + "/")},
        external=False,
        allow=(f"127.0.0.1:{other.port}",),
    )
    assert results(found) == {"/out": "unverified:not_checked"}
    assert found.links == 1
    assert other.connections == 0


async def test_names_that_do_not_exist_and_closed_ports_are_broken(audit: Audit) -> None:
    """A host without address and a port where nobody listens are broken, with different reasons."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
        found = await audit({"/": page("http://nobody.invalid/", f"http://{closed}/")}, allow=(closed,))
    assert sorted(results(found).values()) == ["broken:dns", "broken:refused"]


async def test_tls_that_cannot_be_trusted_is_broken(audit: Audit, tmp_path: Path) -> None:
    """A host whose certificate nobody vouches for is broken as such."""
    async with Site({}, tls=self_signed(tmp_path)) as site:
        host = f"127.0.0.1:{site.port}"
        found = await audit({"/": page(f"https://{host}/")}, allow=(host,))
    assert list(results(found).values()) == ["broken:tls"]
    assert site.requests.total() == 0


def self_signed(folder: Path) -> ssl.SSLContext:
    """Make a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "site.pem"
    file.write_bytes(pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context
