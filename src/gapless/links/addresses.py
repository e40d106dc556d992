"""Which network addresses an audit may connect to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_UNICAST = ip_network("2000::/3")
"""All that is allocated for the public Internet over IPv6 (IANA); what embeds an IPv4 address lies partly outside."""
# Addresses that lead on to others, or that Python versions judge differently.
_TUNNELS = tuple(
    ip_network(net) for net in ("2002::/16", "2001::/32", "192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10")
)


class PrivateAddress(OSError):
    """A host of somebody else resolves to an address that is not on the public Internet."""


def is_public(text: str) -> bool:
    """Say whether an IP address is global unicast and no tunnel into something else."""
    address = _address(text)
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    if any(address.version == net.version and address in net for net in _TUNNELS):
        return False
    return address.is_global and not address.is_multicast


def is_link_local(text: str) -> bool:
    """Say whether an IP address is one of the machine's own network, as those where clouds offer their credentials."""
    return _address(text).is_link_local


def is_literal(host: str) -> bool:
    """Say whether the host of an address is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
