"""One attempt at a crawl: what is already known goes in, and what is found goes to the store."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

import aiohttp
import structlog
from temporalio.exceptions import ApplicationError

from gapless import links
from gapless.artifacts import ArtifactStore
from gapless.contract.link_audit import Crawled, LinkAuditRequest, Unseen
from gapless.links import elsewhere
from gapless.links.client import USER_AGENT
from gapless.links.elsewhere import Elsewhere
from gapless.links.retry import retry_after
from gapless_activities import last_crawl
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
) -> Crawled | Rest | None:
    """Crawl, sealing the record in the chain, so that a lost worker costs what was not sealed.

    Args:
        store: where the crawl is kept.
        request: what to audit.
        chain: what is known; it tells how far the crawl has come.
        stop: ends the crawl early when it is set; it can be gone on with.
        rests: whether the site can be left alone for a while.
        credentials: header fields by origin.

    Returns:
        The crawl, the pause that the site asks for, or None when it was stopped.

    Raises:
        ApplicationError: the request's scope makes no sense.
        StoreUnavailable, ChildLost: the next attempt goes on.
    """
    scope = scope_of(request)
    data = await _fetched(scope, chain, stop, credentials)
    if data is None:
        return None
    # Seconds of work on a large site go to threads, so that heartbeats keep coming.
    done = await asyncio.to_thread(links.Crawl.from_bytes, data)
    if rests and chain.progress.rests < MAX_RESTS and (rest := await _rest(done)):
        chain.rest()
        return rest
    unseen = await _unseen(store, done, chain)
    whole = unseen is None or Elsewhere(chain.progress.elsewhere) is Elsewhere.GIVEN
    findings = await asyncio.to_thread(done.findings) if whole else []
    stored = await store.put("crawl", data)
    if done.complete and whole:
        await last_crawl.keep(store, scope, stored.digest)
    return Crawled(
        crawl=stored,
        pages=len(done.pages),
        links=done.links,
        broken=len({finding.target for finding in findings if finding.result == "broken"}),
        unverified=len({finding.target for finding in findings if finding.result == "unverified"}),
        complete=done.complete,
        incomplete_reason=done.incomplete_reason,
        unseen=unseen,
    )


async def _unseen(store: ArtifactStore, done: links.Crawl, chain: Chain) -> Unseen | None:
    """Store which links to other hosts nobody has looked at, where that is left to others."""
    if Elsewhere(chain.progress.elsewhere) is Elsewhere.HERE or not done.scope.external:
        return None
    targets = await asyncio.to_thread(elsewhere.unseen, done)
    if not targets:
        return None
    stored = await store.put("unseen.json", json.dumps(targets).encode())
    return Unseen(targets=stored, progress=chain.progress.model_copy(update={"elsewhere": Elsewhere.GIVEN.value}))


async def _fetched(
    scope: links.Scope, chain: Chain, stop: asyncio.Event, credentials: Mapping[str, tuple[str, ...]]
) -> bytes | None:
    while True:
        sealed, previous = await chain.load(scope)
        try:
            return await links.crawl_apart(
                scope,
                resume=sealed,
                previous=previous,
                seal=chain.seal,
                progress=chain.note,
                credentials=credentials,
                stop=stop,
                elsewhere=Elsewhere(chain.progress.elsewhere),
            )
        except ValueError as error:
            if not sealed:
                raise ApplicationError(str(error), type="BadScope", non_retryable=True) from None
            log.warning("crawl.record_unreadable", error=str(error))
            chain.forget()


async def _rest(done: links.Crawl) -> Rest | None:
    """Return the pause that the site asks for, when it refused some of its pages and still does so.

    One of them is asked for once more, since a crawl does not keep what `Retry-After` said.
    """
    scope = done.scope
    url = next((url for url, record in done.records.items() if record.is_refused and scope.on_site(url)), None)
    seconds = await _asked(url, scope.timeout) if url else 0.0
    if seconds <= ENGINE_PATIENCE:
        return None
    log.info("crawl.rest", site=scope.host, seconds=seconds)
    return Rest(timedelta(seconds=seconds)) if seconds <= LONGEST_REST.total_seconds() else None


async def _asked(url: str, timeout: float) -> float:  # noqa: ASYNC109 (handed on)
    """Return how many seconds a host asks to be left alone."""
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
