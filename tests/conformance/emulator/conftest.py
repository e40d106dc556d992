"""The unmodified SDK, the emulator on a real socket, and a small site with known faults."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from aiohttp import web
from google import genai
from google.genai import types

from gapless.testing.emulator import Emulator


class Sdk:
    """The SDK's asynchronous client, without retries of its own."""

    def __init__(self, url: str, *, key: str = "any", timeout: float = 10.0, version: str | None = None) -> None:
        options = types.HttpOptions(
            base_url=url,
            api_version=version,
            timeout=int(timeout * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self.client = genai.Client(api_key=key, vertexai=False, http_options=options)  # closed when collected

    @property
    def interactions(self) -> Any:
        return self.client.aio.interactions

    @property
    def environments(self) -> Any:
        return self.client.aio.environments

    async def start(self, text: str = "Say hello", **options: Any) -> Any:
        """Create a background interaction."""
        if "agent" not in options:
            options.setdefault("model", "gemini-3.8-flash")
        return await self.interactions.create(input=text, background=True, **options)

    async def until(self, key: str, done: Callable[[str], bool] | None = None) -> Any:
        """GET until the status is neither queued nor in_progress, or `done` says so."""
        done = done or (lambda status: status not in {"queued", "in_progress"})
        while True:
            seen = await self.interactions.get(key)
            if done(seen.status):
                return seen
            await asyncio.sleep(0.05)

    async def aclose(self) -> None:
        await self.client.aio.aclose()


@pytest.fixture(scope="session")
async def emulator() -> AsyncIterator[Emulator]:
    """Yield an emulator whose interactions take a fifth of a second."""
    async with Emulator(run_seconds=0.2) as running:
        yield running


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Sdk]]:
    """Yield a maker of SDK clients."""
    made: list[Sdk] = []

    def connect(url: str, **options: Any) -> Sdk:
        made.append(Sdk(url, **options))
        return made[-1]

    yield connect
    for sdk in made:
        await sdk.aclose()


@pytest.fixture(scope="session")
async def sdk(emulator: Emulator) -> AsyncIterator[Sdk]:
    """Yield an SDK client of the shared emulator."""
    made = Sdk(emulator.url)
    yield made
    await made.aclose()


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a bare HTTP client of the shared emulator, with a key."""
    async with httpx2.AsyncClient(base_url=emulator.url, headers={"x-goog-api-key": "any"}) as client:
        yield client


@pytest.fixture
def unused_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def _serve(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], **options: Any
) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler, **options))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
def serve() -> Any:
    """Return a context manager that serves a handler on loopback and yields its origin."""
    return _serve


PAGES = {
    "/": '<h1 id=start>Home</h1><a href="guide/">Guide</a> <a href="/missing">x</a> <a href="#start">up</a>'
    '<a href="#nowhere">y</a> <a href="mailto:a@b.test">m</a> <a href="https://elsewhere.test/">e</a>'
    '<img src="/logo.png"><link rel=preconnect href="/nothing-to-fetch"><a href="/moved#part">moved</a>',
    "/guide/": '<a name=old></a><p id="caf\u00e9">c</p><a href="../">Home</a> <a href="#caf%C3%A9">c</a>'
    '<a href="/#start">s</a><a href="#old">o</a><a href="#top">t</a><a href="/missing">again</a>'
    '<img src="gone.png"><a href="/moved#absent">no part</a><a href="/boom">b</a>',
    "/target": '<p id=part>Part</p> <a href="http://127.0.0.1:bad/">odd</a>',
}
BROKEN = {
    ("/", "/missing", "404"),
    ("/", "/#nowhere", "missing_fragment"),
    ("/guide/", "/missing", "404"),
    ("/guide/", "/guide/gone.png", "404"),
    ("/guide/", "/moved#absent", "missing_fragment"),
    ("/guide/", "/boom", "500"),
}


async def _page(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/moved":
        raise web.HTTPFound("/target")
    if request.path == "/logo.png":
        return web.Response(body=b"png", content_type="image/png")
    if request.path in PAGES:
        return web.Response(text=PAGES[request.path], content_type="text/html")
    return web.Response(status=500 if request.path == "/boom" else 404)


@pytest.fixture
def broken() -> set[tuple[str, str, str]]:
    """Return what is broken in the small site: page, target, reason."""
    return BROKEN


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """Yield the origin of a small site; `broken` says what is wrong with it."""
    async with _serve(_page) as origin:
        yield origin
