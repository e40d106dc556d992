"""`gapless audit`, the same audit as a durable run on a local Temporal server that is already up."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import cpu_seconds

GAPLESS = (sys.executable, "-m", "gapless_cli")


class Server:
    """A Temporal server with a data folder of its own."""

    def __init__(self, data: Path, pid: int) -> None:
        self._data = data
        self._pid = pid

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used so far, in user and kernel."""
        return cpu_seconds(self._pid)

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find it; whatever else would name a server, a provider or a key is left out."""
        return _environment(self._data)


@contextmanager
def running() -> Iterator[Server]:
    """Run a server until the context ends; its data are removed."""
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        data = Path(folder)
        command = (*GAPLESS, "server", "start", "--json")
        answer = subprocess.run(command, check=True, env=_environment(data), stdout=subprocess.PIPE)
        try:
            yield Server(data, _pid(json.loads(answer.stdout)["database"]))
        finally:
            stop = (*GAPLESS, "server", "stop")
            subprocess.run(stop, check=True, env=_environment(data), stdout=subprocess.DEVNULL)


def _pid(database: str) -> int:
    """Return the process that has this database among its arguments."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if database.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                return int(process.name)
    raise SystemExit("the Temporal server has ended")


def _environment(data: Path) -> dict[str, str]:
    foreign = ("TEMPORAL_", "GEMINI_", "GOOGLE_", "GAPLESS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"GAPLESS_DATA_DIR": str(data)}
