"""Jobs of gapless.toml, from the file to a run on a worker."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import ScheduleAlreadyRunningError

from conftest import until
from e2e.command import Command, Done
from gapless import Gapless, schedules
from unit.links.httpsite import Reply, Site, page

STARTER = "gapless_workers.starter"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve two pages and a broken link."""
    async with Site({"/": page("/b", "/gone"), "/b": page("/"), "/robots.txt": Reply("", 404)}) as site:
        yield site


@pytest.fixture
def job() -> str:
    """Return a name that no other test has."""
    return f"job-{uuid4().hex[:12]}"


def declare(folder: Path, job: str, url: str, cron: str = "0 2 * * *") -> None:
    """Write a gapless.toml with one job."""
    lines = (f"[jobs.{job}]", f'url = "{url}/"', f'cron = "{cron}"', 'time_zone = "Europe/Berlin"', "external = false")
    (folder / "gapless.toml").write_text("\n".join(lines))


async def held(gapless: Gapless, job: str) -> schedules.Scheduled | None:
    """Return the job's schedule as Temporal lists it."""
    found = [entry for entry in await schedules.listed(gapless.client) if entry.job == job]
    assert len(found) <= 1
    return found[0] if found else None


async def test_apply_creates_then_updates(
    command: Command, gapless: Gapless, site: Site, job: str, tmp_path: Path
) -> None:
    """Applying twice gives one schedule with what the file says last; one that is paused stays so, with its note."""
    declare(tmp_path, job, site.url)
    first = await command("schedules", "apply")
    assert (first.code, first.err) == (0, f"created {job}: {site.url}/ at '0 2 * * *' Europe/Berlin\n")
    handle = gapless.client.get_schedule_handle(schedules.PREFIX + job)
    await handle.pause(note="the site moves this week")
    declare(tmp_path, job, site.url, cron="30 4 * * mon-fri")
    second = await command("schedules", "apply")
    assert (second.code, second.err.split()[0]) == (0, "updated")
    description = await handle.describe()
    assert description.schedule.state.paused
    assert description.schedule.state.note == "the site moves this week"
    assert description.schedule.spec.time_zone_name == "Europe/Berlin"
    entry = await until(lambda: held(gapless, job))
    assert (entry.url, entry.paused) == (f"{site.url}/", True)
    listed = await command("schedules", "list")
    assert [job, f"{site.url}/", "paused"] in [line.split() for line in listed.out.splitlines()]
    with pytest.raises(ScheduleAlreadyRunningError):
        await gapless.client.create_schedule(schedules.PREFIX + job, description.schedule)


async def test_trigger_runs_the_audit(command: Command, gapless: Gapless, site: Site, job: str, tmp_path: Path) -> None:
    """A triggered job is run by a worker on the shared queues, found by its name; SIGTERM ends the worker with 0."""
    declare(tmp_path, job, site.url)
    assert (await command(module=STARTER)).code == 0
    triggered = await command("schedules", "trigger", job)
    assert (triggered.code, f"{job} is on its way" in triggered.err) == (0, True)
    worker = await command.start("worker")
    name = await until(lambda: _last_run(gapless, job))
    outcome = await (await gapless.run(name)).result()
    assert (outcome.pages, outcome.broken) == (2, 1)
    doctor = await command("doctor", "--json")
    assert {"name": "queue gapless-links", "ok": True, "found": "a worker polls"} in json.loads(doctor.out)
    worker.terminate()
    done = await command.finish(worker)
    events = [json.loads(line) for line in done.err.splitlines()]
    assert (done.code, done.out) == (0, "")
    assert [event["event"] for event in events] == ["worker.started", "worker.stopping", "worker.stopped"]
    await until(lambda: _named(gapless, name, job))
    assert (await command("schedules", "remove", job)).code == 0
    assert await held(gapless, job) is None
    gone = await command("schedules", "trigger", job)
    assert (gone.code, gone.err.count("\n")) == (1, 1)
    assert (await (await gapless.run(name)).status()).state == "succeeded"


async def _last_run(gapless: Gapless, job: str) -> str | None:
    entry = await held(gapless, job)
    return entry.last_run if entry else None


async def _named(gapless: Gapless, name: str, job: str) -> bool:
    return (name, job) in [(run.id, run.job) async for run in gapless.list(limit=1000)]


def _one_line(done: Done, code: int, word: str) -> None:
    assert (done.code, done.err.count("\n")) == (code, 1), done
    assert word in done.err


async def test_starter_exit_codes(command: Command, gapless: Gapless, site: Site, job: str, tmp_path: Path) -> None:
    """0 when all is applied; 2 when a job does not fit, and then nothing is changed; 1 when Temporal is away."""
    declare(tmp_path, job, site.url)
    good = (tmp_path / "gapless.toml").read_text()
    (tmp_path / "gapless.toml").write_text(f'{good}\n[jobs.later]\nurl = "{site.url}"\ncron = "0 24 * * *"')
    _one_line(await command(module=STARTER), 2, "jobs.later.cron: '24' is no hour (0 to 23)")
    assert await held(gapless, job) is None
    (tmp_path / "gapless.toml").write_text("")
    _one_line(await command(module=STARTER), 2, "[jobs.NAME]")
    (tmp_path / "gapless.toml").write_text(good)
    _one_line(await command(module=STARTER, TEMPORAL_ADDRESS="127.0.0.1:9"), 1, "127.0.0.1:9")
    assert (await command(module=STARTER)).code == 0
