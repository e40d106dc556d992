"""What other hosts answered lately: audits of one night share it, and the next night asks again.

Only answers that nothing is wrong with are kept. What is not ok is asked again by each audit.
"""

import hashlib
import time
from collections.abc import Mapping
from typing import NamedTuple

import structlog

from gapless import links
from gapless.artifacts import ArtifactStore
from gapless.encryption import KeyMissing
from gapless.links import check, elsewhere, segments, urls
from gapless.links.record import Record

log = structlog.get_logger()

FRESH = 12 * 3600.0
"""Seconds for which an answer counts."""


class Answers(NamedTuple):
    """What is known of a host.

    Attributes:
        records: its answers, by address.
        times: when each was given, in seconds since 1970.
        opens: until when the host asks to be left alone, in seconds since 1970; 0 when it does not.
    """

    records: dict[str, Record]
    times: dict[str, float]
    opens: float = 0.0


async def find(store: ArtifactStore, scope: links.Scope, host: str) -> Answers:
    """Return what a host answered lately; nothing where that cannot be read, as under a key that is not here.

    Raises:
        StoreUnavailable: nobody knows; ask again.
    """
    try:
        data = await store.get_named(_name(scope, host))
        _, records, more = segments.unpack(data) if data else ([], [], {"times": {}, "opens": 0.0})
    except (KeyMissing, ValueError) as error:
        log.info("answers.unreadable", reason=str(error))
        return Answers({}, {})
    since = time.time() - FRESH
    times = {url: at for url, at in more["times"].items() if at > since}
    return Answers({record.url: record for record in records if record.url in times}, times, more["opens"])


async def keep(store: ArtifactStore, scope: links.Scope, host: str, earlier: Answers, now: Answers) -> None:
    """Keep what a host answered, beside what it answered before and has not been asked again.

    Raises:
        StoreUnavailable: it may be kept, or not.
    """
    before = {url: record for url, record in earlier.records.items() if url not in now.records}
    records = before | {url: record for url, record in now.records.items() if _lasts(record)}
    times = earlier.times | now.times
    data = elsewhere.pack(records.values(), times={url: times[url] for url in sorted(records)}, opens=now.opens)
    await store.put_named(_name(scope, host), data)


def at(records: Mapping[str, Record], earlier: Answers, *, opens: float = 0.0) -> Answers:
    """Return answers that were given now, but for those that were known."""
    now = time.time()
    times = {url: earlier.times[url] if earlier.records.get(url) is record else now for url, record in records.items()}
    return Answers(dict(records), times, opens)


def _lasts(record: Record) -> bool:
    """Say whether an answer is one that nothing is wrong with; what a cookie had to be carried for is asked again."""
    return check.standing(record)[0] == check.OK and record.attempts == 1 and not record.chain


def _name(scope: links.Scope, host: str) -> str:
    # What an audit may visit although it is private is not told to one that may not.
    trusted = any(urls.host_port(f"{scheme}://{host}/") in scope.trusted for scheme in ("http", "https"))
    values = f"{host}\n{trusted}"
    return f"answers/{hashlib.sha256(values.encode()).hexdigest()}"
