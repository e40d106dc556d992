"""The starter: makes Temporal's schedules what `gapless.toml` says. `python -m gapless_workers.starter`."""

import sys
from collections.abc import Callable

from gapless import schedules
from gapless.client import Gapless
from gapless.config import TOML, Settings
from gapless.errors import ConfigurationError, GaplessError
from gapless_workers.main import run_main


async def apply_all(gapless: Gapless, say: Callable[[str], None]) -> int:
    """Create or update the schedule of every declared job; returns how many there are.

    Raises:
        ConfigurationError: there are no jobs, or one does not fit; then nothing was changed.
    """
    jobs = schedules.read_jobs(gapless.settings.jobs)
    if not jobs:
        raise ConfigurationError(f"no jobs: {TOML} in this folder has no [jobs.NAME] table")
    for name, job in jobs.items():
        say(f"{await schedules.apply(gapless.client, name, job)} {name}: {job.url} at {job.cron!r} {job.time_zone}")
    return len(jobs)


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - a program's own words


async def _main() -> int:
    try:
        await apply_all(await Gapless.connect(Settings.load(), say=_say), _say)
    except GaplessError as error:
        _say(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    run_main(_main())
