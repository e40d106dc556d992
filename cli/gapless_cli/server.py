"""`gapless server`: the local Temporal server."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from gapless import devserver
from gapless.config import Settings
from gapless_cli import flags

NOT_RUNNING = 3
"""Exit code of `status` without a server, as service managers use it."""

app = typer.Typer(help="Start, show and stop the local Temporal server.", add_completion=False, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def start(as_json: Json = False) -> None:
    """Start the server of the data folder, or find it already up."""
    settings = flags.settings()
    server = asyncio.run(devserver.start(settings, say=lambda line: typer.echo(line, err=True)))
    _show(settings, server, as_json=as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """Show the server; exit code 3 when it is not running."""
    settings = flags.settings()
    server = devserver.status(settings)
    _show(settings, server, as_json=as_json)
    if server is None:
        raise typer.Exit(NOT_RUNNING)


@app.command()
def stop(as_json: Json = False) -> None:
    """Stop the server; its runs are kept."""
    stopped = devserver.stop(flags.settings())
    if as_json:
        typer.echo(json.dumps({"stopped": stopped}))
    else:
        typer.echo("stopped; the runs are kept" if stopped else "not running")


def _show(settings: Settings, server: devserver.Server | None, *, as_json: bool) -> None:
    files = devserver.Files.of(settings)
    places = {"log": str(files.log), "database": str(files.database)}
    if as_json:
        typer.echo(json.dumps({"running": server is not None, **(asdict(server) if server else {}), **places}))
    elif server is None:
        typer.echo("not running   (gapless server start)")
    else:
        typer.echo(f"Temporal   {server.ui} ({server.origin})")
        typer.echo(f"Address    {server.address}")
        typer.echo(f"Database   {places['database']}")
        typer.echo(f"Log        {places['log']}")
