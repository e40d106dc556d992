"""One audit from its first request to its result."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from gapless.links import check, urls
from gapless.links.ahead import in_order
from gapless.links.fetch import Fetcher
from gapless.links.frontier import Frontier, read_robots
from gapless.links.isolate import Parsers
from gapless.links.record import Record
from gapless.links.result import Crawl
from gapless.links.scope import Progress, Scope
from gapless.links.segments import Journal
from gapless.links.visit import MAX_HOPS, Visitor

AHEAD = 1_000
OTHERS_AT_ONCE = 64
MAX_LINKS = 5_000_000
OUTAGE = 10

Seal = Callable[[bytes], Awaitable[None]]


async def crawl(
    scope: Scope,
    *,
    resume: Iterable[bytes] = (),
    seal: Seal | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Crawl:
    """Crawl the site and check every link on it.

    Addresses are fetched several at once, and taken in one by one in the order in which they were
    found: what is crawled, and what an audit that was killed and resumed comes to, depends on the site
    alone.

    Args:
        scope: what to audit.
        resume: segments that earlier attempts sealed, in order.
        seal: awaited with each new segment; when it returns, the segment must be safe.
        progress: called as the audit goes on.

    Returns:
        The crawl; `complete` is False when the start page was unreachable or a limit was reached.
    """
    journal = Journal(resume, seal)
    async with Fetcher(scope) as fetcher, Parsers() as parsers:
        visitor = Visitor(scope, fetcher, parsers, journal.links)
        robots = await read_robots(fetcher, scope) if scope.robots else None
        fetcher.site_gate.interval = robots.crawl_delay if robots else 0.0
        audit = _Audit(scope, journal, visitor, Frontier(scope, robots), progress)
        await audit.run()
    await journal.close()
    if robots is not None and robots.failed and not audit.crawl.pages:
        audit.crawl.incomplete_reason = f"robots.txt could not be read ({robots.cause}), so nothing may be crawled"
    return audit.crawl


async def follow(
    targets: Iterable[str],
    records: dict[str, Record],
    visit: Callable[[str, bool], Awaitable[Record]],
    allowed: Callable[[str], bool],
) -> None:
    """Visit what is missing on the way of each target, hop by hop, until nothing is.

    Args:
        targets: absolute addresses, with fragments.
        records: what is known; what is visited is added.
        visit: makes the record of an address; its second argument says whether ids are wanted.
        allowed: whether an address may be visited.
    """
    targets = sorted(set(targets))
    while wanted := _missing(targets, records, allowed):
        work = sorted(wanted.items())
        async with aclosing(in_order(work, lambda item: visit(*item), lambda: AHEAD)) as found:
            async for record in found:
                records[record.url] = record


def _missing(targets: Iterable[str], records: Mapping[str, Record], allowed: Callable[[str], bool]) -> dict[str, bool]:
    wanted: dict[str, bool] = {}
    for target in targets:
        journey = check.travel(target, records)
        ids = check.needs_ids(journey.fragment)
        end = journey.end
        unread = end is None or (ids and end.html and end.ids is None and end.error is None)
        url = end.url if end else journey.at
        if journey.fault is None and unread and allowed(url):
            wanted[url] = wanted.get(url, False) or ids
    return wanted


class _Audit:
    """The state of one audit on its way."""

    def __init__(
        self,
        scope: Scope,
        journal: Journal,
        visitor: Visitor,
        frontier: Frontier,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.crawl = Crawl(scope)
        self._scope = scope
        self._journal = journal
        self._visitor = visitor
        self._frontier = frontier
        self._progress = progress
        self._taken = 0
        self._links = 0
        self._failures = 0
        self._hops: dict[str, int] = {}
        # From the request until the record is safe, so that a store that is slow costs no request twice.
        self._site_turn = asyncio.Semaphore(scope.connections)
        self._other_turn = asyncio.Semaphore(OTHERS_AT_ONCE)

    async def run(self) -> None:
        """Crawl, look at other hosts, and confirm what failed, until nothing new turns up."""
        self._frontier.offer(self._scope.start)
        while True:
            await self._drain()
            await self._other_hosts()
            if self._offer_hops():
                continue
            if not await self._confirm():
                break
        self.crawl.skipped = self._frontier.skipped
        self.crawl.incomplete_reason = await self._outage() or self._incomplete()

    async def _drain(self) -> None:
        async with aclosing(in_order(self._frontier.queue, self._visit, self._ahead, start=self._taken)) as records:
            async for record in records:
                self._taken += 1
                self._take(record)
                self._report("crawling")
                if self._stopped():
                    return

    def _ahead(self) -> int:
        # No further ahead than pages may still come, so that a limit costs the site little more than it says.
        if self._stopped():
            return 0
        return min(AHEAD, max(self._scope.connections, self._scope.max_pages - len(self.crawl.pages)))

    def _stopped(self) -> bool:
        return len(self.crawl.pages) >= self._scope.max_pages or self._links > MAX_LINKS

    async def _visit(self, url: str, ids: bool = True, attempt: int = 1) -> Record:
        known = self._journal.recall(url, attempt)
        if known is not None and (known.ids is not None or known.error or not (ids and known.html)):
            return known
        async with self._site_turn if self._scope.on_site(url) else self._other_turn:
            record = await self._visitor.visit(url, attempt=attempt, ids=ids)
            await self._journal.keep(record)
        return record

    def _take(self, record: Record) -> None:
        self.crawl.records[record.url] = record
        self._failures += check.standing(record)[0] == check.BROKEN
        if record.location is not None:
            self._take_hop(record.url, urls.split_fragment(record.location)[0])
        elif record.is_page and self._scope.inside(record.final) and record.final not in self.crawl.pages:
            self.crawl.pages[record.final] = record
            self._links += record.link_count
            for link in record.links:
                if link.valid and self._scope.on_site(link.target):
                    self._frontier.offer(urls.split_fragment(link.target)[0])

    def _take_hop(self, url: str, following: str) -> None:
        hops = self._hops.get(url, 0) + 1
        if hops <= MAX_HOPS and self._scope.on_site(following):
            self._hops.setdefault(following, hops)
            self._frontier.offer(following)

    def _targets(self) -> set[str]:
        pages = self.crawl.pages.values()
        return {link.target for page in pages for link in page.links if link.valid} | {self._scope.start}

    async def _other_hosts(self) -> None:
        if self._scope.external:
            await follow(self._targets(), self.crawl.records, self._visit_other, self._is_other)

    def _is_other(self, url: str) -> bool:
        return not self._scope.on_site(url)

    async def _visit_other(self, url: str, ids: bool) -> Record:
        record = await self._visit(url, ids)
        self._failures += check.standing(record)[0] == check.BROKEN
        self._report("checking other hosts")
        return record

    def _offer_hops(self) -> bool:
        # A chain that starts in the middle of another, or on another host, may end where nobody looked yet.
        before = len(self._frontier.queue)
        if not self._stopped():
            for url in sorted(_missing(self._targets(), self.crawl.records, self._scope.on_site)):
                self._frontier.offer(url)
        return len(self._frontier.queue) > before

    async def _confirm(self) -> bool:
        """Fetch every failure once more; say whether one of them was none."""
        failed = [
            record
            for record in self.crawl.records.values()
            if record.attempt == 1 and check.standing(record)[0] == check.BROKEN
        ]
        recovered = False
        again = in_order([record.url for record in failed], self._visit_again, lambda: AHEAD)
        async with aclosing(again) as seconds:
            async for second in seconds:
                first = self.crawl.records[second.url]
                recovered |= self._settle(first, second)
                self._report("confirming")
        return recovered

    async def _visit_again(self, url: str) -> Record:
        return await self._visit(url, attempt=2)

    def _settle(self, first: Record, second: Record) -> bool:
        self._failures -= 1
        result, _ = check.standing(second)
        if result == check.BROKEN:
            self.crawl.records[second.url] = second
            return False
        recovered = check.standing(first)[1] if result == check.OK else None
        self._take(replace(second, recovered=recovered))
        return True

    async def _outage(self) -> str | None:
        """Say so when the site went away on the way: then its failures are no broken links."""
        silent = [
            url
            for url, record in self.crawl.records.items()
            if record.status is None and self._scope.on_site(url) and check.standing(record)[0] == check.BROKEN
        ]
        if len(silent) < OUTAGE:
            return None
        now = await self._visitor.visit(self._scope.start)
        if now.status is not None:
            return None
        return f"the site stopped answering ({now.error}); {len(silent)} addresses could not be read"

    def _report(self, phase: str) -> None:
        if self._progress is not None:
            self._progress(Progress(len(self.crawl.pages), self._links, self._failures, phase))

    def _incomplete(self) -> str | None:
        start = check.travel(self._scope.start, self.crawl.records)
        if self._frontier.full or (self._stopped() and self._taken < len(self._frontier.queue)):
            left = len(self._frontier.queue) - self._taken
            return f"stopped at {len(self.crawl.pages)} pages; {left} known addresses were not visited"
        if self.crawl.pages:
            return None
        if start.end is None and self._is_other(start.at):
            return f"the start page redirects to {start.at}, which is another site; audit that one instead"
        if start.end is None:
            return f"the start page was not read: {start.fault or self.crawl.skipped.get(start.at, 'unknown')}"
        reason = check.standing(start.end)[1]
        return f"the start page was not read: {reason or 'it is not an HTML page under the prefix'}"
