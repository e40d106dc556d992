"""Which network addresses an audit may connect to."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult

# Addresses that lead on to others, or that Python versions judge differently.
_TUNNELS = tuple(
    ip_network(net)
    for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "192.0.0.0/24", "100.64.0.0/10")
)


class PrivateAddress(OSError):
    """A host of somebody else resolves to an address that is not on the public Internet."""


def is_public(text: str) -> bool:
    """Say whether an IP address is global unicast and no tunnel into something else."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address.version == net.version and address in net for net in _TUNNELS):
        return False
    return address.is_global and not address.is_multicast


def is_literal(host: str) -> bool:
    """Say whether the host of an address is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """Resolves names once, judges every answer, and hands out only what was judged.

    Args:
        trusted: host and port of what may be visited wherever it leads, since the caller named it.
    """

    def __init__(self, trusted: frozenset[tuple[str, int]]) -> None:
        self._trusted = trusted

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises PrivateAddress, or OSError when there are none."""
        answers = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        found = [str(answer[4][0]) for answer in answers]
        if (host, port) not in self._trusted and not all(map(is_public, found)):
            raise PrivateAddress(f"{host} is not on the public Internet")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=answer[0],
                proto=answer[2],
                flags=socket.AI_NUMERICHOST,
            )
            for address, answer in zip(found, answers, strict=True)
        ]

    async def close(self) -> None:
        """Hold nothing, close nothing."""
