"""`gapless audit`: the main job."""

import json
import os
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gapless.client import Gapless, audit_id
from gapless.config import TOML
from gapless.contract.link_audit import Advice, AgentReport, AuditOutcome, LinkAuditRequest, Revision
from gapless.contract.queues import TaskQueue
from gapless.crawl_options import read_crawl_options
from gapless.errors import ConfigurationError
from gapless.links.report.document import ReportFinding, flaky, read_findings
from gapless.links.report.history import History
from gapless.links.report.settings import ReportSettings
from gapless.providers.base import check_known
from gapless_cli import flags, link_report, revisions
from gapless_cli.commands import INCOMPLETE, ahead, alone, asynchronous, check_provider, check_store, connect
from gapless_cli.flags import dollars, duration
from gapless_cli.follow import introduce, see_through
from gapless_cli.link_report import Form, LinkReport
from gapless_cli.made import made_already
from gapless_cli.output import cost, field, plural, result, result_json, say
from gapless_cli.site import site

SHORT = 5
"""Links of one group that are shown on the screen; the report holds all."""
FORMS = (Form.MD, Form.JSON, Form.HTML)


class FailOn(StrEnum):
    """What makes the exit code say that something is wrong."""

    ANY = "any"
    NEW = "new"
    NEVER = "never"
    REVISION = "revision"
    """What the later looks leave broken; gapless.toml says whether any or only new links count."""


@partial(asynchronous, problem=INCOMPLETE)
async def audit(
    target: Annotated[str, typer.Argument(metavar="URL|PATH", help="A site, or a folder that holds a built one.")],
    public: Annotated[str | None, typer.Option("--as", metavar="URL", help="Links there mean the site.")] = None,
    agent: Annotated[str | None, typer.Option(help="Ask this managed agent, too, and check what it claims.")] = None,
    advice: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ask this model where broken links should lead; or agents/NAME.")
    ] = None,
    provider: Annotated[str, typer.Option(help="Whose agent and model.")] = "gemini",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Limit on the tokens of each of them.")] = None,
    max_cost: Annotated[
        Decimal | None, typer.Option(parser=dollars, metavar="USD", help="Limit on the cost of each of them.")
    ] = None,
    external: Annotated[
        bool | None, typer.Option("--external/--no-external", help="Check links to other hosts.")
    ] = None,
    robots: Annotated[bool | None, typer.Option("--robots/--no-robots", help="Obey robots.txt.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Crawl pages under this path; others are checked.")] = None,
    include: Annotated[list[str] | None, typer.Option(metavar="REGEX", help="Check only such targets.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="REGEX", help="Leave such targets alone.")] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="Visit it although private.")] = None,
    contacts: Annotated[
        bool | None, typer.Option("--contacts/--no-contacts", help="Check the syntax of mailto and tel links.")
    ] = None,
    max_pages: Annotated[int | None, typer.Option(min=1, help="Stop after this many pages; 10,000 by default.")] = None,
    connections: Annotated[
        int | None, typer.Option(min=1, max=64, help="To the site, at the same time; 8 by default.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the report, and its history.")] = Path("gapless-report"),
    formats: Annotated[list[Form] | None, typer.Option("--format", help="md, json and html by default.")] = None,
    annotations: Annotated[bool, typer.Option(help="Annotations for GitHub on stdout.")] = False,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="What makes the exit code 1; any by default. revision waits for the later looks."),
    ] = None,
    recheck_after: Annotated[
        list[timedelta] | None,
        typer.Option(
            parser=duration, metavar="TIME", help="Look again at broken links to other hosts; may be repeated."
        ),
    ] = None,
    nights: Annotated[int | None, typer.Option(min=1, help="A link counts when broken so many nights.")] = None,
    baseline: Annotated[str | None, typer.Option(metavar="FILE", help="A report whose links do not count.")] = None,
    id: Annotated[str | None, typer.Option(help="Id of the run; named after the site by default.")] = None,  # noqa: A002
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> int:
    """Audit the links of a site, durably: the same command goes on with a run that was interrupted.

    Exit codes: 0 clean, 1 broken links that count, 2 usage, 3 incomplete.
    """
    settings = flags.settings()
    rules = link_report.rules(settings.links, fail_on=_rule(fail_on), nights=nights, baseline=baseline)
    declared = read_crawl_options(settings.links)
    said = _given(
        public=public,
        external=external,
        robots=robots,
        prefix=prefix,
        include=include,
        exclude=exclude,
        allow=allow,
        contacts=contacts,
        max_pages=max_pages,
        connections=connections,
    )
    async with site(target) as url:
        request = LinkAuditRequest(
            url=url,
            provider=provider,
            agent=agent,
            advisor=advice,
            max_total_tokens=max_tokens,
            max_cost_usd=max_cost,
            recheck_after=recheck_after or [],
            **declared | said,
        )
        if fail_on is FailOn.REVISION and not request.recheck_after:
            raise ConfigurationError("there is no revision to decide by; say when to look again with --recheck-after")
        here = alone() or url != target  # only this machine sees a folder's site
        check_known(provider)
        engine = await ahead() if here else None
        if here:
            await check_store(settings)
            if agent is not None or advice is not None:
                await check_provider(provider, settings)
        _prepare(output)
        link_report.past(output)
        gapless = await connect(settings, quiet=False)
        queue = (id or audit_id(url)) if here else TaskQueue.LINKS
        run = await gapless.start(request, id=id, rerun=True, queue=queue)
        await introduce(run)
        field("Scope", _scope(request))
        if taken := sorted(declared.keys() - said.keys()):
            field("", f"{', '.join(taken)} as in {TOML}")
        outcome = await see_through(gapless, run, "The same command", engine)
    later = await revisions.of(gapless, run.id) if request.recheck_after else None
    revision = await revisions.end(gapless, later) if later and fail_on is FailOn.REVISION else None
    report = await show(
        gapless, outcome, output, rules, formats or FORMS, as_json=as_json, annotated=annotations, revision=revision
    )
    if later:
        field("Revision", revisions.about(later, revision, queue))
    return report.review.exit_code


def _given(**flags: Any) -> dict[str, Any]:
    """Return the flags that stand on the command line: they go before gapless.toml."""
    return {name: value for name, value in flags.items() if value is not None and value != []}


def _rule(fail_on: FailOn | None) -> str | None:
    return fail_on.value if fail_on and fail_on is not FailOn.REVISION else None


def _prepare(folder: Path) -> None:
    """Find out before the crawl whether the report can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the report cannot be written to {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"the report cannot be written to {folder}: no permission")


def _scope(request: LinkAuditRequest) -> str:
    robots = "robots.txt obeyed" if request.robots else "robots.txt ignored"
    others = "links to other hosts checked" if request.external else "links to other hosts left alone"
    agent = f"agent {request.agent}" if request.agent else "no agent"
    advice = f"; advice by {request.advisor}" if request.advisor else ""
    return f"same origin, {robots}, {plural(request.connections, 'connection')}, {others}; {agent}{advice}"


async def show(
    gapless: Gapless,
    outcome: AuditOutcome,
    output: Path,
    rules: ReportSettings | None = None,
    forms: Sequence[Form] = FORMS,
    *,
    as_json: bool = False,
    annotated: bool = False,
    revision: Revision | None = None,
) -> LinkReport:
    """Write the report's files, and print it: the findings on stdout, the rest on stderr."""
    report = await reported(gapless, outcome, rules, link_report.past(output), revision)
    if as_json:
        result_json(report.document)
    else:
        say("")
        result(report.markdown(SHORT))
    if annotated:
        result(report.annotations())
    say("")
    for label, value in summary(outcome):
        field(label, value)
    made = await made_already(gapless, outcome, report) if revision is None else {}
    written = report.write(output, forms, made)
    field("Files", ", ".join(map(str, written)))
    return report


async def reported(
    gapless: Gapless,
    outcome: AuditOutcome,
    rules: ReportSettings | None = None,
    past: History | None = None,
    revision: Revision | None = None,
) -> LinkReport:
    """Return an audit's report under rules, as later looks have revised it."""
    written = (revision.report_json if revision else None) or outcome.report_json
    body = await gapless.artifacts.get(written.digest)
    return LinkReport(body, rules or ReportSettings(), past, await _flaky(gapless, outcome, revision))


async def _flaky(gapless: Gapless, outcome: AuditOutcome, revision: Revision | None) -> Sequence[ReportFinding]:
    if outcome.findings is not None and revision is None:
        return read_findings(json.loads(await gapless.artifacts.get(outcome.findings.flaky.digest)))
    from gapless.links.result import Crawl  # what a revision has changed, and what an earlier release left nothing of

    crawl = Crawl.from_bytes(await gapless.artifacts.get(outcome.crawl.digest))
    if revision is not None:
        await revisions.apply(gapless, revision, crawl)
    return flaky(crawl)


def summary(outcome: AuditOutcome) -> list[tuple[str, str]]:
    """Return what is to be said besides the broken links."""
    rows = []
    if not outcome.complete:
        rows.append(("Incomplete", outcome.incomplete_reason or "the crawl did not reach its end"))
    if outcome.changes is not None and not outcome.changes.ill:
        rows.append(("Changes", f"{outcome.changes.new} new, {outcome.changes.fixed} fixed since the audit before"))
    if outcome.agent is not None:
        rows.append(("Agent", _agent(outcome.agent)))
        if outcome.agent.usage is not None:
            rows.append(("Used", cost(outcome.agent.usage, outcome.agent.cost)))
    if outcome.advice is not None:
        rows.append(("Advice", _advice(outcome.advice)))
        if outcome.advice.usage is not None:
            rows.append(("Used", cost(outcome.advice.usage, outcome.advice.cost)))
    return rows


def _advice(advice: Advice) -> str:
    """Return in one line what the advisor's suggestions were worth, and whether it was asked for them now."""
    if advice.note:
        return f"{advice.advisor}: {advice.note}"
    kept = "; what is broken has not changed, so nobody was asked" if advice.kept else ""
    return f"{advice.advisor}: {advice.works} of {advice.suggested} suggestions work{kept}"


def _agent(agent: AgentReport) -> str:
    """Return in one line what the agent's claims were worth."""
    if agent.verdict is None:
        return f"{agent.agent}: {agent.note or agent.state}"
    v = agent.verdict
    parts = [f"{v.confirmed} confirmed", f"{v.false_alarms} false alarms", f"{v.missed} missed"]
    parts += [f"{v.unverifiable} unverifiable"] if v.unverifiable else []
    parts += [f"{v.out_of_scope} out of scope"] if v.out_of_scope else []
    return f"{', '.join(parts)}: precision {_ratio(v.precision)}, recall {_ratio(v.recall)}"


def _ratio(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"
