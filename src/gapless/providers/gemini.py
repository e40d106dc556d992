"""Gemini's Interactions API through google-genai 3.4.

The API has neither an idempotency key nor a list, and the SDK sends `create` again by itself on 408, 409,
429 and 5xx: so retries are off, and every failure is sorted by whether the task may have been taken. Facts
about the SDK were measured with 3.4.0; about the API they are from Google's documentation
(ai.google.dev/gemini-api/docs).
"""

import asyncio
import ipaddress
import json
import warnings
from collections.abc import AsyncIterator
from contextvars import ContextVar
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
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
# OverflowError: the SDK's own reading of `Retry-After: inf`
_FAILED = (sdk.GeminiNextGenAPIClientError, ValueError, TypeError, OverflowError, httpx2.HTTPError, TimeoutError)
_MAY_BE_TAKEN = frozenset({408, 409, 499})
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
        self._submit_timeout, self._read_timeout = settings.submit_timeout, settings.read_timeout
        self._submitter = self._client(settings.submit_timeout)
        self._reader = self._client(settings.read_timeout)

    def _client(self, timeout: float) -> genai.Client:
        options = types.HttpOptions(
            base_url=self._base_url,
            timeout=int(timeout * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
            # A redirect is no answer to a POST: what it leads to says nothing about the task.
            async_client_args={"event_hooks": {"request": [_note_request]}, "follow_redirects": False},
        )
        return genai.Client(api_key=self._key, vertexai=False, http_options=options)

    def capabilities(self) -> Capabilities:
        """Say what this provider does differently from others.

        A create that answered 200 was seen to give 404 for a while (googleapis/python-genai#2985).
        """
        return Capabilities(
            remote=not _is_loopback(self._base_url),
            visibility_grace=timedelta(seconds=90),
        )

    async def submit(self, request: InteractionRequest) -> Observation:
        """Create a background interaction in one request; see `Provider.submit`."""
        sent: list[str] = []
        _REQUESTS.set(sent)
        try:
            async with asyncio.timeout(self._submit_timeout):  # the SDK's own bounds each read, not the whole
                answer = await self._submitter.aio.interactions.create(**_body(request))
        except _FAILED as error:
            self._raise_for_submit(error, sent=bool(sent))
        return _observation(answer, SubmissionUnknown)

    async def poll(self, interaction_id: str) -> Observation:
        """GET the interaction once; see `Provider.poll`."""
        try:
            async with asyncio.timeout(self._read_timeout):
                answer = await self._reader.aio.interactions.get(interaction_id)
        except _FAILED as error:
            self._raise_for_read(error)
        return _observation(answer, Unavailable, interaction_id)

    async def cancel(self, interaction_id: str) -> Observation:
        """POST cancel, and GET what became of it.

        The API's refusals (404 "Method not found", 400 for a finished run) do not prove that the run stopped,
        so only the GET is believed.
        """
        try:
            async with asyncio.timeout(self._read_timeout):
                await self._reader.aio.interactions.cancel(interaction_id)
        except _FAILED as error:
            status = getattr(error, "status_code", None)
            if status not in {400, 404, 409}:
                self._raise_for_read(error)
        return await self.poll(interaction_id)

    def read(self, document: bytes) -> Content:
        """Join the text of every model output; `output_text` loses what stands before a tool step."""
        body = json.loads(document)
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
                if getattr(error, "status_code", None) in {403, 404}:
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
            return self._reader.aio.environments

    async def aclose(self) -> None:
        """Close both clients."""
        await self._submitter.aio.aclose()
        await self._reader.aio.aclose()

    def _raise_for_submit(self, error: Exception, *, sent: bool) -> NoReturn:
        """Sort a failed create by whether the task may have been taken."""
        status, message = getattr(error, "status_code", None), self._message(error)
        if isinstance(error.__cause__, _NOT_SENT) or isinstance(error, _NOT_SENT):
            raise SubmissionRefused(f"no connection: {message}") from None
        if status == 429:
            raise SubmissionRefused(message, retry_after=_retry_after(error), status=status) from None
        if status is not None and 400 <= status < 500 and status not in _MAY_BE_TAKEN:
            raise SubmissionRejected(message, status=status) from None
        if not sent:  # the SDK itself found fault with the request
            raise SubmissionRejected(message) from None
        raise SubmissionUnknown(message, status=status) from None

    def _raise_for_read(self, error: Exception) -> NoReturn:
        status, message = getattr(error, "status_code", None), self._message(error)
        if status in {404, 410}:
            raise InteractionNotFound(message, status=status) from None
        if status in {400, 401, 402, 403}:
            raise ReadRejected(message, status=status) from None
        raise Unavailable(message, retry_after=_retry_after(error), status=status) from None

    def _message(self, error: Exception) -> str:
        """Return the error in one bounded line, without the key."""
        said = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else "")
        text = " ".join(_utf8(f"{type(error).__name__}: {said}").replace(self._key, "***").split())
        return text[:500]


_REQUESTS: ContextVar[list[str]] = ContextVar("_REQUESTS")
"""The requests that left for the wire in this context: what tells a refusal by the SDK from a lost answer."""


async def _note_request(request: httpx2.Request) -> None:
    _REQUESTS.get([]).append(request.method)


def _body(request: InteractionRequest) -> dict[str, Any]:
    """Return the create call's arguments; background, since a foreground answer is cut at about 60 s."""
    fields = {
        "model": request.model,
        "agent": request.agent,
        "input": request.input,
        "system_instruction": request.instructions,
        "environment": request.environment,
        "agent_config": request.agent_config,
        "labels": request.labels or None,
        "previous_interaction_id": request.previous_interaction_id,
        "background": True,
        "store": True,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _observation(answer: Any, malformed: type[Exception], expected_id: str | None = None) -> Observation:
    """Check what the SDK lets through: any 200 with JSON counts as an interaction for it."""
    interaction_id, raw = getattr(answer, "id", None), getattr(answer, "status", None)
    if not isinstance(interaction_id, str) or not INTERACTION_ID.fullmatch(interaction_id):
        raise malformed("the answer was 200 without a usable interaction id")
    if not isinstance(raw, str) or not raw:
        raise malformed("the answer was 200 without a status")
    if expected_id is not None and interaction_id != expected_id:
        raise malformed("the answer was 200 about another interaction")
    body = _document(answer) | {"id": interaction_id, "status": raw}
    return Observation(
        interaction_id=interaction_id,
        state=STATES.get(raw, State.UNKNOWN),
        raw=_utf8(raw)[:64],
        usage=_usage(body.get("usage")),
        document=json.dumps(body, sort_keys=True).encode(),
    )


def _document(answer: Any) -> dict[str, Any]:
    """Return the answer as JSON values; id and status are known, so nothing odd in the rest may lose them."""
    try:
        body = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    except (ValueError, TypeError):  # pydantic's serialisation error is a ValueError
        return {}
    return body if isinstance(body, dict) else {}


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
    }
    try:
        return Usage(**{ours: int(value.get(theirs) or 0) for ours, theirs in names.items()})
    except (ValueError, TypeError, OverflowError):
        return None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


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
