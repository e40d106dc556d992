"""The main job, as `make demo` runs it."""

import asyncio
import sys
from pathlib import Path

import pytest

from conftest import environment
from gapless import devserver
from gapless.config import Settings


@pytest.mark.timeout(300)
async def test_the_demo_ends_as_it_must(server: devserver.Server, data_dir: Path, tmp_path: Path) -> None:
    """A real site, an agent that lies, a worker killed with SIGKILL: counts, verdict and exit code are right."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gapless_cli.demo"),
        cwd=tmp_path,
        env=environment(Settings.load(data_dir=data_dir)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = (part.decode() for part in await process.communicate())
    assert process.returncode == 0, err
    assert "Total broken: 115 across 225 pages crawled." in out
    assert "killed with SIGKILL" in err
    assert "112 confirmed, 2 false alarms, 3 missed: precision 0.98, recall 0.97" in err
    assert "1 interaction, 0.00 billed" in err
    assert (tmp_path / "gapless-report" / "report.json").stat().st_size > 100_000
