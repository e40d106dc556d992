"""One attempt at a crawl: what is already known goes in, and what is found goes to the store."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NamedTuple

import structlog
from temporalio.exceptions import ApplicationError

from gapless import links
from gapless.artifacts import ArtifactStore
from gapless.contract.link_audit import Crawled, Findings, LinkAuditRequest, Unseen
from gapless.links.client import USER_AGENT
from gapless.links.elsewhere import Elsewhere
from gapless.links.engine import Summary
from gapless.links.retry import retry_after
from gapless_activities import findings, last_crawl
from gapless_activities.chain import Chain

log = structlog.get_logger()

ENGINE_PATIENCE = 30.0
"""Seconds that a host may ask to be left alone for while the crawl waits; a longer pause is the lane's."""
LONGEST_REST = timedelta(hours=6)
MAX_RESTS = 4


class Rest(NamedTuple):
    """The site asks to be left alone for so long; then the crawl goes on."""

    time: timedelta


async def crawl(
    store: ArtifactStore,
    request: LinkAuditRequest,
    chain: Chain,
    stop: asyncio.Event,
    *,
    rests: bool,
    credentials: Mapping[str, tuple[str, ...]],
    process: Process | None = None,
    found: Callable[[Findings], None] = lambda _: None,
) -> Crawled | Rest | None:
    """Crawl, sealing the record in the chain, so that a lost worker costs what was not sealed.

    Args:
        store: where the crawl is kept.
        request: what to audit.
        chain: what is known; it tells how far the crawl has come.
        stop: ends the crawl early when it is set; it can be gone on with.
        rests: whether the site can be left alone for a while.
        credentials: header fields by origin.
        process: in which to crawl, if one was started before.
        found: called with what the crawl comes to, while it is still being packed.

    Returns:
        The crawl, the pause that the site asks for, or None when it was stopped.

    Raises:
        ApplicationError: the request's scope makes no sense.
        StoreUnavailable, ChildLost: the next attempt goes on.
    """
    scope = scope_of(request)
    end = _End(store, found)
    data = await _fetched(scope, chain, stop, credentials, end, process)
    if data is None:
        return None
    done = end.summary
    if rests and chain.progress.rests < MAX_RESTS and (rest := await _rest(scope, done.refused)):
        chain.rest()
        return rest
    unseen = await _unseen(store, done.unseen, chain)
    whole = unseen is None or Elsewhere(chain.progress.elsewhere) is Elsewhere.GIVEN
    stored = await store.put("crawl", data)
    if done.complete and whole:
        await last_crawl.keep(store, scope, stored.digest)
    return Crawled(
        crawl=stored,
        findings=end.findings,
        pages=done.pages,
        links=done.links,
        broken=done.broken,
        unverified=done.unverified,
        complete=done.complete,
        incomplete_reason=done.incomplete_reason,
        unseen=unseen,
    )


class _End:
    """The end of a crawl: what it comes to is kept while the crawl itself is still being written."""

    summary: Summary
    findings: Findings | None = None

    def __init__(self, store: ArtifactStore, found: Callable[[Findings], None]) -> None:
        self._store = store
        self._found = found

    async def keep(self, summary: Summary, report: bytes, flaky: bytes) -> None:
        self.summary = summary
        if report:
            self.findings = await findings.keep(self._store, report, flaky)
            self._found(self.findings)


async def _unseen(store: ArtifactStore, targets: list[str], chain: Chain) -> Unseen | None:
    """Store which links to other hosts nobody has looked at, where that is left to others."""
    if not targets:
        return None
    stored = await store.put("unseen.json", json.dumps(targets).encode())
    return Unseen(targets=stored, progress=chain.progress.model_copy(update={"elsewhere": Elsewhere.GIVEN.value}))


async def _fetched(
    scope: links.Scope,
    chain: Chain,
    stop: asyncio.Event,
    credentials: Mapping[str, tuple[str, ...]],
    end: _End,
    process: Process | None,
) -> bytes | None:
    while True:
        sealed, previous = await chain.load(scope)
        try:
            return await links.crawl_apart(
                scope,
                process=process,
                resume=sealed,
                previous=previous,
                seal=chain.seal,
                progress=chain.note,
                over=end.keep,
                credentials=credentials,
                stop=stop,
                elsewhere=Elsewhere(chain.progress.elsewhere),
            )
        except ValueError as error:
            if not sealed:
                raise ApplicationError(str(error), type="BadScope", non_retryable=True) from None
            log.warning("crawl.record_unreadable", error=str(error))
            chain.forget()


async def _rest(scope: links.Scope, refused: str | None) -> Rest | None:
    """Return the pause that the site asks for, when it refused one of its pages and still does so.

    That page is asked for once more, since a crawl does not keep what `Retry-After` said.
    """
    seconds = await _asked(refused, scope.timeout) if refused else 0.0
    if seconds <= ENGINE_PATIENCE:
        return None
    log.info("crawl.rest", site=scope.host, seconds=seconds)
    return Rest(timedelta(seconds=seconds)) if seconds <= LONGEST_REST.total_seconds() else None


async def _asked(url: str, timeout: float) -> float:  # noqa: ASYNC109 (handed on)
    """Return how many seconds a host asks to be left alone."""
    import aiohttp  # few sites ask for a pause, and it takes a while to load

    try:
        async with (
            aiohttp.ClientSession(
                headers={"User-Agent": USER_AGENT}, timeout=aiohttp.ClientTimeout(total=timeout)
            ) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            asks = answer.status in {429, 503}
            return (retry_after(answer.headers.get("Retry-After", "")) or 0.0) if asks else 0.0
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return 0.0


def scope_of(request: LinkAuditRequest) -> links.Scope:
    """Return what is to be crawled.

    Raises:
        ApplicationError: it makes no sense.
    """
    try:
        return links.Scope(
            start=request.url,
            max_pages=request.max_pages,
            external=request.external,
            robots=request.robots,
            connections=request.connections,
            allow=tuple(request.allow),
            prefix=request.prefix,
            include=tuple(request.include),
            exclude=tuple(request.exclude),
            public=request.public or "",
            contacts=request.contacts,
        )
    except ValueError as error:
        raise ApplicationError(str(error), type="BadScope", non_retryable=True) from None
