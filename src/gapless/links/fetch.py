"""One request at a time, each checked before it is sent and bounded while it is read."""

import asyncio
import re
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from gapless.links import addresses, inflate, parse, urls
from gapless.links.gate import Gate
from gapless.links.scope import Scope

AGENT = "Gapless"
USER_AGENT = f"{AGENT}/0.1 (link audit)"

TRIES = 3
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
TRANSIENT_ERRORS = frozenset({"reset", "refused", "truncated"})
OTHER_HOSTS_AT_ONCE = 8
CONNECTIONS_PER_OTHER_HOST = 2
SITE_PATIENCE, OTHER_PATIENCE = 120.0, 30.0
SNIFF = 512
DRAIN = 65_536

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';]+)", re.IGNORECASE)
_MINUTES = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")
_ERRORS: tuple[tuple[type[Exception], str], ...] = (  # the first that fits
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientSSLError, "tls"),
    (ssl.SSLError, "tls"),
    (aiohttp.ClientConnectorError, "refused"),
    (aiohttp.ClientPayloadError, "truncated"),
    (inflate.Truncated, "truncated"),
    (inflate.TooLarge, "too_large"),
    (inflate.UnknownEncoding, "unsupported_encoding"),
    (aiohttp.ServerDisconnectedError, "reset"),
    (aiohttp.ClientResponseError, "invalid_response"),
    (aiohttp.InvalidURL, "bad_url"),
    (OSError, "reset"),
    (aiohttp.ClientError, "invalid_response"),
    (ValueError, "bad_url"),
)


@dataclass(slots=True)
class Answer:
    """What one request came to.

    Attributes:
        url: the address asked for.
        status: HTTP status, or None when no answer arrived.
        error: reason id when there is no usable answer, or None.
        location: value of Location on a redirect, or None.
        html: whether the answer is an HTML page.
        text: the page, decoded, when it was to be read, or None.
        cookies: cookies set by this answer, or None.
        retry_after: seconds to wait, from the answer, or None.
    """

    url: str
    status: int | None = None
    error: str | None = None
    location: str | None = None
    html: bool = False
    text: str | None = None
    cookies: SimpleCookie | None = None
    retry_after: float | None = None


class Fetcher:
    """Fetches addresses of a site and of the hosts it links to, each host at its own pace."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._trusted = scope.trusted
        self._stack = AsyncExitStack()
        self._others = asyncio.Semaphore(OTHER_HOSTS_AT_ONCE * CONNECTIONS_PER_OTHER_HOST)
        self._gates: dict[str, Gate] = {}
        self.site_gate = Gate(scope.connections, SITE_PATIENCE)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, resolver=addresses.PublicResolver(self._trusted))
        session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
                "Accept-Encoding": "gzip, deflate",
            },
            max_field_size=32_768,
            max_line_size=16_384,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def get(self, url: str, *, cookie: str = "", read: bool = True, whole: bool = False) -> Answer:
        """Send a GET, again when the failure may pass, and return the last answer.

        Args:
            url: absolute http or https address.
            cookie: value of the Cookie header, or nothing.
            read: whether the body of an HTML page is wanted; else the answer ends after its headers.
            whole: whether the body of anything else is wanted, too.
        """
        gate = self._gate(url)
        for attempt in range(1, TRIES + 1):
            async with gate:
                answer = await self._once(url, cookie, read=read, whole=whole)
            if attempt == TRIES or not await self._may_pass(answer, gate, attempt):
                break
        return answer

    def _gate(self, url: str) -> Gate:
        if self._scope.on_site(url):
            return self.site_gate
        host = urls.host_port(url)[0]
        if host not in self._gates:
            self._gates[host] = Gate(CONNECTIONS_PER_OTHER_HOST, OTHER_PATIENCE, self._others)
        return self._gates[host]

    @staticmethod
    async def _may_pass(answer: Answer, gate: Gate, attempt: int) -> bool:
        if answer.status in TRANSIENT_STATUSES and (answer.retry_after is not None or answer.status == 429):
            return gate.pause(answer.retry_after if answer.retry_after is not None else attempt)
        if attempt > 1 or not (answer.status in TRANSIENT_STATUSES or answer.error in TRANSIENT_ERRORS):
            return False
        await asyncio.sleep(0.2)
        return True

    async def _once(self, url: str, cookie: str, *, read: bool, whole: bool) -> Answer:
        answer = Answer(url)
        try:
            self._check(url)
            headers = {"Cookie": cookie} if cookie else None
            async with (
                asyncio.timeout(self._scope.timeout),
                self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response,
            ):
                try:
                    await self._read(answer, response, read=read, whole=whole)
                finally:
                    if not response.content.at_eof():
                        response.close()
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            answer.error = _reason(error)
        except (inflate.TooLarge, inflate.Truncated, inflate.UnknownEncoding) as error:
            answer.error = _reason(error)
        return answer

    def _check(self, url: str) -> None:
        host, port = urls.host_port(url)
        if (host, port) in self._trusted or not addresses.is_literal(host):
            return  # names are judged when they are resolved
        if not addresses.is_public(host):
            raise addresses.PrivateAddress(host)

    async def _read(self, answer: Answer, response: aiohttp.ClientResponse, *, read: bool, whole: bool) -> None:
        answer.status = response.status
        answer.cookies = response.cookies or None
        answer.retry_after = _retry_after(response.headers.get("Retry-After", ""))
        if 300 <= response.status < 400:
            answer.location = response.headers.get("Location")
        if response.headers.get("Cf-Mitigated", "").lower() == "challenge":
            answer.error = "cf_challenge"
        if not 200 <= response.status < 300:
            await _drain(response)
            return
        media, charset = _content_type(response.headers.get("Content-Type", ""))
        answer.html = media in _HTML
        if (answer.html and read) or not media or whole:
            await self._read_page(answer, response, charset, whole=whole)
        elif not answer.html:
            await _drain(response)

    async def _read_page(self, answer: Answer, response: aiohttp.ClientResponse, charset: str, *, whole: bool) -> None:
        body = inflate.Body(response.headers.get("Content-Encoding", ""), self._scope.max_bytes)
        async for chunk in response.content.iter_any():
            body.feed(chunk)
            if not answer.html and not whole and len(body.data) >= SNIFF:
                answer.html = parse.looks_like_html(bytes(body.data[:SNIFF]))
                if not answer.html:
                    return
        data = body.finish()
        answer.html = answer.html or parse.looks_like_html(data[:SNIFF])
        if answer.html or whole:
            answer.text = parse.decode(data, charset)


async def _drain(response: aiohttp.ClientResponse) -> None:
    # A small rest is cheaper to read than a new connection, and shows whether the body is whole.
    if (response.content_length or 0) <= DRAIN and response.content_length is not None:
        async for _ in response.content.iter_any():
            pass


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, addresses.PrivateAddress):
        return "private_address"
    return next(reason for kind, reason in _ERRORS if isinstance(error, kind))


def _content_type(header: str) -> tuple[str, str]:
    charset = _CHARSET.search(header)
    return header.partition(";")[0].strip().lower(), charset[1] if charset else ""


def _retry_after(header: str) -> float | None:
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    if header and (short := _MINUTES.fullmatch(header)):
        return float(int(short[1] or 0) * 60 + int(short[2] or 0))
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, IndexError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
