"""How a run is followed on the screen until it ends."""

import asyncio
from typing import Any

from gapless.client import Gapless, Run, RunNotFound, RunStatus
from gapless_cli.output import Ticker

EVERY = 0.5
"""Seconds between looks; the server is local, or the look is one cheap call."""


async def follow(gapless: Gapless, run: Run[Any]) -> None:
    """Show a run's progress until it has ended."""
    ticker = Ticker()
    try:
        while True:
            status = await run.status()
            ticker.show("  " + "; ".join(await _lines(gapless, status)))
            if status.closed:
                return
            await asyncio.sleep(EVERY)
    finally:
        ticker.done()


async def _lines(gapless: Gapless, status: RunStatus) -> list[str]:
    lines = [progress(status)]
    if status.kind == "LinkAudit" and status.target:
        try:
            lines.append(f"agent: {progress(await (await gapless.run(f'{status.id}-agent')).status())}")
        except RunNotFound:
            lines.append("agent: not asked yet")
    return lines


def progress(status: RunStatus) -> str:
    """Return one line about where a run stands."""
    for pending in status.pending:
        beat = pending.heartbeat
        if pending.activity == "crawl" and beat:
            resumed = f", went on at page {beat['resumed_at']}" if beat.get("resumed_at") else ""
            return f"{beat.get('pages', 0):,} pages, {beat.get('links', 0):,} links, {beat.get('phase')}{resumed}"
        if pending.activity == "poll" and beat:
            return f"{status.interaction_id}, {beat.get('raw')}, poll {beat.get('polls')}"
    if status.state == "held":
        return f"held: gapless resolve {status.id} --adopt ID | --resubmit | --abandon"
    running = ", ".join(pending.activity for pending in status.pending)
    return f"{status.state}{', ' + running if running and not status.closed else ''}"
