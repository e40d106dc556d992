"""One look at some addresses of a host, in its lane: what is known goes in, and what is found goes to the store."""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from gapless import links
from gapless.artifacts import ArtifactStore
from gapless.contract.host_lane import Piece
from gapless.contract.interaction import Artifact
from gapless.links import elsewhere, urls
from gapless.links.elsewhere import Looked
from gapless.links.record import TOO_MANY_REQUESTS, Record
from gapless_activities import answers, crawling
from gapless_activities.chain import Chain
from gapless_activities.crawling import Rest, scope_of

log = structlog.get_logger()

LONGEST_REST = timedelta(minutes=10)
"""Longer than that, no audit waits for a host that it only links to: its links stay unverified."""
MAX_RESTS = 2


async def look(
    store: ArtifactStore,
    piece: Piece,
    chain: Chain,
    stop: asyncio.Event,
    credentials: Mapping[str, tuple[str, ...]],
) -> Artifact | Rest | None:
    """Fetch the targets of a piece and what they redirect to on the host, and confirm what failed.

    Args:
        store: where answers are kept.
        piece: a look.
        chain: what is known; what is fetched is sealed in it, so that a turn that is over loses nothing.
        stop: ends the look early when it is set; it can be gone on with.
        credentials: header fields by origin.

    Returns:
        The records, the pause that the host asks for, or None when it was stopped.

    Raises:
        ArtifactLost, StoreUnavailable, ChildLost: the next attempt goes on.
    """
    scope = scope_of(piece.request)
    targets: list[str] = json.loads(await store.get(piece.targets or ""))
    host = urls.authority(targets[0])
    earlier = await answers.find(store, scope, host)
    if (closed := earlier.opens - time.time()) > crawling.ENGINE_PATIENCE:
        return _rest(chain, closed) or await store.put("answers", elsewhere.pack(_refused(targets)))
    known = {} if piece.fresh else elsewhere.enough(targets, earlier.records)
    looking = links.look(
        scope,
        targets,
        lambda url: urls.authority(url) == host,
        known=known,
        resume=await chain.sealed(),
        seal=chain.seal,
        credentials=credentials,
    )
    looked = await _unless(stop, asyncio.ensure_future(looking))
    if looked is None:
        return None
    patient = looked.pause <= crawling.ENGINE_PATIENCE
    now = answers.at(looked.records, earlier, opens=0.0 if patient else time.time() + looked.pause)
    await answers.keep(store, scope, host, earlier, now)
    rest = None if patient else _rest(chain, looked.pause)
    return rest or await store.put("answers", elsewhere.pack(looked.records.values()))


async def _unless(stop: asyncio.Event, looking: "asyncio.Future[Looked]") -> Looked | None:
    """Await a look, and end it when it is told to stop; what was fetched is sealed then."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        both: set[asyncio.Future[Any]] = {looking, stopping}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return looking.result() if looking.done() else None
    finally:
        stopping.cancel()
        if not looking.done():
            looking.cancel()
            await asyncio.wait({looking})


def _rest(chain: Chain, seconds: float) -> Rest | None:
    if seconds > LONGEST_REST.total_seconds() or chain.progress.rests >= MAX_RESTS:
        return None
    chain.rest()
    return Rest(timedelta(seconds=seconds))


def _refused(targets: list[str]) -> list[Record]:
    """Return what a host that asked to be left alone would answer, without asking it."""
    found = {urls.split_fragment(target)[0] for target in targets}
    return [Record(url, 0, TOO_MANY_REQUESTS, "rate_limited", final=url) for url in sorted(found)]
