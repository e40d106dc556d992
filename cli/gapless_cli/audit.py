"""`gapless audit`: the main job."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gapless import links
from gapless.client import Gapless, Run, RunFailed, audit_id
from gapless.contract.link_audit import AgentReport, AuditOutcome, LinkAuditRequest
from gapless.contract.queues import TaskQueue
from gapless_cli.commands import INCOMPLETE, OK, PROBLEM, asynchronous, attended, connect
from gapless_cli.follow import follow
from gapless_cli.output import field, result, say

SHORT = 5
"""Links of one group that are shown on the screen; the report holds all."""


class FailOn(StrEnum):
    """What makes the exit code say that something is wrong."""

    ANY = "any"
    NEVER = "never"


@asynchronous
async def audit(
    target: Annotated[str, typer.Argument(metavar="URL|PATH", help="A site, or a folder that holds a built one.")],
    agent: Annotated[str | None, typer.Option(help="Ask this managed agent, too, and check what it claims.")] = None,
    provider: Annotated[str, typer.Option(help="Whose agent.")] = "gemini",
    external: Annotated[bool, typer.Option(help="Check links to other hosts.")] = True,
    robots: Annotated[bool, typer.Option(help="Obey robots.txt.")] = True,
    max_pages: Annotated[int, typer.Option(min=1, help="Stop after this many pages.")] = 10_000,
    connections: Annotated[int, typer.Option(min=1, max=64, help="To the site, at the same time.")] = 8,
    output: Annotated[Path, typer.Option(help="Folder for report.md and report.json.")] = Path("gapless-report"),
    fail_on: Annotated[FailOn, typer.Option(help="What makes the exit code 1.")] = FailOn.ANY,
    id: Annotated[str | None, typer.Option(help="Id of the run; named after the site by default.")] = None,  # noqa: A002
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> int:
    """Audit the links of a site, durably: the same command goes on with a run that was interrupted.

    Exit codes: 0 clean, 1 broken links, 2 usage, 3 incomplete.
    """
    from gapless_cli.site import site

    async with site(target) as url:
        request = LinkAuditRequest(
            url=url,
            external=external,
            robots=robots,
            max_pages=max_pages,
            connections=connections,
            provider=provider,
            agent=agent,
        )
        gapless = await connect()
        here = gapless.server.ours or url != target  # only this machine sees a folder's site
        queue = (id or audit_id(url)) if here else TaskQueue.LINKS
        run = await gapless.start(request, id=id, rerun=True, queue=queue)
        _introduce(request, run)
        try:
            async with attended(gapless, queue):
                await follow(gapless, run)
                outcome = await run.result()
        except asyncio.CancelledError:
            say(f"\nThe run is kept. The same command goes on with it; gapless cancel {run.id} ends it.")
            raise
        except RunFailed as error:
            say(f"error: {error}")
            return INCOMPLETE
    await show(gapless, outcome, output, as_json=as_json)
    return exit_code(outcome, fail_on)


def exit_code(outcome: AuditOutcome, fail_on: FailOn) -> int:
    """Return what the command ends with: broken links count more than an incomplete crawl."""
    if outcome.broken and fail_on is FailOn.ANY:
        return PROBLEM
    return OK if outcome.complete else INCOMPLETE


def _introduce(request: LinkAuditRequest, run: Run[AuditOutcome]) -> None:
    attached = ", attached: it was started before" if run.attached else ""
    field("Run", f"{run.url or run.id}{attached}")
    robots = "robots.txt obeyed" if request.robots else "robots.txt ignored"
    others = "links to other hosts checked" if request.external else "links to other hosts left alone"
    agent = f"agent {request.agent}" if request.agent else "no agent"
    field("Scope", f"same origin, {robots}, {request.connections} connections, {others}; {agent}")


async def show(gapless: Gapless, outcome: AuditOutcome, output: Path, *, as_json: bool = False) -> None:
    """Write the report's files, and print it: the findings on stdout, the rest on stderr."""
    markdown = await gapless.artifacts.get(outcome.report_markdown.digest)
    body = await gapless.artifacts.get(outcome.report_json.digest)
    _write(output, {"report.md": markdown, "report.json": body})
    if as_json:
        result(body.decode())
    else:
        crawl = links.Crawl.from_bytes(await gapless.artifacts.get(outcome.crawl.digest))
        result("\n" + links.report_markdown(crawl, limit=SHORT))
    say("")
    if not outcome.complete:
        field("Incomplete", outcome.incomplete_reason or "the crawl did not reach its end")
    if outcome.agent is not None:
        field("Agent", _agent(outcome.agent))
    field("Files", f"{output / 'report.md'}, {output / 'report.json'}")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        say(f"error: the report could not be written to {folder} ({error.strerror}); it is kept, see gapless show")


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
