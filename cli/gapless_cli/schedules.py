"""`gapless schedules`: the nightly link audits of `gapless.toml`."""

import json
from typing import Annotated

import typer

from gapless import schedules
from gapless.contract.queues import TaskQueue
from gapless_cli import flags
from gapless_cli.commands import OK, asynchronous, connect
from gapless_cli.output import result_json, say, table
from gapless_workers.starter import apply_all, declared

app = typer.Typer(help="The scheduled jobs of gapless.toml.", add_completion=False, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="Of the job.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
@asynchronous
async def apply() -> int:
    """Create or update the schedule of every job in gapless.toml; never duplicates one."""
    settings = flags.settings()
    jobs = declared(settings)
    await apply_all(await connect(settings), jobs, say)
    return OK


@app.command()
def plan(as_json: AsJson = False) -> int:
    """Show what each job in gapless.toml comes to, and where each value is from; asks nobody."""
    settings = flags.settings()
    jobs = declared(settings)
    if as_json:
        result_json({name: job.model_dump(mode="json") for name, job in jobs.items()})
        return OK
    rows = []
    for name, job in jobs.items():
        for field, value in job.model_dump(mode="json").items():
            said = "job" if field in settings.jobs[name] else "links" if field in settings.links else "default"
            rows.append((name, field, json.dumps(value), said))
    table(("JOB", "SETTING", "VALUE", "FROM"), rows)
    return OK


@app.command("list")
@asynchronous
async def list_(as_json: AsJson = False) -> int:
    """List the schedules that Temporal holds."""
    gapless = await connect()
    found = await schedules.listed(gapless.client)
    if as_json:
        result_json(found)
        return OK
    if found:
        rows = [(entry.job, entry.url, _due(entry), entry.last_run or "") for entry in found]
        table(("JOB", "SITE", "NEXT RUN", "LAST RUN"), rows)
    else:
        say("no schedules; gapless schedules apply makes them from gapless.toml")
    return OK


def _due(entry: schedules.Scheduled) -> str:
    if entry.paused:
        return "paused"
    return f"{entry.next_run:%Y-%m-%d %H:%M %Z}" if entry.next_run else "none"


@app.command()
@asynchronous
async def trigger(name: Name) -> int:
    """Run a job now, besides its times; skipped while a run of it is going on."""
    gapless = await connect()
    await schedules.trigger(gapless.client, name)
    say(f"{name} is on its way: gapless list")
    if not await gapless.has_worker(TaskQueue.LINKS):
        say(f"No worker polls {TaskQueue.LINKS} now; start one with: gapless worker")
    return OK


@app.command()
@asynchronous
async def remove(name: Name) -> int:
    """Delete a job's schedule; runs that were started go on."""
    await schedules.remove((await connect()).client, name)
    say(f"{name} removed")
    return OK
