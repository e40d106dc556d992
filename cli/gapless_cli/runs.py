"""`gapless list`, `show`, `cancel`, `resolve`: runs that are there."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gapless.client import Run, RunStatus
from gapless.contract.interaction import Resolution
from gapless.contract.queues import TaskQueue
from gapless.errors import ConfigurationError
from gapless.text import printable
from gapless_cli.commands import OK, asynchronous, attended, connect
from gapless_cli.follow import follow, progress
from gapless_cli.output import result, result_json, say

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="Of the run.")]


@asynchronous
async def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at the most.")] = 20, as_json: AsJson = False
) -> int:
    """List runs, the newest first."""
    gapless = await connect(quiet=True)
    found = [status async for status in gapless.list(limit=limit)]
    if as_json:
        result_json(found)
        return OK
    table = Table(box=None, pad_edge=False)
    for column in ("ID", "STATE", "MODEL OR AGENT", "JOB", "STARTED"):
        table.add_column(column, overflow="fold")
    for status in found:
        row = (status.id, status.state, status.target or "", status.job or "", f"{status.started:%Y-%m-%d %H:%M}")
        table.add_row(*(escape(printable(value)) for value in row))
    Console(highlight=False).print(table if found else "no runs")
    return OK


@asynchronous
async def show(id: RunId, as_json: AsJson = False) -> int:  # noqa: A002
    """Show where a run stands, and its outcome when it has one."""
    gapless = await connect(quiet=True)
    run = await gapless.run(id)
    status = await run.status()
    outcome = await run.result() if status.closed and status.state not in _WITHOUT_OUTCOME else None
    if as_json:
        result_json({"status": status, "url": run.url, "outcome": outcome})
        return OK
    result("\n".join(f"{label:<12} {value}" for label, value in _rows(run, status, outcome) if value))
    return OK


_WITHOUT_OUTCOME = {"failed", "canceled", "terminated", "timed_out", "continued_as_new"}


def _rows(run: Run[Any], status: RunStatus, outcome: Any) -> list[tuple[str, str]]:
    rows = [
        ("Run", run.url or run.id),
        ("Kind", status.kind),
        ("State", status.state),
        ("Now", progress(status) if not status.closed else ""),
        ("Target", " ".join(filter(None, [status.provider, status.target]))),
        ("Interaction", status.interaction_id or ""),
        ("Started", f"{status.started:%Y-%m-%d %H:%M:%S}"),
    ]
    rows += [(f"  {p.activity}", f"attempt {p.attempt}: {p.last_failure}") for p in status.pending if p.last_failure]
    if (failure := getattr(outcome, "failure", None)) is not None:
        rows += [("Failed", failure.message), ("Next", failure.next_step)]
    if (found := getattr(outcome, "result", None)) is not None:
        rows.append(("Result", found.text))
    if hasattr(outcome, "broken"):
        rows.append(("Result", f"{outcome.broken} broken across {outcome.pages} pages, {outcome.links} links"))
    return rows


@asynchronous
async def cancel(id: RunId, as_json: AsJson = False) -> int:  # noqa: A002
    """Cancel a run, and what runs for it at the provider; waits until that is done."""
    gapless = await connect(quiet=True)
    run = await gapless.run(id)
    status = await run.status()
    if status.closed:
        say(f"{id} has ended already: {status.state}")
        return OK
    await run.cancel()
    async with attended(gapless, status.queue):
        await follow(gapless, run)
    status = await run.status()
    result_json(status) if as_json else say(f"{id}: {status.state}")
    return OK


_DONE = {"adopt": "adopted", "resubmit": "sent again", "abandon": "given up"}


@asynchronous
async def resolve(
    id: RunId,  # noqa: A002
    adopt: Annotated[str | None, typer.Option(metavar="ID", help="It runs: go on with this interaction.")] = None,
    resubmit: Annotated[bool, typer.Option("--resubmit", help="It does not run: send it again.")] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Give the task up.")] = False,
    as_json: AsJson = False,
) -> int:
    """Decide about a submission of which nobody knows whether it was taken."""
    if sum([adopt is not None, resubmit, abandon]) != 1:
        raise ConfigurationError("say one of --adopt ID, --resubmit, --abandon")
    action: Any = "adopt" if adopt is not None else "resubmit" if resubmit else "abandon"
    resolution = Resolution(action=action, interaction_id=adopt)
    gapless = await connect(quiet=True)
    run = await gapless.run(id)
    queue = (await run.status()).queue
    async with attended(gapless, queue):
        status = await run.resolve(resolution)
        if queue not in set(TaskQueue):  # nobody else serves it
            await follow(gapless, run)
    result_json(status) if as_json else say(f"{id}: {_DONE[action]}")
    return OK
