"""A built site in a folder, served on loopback for the time of a run: audit before you publish."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from gapless.errors import ConfigurationError

if TYPE_CHECKING:
    import uvicorn


@asynccontextmanager
async def site(target: str) -> AsyncIterator[str]:
    """Yield the address to audit: the target itself, or that of a server for the folder it names.

    Raises:
        ConfigurationError: neither a URL nor a folder.
    """
    if "://" in target:
        yield target
        return
    folder = Path(target)
    if folder.is_file():  # noqa: ASYNC240 - one look
        raise ConfigurationError(f"{target!r} is a file; name the folder that holds the built site")
    if not folder.is_dir():  # noqa: ASYNC240 - one look
        raise ConfigurationError(f"{target!r} is neither an address, such as https://{target}, nor a folder")
    async with serve(folder) as url:
        yield url


@asynccontextmanager
async def serve(folder: Path, port: int | None = None) -> AsyncIterator[str]:
    """Serve a folder on loopback.

    The port is the same each time for the same folder where it is free, so that an interrupted audit finds its
    site again.
    """
    server, listener = _server(folder), _listen(port or _port_of(folder))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await task


def _port_of(folder: Path) -> int:
    digest = hashlib.sha256(str(folder.resolve()).encode()).digest()
    return 20_000 + int.from_bytes(digest[:2], "big") % 12_000


def _listen(port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's algorithm off, which costs 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _server(folder: Path) -> "uvicorn.Server":
    import uvicorn  # a site that is audited where it is needs none of this
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    app = Starlette(routes=[Mount("/", StaticFiles(directory=folder, html=True))])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they are left to whoever has them
    return server
