"""`gapless spend`: what runs have cost."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from gapless import spend as library
from gapless.spend import Ledger, RateCard, Sum
from gapless_cli import flags
from gapless_cli.commands import OK, asynchronous
from gapless_cli.output import plural, result_json, say, table


class By(StrEnum):
    """What spend is summed by."""

    DAY = "day"
    AGENT = "agent"
    MODEL = "model"
    JOB = "job"


@asynchronous
async def spend(
    by: Annotated[list[By] | None, typer.Option(help="Sum by this; again for more. All four by default.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="So many days, today included, in UTC.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> int:
    """Sum what runs have cost, by day, agent, model and job.

    What is unknown is counted apart: it is never taken for zero.
    """
    settings = flags.settings()
    card, until = RateCard.of(settings), library.today()
    since = until - timedelta(days=days - 1)
    entries = [entry async for entry in Ledger(settings.artifacts_url).entries(since, until)]
    keys = [key.value for key in by or list(By)]
    sums = library.summed(entries, keys, card)
    total = library.summed(entries, [], card).get((), Sum())
    if as_json:
        rows = [dict(zip(keys, group, strict=True)) | _json(found) for group, found in sums.items()]
        result_json({"since": since, "until": until, "rows": rows, "total": _json(total)})
    elif entries:
        header = [*(key.upper() for key in keys), "TASKS", "TOKENS", "USD", "UNPRICED"]
        table(header, [[*group, *_cells(found)] for group, found in sums.items()])
        say(_closing(total))
    else:
        say(f"nothing was sent since {since}; the ledger is in the artifact store, {settings.artifacts_url}")
    return OK


def _cells(found: Sum) -> list[str]:
    return [f"{found.submissions:,}", f"{found.tokens:,}", f"{found.usd:.4f}", f"{found.unpriced:,}"]


def _json(found: Sum) -> dict[str, object]:
    return {
        "tasks": found.submissions,
        "tokens": found.tokens,
        "usd": str(found.usd),
        "unpriced": found.unpriced,
        "unknown": list(found.unknown),
    }


def _closing(total: Sum) -> str:
    line = f"{plural(total.submissions, 'task')}, {plural(total.tokens, 'token')}, {total.usd:.4f} USD"
    if not total.unpriced:
        return line
    shown = "; ".join(total.unknown[:3]) + ("; …" if len(total.unknown) > 3 else "")
    return f"{line}, and what {plural(total.unpriced, 'task')} cost is unknown: {shown}"
