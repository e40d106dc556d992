"""Gemini's Interactions API through google-genai 3.4.

The API has neither an idempotency key nor a list, so a create is one POST, and every failure is sorted by
whether the task may have been taken. The SDK says what a request looks like, checks what is submitted and has
the connections; it does not get to build each request and to parse each answer, which takes it 4 to 9 ms of
CPU, mostly for working out its own types anew (`bench/polls.py`). Facts about the SDK were measured with 3.4.0;
about the API they are from Google's documentation (ai.google.dev/gemini-api/docs).
"""

import asyncio
import ipaddress
import json
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import httpx2
from google import genai
from google.genai import _interactions as sdk  # the SDK's stable name, in spite of the underscore
from google.genai import errors as classic
from google.genai import types
from google.genai.interactions import CreateAgentInteraction, CreateModelInteraction
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from gapless.config import Settings
from gapless.contract.interaction import INTERACTION_ID, InteractionRequest, State, Usage
from gapless.errors import (
    ConfigurationError,
    InteractionNotFound,
    ReadRejected,
    SubmissionRefused,
    SubmissionRejected,
    SubmissionUnknown,
    Unavailable,
)
from gapless.providers.base import Capabilities, Content, File, Observation

STATES = {
    "queued": State.QUEUED,
    "in_progress": State.RUNNING,
    "requires_action": State.INPUT_REQUIRED,
    "completed": State.SUCCEEDED,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
    "incomplete": State.INCOMPLETE,
    "budget_exceeded": State.INCOMPLETE,
    "requires_continuation": State.INCOMPLETE,
}
"""The nine statuses; any other is UNKNOWN and is polled on, under the run's limits."""

_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
# OverflowError: the SDK's own reading of `Retry-After: inf`, where it still sends by itself
_FAILED = (sdk.GeminiNextGenAPIClientError, ValueError, TypeError, OverflowError, httpx2.HTTPError, TimeoutError)
_MAY_BE_TAKEN = frozenset({408, 409, 499})
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_LONG = 64 * 1024
"""Bytes of an answer of which the start is looked at first."""
_START = 4 * 1024
_CONNECT = 10.0
"""Seconds for a connection: sooner over than the call, so that it is known that nothing was sent."""
_ANY = "any-interaction-id"
"""The id with which the SDK is asked for a request."""
_MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_FILES = 1_000
_DAY = 86_400.0
_DEFAULT_URL = "https://generativelanguage.googleapis.com"


class GeminiProvider:
    """The adapter. One client submits, one reads; neither repeats a request by itself.

    Raises:
        ConfigurationError: no API key.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.gemini_api_key is None:
            raise ConfigurationError("no key for Gemini: set GEMINI_API_KEY; any text will do for `gapless emulator`")
        self._key = settings.gemini_api_key.get_secret_value()
        self._base_url = settings.gemini_base_url or _DEFAULT_URL
        self._submitter = _Client(self._key, self._base_url, settings.submit_timeout)
        self._reader = _Client(self._key, self._base_url, settings.read_timeout)
        self._create = self._submitter.pattern(lambda calls: calls.create(model="any", input="any", background=True))
        self._get = self._reader.pattern(lambda calls: calls.get(_ANY))
        self._cancel = self._reader.pattern(lambda calls: calls.cancel(_ANY))

    def capabilities(self) -> Capabilities:
        """Say what this provider does differently from others.

        A create that answered 200 was seen to give 404 for a while (googleapis/python-genai#2985).
        """
        return Capabilities(
            remote=not _is_loopback(self._base_url),
            visibility_grace=timedelta(seconds=90),
        )

    async def submit(self, request: InteractionRequest, *, max_tokens: int | None = None) -> Observation:
        """Create a background interaction in one request; see `Provider.submit`."""
        try:
            content = _serialised(_body(request) | _limited(request, max_tokens))
        except (ValueError, TypeError) as error:  # the SDK's models find fault with the request
            raise SubmissionRejected(self._message(error)) from None
        try:
            answer = await self._submitter.send(self._create.request(content=content))
        except _FAILED as error:
            self._raise_for_submit(error)
        return _observation(answer, SubmissionUnknown)

    async def poll(self, interaction_id: str) -> Observation:
        """GET the interaction once; see `Provider.poll`."""
        try:
            answer = await self._reader.send(self._get.request(interaction_id))
        except _FAILED as error:
            self._raise_for_read(error)
        return _observation(answer, Unavailable, interaction_id)

    async def cancel(self, interaction_id: str) -> Observation:
        """POST cancel, and GET what became of it.

        The API's refusals (404 "Method not found", 400 for a finished run) do not prove that the run stopped,
        so only the GET is believed.
        """
        try:
            await self._reader.send(self._cancel.request(interaction_id))
        except _FAILED as error:
            if _status(error) not in {400, 404, 409}:
                self._raise_for_read(error)
        return await self.poll(interaction_id)

    def read(self, document: bytes) -> Content:
        """Join the text of every model output; `output_text` loses what stands before a tool step."""
        body = _parsed(document)
        parts = [
            part["text"]
            for step in _dicts(body.get("steps"))
            if step.get("type") == "model_output"
            for part in _dicts(step.get("content"))
            if part.get("type") == "text" and isinstance(part.get("text"), str)
        ]
        errors = [_utf8(f"{e.get('code')}: {e.get('message')}") for e in _dicts(body.get("errors"))]
        environment = body.get("environment_id")
        return Content(
            text=_utf8("\n".join(parts)),
            usage=_usage(body.get("usage")),
            environment_id=environment if isinstance(environment, str) else None,
            errors=errors,
        )

    async def files(self, environment_id: str, problems: list[str]) -> AsyncIterator[File]:
        """List an environment's files and download each; see `Provider.files`."""
        budget = _MAX_FILE_BYTES
        for path, size in await self._list_files(environment_id, problems):
            if size > budget:
                problems.append(f"file left out, over {_MAX_FILE_BYTES} bytes in all: {path}")
                continue
            data = await self._download(environment_id, path, problems)
            if data is not None:
                if size and len(data) != size:  # nothing else tells a file from the first half of it
                    raise Unavailable(f"file {path}: {len(data)} bytes came, {size} were listed")
                budget -= len(data)
                yield File(path, data)

    async def _list_files(self, environment_id: str, problems: list[str]) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        token: str | None = None
        while len(found) < _MAX_FILES:
            try:
                page = await self._environments().files.list(
                    environment=environment_id, path="", recursive=True, page_token=token
                )
            except _FAILED as error:
                if _status(error) in {403, 404}:
                    problems.append("the environment's files cannot be listed any more")
                    return found
                self._raise_for_read(error)
            found += [(f.path, int(f.size_bytes or 0)) for f in page.files or [] if f.type == "file" and f.path]
            token = page.next_page_token
            if not token:
                return found
        problems.append(f"only the first {_MAX_FILES} files were fetched")
        return found[:_MAX_FILES]

    async def _download(self, environment_id: str, path: str, problems: list[str]) -> bytes | None:
        try:
            data: bytes = await self._environments().files.download(environment=environment_id, path=path)
        except classic.APIError as error:
            if error.code in {403, 404}:
                problems.append(f"file cannot be had: {path}")
                return None
            raise Unavailable(f"file {path}: HTTP {error.code}", status=error.code) from None
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as error:  # the SDK downloads with either
            raise Unavailable(f"file {path}: {type(error).__name__}") from None
        return data

    def _environments(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "experimental", once per process
            return self._reader.sdk.aio.environments

    async def aclose(self) -> None:
        """Close both clients."""
        await self._submitter.sdk.aio.aclose()
        await self._reader.sdk.aio.aclose()

    def _raise_for_submit(self, error: Exception) -> NoReturn:
        """Sort a failed create by whether the task may have been taken."""
        status, message = _status(error), self._message(error)
        if isinstance(error, _NOT_SENT):
            raise SubmissionRefused(f"no connection: {message}") from None
        if status == 429:
            raise SubmissionRefused(message, retry_after=_retry_after(error), status=status) from None
        if status is not None and 400 <= status < 500 and status not in _MAY_BE_TAKEN:
            raise SubmissionRejected(message, status=status) from None
        raise SubmissionUnknown(message, status=status) from None

    def _raise_for_read(self, error: Exception) -> NoReturn:
        status, message = _status(error), self._message(error)
        if status in {404, 410}:
            raise InteractionNotFound(message, status=status) from None
        if status in {400, 401, 402, 403}:
            raise ReadRejected(message, status=status) from None
        raise Unavailable(message, retry_after=_retry_after(error), status=status) from None

    def _message(self, error: Exception) -> str:
        """Return the error in one bounded line, without the key."""
        said = str(error) or ("no answer in time" if isinstance(error, TimeoutError | httpx2.TimeoutException) else "")
        text = " ".join(_utf8(f"{type(error).__name__}: {said}").replace(self._key, "***").split())
        return text[:500]


class _Client:
    """The SDK's client, with which requests of the SDK's making are sent once and answers are left as they are.

    Its asynchronous side has the connections, with the SDK's handling of certificates, proxies and event loops.
    Its synchronous side leads nowhere: there it is asked what it would send.

    Raises:
        ConfigurationError: the environment chose another HTTP library for the SDK.
    """

    def __init__(self, key: str, base_url: str, timeout: float) -> None:
        self._timeout = timeout
        self._made: list[httpx2.Request] = []
        options = types.HttpOptions(
            base_url=base_url,
            timeout=int(timeout * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
            client_args={"transport": httpx2.MockTransport(self._keep)},
            # A redirect is no answer to a POST: what it leads to says nothing about the task.
            async_client_args={"follow_redirects": False},
        )
        self.sdk = genai.Client(api_key=key, vertexai=False, http_options=options)
        http: Any = self.sdk.aio.interactions.sdk_configuration.async_client
        if not isinstance(http, httpx2.AsyncClient):
            raise ConfigurationError("the Gemini adapter needs httpx2: unset GOOGLE_GENAI_HTTP_CLIENT")
        self._http = http

    def _keep(self, request: httpx2.Request) -> httpx2.Response:
        self._made.append(request)
        return httpx2.Response(200, json={})

    def pattern(self, call: Callable[[Any], object]) -> "_Pattern":
        """Return the one request that a call of the SDK makes, without sending it."""
        self._made.clear()
        call(self.sdk.interactions.with_raw_response)
        [request] = self._made
        return _Pattern(request, min(_CONNECT, self._timeout / 2))

    async def send(self, request: httpx2.Request) -> bytes:
        """Send a request, once, and return the body of a good answer.

        Raises:
            httpx2.HTTPError, TimeoutError, ValueError: no answer, a bad status, or an endless body.
        """
        async with asyncio.timeout(self._timeout):  # HTTP's own timeouts bound each step, not the whole
            response = await self._http.send(request, stream=True)
            async with aclosing(response):
                body = await _read(response)
        if not response.is_success:
            said = f"{response.status_code} {body[:_START].decode(errors='replace')}"
            raise httpx2.HTTPStatusError(said, request=request, response=response)
        return body


class _Pattern:
    """A request as the SDK makes it, to be filled in with an id or a body."""

    def __init__(self, request: httpx2.Request, connect: float) -> None:
        self._method, self._url = request.method, str(request.url)
        timeouts = {**request.extensions.get("timeout", {}), "connect": connect, "pool": connect}
        self._extensions = {**request.extensions, "timeout": timeouts}
        self._headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]

    def request(self, interaction_id: str = "", content: bytes | None = None) -> httpx2.Request:
        """Return a new request."""
        url = self._url.replace(_ANY, interaction_id)
        return httpx2.Request(
            self._method, url, headers=self._headers, content=content, extensions=dict(self._extensions)
        )


async def _read(response: httpx2.Response) -> bytes:
    """Read a body to its end, decompressed.

    Raises:
        ValueError: it is far too long.
    """
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > _MAX_ANSWER_BYTES:
            raise ValueError(f"the answer is over {_MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _body(request: InteractionRequest) -> dict[str, Any]:
    """Return the create call's arguments; background, since a foreground answer is cut at about 60 s."""
    fields = {
        "model": request.model,
        "agent": request.agent,
        "input": request.input,
        "system_instruction": request.instructions,
        "environment": request.environment,
        "agent_config": request.agent_config,
        "response_format": _json_format(request.response_schema),
        "labels": request.labels or None,
        "previous_interaction_id": request.previous_interaction_id,
        "background": True,
        "store": True,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _json_format(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if schema is None else {"type": "text", "mime_type": "application/json", "schema": schema}


def _limited(request: InteractionRequest, max_tokens: int | None) -> dict[str, Any]:
    """Return the arguments that make Google keep a limit itself: for agents best effort, without cached tokens.

    A model's limit bounds what it writes. Deep Research and agents of other kinds take none.
    """
    if max_tokens is None:
        return {}
    if request.model is not None:
        return {"generation_config": {"max_output_tokens": max_tokens}}
    config = request.agent_config or {"type": "dynamic" if "deep-research" in request.target else "antigravity"}
    if config.get("type") != "antigravity":
        return {}
    return {"agent_config": {**config, "max_total_tokens": max_tokens}}


def _serialised(fields: dict[str, Any]) -> bytes:
    """Check a create's arguments by the SDK's model, and write them as the SDK does.

    Raises:
        ValueError, TypeError: they do not fit.
    """
    model = CreateAgentInteraction if "agent" in fields else CreateModelInteraction
    return json.dumps(model(**fields).model_dump(mode="json", by_alias=True), separators=(",", ":")).encode()


class _Glance(BaseModel):
    """What a look at an interaction needs; the rest is checked to be JSON, and nothing is made of it."""

    id: Any = None
    status: Any = None
    usage: Any = None


def _observation(answer: bytes, malformed: type[Exception], expected_id: str | None = None) -> Observation:
    """Believe an answer that has an id and a status, whatever else is in it.

    The document is the answer as it came: what nobody here knows or can write again is kept all the same.
    """
    try:
        glance = _early(answer) or _glance(answer)
    except ValueError:
        raise malformed("the answer was 200 without JSON") from None
    if not isinstance(glance.id, str) or not INTERACTION_ID.fullmatch(glance.id):
        raise malformed("the answer was 200 without a usable interaction id")
    if not isinstance(glance.status, str) or not glance.status:
        raise malformed("the answer was 200 without a status")
    if expected_id is not None and glance.id != expected_id:
        raise malformed("the answer was 200 about another interaction")
    return Observation(
        interaction_id=glance.id,
        state=STATES.get(glance.status, State.UNKNOWN),
        raw=_utf8(glance.status)[:64],
        usage=_usage(glance.usage),
        document=answer,
    )


def _early(answer: bytes) -> _Glance | None:
    """Return what a long answer starts with, if that says that the run goes on: then the rest is not looked at.

    It is here that a poll of megabytes is saved its parsing, which would hold up the event loop; a thread would
    not help, since a JSON parser does not let go of the interpreter.
    """
    if len(answer) <= _LONG:
        return None
    try:
        start = from_json(answer[:_START], allow_partial=True)
    except ValueError:
        return None
    status = start.get("status") if isinstance(start, dict) else None
    if not isinstance(status, str) or "id" not in start or STATES.get(status, State.UNKNOWN).settled:
        return None
    return _Glance(id=start["id"], status=status)


def _glance(answer: bytes) -> _Glance:
    """Take id, status and usage out of an answer.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return _Glance.model_validate_json(answer)
    except ValidationError:
        return _Glance.model_validate(_lenient(answer))


def _parsed(document: bytes) -> dict[str, Any]:
    """Return an observation's document as JSON values."""
    try:
        body = from_json(document)
    except ValueError:
        return _lenient(document)
    return body if isinstance(body, dict) else {}


def _lenient(answer: bytes) -> dict[str, Any]:
    """Parse what a strict parser refuses: lone surrogates, bytes that are no UTF-8, numbers of 5,000 digits.

    Raises:
        ValueError: it is no JSON, or nested too deeply for any parser.
    """
    text = answer.decode("utf-8-sig", errors="replace")
    try:
        body = json.loads(text, strict=False, parse_int=_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return body if isinstance(body, dict) else {}


def _number(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts
        return float(digits)


def _utf8(text: str) -> str:
    """Replace lone surrogates, which JSON can bring and nothing else can take."""
    return text.encode(errors="replace").decode()


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict) or not value:
        return None
    names = {
        "total": "total_tokens",
        "input": "total_input_tokens",
        "output": "total_output_tokens",
        "cached": "total_cached_tokens",
        "thought": "total_thought_tokens",
        "tool_use": "total_tool_use_tokens",
    }
    try:
        return Usage(**{ours: int(value.get(theirs) or 0) for ours, theirs in names.items()})
    except (ValueError, TypeError, OverflowError):
        return None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _status(error: Exception) -> int | None:
    """Return the HTTP status with which the provider answered, or None when it did not."""
    response = getattr(error, "response", None)
    status: int | None = getattr(response, "status_code", None)
    return status


def _retry_after(error: Exception) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date, a day at the most."""
    response = getattr(error, "response", None)
    value = response.headers.get("retry-after") if response is not None else None
    if value is None:
        return None
    try:
        seconds = float(value) if not value[:1].isalpha() else parsedate_to_datetime(value).timestamp() - time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _DAY)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
