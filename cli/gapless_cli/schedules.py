"""`gapless schedules`: the nightly link audits of `gapless.toml`."""

from typing import Annotated

import typer

from gapless import schedules
from gapless_cli.commands import OK, asynchronous, connect
from gapless_cli.output import result, result_json, say
from gapless_workers.starter import apply_all

app = typer.Typer(help="The scheduled jobs of gapless.toml.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Of the job.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
@asynchronous
async def apply() -> int:
    """Create or update the schedule of every job in gapless.toml; never duplicates one."""
    gapless = await connect(quiet=True)
    await apply_all(gapless, say)
    return OK


@app.command("list")
@asynchronous
async def list_(as_json: AsJson = False) -> int:
    """List the schedules that Temporal holds."""
    gapless = await connect(quiet=True)
    found = await schedules.listed(gapless.client)
    if as_json:
        result_json(found)
        return OK
    for entry in found:
        due = "paused" if entry.paused else f"next {entry.next_run:%Y-%m-%d %H:%M %Z}" if entry.next_run else "no run"
        result(f"{entry.job}  {entry.url}  {due}  last {entry.last_run or 'none'}")
    if not found:
        say("no schedules; gapless schedules apply makes them from gapless.toml")
    return OK


@app.command()
@asynchronous
async def trigger(name: Name) -> int:
    """Run a job now, besides its times."""
    await schedules.trigger((await connect(quiet=True)).client, name)
    say(f"{name} is on its way: gapless list")
    return OK


@app.command()
@asynchronous
async def remove(name: Name) -> int:
    """Delete a job's schedule; runs that were started go on."""
    await schedules.remove((await connect(quiet=True)).client, name)
    say(f"{name} removed")
    return OK
