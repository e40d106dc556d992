"""The link audit's activities: crawl with a record that survives its worker, judge claims, write reports."""

import asyncio
import ipaddress
import json
import socket
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
        record = _Record(self._store)
        resume = await record.load(activity.info().heartbeat_details)
        crawl = await beating(
            record.beat,
            links.crawl(_scope(request), resume=resume, seal=record.seal, progress=record.note),
        )
        findings = crawl.findings()
        return Crawled(
            crawl=await self._store.put("crawl", crawl.to_bytes()),
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
        outcome, request = judgement.outcome, judgement.request
        result = outcome.result
        if result is None:
            raise ApplicationError("there is no result to judge", type="NothingToJudge", non_retryable=True)
        crawl = await self._crawl(judgement.crawled)
        text, files = await self._claimed(result)
        claims, problems = links.parse_claims(text, site=request.url, files=files)
        verdict = await beating(activity.heartbeat, links.judge(crawl, claims, _scope(request)))
        details = await self._store.put("verdict.json", _json(verdict.to_dict()))
        return AgentReport(
            agent=outcome.target,
            state=outcome.state,
            interaction_id=outcome.interaction_id,
            submissions=outcome.submissions,
            usage=result.usage,
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
        crawl, agent = await self._crawl(request.crawled), request.agent
        verdict = await self._verdict(agent)
        markdown = links.report_markdown(crawl) + _agent_markdown(agent, verdict, request.request.url)
        body = links.report_json(crawl) | ({"agent": _agent_json(agent, verdict)} if agent else {})
        return AuditOutcome(
            **dict(request.crawled),
            url=request.request.url,
            report_markdown=await self._store.put("report.md", markdown.encode()),
            report_json=await self._store.put("report.json", _json(body)),
            agent=agent,
        )

    async def _crawl(self, crawled: Crawled) -> links.Crawl:
        return links.Crawl.from_bytes(await self._store.get(crawled.crawl.digest))

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

    The heartbeat carries the newest digest only: that one names all.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._progress = CrawlProgress()

    async def load(self, details: Any) -> list[bytes]:
        """Return the segments that an earlier attempt sealed, oldest first."""
        if not details:
            return []
        earlier = CrawlProgress.model_validate(details[0])
        segments: list[bytes] = []
        digest = earlier.segment
        try:
            while digest:
                head, _, body = (await self._store.get(digest)).partition(b"\n")
                segments.append(body)
                digest = head.decode()
        except ArtifactLost as error:
            log.warning("crawl.record_lost", error=str(error))
            return []
        self._progress = CrawlProgress(
            pages=earlier.pages, links=earlier.links, segment=earlier.segment, resumed_at=earlier.pages
        )
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
    except OSError:
        return False
    return all(ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in found)


def _claim(claim: links.Claim) -> dict[str, Any]:
    return {"page": claim.page, "href": claim.href, "target": claim.target, "reason": claim.reason}


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
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text).encode()
