"""The console script. A command's module is loaded when the command is used, so that help is quick."""

import gc
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from gapless.text import printable
from gapless_cli import flags
from gapless_workers.main import leave

TURN = 0.0005
"""Seconds that a thread has Python for while another wants it. Python's own 5 ms are what each step of a conversation
with the server waits for while a thread loads a module, or writes a report."""

INTERRUPTED, BROKEN_PIPE = 130, 141
COLLECT_AFTER = 200_000
"""Objects between two collections of garbage: modules and reports are none, and looking at them costs."""

COMMANDS = {
    "audit": "Audit the links of a site, durably.",
    "links": "Say why a link of an audit is what it is.",
    "run": "Run one task, and print its result, alone, on stdout.",
    "list": "List runs, the newest first.",
    "show": "Show where a run stands, and what came of it.",
    "cancel": "Cancel a run, and what runs for it at the provider.",
    "resolve": "Decide about a submission that may or may not have been taken.",
    "spend": "Sum what runs have cost.",
    "schedules": "The scheduled jobs of gapless.toml.",
    "worker": "Serve the task queues.",
    "server": "Start, show and stop the local Temporal server.",
    "emulator": "Run a local stand-in of Gemini's Interactions API.",
    "doctor": "Say what is configured, reachable and missing.",
}
_MODULES = {"list": "runs", "show": "runs", "cancel": "runs", "resolve": "runs"}


class Lazy(TyperGroup):
    """Commands by name; only the one that is asked for is loaded."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gapless_cli.{_MODULES.get(cmd_name, cmd_name)}")
        gc.freeze()  # modules stay
        gc.enable()
        if (group := getattr(module, "app", None)) is None:
            group = _typer()
            group.command(cmd_name)(getattr(module, "list_" if cmd_name == "list" else cmd_name))
        command: Any = typer.main.get_command(group)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands' lines without loading the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _typer() -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


app = _typer()


def _version(wanted: bool) -> None:
    if wanted:
        import gapless

        typer.echo(f"gapless {gapless.__version__}")
        raise typer.Exit


@app.callback(
    cls=Lazy, help="Durable agent tasks on Temporal: submitted once, polled without footprint, checked, and proven."
)
def _options(
    log_level: Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = None,
    artifacts: Annotated[str | None, typer.Option(metavar="URL", help="The artifact store.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    flags.remember(log_level=log_level, artifacts=artifacts)


def main() -> NoReturn:
    """Run a command and leave with its exit code; an error is one line on stderr."""
    sys.setswitchinterval(TURN)
    gc.set_threshold(COLLECT_AFTER)
    gc.disable()  # until what the command needs is loaded
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal speaks UTF-8
    leave(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        outcome = command.main(arguments or ["--help"], prog_name="gapless", standalone_mode=False)
    except TyperException as error:
        return _misused(error)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last place where an error can be said
        from gapless_cli.commands import exit_code

        return exit_code(error)
    return outcome if isinstance(outcome, int) else 0


def _misused(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    hint = f" ({context.command_path} --help)" if context is not None else ""
    message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    sys.stderr.write(f"error: {printable(message)}{hint}\n")
    return error.exit_code
