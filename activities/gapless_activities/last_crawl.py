"""Which stored crawl is the last good one of a scope: with it, a site is asked for what has changed since, only."""

import hashlib
import json
from dataclasses import asdict
from typing import NamedTuple

import structlog

from gapless import links
from gapless.artifacts import ArtifactLost, ArtifactStore
from gapless.encryption import KeyMissing

log = structlog.get_logger()


class LastCrawl(NamedTuple):
    """A stored crawl, and its name in the store."""

    digest: str
    data: bytes


async def find(store: ArtifactStore, scope: links.Scope) -> LastCrawl | None:
    """Return the last crawl of this very scope that saw the whole site, or None.

    None as well when it is lost, or encrypted under a key that is not here: then all pages are read.

    Raises:
        StoreUnavailable: nobody knows; ask again.
    """
    try:
        if (digest := await store.get_named(_name(scope))) is None:
            return None
        return LastCrawl(digest.decode(), await store.get(digest.decode()))
    except (ArtifactLost, KeyMissing, UnicodeDecodeError) as error:
        log.info("crawl.cold", reason=str(error))
        return None


async def keep(store: ArtifactStore, scope: links.Scope, digest: str) -> None:
    """Make a stored crawl the last one of its scope.

    Raises:
        StoreUnavailable: it may be, or not.
    """
    await store.put_named(_name(scope), digest.encode())


def _name(scope: links.Scope) -> str:
    values = json.dumps(asdict(scope), sort_keys=True)
    return f"last-crawl/{hashlib.sha256(values.encode()).hexdigest()}"
