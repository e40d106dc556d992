"""`gapless list`, `show`, `cancel`, `resolve`: runs that are there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import typer

from gapless.client import Gapless, NotHeld, Run, RunFailed, RunStatus
from gapless.contract.interaction import Outcome, Resolution
from gapless.contract.link_audit import AuditOutcome, Revision
from gapless.contract.queues import TaskQueue
from gapless.errors import ConfigurationError
from gapless_cli import revisions
from gapless_cli.audit import SHORT, reported, summary
from gapless_cli.commands import OK, asynchronous, attended, check_provider, check_store, connect
from gapless_cli.follow import follow, progress
from gapless_cli.output import cost, result, result_json, say, table

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="Of the run.")]


@asynchronous
async def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at the most.")] = 20, as_json: AsJson = False
) -> int:
    """List runs, the newest first."""
    gapless = await connect()
    found = [status async for status in gapless.list(limit=limit)]
    if as_json:
        result_json(found)
    elif found:
        rows = [(s.id, s.state, s.target or "", s.job or "", f"{s.started:%Y-%m-%d %H:%M}") for s in found]
        table(("ID", "STATE", "MODEL OR AGENT", "JOB", "STARTED"), rows)
    else:
        say("no runs yet")
    return OK


@asynchronous
async def show(id: RunId, as_json: AsJson = False) -> int:  # noqa: A002
    """Show where a run stands, and what came of it."""
    gapless = await connect()
    run = await gapless.run(id)
    status = await run.status()
    outcome, failure = await _outcome(run, status)
    if as_json:
        result_json({"status": status, "url": run.url, "outcome": outcome})
        return OK
    rows = [*_standing(run, status), ("Failed", failure), *_ended(outcome)]
    if isinstance(outcome, AuditOutcome) and (later := await revisions.of(gapless, id)):
        rows.append(("Revision", revisions.about(later, None, status.queue)))
    result("\n".join(f"{label:<12} {value}" for label, value in rows if value))
    if isinstance(outcome, AuditOutcome):
        result("\n" + (await reported(gapless, outcome)).markdown(SHORT))
    elif isinstance(outcome, Revision) and (report := await revisions.report(gapless, outcome)):
        result("\n" + report.markdown(SHORT))
    elif isinstance(outcome, Outcome) and outcome.result is not None:
        result("\n" + outcome.result.text)
    return OK


async def _outcome(run: Run[Any], status: RunStatus) -> tuple[Any, str]:
    """Return the outcome of a run that has ended, or why it has none."""
    if not status.closed:
        return None, ""
    try:
        return await run.result(), ""
    except RunFailed as error:
        return None, str(error)


def _standing(run: Run[Any], status: RunStatus) -> list[tuple[str, str]]:
    now = progress(status)
    rows = [
        ("Run", run.url or run.id),
        ("Kind", status.kind),
        ("State", status.state),
        ("Now", now if now != status.state else ""),
        ("Target", " ".join(filter(None, [status.provider, status.target]))),
        ("Interaction", status.interaction_id or ""),
        ("Job", status.job or ""),
        ("Started", f"{status.started:%Y-%m-%d %H:%M:%S %Z}"),
    ]
    return rows + [
        (f"  {p.activity}", f"attempt {p.attempt}: {p.last_failure}") for p in status.pending if p.last_failure
    ]


def _ended(outcome: Any) -> list[tuple[str, str]]:
    if isinstance(outcome, AuditOutcome):
        return summary(outcome)
    if isinstance(outcome, Revision):
        return [("Found", f"{outcome.recovered} recovered on other hosts, {outcome.still_broken} still broken")]
    if not isinstance(outcome, Outcome):
        return []
    used = outcome.result.usage if outcome.result else None
    rows = [("Used", cost(used, outcome.result.cost))] if outcome.result and used else []
    failure = outcome.failure
    return rows + ([("Failed", failure.message), ("Next", failure.next_step)] if failure else [])


@asynchronous
async def cancel(id: RunId, as_json: AsJson = False) -> int:  # noqa: A002
    """Cancel a run, and what runs for it at the provider; waits until that is done."""
    gapless = await connect()
    run = await gapless.run(id)
    status = await run.status()
    if not status.closed:
        async with _acting(gapless, status):
            await run.cancel()
            with suppress(RunFailed):
                await follow(gapless, run)
        status = await run.status()
        result_json(status) if as_json else say(f"{id}: {status.state}")
    else:
        result_json(status) if as_json else say(f"{id} has ended already: {status.state}")
    return OK


@asynccontextmanager
async def _acting(gapless: Gapless, status: RunStatus) -> AsyncIterator[None]:
    """Be the worker of a run that nobody else serves, while something is done about it."""
    if status.queue not in set(TaskQueue):
        await check_store(gapless.settings)
        if status.provider is not None:
            await check_provider(status.provider, gapless.settings)
    async with attended(gapless, status.queue):
        try:
            yield
        except asyncio.CancelledError:
            say(f"It has been asked for, and will happen as soon as a worker polls {status.queue}.")
            raise


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
    gapless = await connect()
    run = await gapless.run(id)
    status = await run.status()
    if status.closed:
        raise NotHeld(f"{id} has ended already ({status.state}); there is nothing to decide")
    async with _acting(gapless, status):
        decided = await run.resolve(resolution)
        if not as_json:
            say(f"{id}: {_DONE[action]}")
        if status.queue not in set(TaskQueue):  # nobody else serves it
            with suppress(RunFailed):
                await follow(gapless, run)
    if as_json:
        result_json(decided)
    return OK
