"""The benchmark of billed creates, as `make bench` runs it, without the way that has to be installed first."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from conftest import environment
from gapless.config import Settings

BENCH = Path(__file__).parents[2] / "bench" / "billed_creates.py"


async def test_a_lost_answer_is_billed_once_by_gapless_only(tmp_path: Path) -> None:
    """What the table is made of: Gapless sends once and says so; the plain SDK's activity creates again and again."""
    chosen = ("--ways", "gapless", "sdk", "--faults", "none", "answer-lost", "--strikes", "always", "--seconds", "10")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, BENCH, *chosen, "--json"),
        cwd=tmp_path,
        env=environment(Settings.load(data_dir=tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    ending = asyncio.ensure_future(process.communicate())
    if not (await asyncio.wait({ending}, timeout=90))[0]:
        process.send_signal(signal.SIGINT)  # its Temporal server ends with it
    out, err = (part.decode() for part in await ending)
    assert process.returncode == 0, err
    cells = {(cell["fault"], cell["way"]): cell for cell in map(json.loads, out.splitlines())}
    for way in ("gapless", "sdk"):
        control = cells["none", way]
        assert (control["posts"], control["created"], control["end"]) == (1, 1, "result")
    ours, theirs = cells["answer-lost", "gapless"], cells["answer-lost", "sdk"]
    assert (ours["posts"], ours["created"], ours["end"], ours["cause"]) == (1, 1, "held", "named")
    assert not ours["resolved"]
    assert theirs["posts"] == theirs["created"] > 1
    assert theirs["end"] is None
