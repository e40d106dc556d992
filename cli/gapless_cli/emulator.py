"""`gapless emulator`: the local Interactions API."""

from pathlib import Path
from typing import Annotated

import typer

from gapless.errors import NotReachable
from gapless_cli.output import field, say


def emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8790,
    state: Annotated[Path | None, typer.Option(help="SQLite file that keeps its state over restarts.")] = None,
    run_seconds: Annotated[float, typer.Option(min=0, help="How long an interaction takes.")] = 2.0,
    miss: Annotated[int, typer.Option(min=0, help="Broken links that its agent leaves out.")] = 0,
    invent: Annotated[int, typer.Option(min=0, help="Broken links that its agent makes up.")] = 0,
) -> None:
    """Run a local stand-in of Gemini's Interactions API; it needs no key of yours and bills nothing."""
    from gapless.testing import emulator as local

    def started(url: str) -> None:
        field("Emulator", f"{url}   (stop with Ctrl-C)")
        say("To use it, in another terminal:")
        say(f"  export GEMINI_API_KEY=local GOOGLE_GEMINI_BASE_URL={url}")
        say(f"Faults and counters: {url}/_emulator/stats")

    try:
        local.run(port=port, state=state, started=started, run_seconds=run_seconds, miss=miss, invent=invent)
    except OSError as error:
        raise NotReachable(f"port {port} cannot be used: {error.strerror or error}; name another with --port") from None
