"""A crawl's progress as a chain of segments in the store, each naming the one before it."""

import structlog
from temporalio import activity

from gapless import links
from gapless.artifacts import ArtifactLost, ArtifactStore
from gapless.contract.link_audit import CrawlProgress
from gapless.links import segments
from gapless_activities import last_crawl

log = structlog.get_logger()


class Chain:
    """What was sealed of a crawl, and how far it has come; `progress` names all of it.

    Args:
        store: where segments are kept.
        progress: of earlier attempts and turns.
    """

    def __init__(self, store: ArtifactStore, progress: CrawlProgress) -> None:
        self.progress = progress
        self._store = store

    async def load(self, scope: links.Scope) -> tuple[list[bytes], bytes | None]:
        """Return the segments that were sealed, oldest first, and the last crawl of the scope.

        When a part of what was sealed is lost, none of it is returned: the crawl begins anew. The last crawl is chosen
        when nothing is sealed yet, and stays the same from then on, since segments number their names after it.

        Raises:
            StoreUnavailable: they may be there; the next attempt looks again.
        """
        earlier = self.progress
        if earlier.segment is not None:
            try:
                sealed = await self._sealed(earlier)
                previous = await self._store.get(earlier.previous) if earlier.previous else None
            except (ArtifactLost, ValueError) as error:
                log.warning("crawl.record_lost", error=str(error))
            else:
                lost = earlier.elsewhere != "given"  # else it was handed on, to go on with answers of other hosts
                self._note(phase="crawling", resumed_at=earlier.pages if lost else earlier.resumed_at)
                log.info("crawl.resumed", pages=earlier.pages, segments=len(sealed))
                return [*sealed, *await self._answers()], previous
        found = await last_crawl.find(self._store, scope)
        self.forget()
        self._note(previous=found.digest if found else None)
        return await self._answers(), found.data if found else None

    async def _answers(self) -> list[bytes]:
        """Return what other hosts answered as a segment, none when it is lost: then it is not checked."""
        try:
            return [await self._store.get(self.progress.answers)] if self.progress.answers else []
        except ArtifactLost as error:
            log.warning("crawl.answers_lost", error=str(error))
            return []

    async def sealed(self) -> list[bytes]:
        """Return the segments that were sealed, oldest first; none when a part of them is lost.

        Raises:
            StoreUnavailable: they may be there; the next attempt looks again.
        """
        try:
            return await self._sealed(self.progress)
        except (ArtifactLost, ValueError) as error:
            log.warning("look.record_lost", error=str(error))
            self.forget()
            return []

    async def _sealed(self, progress: CrawlProgress) -> list[bytes]:
        sealed: list[bytes] = []
        digest, rested = progress.segment, False
        while digest:
            rested = rested or digest == progress.rested_at
            head, _, body = (await self._store.get(digest)).partition(b"\n")
            sealed.append(_without_refused(body) if rested else body)
            digest = head.decode()
        return sealed[::-1]

    async def seal(self, segment: bytes) -> None:
        """Store a segment as the newest, and tell the server at once."""
        head = (self.progress.segment or "").encode()
        stored = await self._store.put("segment", head + b"\n" + segment)
        self._note(segment=stored.digest)
        self.beat()

    def beat(self) -> None:
        """Tell the server how far the crawl has come: the next attempt goes on there."""
        activity.heartbeat(self.progress.model_dump(mode="json"))

    def note(self, progress: links.Progress) -> None:
        """Take over the crawl's counters."""
        self._note(pages=progress.pages, links=progress.links, phase=progress.phase)

    def rest(self) -> None:
        """Note that the site gets a pause, and that what it refused is to be asked again."""
        now = self.progress
        self._note(phase="resting", rests=now.rests + 1, rested_at=now.segment)

    def forget(self) -> None:
        """Begin anew: what was sealed is of another version."""
        now = self.progress
        self.progress = CrawlProgress(rests=now.rests, elsewhere=now.elsewhere, answers=now.answers, looks=now.looks)

    def _note(self, **changes: object) -> None:
        self.progress = self.progress.model_copy(update=changes)


def _without_refused(segment: bytes) -> bytes:
    """Return a segment without what was refused. Raises ValueError when it is of another version."""
    names, records, more = segments.unpack(segment)
    kept = [record for record in records if not record.is_refused]
    return segments.pack(names, kept, **more)
