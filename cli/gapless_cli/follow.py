"""How a run is followed on the screen until it ends."""

import asyncio
from asyncio.subprocess import Process
from typing import Any, TypeVar

from gapless.client import Gapless, Pending, Run, RunFailed, RunNotFound, RunStatus
from gapless.contract.host_lane import CRAWLING
from gapless.contract.interaction import Model, Outcome
from gapless.contract.link_audit import AuditOutcome, Revision, agent_run_id
from gapless.errors import GaplessError
from gapless_cli.commands import attended
from gapless_cli.output import Ticker, field, plural, say

T = TypeVar("T", bound=Model)


async def introduce(run: Run[Any]) -> None:
    """Say where the run is, and where it goes on if it was there before."""
    field("Run", run.url or run.id)
    if run.attached:
        status = await run.status()
        field("", "attached" if not status.closed else f"attached: it has ended already, {status.state}")
        for pending in status.pending:
            if pending.activity in CRAWLING and pending.heartbeat:
                silent = " once its former worker has been silent for 10 s" if pending.started else ""
                field("", f"going on at page {pending.heartbeat.get('pages', 0):,}{silent}")


async def see_through(gapless: Gapless, run: Run[T], again: str, engine: Process | None = None) -> T:
    """Serve and follow a run until its outcome; if that is interrupted, say how to go on.

    Args:
        gapless: the connection.
        run: to follow.
        again: what goes on with it.
        engine: a process in which the run is going to crawl.

    Raises:
        RunFailed: it ended without an outcome.
    """
    async with attended(gapless, run.queue or (await run.status()).queue, engine):
        try:
            return await follow(gapless, run)
        except RunFailed:
            raise
        except (asyncio.CancelledError, GaplessError):
            say(f"The run is kept. {again} goes on with it; gapless cancel {run.id} ends it.")
            raise


async def follow(gapless: Gapless, run: Run[T]) -> T:
    """Show a run's progress until it has ended, and return its outcome.

    Raises:
        RunFailed: it ended without one.
    """
    ticker = Ticker()
    ending = asyncio.ensure_future(run.result())
    try:
        while not ending.done():
            ticker.show("  " + await _line(gapless, await run.status()))
            await asyncio.wait({ending}, timeout=ticker.interval)
        outcome = ending.result()
        ticker.show("  " + _ended(outcome))
        return outcome
    finally:
        ending.cancel()
        ticker.done()


async def _line(gapless: Gapless, status: RunStatus) -> str:
    if status.kind != "LinkAudit" or not status.target:
        return progress(status)
    try:
        agent = await (await gapless.run(agent_run_id(status.id))).status()
    except RunNotFound:
        agent = None
    asked = agent is not None and agent.started >= status.started  # or it is of an earlier audit
    return f"{progress(status)}; agent: {progress(agent) if agent and asked else 'not asked yet'}"


def _ended(outcome: Model) -> str:
    if isinstance(outcome, AuditOutcome):
        return f"{plural(outcome.pages, 'page')}, {plural(outcome.links, 'link')}"
    if isinstance(outcome, Revision):
        return f"{outcome.recovered} recovered on other hosts, {outcome.still_broken} still broken"
    return str(outcome.state) if isinstance(outcome, Outcome) else "ended"


_DOING = {
    "admit_agent": "looking whether the agent may be sent there",
    "crawl": "starting",
    "crawl_in_lane": "starting",
    "look_elsewhere": "having links to other hosts looked at",
    "recheck": "having looked at again what was broken on other hosts",
    "judge_in_lane": "fetching again what the agent calls broken",
    "judge": "fetching again what the agent calls broken",
    "advice_due": "looking whether what is broken has changed",
    "advise_in_lane": "looking where suggestions lead",
    "report": "writing the report",
    "report_in_lane": "checking what was said, and writing the report",
    "submit": "sending the task",
    "poll": "waiting for the provider",
    "fetch": "fetching the result",
    "cancel": "stopping it at the provider",
}


def progress(status: RunStatus) -> str:
    """Return one line about where a run stands."""
    for pending in status.pending:
        if told := _told(status, pending):
            return told
    if status.state == "held":
        ways = f"gapless resolve {status.id} --adopt ID | --resubmit | --abandon"
        return f"held, for nobody knows whether the task was taken: {ways}"
    if status.kind == "Revision" and not (status.closed or status.pending):
        return "waiting for the time of the next look at other hosts"
    if status.closed or not status.pending:
        return "starting" if status.state == "not started" else status.state
    return ", ".join(_doing(pending.activity, pending.attempt, pending.last_failure) for pending in status.pending)


def _told(status: RunStatus, pending: Pending) -> str | None:
    """Return what an activity that waits or works tells of itself, in one line."""
    beat = pending.heartbeat
    if pending.activity in CRAWLING and beat:
        return _crawl(beat)
    if pending.activity == "look_elsewhere" and beat:
        return f"other hosts: {plural(beat.get('hosts', 0), 'answer')}, {beat.get('waiting', 0)} asked now"
    if pending.activity == "poll" and beat:
        return f"{status.interaction_id}, {beat.get('raw')}, poll {beat.get('polls'):,}"
    return None


def _crawl(beat: Any) -> str:
    counted = f"{plural(beat.get('pages', 0), 'page')}, {plural(beat.get('links', 0), 'link')}"
    phase = beat.get("phase")
    resumed = f"; went on at page {beat['resumed_at']:,}" if beat.get("resumed_at") else ""
    return counted + (f"; {phase}" if phase and phase != "crawling" else "") + resumed


def _doing(activity: str, attempt: int, failure: str | None) -> str:
    doing = _DOING.get(activity, activity)
    if not failure or activity in {
        "poll",
        "look_elsewhere",
        "recheck",
        "report_in_lane",
    }:  # these wait by being tried again
        return doing
    return f"{doing}, attempt {attempt} after: {failure.partition(chr(10))[0][:200]}"
