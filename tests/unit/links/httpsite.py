"""A small HTTP/1.1 server that says exactly what a test wants said, on real sockets."""

import asyncio
import gzip
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gapless.links import Crawl, Scope, crawl

Writer = asyncio.StreamWriter


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    number: int  # how often the path was asked for, this time included


@dataclass
class Reply:
    body: bytes | str = ""
    status: int = 200
    type: str | None = "text/html"
    headers: dict[str, str] = field(default_factory=dict)

    def wire(self) -> bytes:
        body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = dict(self.headers)
        if self.type is not None:
            headers.setdefault("Content-Type", self.type)
        headers.setdefault("Content-Length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} x\r\n{head}\r\n".encode() + body


Handler = Callable[[Request], Reply | bytes | Callable[[Writer], Awaitable[None]]]
Route = Reply | str | Handler
Serve = Callable[[Mapping[str, Route]], Awaitable["Site"]]


class Site:
    """Serves routes by path, counts requests, and answers 404 to all else."""

    def __init__(self, routes: Mapping[str, Route], tls: ssl.SSLContext | None = None) -> None:
        self.routes = routes
        self.tls = tls
        self.requests: Counter[str] = Counter()
        self.seen: list[Request] = []
        self.delay: Callable[[str], float] = lambda path: 0.0
        self.connections = 0
        self.methods: set[str] = set()
        self.at_once = 0
        self.most_at_once = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        task.add_done_callback(self.tasks.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the auditor went, or the test ends
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: Writer) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        self.methods.add(method)
        self.requests[path] += 1
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        request = Request(path, headers, self.requests[path])
        self.seen.append(request)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(self.delay(path))
            return await self._answer(request, writer)
        finally:
            self.at_once -= 1

    async def _answer(self, request: Request, writer: Writer) -> bool:
        route = self.routes.get(request.path, Reply("gone", 404))
        if isinstance(route, str):
            route = Reply(route)
        said = route if isinstance(route, Reply) else route(request)
        if isinstance(said, Reply):
            writer.write(said.wire())
            await writer.drain()
            return True
        if isinstance(said, bytes):
            writer.write(said)
            await writer.drain()
        else:
            await said(writer)
        return False


def redirect(to: str | None, status: int = 302, **headers: str) -> Reply:
    """Answer with a redirect, or with one that does not say where to."""
    named = {} if to is None else {"Location": to}
    return Reply("", status, headers=named | {name.replace("_", "-"): value for name, value in headers.items()})


def page(*links: str, extra: str = "") -> str:
    """Write a page with these links."""
    return "<!doctype html><title>t</title>" + "".join(f'<a href="{link}">to it</a>\n' for link in links) + extra


def gzipped(text: str) -> Reply:
    """Answer with a compressed page."""
    return Reply(gzip.compress(text.encode()), headers={"Content-Encoding": "gzip"})


def results(found: Crawl) -> dict[str, str]:
    """Return the reason for each target that is not ok, targets on the site as paths."""
    site = found.scope.site
    return {each.target.removeprefix(site): f"{each.result}:{each.reason}" for each in found.findings()}


class Audit:
    """Serves routes, audits them, and keeps the site for questions."""

    site: Site

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.delay = 0.0

    async def __call__(self, routes: Mapping[str, Route], start: str = "/", **options: Any) -> Crawl:
        self.site = await self._serve({"/robots.txt": Reply("", 404), **routes})
        self.site.delay = lambda path: self.delay
        return await crawl(Scope(self.site.url + start, **options))
