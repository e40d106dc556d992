"""The console script."""

import sys
from typing import Annotated, NoReturn

import click
import typer

from gapless_cli import audit, doctor, emulator, run, runs, schedules, server, worker
from gapless_cli.commands import HANDLED, INTERRUPTED, USAGE, exit_code
from gapless_workers.main import leave

app = typer.Typer(
    name="gapless",
    help="Durable agent tasks on Temporal: submitted once, polled without footprint, checked, and proven.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("audit")(audit.audit)
app.command("run")(run.run)
app.command("worker")(worker.worker)
app.command("list")(runs.list_)
app.command("show")(runs.show)
app.command("cancel")(runs.cancel)
app.command("resolve")(runs.resolve)
app.add_typer(schedules.app, name="schedules")
app.add_typer(server.app, name="server")
app.command("emulator")(emulator.emulator)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        import gapless

        typer.echo(f"gapless {gapless.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run a command and leave with its exit code; an error is one line on stderr."""
    leave(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        outcome = app(arguments, standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except HANDLED as error:
        return exit_code(error)
    return outcome if isinstance(outcome, int) else 0
