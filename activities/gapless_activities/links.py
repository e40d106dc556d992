"""The link audit's activities: crawl with a record that survives its worker, judge claims, write reports."""

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from gapless import links
from gapless.artifacts import ArtifactLost, ArtifactStore
from gapless.config import Settings
from gapless.contract.interaction import Result
from gapless.contract.link_audit import (
    Admission,
    AgentReport,
    AuditOutcome,
    Crawled,
    CrawlProgress,
    Judgement,
    LinkAuditActivities,
    LinkAuditRequest,
    ReportRequest,
    Verdict,
)
from gapless.errors import ConfigurationError
from gapless.providers.base import open_provider
from gapless.text import cell
from gapless_activities.beats import beating

log = structlog.get_logger()

_MAX_CLAIM_FILE = 5 * 1024 * 1024
_NOT_PLAIN = re.compile(r"[^ -~\n]")


class AuditActivities(LinkAuditActivities):
    """The activities over `gapless.links` and the artifact store."""

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._settings = settings
        self._store = store

    @activity.defn(name="admit_agent")
    async def admit_agent(self, request: LinkAuditRequest) -> Admission:
        """Refuse to send a remote agent to a site that only this network can see."""
        try:
            provider = open_provider(request.provider, self._settings)
        except ConfigurationError as error:
            return Admission(refusal=f"not asked: {error}")
        remote = provider.capabilities().remote
        await provider.aclose()
        if remote and not await _is_public(request.url):
            return Admission(refusal="not asked: the site is on a private address, and the agent runs elsewhere")
        return Admission()

    @activity.defn(name="crawl")
    async def crawl(self, request: LinkAuditRequest) -> Crawled:
        """Crawl, and seal the record segment by segment, so that a lost worker costs what was not sealed."""
        record = _Record(self._store, activity.info().heartbeat_details)
        return await beating(record.beat, self._crawled(request, record))

    async def _crawled(self, request: LinkAuditRequest, record: "_Record") -> Crawled:
        resume = await record.load()
        crawl = await links.crawl(_scope(request), resume=resume, seal=record.seal, progress=record.note)
        # Seconds of work on a large site go to threads here and below, so that heartbeats keep coming.
        findings = await asyncio.to_thread(crawl.findings)
        return Crawled(
            crawl=await self._store.put("crawl", await asyncio.to_thread(crawl.to_bytes)),
            pages=len(crawl.pages),
            links=crawl.links,
            broken=len(crawl.broken()),
            unverified=len({finding.target for finding in findings if finding.result == "unverified"}),
            complete=crawl.complete,
            incomplete_reason=crawl.incomplete_reason,
        )

    @activity.defn(name="judge")
    async def judge(self, judgement: Judgement) -> AgentReport:
        """Turn the agent's report into claims, and the claims into a verdict."""
        result = judgement.outcome.result
        if result is None:
            raise ApplicationError("there is no result to judge", type="NothingToJudge", non_retryable=True)
        return await beating(activity.heartbeat, self._judged(judgement, result))

    async def _judged(self, judgement: Judgement, result: Result) -> AgentReport:
        outcome, request = judgement.outcome, judgement.request
        crawl = await self._crawl(judgement.crawled)
        text, files = await self._claimed(result)
        claims, problems = await asyncio.to_thread(links.parse_claims, text, site=request.url, files=files)
        verdict = await links.judge(crawl, claims, _scope(request))
        details = await self._store.put("verdict.json", _json(verdict.to_dict()))
        return AgentReport(
            agent=outcome.target,
            state=outcome.state,
            interaction_id=outcome.interaction_id,
            submissions=outcome.submissions,
            usage=result.usage,
            cost=result.cost,
            claims=await self._store.put("claims.json", _json([_claim(claim) for claim in claims])),
            verdict=Verdict(
                confirmed=len(verdict.confirmed),
                false_alarms=len(verdict.false_alarms),
                missed=len(verdict.missed),
                unverifiable=len(verdict.unverifiable),
                out_of_scope=len(verdict.out_of_scope),
                precision=verdict.precision,
                recall=verdict.recall,
                details=details,
                problems=problems[:20],
            ),
        )

    @activity.defn(name="report")
    async def report(self, request: ReportRequest) -> AuditOutcome:
        """Write the report as Markdown and JSON."""
        return await beating(activity.heartbeat, self._reported(request))

    async def _reported(self, request: ReportRequest) -> AuditOutcome:
        crawl, agent, url = await self._crawl(request.crawled), request.agent, request.request.url
        verdict = await self._verdict(agent)
        return AuditOutcome(
            **dict(request.crawled),
            url=url,
            report_markdown=await self._store.put(
                "report.md", await asyncio.to_thread(_report_markdown, crawl, agent, verdict, url)
            ),
            report_json=await self._store.put(
                "report.json", await asyncio.to_thread(_report_json, crawl, agent, verdict)
            ),
            agent=agent,
        )

    async def _crawl(self, crawled: Crawled) -> links.Crawl:
        """Return the crawl as it was stored, with its findings worked out."""
        crawl = await asyncio.to_thread(links.Crawl.from_bytes, await self._store.get(crawled.crawl.digest))
        await asyncio.to_thread(crawl.findings)
        return crawl

    async def _verdict(self, agent: AgentReport | None) -> links.Verdict | None:
        if agent is None or agent.verdict is None:
            return None
        groups = json.loads(await self._store.get(agent.verdict.details.digest))
        listed = {name: value for name, value in groups.items() if isinstance(value, list)}
        return links.Verdict(**{name: [links.Judged(**row) for row in rows] for name, rows in listed.items()})

    async def _claimed(self, result: Result) -> tuple[str, dict[str, bytes]]:
        """Return the agent's whole text and the files that may hold its claims."""
        files = [file for file in result.files if file.name.endswith(".json") and file.size <= _MAX_CLAIM_FILE]
        whole = result.whole_text
        text = (await self._store.get(whole.digest)).decode() if whole else result.text
        return text, {file.name: await self._store.get(file.digest) for file in files[:20]}


class _Record:
    """A crawl's progress as a chain of segments in the store, each naming the one before it.

    The heartbeat carries the newest digest only: that one names all. `details` is what an earlier attempt beat
    last; it is beaten again until this attempt has something newer, so that no attempt loses the record.
    """

    def __init__(self, store: ArtifactStore, details: Sequence[Any]) -> None:
        self._store = store
        self._progress = CrawlProgress.model_validate(details[0]) if details else CrawlProgress()

    async def load(self) -> list[bytes]:
        """Return the segments that earlier attempts sealed, oldest first; none when one of them is lost.

        Raises:
            StoreUnavailable: they may be there; the next attempt looks again.
        """
        earlier = self._progress
        if earlier.segment is None:
            return []
        segments: list[bytes] = []
        digest: str | None = earlier.segment
        try:
            while digest:
                head, _, body = (await self._store.get(digest)).partition(b"\n")
                segments.append(body)
                digest = head.decode()
        except ArtifactLost as error:
            log.warning("crawl.record_lost", error=str(error))
            self._progress = CrawlProgress()
            return []
        self._progress = earlier.model_copy(update={"phase": "crawling", "resumed_at": earlier.pages})
        log.info("crawl.resumed", pages=earlier.pages, segments=len(segments))
        return segments[::-1]

    async def seal(self, segment: bytes) -> None:
        """Store a segment and beat its digest at once."""
        head = (self._progress.segment or "").encode()
        stored = await self._store.put("segment", head + b"\n" + segment)
        self._progress = self._progress.model_copy(update={"segment": stored.digest})
        self.beat()

    def note(self, progress: links.Progress) -> None:
        """Take over the crawl's counters; they travel with the next beat."""
        self._progress = self._progress.model_copy(
            update={"pages": progress.pages, "links": progress.links, "phase": progress.phase}
        )

    def beat(self) -> None:
        """Tell the server how far the crawl has come."""
        activity.heartbeat(self._progress.model_dump(mode="json"))


def _scope(request: LinkAuditRequest) -> links.Scope:
    try:
        return links.Scope(
            start=request.url,
            max_pages=request.max_pages,
            external=request.external,
            robots=request.robots,
            connections=request.connections,
        )
    except ValueError as error:
        raise ApplicationError(str(error), type="BadScope", non_retryable=True) from None


async def _is_public(url: str) -> bool:
    """Say whether every address of the site's host is a global one; an unknown host is not."""
    host = urlsplit(url).hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter from a name that is too long for DNS
        return False
    return all(ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in found)


def _claim(claim: links.Claim) -> dict[str, Any]:
    return {"page": claim.page, "href": claim.href, "target": claim.target, "reason": claim.reason}


def _report_markdown(crawl: links.Crawl, agent: AgentReport | None, verdict: links.Verdict | None, site: str) -> bytes:
    return (links.report_markdown(crawl) + _agent_markdown(agent, verdict, site)).encode()


def _report_json(crawl: links.Crawl, agent: AgentReport | None, verdict: links.Verdict | None) -> bytes:
    return _json(links.report_json(crawl) | ({"agent": _agent_json(agent, verdict)} if agent else {}))


def _agent_markdown(agent: AgentReport | None, verdict: links.Verdict | None, site: str) -> str:
    if agent is None:
        return ""
    if verdict is None:
        return f"\n## Agent\n{cell(agent.note or str(agent.state))}\n"
    return "\n" + links.verdict_markdown(verdict, site=site)


def _agent_json(agent: AgentReport, verdict: links.Verdict | None) -> dict[str, Any]:
    """Return the agent's part without what differs from run to run: reports depend on the site only."""
    judged = verdict.to_dict() if verdict else None
    return {"agent": agent.agent, "state": agent.state.value, "note": agent.note, "verdict": judged}


def _json(value: Any) -> bytes:
    """Write JSON in which every character is seen: controls, bidirectional marks and the like stand as escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return _NOT_PLAIN.sub(lambda mark: mark[0] if mark[0].isprintable() else json.dumps(mark[0])[1:-1], text).encode()
