"""One audit from its first request to its result."""

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import chain
from zlib import crc32

from gapless.links import check, soft404, urls
from gapless.links.check import Outcome
from gapless.links.elsewhere import Elsewhere, Looked, leading_elsewhere, onward
from gapless.links.frontier import Frontier, Robots
from gapless.links.job import IDS, LOOK, PAGE, PLACES, SITEMAP, STATUS, TEXT, Job, Result
from gapless.links.leads import Leads
from gapless.links.pool import Done, Pool
from gapless.links.record import SHARE, Hop, Numbers, Place, Record
from gapless.links.repeat import repeated
from gapless.links.result import Crawl
from gapless.links.scope import Progress, Scope
from gapless.links.segments import Journal
from gapless.links.shares import TARGETS_OF_A_PAGE, Shares

MAX_LINKS = 5_000_000
MAX_SITEMAPS = 100
ROBOTS_HOPS = 5
OUTAGE = 10
BACKOFF = 0.25
"""Seconds before what may pass is tried a third time."""
TRANSIENT_STATUSES = frozenset({408, 500, 502, 503, 504})
TRANSIENT_ERRORS = frozenset({"reset", "refused", "truncated", "timeout", "dns"})
SAMPLE = 50
"""One page in so many is read again although the server says that it has not changed."""

EMPTY: Mapping[str, Record] = {}
NEVER = object()
"""Is noted of what was never asked for."""

Seal = Callable[[bytes], Awaitable[None]]
Report = Callable[[Progress], None]


async def crawl(
    scope: Scope,
    *,
    pool: Pool | None = None,
    resume: Iterable[bytes] = (),
    previous: Crawl | None = None,
    seal: Seal | None = None,
    progress: Report | None = None,
    today: date | None = None,
    elsewhere: Elsewhere = Elsewhere.HERE,
) -> Crawl:
    """Crawl the site and check every link on it.

    Addresses are visited level by level, so that what is crawled, and what an audit that was killed and resumed
    comes to, depends on the site alone.

    Args:
        scope: what to audit.
        pool: who fetches and parses, entered; a thread of this process when None.
        resume: segments that earlier attempts sealed, in order.
        previous: the last audit of this scope: what has not changed since is not read again. Its records are taken
            over: it is of no use to the caller afterwards.
        seal: awaited with each new segment; when it returns, the segment must be safe.
        progress: called as the audit goes on.
        today: decides which pages are read again although the server says that they have not changed.
        elsewhere: who asks other hosts; what others found there comes as a segment of `resume`.

    Returns:
        The crawl; `complete` is False when the start page was unreachable or a limit was reached.

    Raises:
        ValueError: `resume` is of another version.
        ChildLost: a process of the pool ended.
    """
    if pool is None:
        async with Pool(scope) as own:
            return await crawl(
                scope,
                pool=own,
                resume=resume,
                previous=previous,
                seal=seal,
                progress=progress,
                today=today,
                elsewhere=elsewhere,
            )
    if previous is not None and previous.scope != scope:
        previous = None
    numbers = Numbers(previous.names if previous else ())
    journal = Journal(numbers, resume, seal, previous.records if previous else None)
    audit = _Audit(scope, pool, numbers, journal, previous, progress, today or datetime.now(UTC).date())
    audit.elsewhere = elsewhere
    try:
        return await audit.run()
    finally:
        await journal.close()


async def look(
    scope: Scope,
    targets: Iterable[str],
    allowed: Callable[[str], bool],
    *,
    known: Mapping[str, Record] = EMPTY,
    resume: Iterable[bytes] = (),
    seal: Seal | None = None,
    credentials: Mapping[str, tuple[str, ...]] | None = None,
) -> Looked:
    """Fetch targets and what they redirect to, and again what failed, as a crawl does with other hosts.

    Args:
        scope: of the audit.
        targets: absolute addresses with fragments.
        allowed: whether an address may be fetched.
        known: what is known already.
        resume: segments that earlier attempts sealed, in order.
        seal: awaited with each new segment.
        credentials: header fields by origin.

    Raises:
        ValueError: `resume` is of another version.
    """
    numbers = Numbers()
    journal = Journal(numbers, resume, seal)
    async with Pool(scope, credentials=credentials) as pool:
        audit = _Audit(scope, pool, numbers, journal, None, None, datetime.now(UTC).date())
        audit.crawl.records.update(known)
        try:
            return await audit.look(targets, allowed)
        finally:
            await journal.close()


async def recheck(
    scope: Scope,
    targets: Iterable[str],
    *,
    given: Mapping[str, Record] | None = None,
    credentials: Mapping[str, tuple[str, ...]] | None = None,
    robots: bool = False,
) -> dict[str, Outcome | None]:
    """Fetch targets and what they redirect to freshly, and return what each comes to.

    Args:
        scope: of the audit; targets on other hosts are left out when it leaves them out.
        targets: absolute addresses with fragments.
        given: what other hosts answered, which are not asked then; None to ask them.
        credentials: header fields by origin.
        robots: whether the site's robots.txt is asked first, if the scope says so: for what no crawl has been at.
    """
    wanted = sorted(set(targets))
    everywhere = scope.external and given is None
    async with Pool(scope, credentials=credentials) as pool:
        numbers = Numbers()
        audit = _Audit(scope, pool, numbers, Journal(numbers), None, None, datetime.now(UTC).date())
        audit.crawl.records.update(given or EMPTY)
        rules = await audit.robots() if robots and scope.robots else None
        if rules is not None and rules.crawl_delay:
            pool.slow_down(scope.host, rules.crawl_delay)
        await audit.follow(
            wanted,
            lambda url: (rules is None or rules.allows(url)) if scope.on_site(url) else everywhere,
        )
    return {target: check.judge(target, audit.crawl.records, {}) for target in wanted}


class _Audit:
    """The state of one audit on its way."""

    elsewhere = Elsewhere.HERE

    def __init__(
        self,
        scope: Scope,
        pool: Pool,
        numbers: Numbers,
        journal: Journal,
        previous: Crawl | None,
        progress: Report | None,
        today: date,
    ) -> None:
        self.crawl = Crawl(scope, numbers.names)
        self._scope = scope
        self._pool = pool
        self._numbers = numbers
        self._journal = journal
        self._previous = previous
        self._known = previous.records if previous else {}
        self._suspects = set(previous.places) if previous else set()
        self._progress = progress
        self._today = today.isoformat()
        self._frontier = Frontier(scope, None)
        self._jobs = 0
        self._shared: dict[str, str] = {}
        """What many records say alike, so that it is kept once."""
        self._shares = Shares(numbers)
        self._told = SHARE
        self._pages: set[tuple[str, str]] = set()
        self._links = 0
        self._failures = 0
        self._may_pass: list[str] = []
        self._retried = 0.0
        self._hops: dict[str, int] = {}
        self._left = 0
        self._noted = Leads(scope)
        self._relinked = False

    # The whole

    async def run(self) -> Crawl:
        """Crawl, look at other hosts, and confirm what failed, until nothing new turns up."""
        robots = await self.robots() if self._scope.robots else None
        self._frontier = Frontier(self._scope, robots)
        if robots is not None and robots.crawl_delay:
            self._pool.slow_down(self._scope.host, robots.crawl_delay)
        if robots is None or not robots.failed:
            await self._probe()
            await self._sitemaps(robots)
        await self._revalidate(robots)
        self._set_share(SHARE)
        self._frontier.offer(self._scope.start)
        self._repeat(robots)
        located = False
        while True:
            await self._look()
            await self._unblock()
            self.crawl.skipped = self._frontier.skipped
            waits = self._leave_elsewhere() and self.elsewhere is Elsewhere.LATER
            if located := self._pause() > 0 and not waits:
                await self._locate()
            if not await self._last_try():
                break
        if not (located or waits):
            await self._locate()
        self.crawl.incomplete_reason = await self._outage() or self._incomplete(robots)
        return self.crawl

    async def _revalidate(self, robots: Robots | None) -> None:
        """Ask what has changed of all that the last audit saw of the site, what failed first.

        Level by level, this would wait for each level; whether somebody still links there is seen afterwards.
        """
        known = [
            record
            for record in self._known.values()
            if record.kind != "sitemap"
            and not record.cut
            and self._scope.on_site(record.url)
            and record.url not in self._journal.known
            and (robots is None or robots.allows(record.url))
        ]
        self._shares.begin()
        failed = {record.url for record in known if check.standing(record)[0] == check.BROKEN}
        others = sorted(record.url for record in known if record.url not in failed)
        await self._ask(self._job(url, PAGE) for url in sorted(failed))
        found = {url: self._journal.known[url] for url in failed if url in self._journal.known}
        passing = {url: record for url, record in found.items() if _may_pass(record)}
        await self._ask(self._retries(passing), passing)
        await self._ask(self._job(url, PAGE) for url in others if "?" not in url)
        broken = (each for url, each in found.items() if url not in passing)
        lasting = {each.url: each for each in broken if check.standing(each)[0] == check.BROKEN}
        queries = (self._job(url, PAGE) for url in others if "?" in url)
        await self._ask(chain(queries, self._retries(lasting)), lasting)

    async def _ask(self, jobs: Iterable[Job], earlier: Mapping[str, Record] = EMPTY) -> None:
        """Work on jobs, and keep what comes of them until it is visited."""
        async for records in self._records(jobs, earlier, ahead=True):
            self._journal.known.update((record.url, record) for record in records)
            if self._shares.overflow():
                self._set_share(TARGETS_OF_A_PAGE)
            self._report("looking for changes")

    def _repeat(self, robots: Robots | None) -> None:
        """Take what the walk over the site comes to, when it would find what the last one found."""
        if self._previous is None:
            return
        found = repeated(self._previous, self._journal.known, self.crawl.records, robots)
        if found is None:
            return
        self.crawl.records = found.records
        self._frontier.pass_over(tuple(found.records), found.skipped)
        self._offer(self._shares.free(set().union(*(record.links for record in found.records.values()))))
        for record in found.records.values():
            self._count(record)
            self._failures += not check.is_fine(record) and check.standing(record)[0] == check.BROKEN
        self._report("crawling")

    async def _look(self) -> None:
        """Crawl, look at other hosts, and ask again for what failed, until nothing new turns up."""
        while True:
            await self._site()
            offered = self._frontier.offered
            await self._other_hosts()  # which may lead back
            if not self._offer_hops(offered) and not await self._confirm():
                break

    async def _site(self) -> None:
        while not self._stopped and (level := self._frontier.level()):
            await self._level([url for url in level if "?" not in url])
            await self._level([url for url in level if "?" in url])  # most of them are pages that are known by now
            await self._retry()

    async def _level(self, level: list[str]) -> None:
        while level and not self._stopped:
            room = max(1, self._scope.max_pages - len(self._pages))
            now, level = level[:room], level[room:]
            await self._visit(now, PAGE)
        self._left += len(level)

    @property
    def _stopped(self) -> bool:
        return len(self._pages) >= self._scope.max_pages or self._links > MAX_LINKS

    # Visits

    async def _visit(self, addresses: Sequence[str], want: int, phase: str = "crawling") -> None:
        """Visit addresses that were not visited yet, or take what is known of them."""
        known: list[Record] = []
        new: list[str] = []
        for url in addresses:
            if url in self.crawl.records and self.crawl.records[url].kind == "sitemap":
                continue  # it was read before all others
            record = self._journal.known.get(url)
            if record is not None and (record.ids is not None or record.error or want != IDS or record.kind != "html"):
                known.append(record)
            else:
                new.append(url)
        self._shares.begin()
        self._take(known)
        async for records in self._records(self._job(url, want) for url in new):
            self._take(records)
            self._report(phase)
        self._settle()

    async def _records(
        self, jobs: Iterable[Job], earlier: Mapping[str, Record] = EMPTY, *, ahead: bool = False
    ) -> AsyncGenerator[list[Record]]:
        """Work on jobs, and yield their records, sealed soon; `earlier` holds failures that are looked at again.

        What is done ahead of a visit leaves out pages that were cut: to what they are, the visit decides.
        """
        async with aclosing(self._pool.run(jobs, self._numbers)) as batches:
            async for batch in batches:
                records: list[Record] = []
                same: set[str] = set()
                for job, result, links in batch:
                    record = self._known[job.url] if result is None else self._record(job, result, links)
                    if (first := earlier.get(job.url)) is not None:
                        record.attempts = first.attempts + 1
                        recovered = check.standing(record)[0] == check.OK
                        record.recovered = check.standing(first)[1] if recovered else None
                    if ahead and record.cut:
                        continue
                    records.append(record)
                    if result is None or (job.want == PAGE and record is self._known.get(job.url)):
                        same.add(job.url)
                await self._journal.keep(records, same)
                yield records

    def _job(self, url: str, want: int) -> Job:
        self._jobs += 1
        known = self._known.get(url) if want == PAGE else None
        twin = self._twin(url) if want == PAGE else None
        digest = twin.digest if twin else ""
        if known is None or known.error or known.recovered or known.cut:
            return Job(self._jobs, url, want, digest=digest, status=200 if digest else 0)
        if known.status != 200 or known.attempts > 1:
            likely = 0 if twin or known.chain or _may_pass(known) else known.status or 0
            return Job(self._jobs, url, want, digest=digest, status=likely, location=known.location or "")
        digest = digest or known.digest
        likely = 0 if known.chain or digest != known.digest else 200
        if self._sampled(url) or url in self._suspects or not (known.etag or known.modified):
            return Job(self._jobs, url, want, digest=digest, status=likely)
        return Job(self._jobs, url, want, known.etag, known.modified, digest, status=likely)

    def _sampled(self, url: str) -> bool:
        return crc32(f"{self._today} {url}".encode()) % SAMPLE == 0

    def _twin(self, url: str) -> Record | None:
        """Return the page of the same path without a query, when it was read."""
        page, query, _ = url.partition("?")
        twin = (self.crawl.records.get(page) or self._journal.known.get(page)) if query else None
        return twin if twin is not None and twin.is_page and twin.final == page else None

    def _record(self, job: Job, result: Result, links: "array[int]") -> Record:
        if result.status == 304:  # of what was not asked whether it has changed
            return Record(job.url, status=result.status, error="invalid_response", final=result.final)
        known = self._known.get(job.url)
        if result.same and known is not None and known.digest == result.digest and not known.cut:
            if (known.etag, known.modified) == (result.etag, result.modified):
                return known
            return replace(known, etag=result.etag, modified=result.modified)
        twin = self._twin(job.url) if result.same else None
        if twin is not None:
            url, etag, modified = job.url, result.etag, result.modified
            return replace(twin, url=url, final=url, etag=etag, modified=modified, attempts=1, recovered=None)
        return Record(
            url=job.url,
            status=result.status,
            error=result.error,
            chain=tuple(Hop(*hop) for hop in result.chain),
            final=job.url if result.final == job.url else result.final,
            location=result.location,
            kind=result.kind,
            ids=None if result.ids is None else self._shared.setdefault(result.ids, result.ids),
            base=result.base,
            links=links,
            link_count=result.link_count,
            cut=result.cut,
            etag=result.etag,
            modified=self._shared.setdefault(result.modified, result.modified),
            digest=result.digest,
        )

    def _take(self, new: Iterable[Record]) -> None:
        records, taken = self.crawl.records, list[Record]()
        for record in new:
            if (before := records.get(record.url)) is not None:
                self._failures -= check.standing(before)[0] == check.BROKEN
                self._relinked |= before.links != record.links
            records[record.url] = record
            if not check.is_fine(record) and check.standing(record)[0] == check.BROKEN:
                self._failures += 1
                if record.attempts == 1 and _may_pass(record):
                    self._may_pass.append(record.url)
            if record.location is not None:
                self._take_hop(record.url, urls.split_fragment(record.location)[0])
                continue
            self._count(record)
            taken.append(record)
        self._shares.take(taken)
        self._set_share(self._shares.share)

    def _count(self, record: Record) -> None:
        if record.is_page and self._scope.inside(record.final):
            key = record.final.partition("?")[0], record.digest
            self._links += record.link_count if key not in self._pages else 0
            self._pages.add(key)

    def _set_share(self, share: int) -> None:
        """Tell those who read pages to what these are cut, when that is news."""
        if self._told != share:
            self._told = share
            self._pool.tell(("share", share))

    def _settle(self) -> None:
        """Offer what a visit has found, now that it is known what of it is kept."""
        new = self._shares.settle()
        self._set_share(self._shares.share)
        self._offer(new)

    def _offer(self, new: Iterable[int]) -> None:
        """Offer what links lead to on the site."""
        for url in self._noted.add(map(self._numbers.names.__getitem__, new)):
            self._frontier.offer(url)

    def _leads(self) -> Leads:
        """Return where links lead; of a page that was read twice and said two things, what it said last counts."""
        if self._relinked:
            self._noted = Leads(self._scope)
            self._noted.add(self.crawl.targets_used())
        return self._noted

    def _take_hop(self, url: str, following: str) -> None:
        hops = self._hops.get(url, 0) + 1
        if hops <= check.MAX_HOPS and self._scope.on_site(following):
            self._hops[following] = min(hops, self._hops.get(following, hops))  # whichever chain was answered first
            self._frontier.offer(following)

    # What stands beside the pages

    async def robots(self) -> Robots:
        """Fetch the site's robots.txt, over redirects, and read its rules."""
        url = f"{self._scope.site}/robots.txt"
        for _ in range(ROBOTS_HOPS):
            result = await self._once(url, TEXT)
            if result.location is None:
                break
            url = urls.split_fragment(result.location)[0]
        status = None if result.error and result.error not in {"too_large", "no_location"} else result.status
        return Robots(status, result.more if status is not None and status < 300 else None, result.error)

    async def _probe(self) -> None:
        """Find out whether the site says 200 for what does not exist, and tell those who read its pages."""
        probe = await self._once(self._scope.site + soft404.path(self._scope.host), LOOK)
        if probe.status != 200 or probe.more is None:
            return
        start = await self._once(self._scope.start, LOOK)
        if start.more is None or not soft404.is_soft_404(soft404.Look(*start.more), soft404.Look(*probe.more)):
            self._pool.tell(("probe", probe.more))  # else it is an application that answers everything alike

    async def _unblock(self) -> None:
        """Ask the start pages of other hosts that refuse: one that answers the same refuses us, not the page."""
        refused: dict[str, list[Record]] = {}
        for record in self._failed(lambda record: 400 <= (record.status or 0) < 500):
            if record.status not in {404, 410} and not self._scope.on_site(record.url):
                refused.setdefault(urls.origin(record.url) + "/", []).append(record)
        for start, records in sorted(refused.items()):
            answer = await self._one(start, STATUS)
            for record in records:
                if record.status == answer.status:
                    record.error = f"blocked_{record.status}"

    async def _once(self, url: str, want: int) -> Result:
        result = await self._beside(self._job(url, want))
        assert result is not None  # it is not asked whether it has changed
        return result

    async def _beside(self, job: Job) -> Result | None:
        """Do a job once in an audit, however often that is interrupted; None when nothing has changed."""
        name, asks = f"{job.want} {job.url}", bool(job.etag or job.modified)
        noted = self._journal.beside.get(name, NEVER)
        if noted is not NEVER and (noted or asks):
            return Result(**noted) if noted else None
        result = (await self._do(job)).result
        if result is None or not (result.error in TRANSIENT_ERRORS or result.status in {429, *TRANSIENT_STATUSES}):
            self._journal.note(name, result and result._asdict() | {"links": ""})
        return result

    async def _one(self, url: str, want: int) -> Result:
        result = (await self._do(self._job(url, want))).result
        assert result is not None  # it is not asked whether it has changed
        return result

    async def _do(self, job: Job) -> Done:
        async with aclosing(self._pool.run([job], self._numbers)) as batches:
            batch = await anext(batches)
            while not batch:  # it is asked again
                batch = await anext(batches)
        return batch[0]

    async def _sitemaps(self, robots: Robots | None) -> None:
        """Take the pages that sitemaps name, and the sitemaps that others name, as links that stand there."""
        if not self._scope.sitemaps:
            return
        named = robots.sitemaps if robots else []
        if named:
            self._sitemap(f"{self._scope.site}/robots.txt", named)
        waiting = sorted({url for url in named if self._is_address(url)}) or [f"{self._scope.site}/sitemap.xml"]
        seen: set[str] = set()
        while waiting and len(seen) < MAX_SITEMAPS:
            url = urls.split_fragment(urls.join(waiting.pop(0), ""))[0]
            if url in seen or not self._scope.on_site(url):
                continue
            seen.add(url)
            known = self._known.get(url, Record(url))
            asks = known.kind == "sitemap" and not self._sampled(url)
            job = self._job(url, SITEMAP)
            result = await self._beside(job._replace(etag=known.etag, modified=known.modified) if asks else job)
            if result is None:
                self._seed(known)
            elif result.more is not None and result.status == 200:
                pages, sitemaps, _ = result.more
                waiting += filter(self._is_address, sitemaps)
                seed = self._sitemap(url, [*sitemaps, *pages])
                if not sitemaps:  # else those would have to be known, too
                    seed.etag, seed.modified = result.etag, result.modified

    def _sitemap(self, url: str, addresses: list[str]) -> Record:
        resolve = urls.Resolver().of(url)
        targets = [self._scope.home(target) for each in addresses if (target := resolve(each, True)) is not None]
        covered = [target for target in targets if self._scope.covers(target)]
        record = Record(url, status=200, final=url, kind="sitemap", link_count=len(covered))
        record.links.extend(dict.fromkeys(map(self._numbers.__getitem__, covered)))
        self._seed(record)
        return record

    def _seed(self, record: Record) -> None:
        """Take a sitemap: it may name more than a page does."""
        self.crawl.records[record.url] = record
        self._offer(self._shares.free(record.links))

    @staticmethod
    def _is_address(url: str) -> bool:
        try:
            return urls.is_web(urls.join(url, ""))
        except ValueError:
            return False

    async def _other_hosts(self) -> None:
        if self._scope.external:
            await self.follow(leading_elsewhere(self._leads().elsewhere, self.crawl), self._may_ask)

    def _may_ask(self, url: str) -> bool:
        """Say whether an address of another host may be visited; or taken, where others ask."""
        if self.elsewhere is not Elsewhere.HERE and (url not in self._journal.known or url in self.crawl.records):
            return False
        return not self._scope.on_site(url)

    def _leave_elsewhere(self) -> bool:
        """Note what was left to others and is not known; say whether there is anything."""
        if self.elsewhere is Elsewhere.HERE or not self._scope.external:
            return False
        far = onward(leading_elsewhere(self._leads().elsewhere, self.crawl), self.crawl.records, self._scope)
        left = {urls.split_fragment(target)[0] for target in far}
        self.crawl.skipped.update(dict.fromkeys(left, "not_checked"))
        return bool(left)

    async def look(self, targets: Iterable[str], allowed: Callable[[str], bool]) -> Looked:
        """Visit the targets and what they redirect to, and confirm what failed; see the function `look`."""
        targets = sorted(set(targets))
        await self.follow(targets, allowed)
        while await self._confirm() or await self._last_try():
            await self.follow(targets, allowed)
        await self._unblock()
        refused = next((url for url, record in self.crawl.records.items() if record.is_refused and allowed(url)), None)
        pause = (await self._one(refused, STATUS)).wait if refused else None
        return Looked(self.crawl.records, pause or 0.0)

    async def follow(self, targets: Iterable[str], allowed: Callable[[str], bool]) -> None:
        """Visit what is missing on the way of each target, hop by hop, until nothing is."""
        targets = sorted(set(targets))
        while wanted := missing(targets, self.crawl.records, allowed):
            for want, chosen in ((IDS, True), (STATUS, False)):
                await self._visit(
                    [url for url in sorted(wanted) if wanted[url] is chosen], want, "checking other hosts"
                )

    def _offer_hops(self, before: int) -> bool:
        # A chain that starts in the middle of another, or on another host, may end where nobody looked yet.
        if self._stopped:
            return False
        records, linked = self.crawl.records, self._leads().documents | {self._scope.start}
        # Not each redirect, or a chain would never end.
        redirected = [url for url, record in records.items() if record.location is not None and url in linked]
        for url in missing(redirected, records, self._scope.on_site):
            self._frontier.offer(url)
        return self._frontier.offered > before

    # Failures

    async def _retry(self) -> None:
        """Fetch once more what may pass of what has failed since the last time."""
        failed, self._may_pass = self._may_pass, []
        await self._again([record for url in failed if (record := self.crawl.records[url]).attempts == 1])

    async def _confirm(self) -> bool:
        """Fetch once more what failed for good; say whether one of them did not."""
        await self._retry()
        return await self._again(self._failed(lambda record: record.attempts == 1))

    def _pause(self) -> float:
        """Return the seconds for which what may pass is left alone still."""
        return self._retried + BACKOFF - time.monotonic()

    async def _last_try(self) -> bool:
        """Fetch a third time what may pass; say whether one of them did."""
        failed = self._failed(lambda record: record.attempts == 2 and _may_pass(record))
        if not failed:
            return False
        await asyncio.sleep(max(0.0, self._pause()))
        recovered = await self._again(failed)
        self.crawl.judge_again(all_links=recovered)
        return recovered

    def _failed(self, which: Callable[[Record], bool]) -> list[Record]:
        records = self.crawl.records.values()
        failed = [record for record in records if check.standing(record)[0] == check.BROKEN and which(record)]
        if self.elsewhere is Elsewhere.HERE:
            return failed
        return [record for record in failed if self._scope.on_site(record.url)]  # the others were asked by others

    async def _again(self, records: Iterable[Record]) -> bool:
        failed = {record.url: record for record in records}
        recovered = False
        self._shares.begin()
        async for now in self._records(self._retries(failed), failed):
            recovered |= any(check.standing(record)[0] != check.BROKEN for record in now)
            self._take(now)
            self._report("confirming")
        self._settle()
        return recovered

    def _retries(self, failed: Mapping[str, Record]) -> list[Job]:
        """Return jobs for what failed, first for what may pass, which then has the longer pause.

        They never ask whether something has changed: the answer is to show what comes now, not what was known before.
        """
        order = sorted(failed, key=lambda url: (not _may_pass(failed[url]), url))
        if order and _may_pass(failed[order[0]]):
            self._retried = time.monotonic()
        first = self._jobs + 1
        self._jobs += len(order)
        return [Job(number, url, self._want(url)) for number, url in enumerate(order, first)]

    def _want(self, url: str) -> int:
        return PAGE if self._scope.on_site(url) else IDS

    async def _outage(self) -> str | None:
        """Say so when the site went away on the way: then its failures are no broken links."""
        records = self.crawl.records.items()
        silent = sum(
            record.status is None and self._scope.on_site(url) and check.standing(record)[0] == check.BROKEN
            for url, record in records
        )
        if silent < OUTAGE:
            return None
        now = await self._one(self._scope.start, STATUS)
        if now.status is not None:
            return None
        return f"the site stopped answering ({now.error}); {silent} addresses could not be read"

    # What is wrong

    async def _locate(self) -> None:
        """Find out where the links that are not ok stand in the source of their pages."""
        if self._previous is not None and self.crawl.saw_the_same(self._previous):
            self.crawl.places = self._previous.places
            return
        located, self.crawl.places = self.crawl.places, {}
        jobs: dict[int, str] = {}
        todo: list[Job] = []
        for page, targets in sorted(self.crawl.to_locate().items()):
            known = located.get(page) or self._known_places(page)
            if known is not None and targets <= known.keys():
                self.crawl.places[page] = {target: known[target] for target in targets}
                continue
            self._jobs += 1
            jobs[self._jobs] = page
            todo.append(_job_of_places(self._jobs, self.crawl.sources[page], targets))
        async with aclosing(self._pool.run(todo, self._numbers)) as batches:
            async for batch in batches:
                for job, result, _ in batch:
                    places = [Place(*row) for row in (result and result.more) or ()]
                    self.crawl.places[jobs[job.number]] = {place.target: place for place in reversed(places)}
                self._report("locating")

    def _known_places(self, page: str) -> dict[str, Place] | None:
        """Return what the last audit found on a page, when it has not changed since."""
        previous = self._previous
        if previous is None or page not in previous.places:
            return None
        known, now = previous.records.get(page), self.crawl.sources.get(page)
        same = known is not None and now is not None and now.digest and known.digest == now.digest
        return previous.places[page] if same else None

    def _report(self, phase: str) -> None:
        if self._progress is not None:
            self._progress(Progress(len(self._pages), self._links, self._failures, phase))

    def _incomplete(self, robots: Robots | None) -> str | None:
        if robots is not None and robots.failed and not self._pages:
            return f"robots.txt could not be read ({robots.cause}), so nothing may be crawled"
        start = check.travel(self._scope.start, self.crawl.records)
        left = self._left + (len(self._frontier.level()) if self._stopped else 0)
        if self._frontier.full or left:
            return f"stopped at {len(self._pages)} pages; {left} known addresses were not visited"
        if self._pages:
            return None
        if start.end is None and not self._scope.on_site(start.at):
            return f"the start page redirects to {start.at}, which is another site; audit that one instead"
        if start.end is None:
            return f"the start page was not read: {start.fault or self.crawl.skipped.get(start.at, 'unknown')}"
        reason = check.standing(start.end)[1]
        return f"the start page was not read: {reason or 'it is not an HTML page under the prefix'}"


def missing(targets: Iterable[str], records: Mapping[str, Record], allowed: Callable[[str], bool]) -> dict[str, bool]:
    """Return the addresses on the way of the targets that nobody looked at, and whether ids are wanted there.

    Args:
        targets: absolute addresses, with fragments.
        records: what is known.
        allowed: whether an address may be visited.
    """
    wanted: dict[str, bool] = {}
    for target in targets:
        if not urls.is_web(target):
            continue
        journey = check.travel(target, records)
        ids = check.needs_ids(journey.fragment)
        end = journey.end
        unread = end is None or (ids and end.kind == "html" and end.ids is None and end.error is None)
        url = end.url if end else journey.at
        if journey.fault is None and unread and allowed(url):
            wanted[url] = wanted.get(url, False) or ids
    return wanted


def _job_of_places(number: int, page: Record, targets: Iterable[str]) -> Job:
    """Return a job that reads a page again for where links stand on it; it is likely to be what it was just now."""
    likely = page.status or 0 if page.digest and not page.chain else 0
    wanted = tuple(sorted(targets))
    return Job(number, page.final, PLACES, digest=page.digest, targets=wanted, base=page.base, status=likely)


def _may_pass(record: Record) -> bool:
    return record.status in TRANSIENT_STATUSES or record.error in TRANSIENT_ERRORS
