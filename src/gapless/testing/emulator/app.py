"""The local Interactions API as an ASGI application.

It serves what the google-genai SDK sends for interactions, environments and their files, at v1, v1beta and
v1beta1. Streams, webhooks, triggers, saved agents and uploads are answered with a clear error. Under
`/_emulator/` it is controlled and asked, without a key: it is meant for loopback only.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from gapless.testing.emulator.environments import Environments
from gapless.testing.emulator.faults import Fault, Pending, disturb, labelled
from gapless.testing.emulator.interactions import Defaults, Interactions
from gapless.testing.emulator.store import Store
from gapless.testing.emulator.wire import TRANSPORT, ApiError, error_answer

_Handler = Callable[["Emulation", Request], Awaitable[Response]]
_Endpoint = Callable[["Emulation", Request], Awaitable[Response]]
_OTHERS = ("agents", "triggers", "webhooks", "credentials", "voices", "decisions", "models", "batches")
_ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_PAGE = 50


def _operation(name: str) -> Callable[[_Handler], _Endpoint]:
    """Ask for the key, count the request, and let the faults of this operation have their way."""

    def decorate(handler: _Handler) -> _Endpoint:
        @wraps(handler)
        async def endpoint(self: "Emulation", request: Request) -> Response:
            _require_key(request)
            self.store.count(f"requests.{name}")
            fault = self.faults.take(name) or await self.labelled(name, request)
            return await disturb(fault, request, partial(handler, self, request))

        return endpoint

    return decorate


class Emulation:
    """The API's operations over one store."""

    def __init__(self, state: Path | None, defaults: Defaults, clock: Callable[[], float]) -> None:
        self.store = Store(state)
        self.faults = Pending(self.store)
        self.environments = Environments(self.store, clock)
        self.interactions = Interactions(self.store, self.environments, defaults, clock)

    async def labelled(self, operation: str, request: Request) -> Fault | None:
        """Return the fault that a label asks for on this request."""
        if operation != "create":
            return self.interactions.take_fault(request.path_params.get("id", ""), operation)
        body = await _body(request)
        fault = _label_fault(body)
        if fault is None or fault.of_interaction or fault.operation != "create":
            return None
        return self.faults.repeated(fault, body)

    @_operation("create")
    async def create(self, request: Request) -> Response:
        """Create an interaction; in the foreground, answer when it has ended."""
        body = await _body(request)
        self.interactions.check(body)
        asked, given = _label_fault(body), self.faults.take("create", of_interaction=True)
        faults = [fault for fault in (asked, given) if fault is not None]
        lasting = [fault for fault in faults if fault.of_interaction or fault.operation != "create"]
        interaction = self.interactions.create(body, lasting)
        if not body.get("background"):
            # The end is a matter of the clock, not an event.
            while not self.interactions.ended(interaction) and not await request.is_disconnected():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return JSONResponse(self.interactions.observe(interaction, reading=False))

    @_operation("get")
    async def get(self, request: Request) -> Response:
        """Return an interaction."""
        if request.query_params.get("stream") == "true":
            raise ApiError(400, "stream is not emulated yet: this is a local stand-in of the API")
        interaction = self.interactions.get(request.path_params["id"])
        resource = self.interactions.observe(interaction, reading=True)
        if request.query_params.get("include_input") == "true":
            resource["input"] = interaction.request["input"]
        return JSONResponse(resource)

    @_operation("cancel")
    async def cancel(self, request: Request) -> Response:
        """Cancel an interaction."""
        interaction = self.interactions.cancel(request.path_params["id"])
        return JSONResponse(self.interactions.cancelled(interaction))

    @_operation("delete")
    async def delete(self, request: Request) -> Response:
        """Delete an interaction."""
        self.interactions.delete(request.path_params["id"])
        return JSONResponse({})

    @_operation("environments")
    async def create_environment(self, request: Request) -> Response:
        """Create an environment."""
        body = await _body(request)
        unknown = body.keys() - {"sources", "network", "env", "from_environment"}
        if unknown:
            raise ApiError(400, f"Unknown parameter: {min(unknown)}", "parameter_unknown")
        return JSONResponse(self.environments.get(self.environments.create(body)))

    @_operation("environments")
    async def list_environments(self, request: Request) -> Response:
        """List environments, a page at a time."""
        return JSONResponse(_page("environments", self.environments.all(), request))

    @_operation("environments")
    async def get_environment(self, request: Request) -> Response:
        """Return an environment."""
        return JSONResponse(self.environments.get(request.path_params["environment"]))

    @_operation("environments")
    async def delete_environment(self, request: Request) -> Response:
        """Delete an environment with its files."""
        self.environments.delete(request.path_params["environment"])
        return JSONResponse({})

    async def read_files(self, request: Request) -> Response:
        """List files, or download one."""
        media = request.query_params.get("alt") == "media"
        return await (self.download(request) if media else self.list_files(request))

    @_operation("files")
    async def list_files(self, request: Request) -> Response:
        """List the files of an environment, a page at a time."""
        found = self.environments.files(
            request.path_params["environment"],
            request.path_params.get("path", ""),
            recursive=request.query_params.get("recursive") == "true",
        )
        return JSONResponse(_page("files", found, request))

    @_operation("download")
    async def download(self, request: Request) -> Response:
        """Return a file's bytes."""
        parameters = request.path_params
        data = self.environments.read(parameters["environment"], parameters.get("path", ""))
        return Response(data, media_type="application/octet-stream")

    @_operation("download")
    async def download_all(self, request: Request) -> Response:
        """Return an environment as a tar archive."""
        data = self.environments.tar(request.path_params["environment"])
        return Response(data, media_type="application/x-tar")

    async def other(self, request: Request) -> Response:
        """Refuse what the real API has and this one has not."""
        _require_key(request)
        raise ApiError(501, f"{request.url.path} is not emulated: this is a local stand-in of the API")

    def stats(self) -> dict[str, Any]:
        """Return what was created and asked, over the whole life of the state."""
        requests = self.store.counters("requests.")
        return {
            **self.interactions.stats(),
            "requests": requests,
            "cancel_requests": requests.get("cancel", 0),
        }

    async def reset(self) -> None:
        """Stop all work and forget everything."""
        await self.interactions.stop()
        self.store.clear()

    async def close(self) -> None:
        """Stop all work and keep the state."""
        await self.interactions.stop()
        self.store.close()


class Application(Starlette):
    """The ASGI application; every answer carries `x-gapless-emulator: 1`."""

    def __init__(self, emulation: Emulation) -> None:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            emulation.interactions.resume()
            yield
            await emulation.close()

        self.emulation = emulation
        handlers: dict[Any, Any] = {ApiError: error_answer, HTTPException: error_answer}
        super().__init__(routes=_routes(emulation), exception_handlers=handlers, lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Mark every answer, and give the connection to faults that break it."""

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-gapless-emulator", b"1")]
            await send(message)

        if scope["type"] == "http":  # uvicorn's `send` is a method of what holds the connection
            scope[TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await super().__call__(scope, receive, marked)


def create_app(
    *,
    state: Path | None = None,
    run_seconds: float = Defaults.run_seconds,
    miss: int = 0,
    invent: int = 0,
    clock: Callable[[], float] = time.time,
) -> Application:
    """Return the local Interactions API as an ASGI application.

    Args:
        state: the SQLite file that keeps interactions, counters, environments, files and pending faults
            over restarts; in memory by default.
        run_seconds: how long an interaction is in progress, unless its label `gapless-run-seconds` differs.
        miss: how many broken links the agent's audit keeps to itself, unless label `gapless-miss` differs.
        invent: how many broken links it makes up, unless label `gapless-invent` differs.
        clock: Unix time in seconds.
    """
    return Application(Emulation(state, Defaults(run_seconds, miss, invent), clock))


def _routes(emulation: Emulation) -> list[BaseRoute]:
    e = emulation
    api: list[BaseRoute] = [
        Route("/interactions", e.create, methods=["POST"]),
        Route("/interactions/{id}", e.get, methods=["GET"]),
        Route("/interactions/{id}", e.delete, methods=["DELETE"]),
        Route("/interactions/{id}/cancel", e.cancel, methods=["POST"]),
        Route("/environments", e.create_environment, methods=["POST"]),
        Route("/environments", e.list_environments, methods=["GET"]),
        Route("/environments/{environment}", e.get_environment, methods=["GET"]),
        Route("/environments/{environment}", e.delete_environment, methods=["DELETE"]),
        Route("/environments/{environment}/files", e.read_files, methods=["GET"]),
        Route("/environments/{environment}/files/{path:path}", e.read_files, methods=["GET"]),
        Route("/files/environment-{environment}:download", e.download_all, methods=["GET"]),
        *(Route(f"/{name}{{rest:path}}", e.other, methods=_ANY) for name in _OTHERS),
    ]
    versions = ("v1", "v1beta", "v1beta1")
    return [
        Mount("/_emulator", routes=_control(emulation)),
        *(Mount(f"/{version}/projects/{{project}}/locations/{{location}}", routes=api) for version in versions),
        *(Mount(f"/{version}", routes=api) for version in versions),
        *(Route(f"/upload/{version}/{{rest:path}}", e.other, methods=_ANY) for version in versions),
    ]


def _control(emulation: Emulation) -> list[BaseRoute]:
    async def stats(request: Request) -> Response:
        return JSONResponse(emulation.stats())

    async def inject(request: Request) -> Response:
        emulation.faults.add(_control_fault(await _body(request)))
        return JSONResponse({})

    async def clear(request: Request) -> Response:
        emulation.faults.clear()
        return JSONResponse({})

    async def reset(request: Request) -> Response:
        await emulation.reset()
        return JSONResponse({})

    return [
        Route("/stats", stats, methods=["GET"]),
        Route("/faults", inject, methods=["POST"]),
        Route("/faults", clear, methods=["DELETE"]),
        Route("/reset", reset, methods=["POST"]),
    ]


def _control_fault(body: dict[str, Any]) -> Fault:
    numbers = [body.get(name) for name in ("times", "rate", "seconds", "count")]
    if any(isinstance(n, bool) or not isinstance(n, int | float | None) for n in numbers):
        raise ApiError(400, "times, rate, seconds and count must be numbers")
    try:
        return Fault(body.pop("fault", ""), **body)
    except TypeError:
        known = "fault, times, rate, operation, seconds, count"
        raise ApiError(400, f"a fault is described by {known}", "parameter_unknown") from None


def _label_fault(body: dict[str, Any]) -> Fault | None:
    labels = body.get("labels")
    return labelled(labels) if isinstance(labels, dict) else None


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise ApiError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "the body must be a JSON object")
    return body


def _require_key(request: Request) -> None:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not (request.headers.get("x-goog-api-key") or request.query_params.get("key") or bearer):
        raise ApiError(401, "no API key: send x-goog-api-key; any text will do here")


def _page(name: str, items: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    try:
        size = int(request.query_params.get("page_size") or _PAGE)
        start = int(request.query_params.get("page_token") or 0)
    except ValueError:
        raise ApiError(400, "page_size and page_token must be what the API gave out") from None
    size, start = min(max(size, 1), 1000), max(start, 0)
    page: dict[str, Any] = {name: items[start : start + size]}
    if start + size < len(items):
        page["next_page_token"] = str(start + size)
    return page
