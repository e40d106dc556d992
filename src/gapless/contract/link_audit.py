"""A link audit: the deterministic auditor always, an agent beside it when one is named."""

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from temporalio import activity, workflow

from gapless.contract.interaction import Artifact, Cost, Digest, Model, Outcome, ProviderName, Request, State, Usage


def _http_url(value: str) -> str:
    """Let only absolute http and https addresses through, without credentials in them."""
    if any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError("not a URL: it holds white space or control characters")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("not an http or https URL")
    if parts.username or parts.password:
        raise ValueError("credentials in a URL would be kept in the run's history; leave them out")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]


class LinkAuditRequest(Request):
    """What is audited: the pages of `url`'s origin, and whether links to other hosts are checked, too.

    An agent is asked only when `agent` names one; the last two fields bound what it may use.
    """

    url: HttpUrl
    external: bool = True
    robots: bool = True
    max_pages: int = Field(default=10_000, ge=1, le=1_000_000)
    connections: int = Field(default=8, ge=1, le=64)
    provider: ProviderName = "gemini"
    agent: str | None = Field(default=None, min_length=1, max_length=256)
    max_total_tokens: int | None = Field(default=None, ge=1)
    max_cost_usd: Decimal | None = Field(default=None, gt=0, max_digits=12)


class CrawlProgress(Model):
    """How far a crawl has come; `segment` is the newest sealed part of its record."""

    pages: int = 0
    links: int = 0
    phase: str = "crawling"
    segment: Digest | None = None
    resumed_at: int | None = None
    """The page at which this attempt went on, when an earlier one was lost."""


class Crawled(Model):
    """The auditor's result: counters, and where the whole of it is stored."""

    crawl: Artifact
    pages: int
    links: int
    broken: int
    unverified: int
    complete: bool
    incomplete_reason: str | None = None


class Verdict(Model):
    """What became of an agent's claims; counts are distinct targets.

    `precision` and `recall` are None where their denominator is zero.
    """

    confirmed: int
    false_alarms: int
    missed: int
    unverifiable: int
    out_of_scope: int
    precision: float | None
    recall: float | None
    details: Artifact
    problems: list[str] = Field(default_factory=list)


class AgentReport(Model):
    """The agent's part of an audit: state, claim and verdict are three things."""

    agent: str
    state: State
    interaction_id: str | None = None
    submissions: int = 0
    usage: Usage | None = None
    cost: Cost | None = None
    claims: Artifact | None = None
    verdict: Verdict | None = None
    note: str | None = None
    """Why there is no verdict, in one line."""


class AuditOutcome(Crawled):
    """The end of an audit: the crawl's counters, the reports in the artifact store, and the agent's part."""

    url: str
    report_markdown: Artifact
    report_json: Artifact
    agent: AgentReport | None = None


class Admission(Model):
    """Whether an agent may be sent to a site; `refusal` says why not."""

    refusal: str | None = None


class Judgement(Model):
    """An agent's outcome, to be held against the auditor's crawl."""

    request: LinkAuditRequest
    crawled: Crawled
    outcome: Outcome


class ReportRequest(Model):
    """What a report is made from."""

    request: LinkAuditRequest
    crawled: Crawled
    agent: AgentReport | None


def agent_run_id(audit_id: str) -> str:
    """Return the id of the run of an audit's agent; no audit is named like that by its site."""
    return f"agent-{audit_id}"


class LinkAuditActivities(ABC):
    """What an audit does in the world."""

    @activity.defn(name="admit_agent")
    @abstractmethod
    async def admit_agent(self, request: LinkAuditRequest) -> Admission:
        """Refuse to send a remote agent to a private site."""

    @activity.defn(name="crawl")
    @abstractmethod
    async def crawl(self, request: LinkAuditRequest) -> Crawled:
        """Crawl the site; a later attempt goes on where an earlier one was lost."""

    @activity.defn(name="judge")
    @abstractmethod
    async def judge(self, judgement: Judgement) -> AgentReport:
        """Fetch again what the agent calls broken, and compare with the crawl."""

    @activity.defn(name="report")
    @abstractmethod
    async def report(self, request: ReportRequest) -> AuditOutcome:
        """Write the report, and say where it is."""


@workflow.defn(name="LinkAudit")
class LinkAudit(ABC):
    """Auditor, agent, verdict, report."""

    @workflow.run
    @abstractmethod
    async def run(self, request: LinkAuditRequest) -> AuditOutcome:
        """Audit a site."""
