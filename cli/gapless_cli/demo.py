"""`make demo`: the main job, with nothing staged. An agent beside the auditor, and a worker killed on the way."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from temporalio.service import RPCError

from gapless.client import Gapless, Run, RunNotFound
from gapless.config import Settings, child_environment
from gapless.contract.host_lane import CRAWLING
from gapless.contract.link_audit import AuditOutcome, LinkAuditRequest, agent_run_id
from gapless.errors import GaplessError
from gapless.telemetry import configure_logging, forward_core_logs
from gapless.testing.emulator import Emulator
from gapless_cli import audit
from gapless_cli.demo_site import NAME, demo_site
from gapless_cli.follow import progress
from gapless_cli.output import field, say
from gapless_cli.site import serve
from gapless_workers.main import run_main

ID = "audit-demo"
AGENT = "antigravity-preview-09-2026"
SITE_PORT = 8791
MISS, INVENT = 3, 2
KILL_AT = 60
"""Pages after which the worker is killed."""


async def demo() -> int:
    """Run the demo; the exit code is 0 when everything came out as it must."""
    settings = Settings.load(gemini_api_key=None)
    configure_logging("error")
    forward_core_logs()
    folder = await asyncio.to_thread(demo_site, settings.cache_dir, lambda line: field("Site", line))
    gapless = await Gapless.connect(settings, say=lambda line: field("Temporal", line))
    field("Temporal", f"{gapless.server.ui} ({gapless.server.origin}; gapless server stop)")
    async with Emulator(miss=MISS, invent=INVENT) as emulator, serve(folder, SITE_PORT) as url:
        field("Provider", "local stand-in of the Interactions API; no key, nothing billed")
        field("Site", f"{NAME}, {url}")
        await _clear(gapless)
        run = await gapless.start(
            LinkAuditRequest(url=f"{url}index.html", external=False, agent=AGENT), id=ID, rerun=True, queue=ID
        )
        outcome = await _watch(gapless, run, emulator)
        await audit.show(gapless, outcome, Path("gapless-report"))
        stats = emulator.stats()
    field("Created", f"{stats['created']} interaction, {stats['billed']['usd']:.2f} billed by the stand-in")
    field("Run", run.url or run.id)
    return _check(outcome, stats["created"])


async def _watch(gapless: Gapless, run: Run[AuditOutcome], emulator: Emulator) -> AuditOutcome:
    field("Run", run.url or run.id)
    say(f"  agent      told to miss {MISS} broken links and to invent {INVENT}")
    result = asyncio.create_task(run.result())
    news = asyncio.create_task(_news(gapless, run))
    try:
        async with _worker(emulator.url) as first:
            await _accepted(gapless, run)  # a kill during the agent's POST would be held, and want a person
            pages = await _crawled(run, KILL_AT)
            first.kill()
            await first.wait()
        when = (
            f"when page {pages} was crawled" if pages >= KILL_AT else "after the crawl, which only asked what changed"
        )
        say(f"  worker     killed with SIGKILL, on purpose, {when}; a new one takes over")
        async with _worker(emulator.url):
            outcome = await result
        say(f"  auditor    {outcome.pages:,} pages, {outcome.links:,} links")
        return outcome
    finally:
        news.cancel()
        result.cancel()


async def _accepted(gapless: Gapless, run: Run[AuditOutcome]) -> None:
    """Wait until the provider has taken the agent's task, or the audit is over."""
    started = (await run.status()).started
    while not (await run.status()).closed:
        with suppress(RunNotFound):
            agent = await (await gapless.run(agent_run_id(run.id))).status()
            if agent.interaction_id and agent.started >= started:
                return
        await asyncio.sleep(0.02)


async def _crawled(run: Run[AuditOutcome], pages: int) -> int:
    """Wait until so many pages are on record, or the crawl is over; returns how many are."""
    while True:
        status = await run.status()
        crawl = next((p for p in status.pending if p.activity in CRAWLING), None)
        done = int(crawl.heartbeat.get("pages", 0)) if crawl else 0
        if done >= pages or status.closed or (crawl is None and status.pending):
            return done
        await asyncio.sleep(0.02)


async def _news(gapless: Gapless, run: Run[AuditOutcome]) -> None:
    """Say what is new about auditor and agent, as Temporal tells it."""
    said: dict[str, str] = {}
    started = (await run.status()).started
    while True:
        for name, run_id in (("auditor", run.id), ("agent", agent_run_id(run.id))):
            try:
                status = await (await gapless.run(run_id)).status()
            except GaplessError:
                continue
            if status.started < started:  # of an earlier demo
                continue
            line = progress(status)
            if line != said.get(name):
                said[name] = line
                say(f"  {name:<10} {line}")
        await asyncio.sleep(1.0)


@asynccontextmanager
async def _worker(provider_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `gapless worker` as a process of its own, on the demo's queue."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gapless_cli", "worker", "--queue", ID),
        env=child_environment(GEMINI_API_KEY="local", GOOGLE_GEMINI_BASE_URL=provider_url, GAPLESS_LOG_LEVEL="error"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _clear(gapless: Gapless) -> None:
    """End what an interrupted demo may have left: its site and its stand-in are gone."""
    for run_id in (ID, agent_run_id(ID)):
        try:
            await gapless.client.get_workflow_handle(run_id).terminate("left over from an interrupted demo")
        except RPCError:
            continue


def _check(outcome: AuditOutcome, created: int) -> int:
    """Compare what came out with what the stand-in was told, and with what was created."""
    verdict = outcome.agent.verdict if outcome.agent else None
    right = (
        outcome.complete
        and created == 1
        and verdict is not None
        and (verdict.missed, verdict.false_alarms) == (MISS, INVENT)
        and verdict.confirmed == outcome.broken - MISS
    )
    if not right:
        say("error: this is not what a demo has to end with; the run's page and gapless-report/ show what happened")
    return 0 if right else 1


if __name__ == "__main__":
    run_main(demo())
