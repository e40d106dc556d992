"""`gapless doctor`: what is configured, what can be reached, what is missing."""

import sys
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import gapless
from gapless import devserver, schedules
from gapless.artifacts import ArtifactStore
from gapless.client import Gapless
from gapless.config import Settings
from gapless.contract.queues import TaskQueue
from gapless.devserver import foreign
from gapless.errors import ConfigurationError, GaplessError
from gapless.payloads import data_converter
from gapless.providers.base import open_provider
from gapless.text import printable
from gapless_cli.commands import OK, PROBLEM, asynchronous
from gapless_cli.output import result_json


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `ok` is None where it is missing and that is no fault."""

    name: str
    ok: bool | None
    found: str


@asynchronous
async def doctor(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> int:
    """Say what is configured, reachable and missing; starts nothing.

    Exit codes: 0 nothing is wrong, 1 something is, 2 the settings cannot be read.
    """
    settings = Settings.load()
    checks = [
        Check("gapless", True, f"{gapless.__version__}, Python {sys.version.split()[0]}"),
        await _artifacts(settings),
        await _provider(settings),
        _jobs(settings),
        *await _temporal(settings),
    ]
    if as_json:
        result_json(checks)
    else:
        _print(checks)
    return PROBLEM if any(check.ok is False for check in checks) else OK


def _print(checks: list[Check]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        mark = {True: "[green]ok[/]", False: "[red]wrong[/]", None: "[yellow]none[/]"}[check.ok]
        table.add_row(check.name, mark, escape(printable(check.found)))
    Console(highlight=False).print(table)


async def _artifacts(settings: Settings) -> Check:
    try:
        store = ArtifactStore(settings.artifacts_url)
        await store.get((await store.put("doctor", b"gapless doctor")).digest)
    except Exception as error:  # noqa: BLE001 - a store's client may raise anything, and here it is the answer
        return Check("artifacts", False, f"{settings.artifacts_url}: {error}")
    return Check("artifacts", True, settings.artifacts_url)


async def _provider(settings: Settings) -> Check:
    try:
        provider = open_provider("gemini", settings)
    except ConfigurationError as error:
        return Check("gemini", None, str(error))
    remote = provider.capabilities().remote
    await provider.aclose()
    where = settings.gemini_base_url or "Google's address"
    return Check(
        "gemini", True, f"a key is set; {where}{'' if remote else ' (on this machine)'}; not called: that may bill"
    )


def _jobs(settings: Settings) -> Check:
    try:
        jobs = schedules.read_jobs(settings.jobs)
    except ConfigurationError as error:
        return Check("jobs", False, str(error))
    return Check("jobs", bool(jobs) or None, ", ".join(jobs) or "no [jobs.NAME] table in gapless.toml here")


async def _temporal(settings: Settings) -> list[Check]:
    server = foreign.configured() or devserver.status(settings)
    if server is None:
        return [Check("temporal", None, "no server is up; commands start one when they need it (gapless server start)")]
    try:
        converter = data_converter(ArtifactStore(settings.artifacts_url))
        client = await devserver.connect(settings, server, data_converter=converter)
    except GaplessError as error:
        return [Check("temporal", False, str(error))]
    connection = Gapless(client, server, settings)
    checks = [Check("temporal", True, f"{server.address}, namespace {server.namespace} ({server.origin})")]
    for queue in TaskQueue:
        there = await connection.has_worker(queue)
        checks.append(
            Check(f"queue {queue}", there or None, "a worker polls" if there else "no worker (gapless worker)")
        )
    return checks
