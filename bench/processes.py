"""Processes of their own for what is measured, and what they cost."""

import asyncio
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Return the memory of a process that is in RAM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@asynccontextmanager
async def python(code: str, *arguments: str, **environment: str) -> AsyncIterator[tuple[int, str]]:
    """Run code in a process of its own; yield its pid and the first line that it prints when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, env={**_inherited(), **environment}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        ready = (await process.stdout.readline()).decode().strip()
        if not ready:
            raise SystemExit("a process of the benchmark ended before it was ready; see above")
        yield process.pid, ready
    finally:
        process.terminate()
        await process.wait()


def _inherited() -> Mapping[str, str]:
    names = ("TEMPORAL_", "GAPLESS_", "GEMINI_", "GOOGLE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(names)}


EMULATOR = """
import sys
from gapless.testing.emulator.server import run
run(port=0, run_seconds=float(sys.argv[1]), started=lambda url: print(url, flush=True))
"""
"""The local Interactions API; its argument is for how many seconds an interaction runs."""


def read(url: str) -> Any:
    """GET JSON or text."""
    with urllib.request.urlopen(url) as answer:
        body = answer.read().decode()
    import json

    return json.loads(body) if "json" in answer.headers.get("content-type", "") else body
