"""The link audit's activities: crawl with a record that survives its worker, judge claims, write reports."""

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from temporalio import activity
from temporalio.exceptions import ApplicationError

from gapless import links
from gapless.artifacts import ArtifactStore
from gapless.config import Settings
from gapless.contract.host_lane import Piece
from gapless.contract.interaction import Artifact, Result
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
    Revision,
    RevisionRequest,
    Unseen,
    Verdict,
)
from gapless.errors import ConfigurationError
from gapless.links import check, elsewhere
from gapless.links.elsewhere import Elsewhere
from gapless.links.record import Record
from gapless.links.report.settings import ReportSettings
from gapless.providers.base import open_provider
from gapless.text import cell
from gapless_activities.beats import beating
from gapless_activities.chain import Chain
from gapless_activities.crawling import Rest, crawl, scope_of
from gapless_activities.looking import look
from gapless_activities.nightly import tell
from gapless_activities.revisions import Recovery, broken_elsewhere, recovered_by_now, revise

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
        """Crawl without a lane, as audits did that began before there were any."""
        details = activity.info().heartbeat_details
        chain = Chain(self._store, CrawlProgress.model_validate(details[0]) if details else CrawlProgress())
        crawled = await beating(chain.beat, self.crawled(request, chain, asyncio.Event(), rests=False))
        assert isinstance(crawled, Crawled)  # it is neither stopped nor sent to rest
        return crawled

    async def crawled(
        self, request: LinkAuditRequest, chain: Chain, stop: asyncio.Event, *, rests: bool
    ) -> Crawled | Rest | None:
        """Crawl with the header fields that this worker has for the site; see `crawling.crawl`."""
        headers = self._settings.link_credentials
        return await crawl(self._store, request, chain, stop, rests=rests, credentials=headers)

    async def looked(self, piece: Piece, chain: Chain, stop: asyncio.Event) -> Artifact | Rest | None:
        """Look at what others link to, with the header fields that this worker has for it; see `looking.look`."""
        return await look(self._store, piece, chain, stop, self._settings.link_credentials)

    @activity.defn(name="judge")
    async def judge(self, judgement: Judgement) -> AgentReport:
        """Judge without a lane, as audits did that began before there were any."""
        return await beating(activity.heartbeat, self.judged(judgement))

    async def judged(self, judgement: Judgement) -> AgentReport:
        """Turn the agent's report into claims, and the claims into a verdict, once other hosts have answered.

        Raises:
            ApplicationError: there is no report.
        """
        outcome, request = judgement.outcome, judgement.request
        if (result := outcome.result) is None:
            raise ApplicationError("there is no result to judge", type="NothingToJudge", non_retryable=True)
        crawl = await self._crawl(judgement.crawled)
        text, files = await self._claimed(result)
        claims, problems = await asyncio.to_thread(links.parse_claims, text, site=request.url, files=files)
        elsewhere_claimed = await asyncio.to_thread(self._claimed_elsewhere, judgement, crawl, claims)
        if elsewhere_claimed:
            targets = await self._store.put("unseen.json", json.dumps(elsewhere_claimed).encode())
            return AgentReport(agent=outcome.target, state=outcome.state, unseen=Unseen(targets=targets))
        verdict = await links.judge(
            crawl,
            claims,
            scope_of(request),
            given=await self._given(judgement, crawl),
            credentials=self._settings.link_credentials,
        )
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

    @staticmethod
    def _claimed_elsewhere(judgement: Judgement, crawl: links.Crawl, claims: list[links.Claim]) -> list[str]:
        """Return what others have to look at before there can be a verdict."""
        if Elsewhere(judgement.elsewhere) is not Elsewhere.LATER:
            return []
        return links.claimed_elsewhere(crawl, claims, scope_of(judgement.request))

    async def _given(self, judgement: Judgement, crawl: links.Crawl) -> Mapping[str, Record] | None:
        """Return what other hosts answered, to the audit or freshly; None where they may be asked here."""
        if Elsewhere(judgement.elsewhere) is Elsewhere.HERE:
            return None
        seen = {url: record for url, record in crawl.records.items() if not crawl.scope.on_site(url)}
        answers = await self._store.get(judgement.answers) if judgement.answers else None
        return seen | (elsewhere.unpack(answers) if answers else {})

    @activity.defn(name="report")
    async def report(self, request: ReportRequest) -> AuditOutcome:
        """Write the report as Markdown and JSON."""
        return await beating(activity.heartbeat, self._reported(request))

    async def _reported(self, request: ReportRequest) -> AuditOutcome:
        crawl, agent, url = await self._crawl(request.crawled), request.agent, request.request.url
        markdown, document = await self._written(crawl, agent, url)
        body = json.loads(await self._store.get(document.digest))
        told = await tell(self._store, crawl, body, self._rules(), activity.info().scheduled_time.date())
        return AuditOutcome(
            **dict(request.crawled),
            url=url,
            report_markdown=markdown,
            report_json=document,
            report_html=await self._store.put("report.html", told.page),
            changes=told.changes,
            agent=agent,
            broken_elsewhere=len(broken_elsewhere(crawl)),
        )

    def _rules(self) -> ReportSettings:
        try:
            return ReportSettings.read(self._settings.links)
        except ValueError as error:
            raise ApplicationError(f"gapless.toml: {error}", type="BadSettings") from None

    async def _written(self, crawl: links.Crawl, agent: AgentReport | None, url: str) -> tuple[Artifact, Artifact]:
        """Write both reports, and return where they are."""
        verdict = await self._verdict(agent)
        markdown = await asyncio.to_thread(_report_markdown, crawl, agent, verdict, url)
        document = await asyncio.to_thread(_report_json, crawl, agent, verdict)
        return await self._store.put("report.md", markdown), await self._store.put("report.json", document)

    async def revised(
        self, request: RevisionRequest, look: Callable[[list[str]], Awaitable[Mapping[str, Record]]]
    ) -> Revision:
        """Have looked at again what is broken on other hosts; what has recovered is flaky from then on.

        Args:
            request: what to look at.
            look: returns fresh records of the targets that it is given, and of where they redirect to.
        """
        crawl = await self._crawl(request.outcome)
        recovered = await self._recovered(request.recovered)
        revise(crawl, recovered)
        broken = broken_elsewhere(crawl)
        site = {url: record for url, record in crawl.records.items() if crawl.scope.on_site(url)}
        records = site | dict(await look(sorted(broken)))
        found = recovered_by_now(broken, {target: check.judge(target, records, {}) for target in broken})
        if not found:
            return Revision(recovered=len(recovered), still_broken=len(broken), details=request.recovered)
        revise(crawl, found)
        recovered |= found
        markdown, document = await self._written(crawl, request.outcome.agent, request.outcome.url)
        return Revision(
            recovered=len(recovered),
            still_broken=len(broken) - len(found),
            details=await self._store.put("recovered.json", _json({k: list(v) for k, v in recovered.items()})),
            report_markdown=markdown,
            report_json=document,
        )

    async def _recovered(self, details: Artifact | None) -> dict[str, Recovery]:
        if details is None:
            return {}
        rows = json.loads(await self._store.get(details.digest))
        return {target: Recovery(*row) for target, row in rows.items()}

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
