"""What requests and answers look like on the wire."""

import asyncio
import re
import socket
import struct
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

STAND_IN = "[local stand-in, not Gemini]"
"""The first line of every text that the emulator gives out."""

TRANSPORT = "gapless.transport"
"""The key of an ASGI scope under which the connection's transport is found, where there is one."""

_CODES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    405: "not_found",
    409: "aborted",
    416: "out_of_range",
    429: "rate_limit_exceeded",
    499: "cancelled",
    501: "unimplemented",
    503: "service_unavailable",
    504: "deadline_exceeded",
}


class ApiError(Exception):
    """An answer with an error body, as in ai.google.dev/gemini-api/docs/api-errors."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or _CODES.get(status, "api_error" if status >= 500 else "invalid_request")


def error_body(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """Return the body of an error answer."""
    return {"error": {"code": ApiError(status, message, code).code, "message": message}}


def error_answer(request: Request, error: Exception) -> Response:
    """Answer with an `ApiError`, or with what the router found wrong."""
    if isinstance(error, ApiError):
        return JSONResponse(error_body(error.status, str(error), error.code), error.status)
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse(error_body(status, f"{request.method} {request.url.path}: Method not found"), status)


class Dropped(Response):
    """Close the connection without a byte of an answer.

    Raises:
        ConnectionResetError: there is no connection, because the application is called in process.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort, and wait until the server has noticed."""
        transport = scope.get(TRANSPORT)
        if transport is None:
            raise ConnectionResetError("the emulator closed the connection without an answer")
        await _abort(transport, receive)


class Torn(Response):
    """Give the right head and the first half of the body, then reset the connection.

    Raises:
        ConnectionResetError: there is no connection, because the application is called in process.
    """

    def __init__(self, whole: Response) -> None:
        super().__init__(bytes(whole.body), whole.status_code, dict(whole.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what there is to be seen, and reset."""
        transport = scope.get(TRANSPORT)
        if transport is None:
            raise ConnectionResetError("the emulator reset the connection in the middle of an answer")
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        await _abort(transport, receive)


_NO_LINGER = struct.pack("ii", 1, 0)
"""Makes closing a socket a reset."""


async def _abort(transport: asyncio.Transport, receive: Receive) -> None:
    """Close the connection, and wait until the server has noticed."""
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def timestamp(seconds: float) -> str:
    """Return Unix time as the API writes it: ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def input_steps(value: Any) -> list[dict[str, Any]]:
    """Return a request's `input` (text, content, list of content, list of steps) as steps."""
    items = value if isinstance(value, list) else [value]
    content: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, str):
            content.append({"type": "text", "text": item})
        elif isinstance(item, dict) and _is_step(item):
            steps.append(item)
        elif isinstance(item, dict):
            content.append(item)
    return [*steps, *([{"type": "user_input", "content": content}] if content else [])]


def _is_step(item: dict[str, Any]) -> bool:
    return bool(re.fullmatch(r"user_input|model_output|thought|\w+_(call|result)", str(item.get("type"))))


def prompt_text(value: Any) -> str:
    """Return the text in a request's `input`, parts joined by line breaks."""
    parts: list[str] = []
    for step in input_steps(value):
        content = step.get("content", step.get("result"))
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                parts.append(text)
    return "\n".join(parts)
