"""`gapless run`: one interaction from the command line."""

import sys
from datetime import timedelta
from decimal import Decimal
from typing import Annotated
from uuid import uuid4

import typer

from gapless.client import Gapless
from gapless.contract.interaction import InteractionRequest, Limits, OnLostSubmission, Outcome, State
from gapless.contract.queues import TaskQueue
from gapless.providers.base import check_known
from gapless_cli import flags
from gapless_cli.commands import OK, PROBLEM, alone, asynchronous, check_provider, check_store, connect
from gapless_cli.flags import dollars
from gapless_cli.follow import introduce, see_through
from gapless_cli.output import cost, field, result, result_json


def _prompt(value: str) -> str:
    """Read the prompt, here and not in the event loop, where Ctrl-C could not end the reading."""
    text = sys.stdin.read() if value == "-" else value
    if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
        raise typer.BadParameter("it is not UTF-8 text")
    if not text.strip():
        raise typer.BadParameter("it is empty")
    return text


@asynchronous
async def run(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT|-", parser=_prompt, help="The task; - reads it from stdin.")],
    model: Annotated[str | None, typer.Option(help="The model.")] = None,
    agent: Annotated[str | None, typer.Option(help="The managed agent, instead of a model.")] = None,
    provider: Annotated[str, typer.Option(help="Whose.")] = "gemini",
    id: Annotated[str | None, typer.Option(help="Your id for it: it never runs twice.")] = None,  # noqa: A002
    instructions: Annotated[str | None, typer.Option(help="System instructions.")] = None,
    environment: Annotated[str | None, typer.Option(help='"remote", or the id of an environment.')] = None,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds for the whole run.")] = 4 * 3600,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Limit on tokens, all submissions together.")] = None,
    max_cost: Annotated[Decimal | None, typer.Option(parser=dollars, metavar="USD", help="Limit on cost.")] = None,
    on_lost_submission: Annotated[OnLostSubmission, typer.Option(help="When nobody knows if it was taken.")] = (
        OnLostSubmission.HOLD
    ),
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Start it only if prompt and answer are kept encrypted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole outcome as JSON on stdout.")] = False,
) -> int:
    """Run one task, and print its result, alone, on stdout.

    Exit codes: 0 succeeded, 1 any other outcome, 2 usage.
    """
    request = InteractionRequest(
        provider=provider,
        model=model,
        agent=agent,
        input=prompt,
        instructions=instructions,
        environment=environment,
        limits=Limits(deadline=timedelta(seconds=deadline), max_total_tokens=max_tokens, max_cost_usd=max_cost),
        on_lost_submission=on_lost_submission,
        sensitive=sensitive,
    )
    settings = flags.settings()
    here = alone()
    check_known(provider)
    if here:
        await check_store(settings)
        await check_provider(provider, settings)
    gapless = await connect(settings, quiet=False)
    name = id or f"interaction-{uuid4()}"
    queue = name if here else TaskQueue.INTERACTIONS
    handle = await gapless.start(request, id=name, queue=queue)
    await introduce(handle)
    outcome = await see_through(gapless, handle, f"The same command with --id {name}")
    return await _show(gapless, outcome, as_json=as_json)


async def _show(gapless: Gapless, outcome: Outcome, *, as_json: bool) -> int:
    if as_json:
        result_json(outcome)
    elif outcome.result is not None and outcome.result.text:
        whole = outcome.result.whole_text
        result((await gapless.artifacts.get(whole.digest)).decode() if whole else outcome.result.text)
    if outcome.result is not None:
        for file in outcome.result.files:
            field("File", f"{file.name}, {file.size:,} bytes, sha256 {file.digest}")
        if outcome.result.usage is not None:
            field("Used", cost(outcome.result.usage, outcome.result.cost))
        for problem in outcome.result.problems:
            field("Problem", problem)
    if outcome.failure is not None:
        field("Failed", f"{outcome.failure.message} {outcome.failure.next_step}")
    return OK if outcome.state is State.SUCCEEDED else PROBLEM
