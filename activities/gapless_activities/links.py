"""The link audit's activities: crawl with a record that survives its worker, judge claims, write reports."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from functools import partial
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from gapless import links
from gapless.artifacts import ArtifactStore
from gapless.config import Settings
from gapless.contract.host_lane import Piece
from gapless.contract.interaction import Artifact, Outcome, Result
from gapless.contract.link_audit import (
    Admission,
    Advice,
    AgentReport,
    AuditOutcome,
    Crawled,
    CrawlProgress,
    Findings,
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
from gapless.links.report.basis import basis
from gapless.links.report.document import Report, write
from gapless.links.report.markdown import markdown
from gapless.links.report.review import review
from gapless.links.report.settings import ReportSettings
from gapless.links.report.suggestions import Advice as Advised
from gapless.links.report.suggestions import advice_markdown, read_advice
from gapless.providers.base import open_provider
from gapless.text import cell
from gapless_activities import findings
from gapless_activities.beats import beating
from gapless_activities.chain import Chain
from gapless_activities.crawling import Rest, crawl, scope_of
from gapless_activities.looking import look
from gapless_activities.nightly import past, tell
from gapless_activities.pages import Ahead, Matter
from gapless_activities.public import is_public
from gapless_activities.revisions import Recovery, broken_elsewhere, recovered_by_now, revise

_MAX_CLAIM_FILE = 5 * 1024 * 1024


class AuditActivities(LinkAuditActivities):
    """The activities over `gapless.links` and the artifact store.

    Args:
        settings: of this worker.
        store: where crawls and reports are kept.
        engine: a process for the first crawl that was started before, since it takes a while to load.
    """

    def __init__(self, settings: Settings, store: ArtifactStore, engine: Process | None = None) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._ahead = Ahead()

    async def aclose(self) -> None:
        """End what was begun ahead, and nobody had a use for."""
        self._ahead.drop()
        if self._engine is not None and self._engine.returncode is None:
            self._engine.kill()
            await self._engine.wait()

    @activity.defn(name="admit_agent")
    async def admit_agent(self, request: LinkAuditRequest) -> Admission:
        """Refuse to send a remote agent to a site that only this network can see."""
        return await beating(activity.heartbeat, self._admitted(request))

    async def _admitted(self, request: LinkAuditRequest) -> Admission:
        try:
            provider = open_provider(request.provider, self._settings)
        except ConfigurationError as error:
            return Admission(refusal=f"not asked: {error}")
        remote = provider.capabilities().remote
        await provider.aclose()
        if remote and not await is_public(request.url):
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
        process, self._engine = self._engine, None

        def found(kept: Findings) -> None:
            if request.agent is None and request.advisor is None:  # or else there is more to come for the page
                self._ahead.begin(kept.report_json.digest, partial(self._matter, request, kept))

        return await crawl(
            self._store, request, chain, stop, rests=rests, credentials=headers, process=process, found=found
        )

    async def _matter(self, request: LinkAuditRequest, kept: Findings) -> Matter:
        """Gather what the page of an audit is made of when neither agent nor advisor has a part in it."""
        found, known = await findings.load(self._store, kept), await past(self._store, scope_of(request))
        return Matter(found.report, found.flaky, self._rules(), activity.info().scheduled_time.date(), known)

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
        details = await self._store.put("verdict.json", write(verdict.to_dict()))
        return AgentReport(
            agent=outcome.target,
            state=outcome.state,
            interaction_id=outcome.interaction_id,
            submissions=outcome.submissions,
            usage=result.usage,
            cost=result.cost,
            claims=await self._store.put("claims.json", write([_claim(claim) for claim in claims])),
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

    async def claimed_elsewhere(self, request: LinkAuditRequest, crawled: Crawled, outcome: Outcome) -> list[str]:
        """Return what is claimed about other hosts, which others look at before there can be a verdict."""
        if outcome.result is None:
            return []
        crawl = await self._crawl(crawled)
        text, files = await self._claimed(outcome.result)
        claims, _ = await asyncio.to_thread(links.parse_claims, text, site=request.url, files=files)
        return await asyncio.to_thread(links.claimed_elsewhere, crawl, claims, scope_of(request))

    @staticmethod
    def _claimed_elsewhere(judgement: Judgement, crawl: links.Crawl, claims: "list[links.Claim]") -> list[str]:
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
        """Write the report as Markdown, JSON and HTML."""
        return await beating(activity.heartbeat, self.reported(request, activity.info().scheduled_time.date()))

    async def reported(self, request: ReportRequest, today: date) -> AuditOutcome:
        """Write the report of an audit; what it adds to the site's history counts for this day."""
        crawled, agent, url = request.crawled, request.agent, request.request.url
        kept = crawled.findings or await findings.keep_those_of(self._store, await self._crawl(crawled))
        found, verdict = await findings.load(self._store, kept), await self._verdict(agent)
        advised = await self._advised(request.advice)
        part = _agent_json(agent, verdict) if agent else None
        scope, rules = scope_of(request.request), self._rules()
        known = await past(self._store, scope)
        matter = Matter(found.report, found.flaky, rules, today, known, part, advised)
        page = await self._ahead.page(kept.report_json.digest, matter)
        changes = await tell(self._store, scope, found.report, page)
        text, document = await self._with_agents(kept, found, agent, verdict, advised, url)
        return AuditOutcome(
            **dict(crawled) | {"findings": kept, "question": None, "unseen": None},
            url=url,
            report_markdown=text,
            report_json=document,
            report_html=await self._store.put("report.html", page.text),
            html_basis=basis(document.digest, kept.flaky.digest, page.judged, today, page.history),
            changes=changes,
            agent=agent,
            advice=request.advice,
            broken_elsewhere=len(_broken_elsewhere(found.report)),
        )

    def _rules(self) -> ReportSettings:
        try:
            return ReportSettings.read(self._settings.links)
        except ValueError as error:
            raise ApplicationError(f"gapless.toml: {error}", type="BadSettings") from None

    async def _with_agents(
        self,
        kept: Findings,
        found: findings.Found,
        agent: AgentReport | None,
        verdict: "links.Verdict | None",
        advised: Advised | None,
        url: str,
    ) -> tuple[Artifact, Artifact]:
        """Return the reports as Markdown and JSON, with the parts of the agents that were asked."""
        if agent is None and advised is None:
            return kept.report_markdown, kept.report_json
        text = await self._store.get(kept.report_markdown.digest)
        document = json.loads(await self._store.get(kept.report_json.digest))
        if advised is not None:
            judged = review(found.report, flaky=found.flaky)
            text = (await asyncio.to_thread(markdown, found.report, judged, instead=advised.by_target)).encode()
            document["advice"] = advised.to_dict()
        if agent is not None:
            text += _agent_markdown(agent, verdict, url).encode()
            document["agent"] = _agent_json(agent, verdict)
        text += advice_markdown(advised, found.report.site).encode()
        body = await asyncio.to_thread(write, document)
        return await self._store.put("report.md", text), await self._store.put("report.json", body)

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
        agent, now = request.outcome.agent, await findings.keep_those_of(self._store, crawl)
        verdict, advised = await self._verdict(agent), await self._advised(request.outcome.advice)
        revised = await findings.load(self._store, now)
        text, document = await self._with_agents(now, revised, agent, verdict, advised, request.outcome.url)
        return Revision(
            recovered=len(recovered),
            still_broken=len(broken) - len(found),
            details=await self._store.put("recovered.json", write({k: list(v) for k, v in recovered.items()})),
            report_markdown=text,
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

    async def _verdict(self, agent: AgentReport | None) -> "links.Verdict | None":
        if agent is None or agent.verdict is None:
            return None
        groups = json.loads(await self._store.get(agent.verdict.details.digest))
        listed = {name: value for name, value in groups.items() if isinstance(value, list)}
        return links.Verdict(**{name: [links.Judged(**row) for row in rows] for name, rows in listed.items()})

    async def _advised(self, advice: Advice | None) -> Advised | None:
        """Return the advice's part of the report, without what differs from run to run."""
        if advice is None:
            return None
        if advice.details is None:
            return Advised(advisor=advice.advisor, state=advice.state.value, note=advice.note)
        return read_advice(json.loads(await self._store.get(advice.details.digest)))

    async def _claimed(self, result: Result) -> tuple[str, dict[str, bytes]]:
        """Return the agent's whole text and the files that may hold its claims."""
        files = [file for file in result.files if file.name.endswith(".json") and file.size <= _MAX_CLAIM_FILE]
        whole = result.whole_text
        text = (await self._store.get(whole.digest)).decode() if whole else result.text
        return text, {file.name: await self._store.get(file.digest) for file in files[:20]}


def _claim(claim: "links.Claim") -> dict[str, Any]:
    return {"page": claim.page, "href": claim.href, "target": claim.target, "reason": claim.reason}


def _broken_elsewhere(report: Report) -> set[str]:
    """Return the targets of which `broken_elsewhere` has the findings, as the report knows them."""
    site = report.site + "/"
    return {found.target for found in report.broken if found.reason != "bad_url" and not found.target.startswith(site)}


def _agent_markdown(agent: AgentReport, verdict: "links.Verdict | None", site: str) -> str:
    if verdict is None:
        return f"\n## Agent\n{cell(agent.note or str(agent.state))}\n"
    return "\n" + links.verdict_markdown(verdict, site=site)


def _agent_json(agent: AgentReport, verdict: "links.Verdict | None") -> dict[str, Any]:
    """Return the agent's part without what differs from run to run: reports depend on the site only."""
    judged = verdict.to_dict() if verdict else None
    return {"agent": agent.agent, "state": agent.state.value, "note": agent.note, "verdict": judged}
