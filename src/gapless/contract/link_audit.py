"""A link audit: the deterministic auditor always, an agent beside it when one is named."""

import re
from abc import ABC, abstractmethod
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from temporalio import activity, workflow

from gapless.contract.interaction import Artifact, Cost, Digest, Model, Outcome, ProviderName, Request, State, Usage
from gapless.contract.question import Question


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


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Pattern = Annotated[str, Field(max_length=1_000), AfterValidator(_pattern)]


class CrawlOptions(Request):
    """How a site is crawled, wherever it is: what may stand in a job, in the table `links` of gapless.toml, as a flag.

    Links to other hosts are checked with `external`. Hosts on private addresses are left alone, but for those that
    `allow` names as host:port. Pages under `prefix` are crawled, others of the site checked. Links are covered whose
    target one of `include`, when there are any, and none of `exclude` is found in, which are regular expressions. Links
    to `public`, where the site is elsewhere, mean the site.
    """

    external: bool = True
    robots: bool = True
    max_pages: int = Field(default=10_000, ge=1, le=1_000_000)
    connections: int = Field(default=8, ge=1, le=64)
    allow: list[Annotated[str, Field(max_length=262)]] = Field(default_factory=list, max_length=100)
    prefix: Annotated[str, Field(pattern="^/", max_length=2_000)] = "/"
    include: list[Pattern] = Field(default_factory=list, max_length=100)
    exclude: list[Pattern] = Field(default_factory=list, max_length=100)
    public: HttpUrl | None = None
    contacts: bool = False


class LinkAuditRequest(CrawlOptions):
    """What is audited: the pages of `url`'s origin.

    An agent is asked only when `agent` names one. An `advisor` is a model, or an agent written `agents/NAME`, that is
    asked where broken links should lead, when what is broken has changed. `max_total_tokens` and `max_cost_usd` bound
    what each of them may use in one audit.
    `recheck_after` says how long after the report broken links to other hosts are looked at again, each time counted
    from the one before: what has recovered by then is told in a revised report, see `Revision`.
    """

    url: HttpUrl
    provider: ProviderName = "gemini"
    agent: str | None = Field(default=None, min_length=1, max_length=256)
    advisor: str | None = Field(default=None, min_length=1, max_length=256)
    max_total_tokens: int | None = Field(default=None, ge=1)
    max_cost_usd: Decimal | None = Field(default=None, gt=0, max_digits=12)
    recheck_after: list[Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=7))]] = Field(
        default_factory=list, max_length=5
    )


class CrawlProgress(Model):
    """How far a crawl has come; `segment` is the newest sealed part of its record."""

    pages: int = 0
    links: int = 0
    phase: str = "crawling"
    segment: Digest | None = None
    previous: Digest | None = None
    """The last crawl of the same scope, on whose names the segments are numbered: it stays the same for all of them."""
    resumed_at: int | None = None
    """The page at which this attempt went on, when an earlier one was lost."""
    rests: int = 0
    """How often the site asked for a pause that was longer than a request can wait, and got it."""
    rested_at: Digest | None = None
    """The newest segment at the last such pause: what it and those before it hold as refused is asked again."""
    elsewhere: Literal["here", "later", "given"] = "here"
    """Who asks other hosts: the crawl, others before it goes on, or others who did; see `gapless.links.elsewhere`."""
    answers: Digest | None = None
    """What other hosts answered, when others asked them."""
    looks: int = 0
    """How often the lane may have other hosts looked at before the crawl goes on; with 0, the audit sees to that."""


class Unseen(Model):
    """Links to other hosts that are to be looked at in the lanes of these hosts before a crawl goes on.

    `targets` holds a JSON array of addresses; `progress` is where the crawl goes on then.
    """

    targets: Artifact
    progress: CrawlProgress = CrawlProgress()


class Findings(Model):
    """What a crawl comes to: both reports without an agent's part, and the links that failed and then worked."""

    report_json: Artifact
    report_markdown: Artifact
    flaky: Artifact


class Crawled(Model):
    """The auditor's result: counters, and where the whole of it is stored.

    `findings` is None where a worker of an earlier release crawled; then they are worked out from `crawl`. It is not
    the last one as long as there are `unseen` links to other hosts. `question` is what to ask the audit's advisor.
    """

    crawl: Artifact
    findings: Findings | None = None
    pages: int
    links: int
    broken: int
    unverified: int
    complete: bool
    incomplete_reason: str | None = None
    unseen: Unseen | None = None
    question: Question | None = None


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
    """The agent's part of an audit: state, claim and verdict are three things.

    It is not the last one as long as claims about other hosts are `unseen`.
    """

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
    unseen: Unseen | None = None


class Advice(Model):
    """What an advisor's answer was worth: how many of its suggestions work, and which, in `details`.

    `kept` says that the answer is of an earlier audit, since when nothing has changed: then nothing was used.
    """

    advisor: str
    state: State
    kept: bool = False
    suggested: int = 0
    works: int = 0
    details: Artifact | None = None
    interaction_id: str | None = None
    submissions: int = 0
    usage: Usage | None = None
    cost: Cost | None = None
    note: str | None = None
    """Why there is none, in one line."""


class Changes(Model):
    """What differs from the audit before, in distinct targets; all are 0 where the audit is ill, which says why."""

    new: int
    fixed: int
    still_broken: int
    ill: str | None = None


class AuditOutcome(Crawled):
    """The end of an audit: the crawl's counters, the reports in the artifact store, and the agent's part.

    `report_markdown` and `report_json` depend on the site alone; `report_html` has the history, too, and `html_basis`
    tells what it was made of, see `gapless.links.report.basis`. `changes` is None where there was no audit before,
    `advice` where nothing is broken or nobody was to be asked.
    """

    url: str
    report_markdown: Artifact
    report_json: Artifact
    report_html: Artifact | None = None
    html_basis: Digest | None = None
    changes: Changes | None = None
    agent: AgentReport | None = None
    advice: Advice | None = None
    broken_elsewhere: int = 0
    """Distinct broken targets on other hosts: those of `broken` that a `Revision` may see recover."""


class Admission(Model):
    """Whether an agent may be sent to a site; `refusal` says why not."""

    refusal: str | None = None


class Judgement(Model):
    """An agent's outcome, to be held against the auditor's crawl.

    `elsewhere` says who fetches what is claimed about other hosts, and `answers` what they answered, as for a crawl.
    """

    request: LinkAuditRequest
    crawled: Crawled
    outcome: Outcome
    elsewhere: Literal["here", "later", "given"] = "here"
    answers: Digest | None = None


class ReportRequest(Model):
    """What a report is made from."""

    request: LinkAuditRequest
    crawled: Crawled
    agent: AgentReport | None
    advice: Advice | None = None


class RevisionRequest(Model):
    """What is looked at again: the broken links to other hosts in a report that is out.

    `recovered` is what earlier looks found, by target, with what was wrong with it.
    """

    request: LinkAuditRequest
    outcome: AuditOutcome
    recovered: Artifact | None = None


class Revision(Model):
    """What a later look came to: the report as it is now, when anything recovered since it was written.

    `recovered` and `still_broken` count distinct targets on other hosts; `recovered` holds for all looks together.
    """

    recovered: int = 0
    still_broken: int
    details: Artifact | None = None
    report_markdown: Artifact | None = None
    report_json: Artifact | None = None


def revision_id(audit_id: str) -> str:
    """Return the id of the run that looks again at what an audit found broken on other hosts."""
    return f"revision-{audit_id}"


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


@workflow.defn(name="Revision")
class ReportRevision(ABC):
    """Looks again, later and more than once, at what an audit found broken on other hosts; its result is the last look.

    It is abandoned by its audit: the report is out, and nobody waits. A new report of the same audit ends it.
    """

    @workflow.run
    @abstractmethod
    async def run(self, request: RevisionRequest) -> Revision:
        """Look again."""
