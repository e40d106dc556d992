"""Whether a site is one that the whole Internet can see."""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit


async def is_public(url: str) -> bool:
    """Say whether every address of the site's host is a global one; an unknown host is not."""
    try:
        host = urlsplit(url).hostname or ""
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # the latter from what is no address, and from a name that is too long for DNS
        return False
    return all(ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in found)
