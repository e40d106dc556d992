"""The starter: makes Temporal's schedules what `gapless.toml` says. `python -m gapless_workers.starter`."""

import sys
from collections.abc import Callable

from temporalio.service import RPCError

from gapless import schedules
from gapless.client import Gapless
from gapless.config import TOML, Settings
from gapless.errors import ConfigurationError, GaplessError
from gapless.telemetry import configure_logging, forward_core_logs
from gapless.text import printable
from gapless_workers.main import run_main


def declared(settings: Settings) -> dict[str, schedules.Job]:
    """Return the jobs of `gapless.toml`.

    Raises:
        ConfigurationError: there are none, or one does not fit.
    """
    jobs = schedules.read_jobs(settings.jobs, settings.links)
    if not jobs:
        raise ConfigurationError(f"no jobs: {TOML} in this folder has no [jobs.NAME] table")
    return jobs


async def apply_all(gapless: Gapless, jobs: dict[str, schedules.Job], say: Callable[[str], None]) -> None:
    """Create or update the schedule of every job."""
    for name, job in jobs.items():
        say(f"{await schedules.apply(gapless.client, name, job)} {name}: {job.url} at {job.cron!r} {job.time_zone}")


def _say(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")


async def _main() -> int:
    """Apply; the exit code is 0, 2 when settings or jobs do not fit, 1 when anything else failed."""
    try:
        settings = Settings.load()
        configure_logging(settings.log_level)
        forward_core_logs()
        jobs = declared(settings)
        await apply_all(await Gapless.connect(settings, say=_say), jobs, _say)
    except ConfigurationError as error:
        _say(f"error: {error}")
        return 2
    except (GaplessError, RPCError) as error:
        _say(f"error: {error}; schedules that were applied are kept, run it again")
        return 1
    return 0


if __name__ == "__main__":
    run_main(_main())
