"""`gapless doctor`: what is configured, what can be reached, what is missing."""

import sys
from dataclasses import dataclass
from typing import Annotated

import typer
from temporalio.service import RPCError

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
from gapless.telemetry import configure_logging, forward_core_logs
from gapless_cli import flags
from gapless_cli.commands import OK, PROBLEM, asynchronous, check_store
from gapless_cli.output import result_json, table


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
    settings = flags.settings()
    configure_logging("error")
    forward_core_logs()
    checks = [
        Check("gapless", True, f"{gapless.__version__}, Python {sys.version.split()[0]}"),
        await _artifacts(settings),
        _encryption(settings),
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
    marks = {True: "ok", False: "wrong", None: "none"}
    table(("", "", ""), [(check.name, marks[check.ok], check.found) for check in checks])


async def _artifacts(settings: Settings) -> Check:
    try:
        await check_store(settings)
    except ConfigurationError as error:
        return Check("artifacts", False, str(error).partition("\n")[0])
    return Check("artifacts", True, settings.artifacts_url)


def _encryption(settings: Settings) -> Check:
    if not settings.keys:
        return Check("encryption", None, "no key is set: histories and results are kept in clear (docs/security.md)")
    return Check("encryption", True, f"with the key {settings.keys.id}")


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
        jobs = schedules.read_jobs(settings.jobs, settings.links)
    except ConfigurationError as error:
        return Check("jobs", False, str(error))
    return Check("jobs", bool(jobs) or None, ", ".join(jobs) or "no [jobs.NAME] table in gapless.toml here")


async def _temporal(settings: Settings) -> list[Check]:
    try:
        server = foreign.configured() or devserver.status(settings)
    except ConfigurationError as error:
        return [Check("temporal", False, str(error))]
    if server is None:
        return [Check("temporal", None, "no server is up; commands start one when they need it (gapless server start)")]
    try:
        converter = data_converter(ArtifactStore.of(settings))
        client = await devserver.connect(settings, server, data_converter=converter)
        connection = Gapless(client, server, settings)
        polled = [(queue, await connection.has_worker(queue)) for queue in TaskQueue]
    except GaplessError as error:
        return [Check("temporal", False, str(error))]
    except RPCError as error:
        return [Check("temporal", False, f"{server.address}, namespace {server.namespace}: {error.message}")]
    return [
        Check("temporal", True, f"{server.address}, namespace {server.namespace} ({server.origin})"),
        *(
            Check(f"queue {q}", on or None, "a worker polls" if on else "no worker (gapless worker)")
            for q, on in polled
        ),
    ]
