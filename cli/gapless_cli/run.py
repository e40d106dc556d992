"""`gapless run`: one interaction from the command line."""

import asyncio
import sys
from datetime import timedelta
from typing import Annotated
from uuid import uuid4

import typer

from gapless.client import Gapless, RunFailed
from gapless.contract.interaction import InteractionRequest, Limits, OnLostSubmission, Outcome, State
from gapless.contract.queues import TaskQueue
from gapless.errors import ConfigurationError
from gapless.providers.base import open_provider
from gapless_cli.commands import OK, PROBLEM, asynchronous, attended, connect
from gapless_cli.follow import follow
from gapless_cli.output import field, result, result_json, say


@asynchronous
async def run(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT|-", help="The task; - reads it from stdin.")],
    model: Annotated[str | None, typer.Option(help="The model.")] = None,
    agent: Annotated[str | None, typer.Option(help="The managed agent, instead of a model.")] = None,
    provider: Annotated[str, typer.Option(help="Whose.")] = "gemini",
    id: Annotated[str | None, typer.Option(help="Your id for it: it never runs twice.")] = None,  # noqa: A002
    instructions: Annotated[str | None, typer.Option(help="System instructions.")] = None,
    environment: Annotated[str | None, typer.Option(help='"remote", or the id of an environment.')] = None,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds for the whole run.")] = 4 * 3600,
    on_lost_submission: Annotated[OnLostSubmission, typer.Option(help="When nobody knows if it was taken.")] = (
        OnLostSubmission.HOLD
    ),
    as_json: Annotated[bool, typer.Option("--json", help="The whole outcome as JSON on stdout.")] = False,
) -> int:
    """Run one task, and print its result, alone, on stdout.

    Exit codes: 0 succeeded, 1 any other outcome, 2 usage.
    """
    request = InteractionRequest(
        provider=provider,
        model=model,
        agent=agent,
        input=_read(prompt),
        instructions=instructions,
        environment=environment,
        limits=Limits(deadline=timedelta(seconds=deadline)),
        on_lost_submission=on_lost_submission,
    )
    gapless = await connect()
    name = id or f"interaction-{uuid4()}"
    queue = name if gapless.server.ours else TaskQueue.INTERACTIONS
    if gapless.server.ours:
        await open_provider(provider, gapless.settings).aclose()  # a missing key shows before anything is started
    handle = await gapless.start(request, id=name, queue=queue)
    field("Run", f"{handle.url or handle.id}{', attached: it was started before' if handle.attached else ''}")
    try:
        async with attended(gapless, queue):
            await follow(gapless, handle)
            outcome = await handle.result()
    except asyncio.CancelledError:
        say(f"\nThe run is kept: the same command with --id {name} goes on; gapless cancel {name} ends it.")
        raise
    except RunFailed as error:
        say(f"error: {error}")
        return PROBLEM
    return await _show(gapless, outcome, as_json=as_json)


def _read(prompt: str) -> str:
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise ConfigurationError("the prompt is empty")
    return text


async def _show(gapless: Gapless, outcome: Outcome, *, as_json: bool) -> int:
    if as_json:
        result_json(outcome)
    elif outcome.result is not None and outcome.result.text:
        whole = outcome.result.whole_text
        result((await gapless.artifacts.get(whole.digest)).decode() if whole else outcome.result.text)
    if outcome.result is not None:
        for file in outcome.result.files:
            field("File", f"{file.name}, {file.size} bytes, sha256 {file.digest}")
        for problem in outcome.result.problems:
            field("Problem", problem)
    if outcome.failure is not None:
        field("Failed", f"{outcome.failure.message} {outcome.failure.next_step}")
    return OK if outcome.state is State.SUCCEEDED else PROBLEM
