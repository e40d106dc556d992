"""The server process that is ours: detached, one per data folder.

The proof that it runs is a lock on its pid file, which the process inherits and keeps until it ends. So a stale or
reused pid, a zombie and a restart of the machine cannot be mistaken for a running server.
"""

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from temporalio.common import SearchAttributeKey

from gapless.config import Settings, child_environment
from gapless.contract import attributes
from gapless.devserver import locks
from gapless.devserver.server import Server
from gapless.errors import NotReachable

HOST = "127.0.0.1"
_DYNAMIC_CONFIG = (
    # as the SDK's own start_local sets it
    "frontend.enableServerVersionCheck=false",
    "frontend.enableUpdateWorkflowExecution=true",
    "frontend.enableUpdateWorkflowExecutionAsyncAccepted=true",
    # An activity comes with the answer to the task that asked for it; servers from 1.32 on do so by themselves.
    "system.enableActivityEagerExecution=true",
    # With several partitions, a task that waited for minutes may wait another until the right one is polled.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
)
# The shell makes the server a child of init, so that no zombie stays with us, and writes down its pid.
_DETACH = 'log=$1 pid=$2; shift 2; "$@" >>"$log" 2>&1 </dev/null & echo $! >"$pid"'
_POLL = 0.02
_PORTS = (16_000, 32_000)
PATIENCE = 15.0
"""How long the server may take to end by itself, in seconds; about two are usual."""
_RELEASE_SECONDS = 2.0
"""How long the ports of the last start are waited for: a killed server lets go of its lock before its ports."""


@dataclass(frozen=True)
class Ports:
    """The two ports a server listens on."""

    grpc: int
    ui: int


DEFAULT = Ports(grpc=7233, ui=8233)


@dataclass(frozen=True)
class Files:
    """The files of the server of one data folder."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> "Files":
        """Name the files; nothing is created."""
        return cls((settings.data_dir / "server").absolute())

    @property
    def lock(self) -> Path:
        """Held while somebody starts or stops the server."""
        return self.root / "lock"

    @property
    def pid(self) -> Path:
        """The pid; locked by the server as long as it lives."""
        return self.root / "pid"

    @property
    def state(self) -> Path:
        """The ports of the last start, as JSON."""
        return self.root / "state.json"

    @property
    def log(self) -> Path:
        """What the running server prints; the previous one's is beside it."""
        return self.root / "temporal.log"

    @property
    def database(self) -> Path:
        """The SQLite file with all runs."""
        return self.root / "temporal.db"

    def ports(self) -> Ports | None:
        """Read the ports of the last start; None when there was none."""
        try:
            return Ports(**json.loads(self.state.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def alive(self) -> bool:
        """Tell whether the server process exists."""
        if not self.pid.exists():
            return False
        descriptor = locks.take(self.pid, shared=True)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def log_tail(self, lines: int = 8) -> str:
        """Read the last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def describe(ports: Ports, origin: str) -> Server:
    """Describe a server of ours."""
    address, ui = f"{HOST}:{ports.grpc}", f"http://{HOST}:{ports.ui}"
    return Server(address=address, namespace="default", ui=ui, origin=origin, ours=True)


def status(settings: Settings) -> Server | None:
    """Look for our running server; a matter of a millisecond.

    Returns:
        The server, or None when it is not up.
    """
    files = Files.of(settings)
    ports = files.ports()
    if ports is None or not files.alive() or not _accepts(ports.grpc):
        return None
    return describe(ports, "already up")


def spawn(files: Files, program: Path, *, elsewhere: bool = False) -> Ports:
    """Start the server on the ports it had, else the usual ones, else free ones; do not wait for it.

    The caller holds `files.lock` and knows that no server is alive.

    Args:
        files: where it keeps what it needs.
        program: the `temporal` binary.
        elsewhere: take other ports in any case.
    """
    ports = _choose() if elsewhere else _choose(_released(files.ports()) or DEFAULT, DEFAULT)
    with _claim(files.pid) as descriptor:
        os.ftruncate(descriptor, 0)
        files.state.write_text(json.dumps(asdict(ports)))
        if files.log.exists():
            files.log.replace(files.log.with_suffix(".log.1"))
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, "sh", files.log, files.pid, *_command(files, program, ports)],
            check=True,
            cwd=files.root,
            env=child_environment(),
            pass_fds=(descriptor,),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return ports


def stop(settings: Settings) -> bool:
    """End our server and wait until it has ended; its database stays.

    Returns:
        Whether there was one.

    Raises:
        NotReachable: it did not even end on SIGKILL.
    """
    files = Files.of(settings)
    if not files.alive():
        return False
    with _claim(files.lock):
        for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 5.0)):
            if not _wait(lambda: not files.alive() or _pid(files) is not None, 1.0):
                break
            with suppress(ProcessLookupError):
                if files.alive() and (pid := _pid(files)):
                    os.killpg(os.getpgid(pid), number)  # the group: `temporal` may be a wrapper around the real one
            if _wait(lambda: not files.alive(), patience):
                return True
    raise NotReachable(f"the Temporal server cannot be ended; its pid is in {files.pid}, its log in {files.log}")


def _command(files: Files, program: Path, ports: Ports) -> list[str]:
    command = [str(program.absolute()), "server", "start-dev", "--ip", HOST]
    command += ["--port", str(ports.grpc), "--ui-port", str(ports.ui), "--db-filename", str(files.database)]
    command += ["--sqlite-pragma", "journal_mode=WAL"]  # a commit is one write that is waited for, not four
    command += ["--log-format", "json", "--log-level", "warn"]
    for value in _DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", value]
    for key in attributes.ALL:
        command += ["--search-attribute", f"{key.name}={type_name(key)}"]
    return command


def type_name(key: SearchAttributeKey[Any]) -> str:
    """Name the type of a search attribute as the CLI does, as in `KeywordList`."""
    return "".join(word.title() for word in key.indexed_value_type.name.split("_"))


def _pid(files: Files) -> int | None:
    try:
        return int(files.pid.read_text())
    except (OSError, ValueError):
        return None


@contextmanager
def _claim(path: Path) -> Iterator[int]:
    """Hold a lock that others hold for moments only."""
    while (descriptor := locks.take(path)) is None:
        time.sleep(_POLL)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _choose(*wanted: Ports) -> Ports:
    grpc = next((p.grpc for p in wanted if _free(p.grpc)), None) or _any_port()
    ui = next((p.ui for p in wanted if p.ui != grpc and _free(p.ui)), None) or _any_port()
    return Ports(grpc=grpc, ui=ui) if grpc != ui else _choose(*wanted)


def _released(ports: Ports | None) -> Ports | None:
    """Return the ports of the last start, after a moment for a server that was killed to let go of them."""
    end = time.monotonic() + _RELEASE_SECONDS
    while ports is not None and not (_free(ports.grpc) and _free(ports.ui)) and time.monotonic() < end:
        time.sleep(_POLL)
    return ports


def _free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just been closed is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_port() -> int:
    """Return a free port from below those that systems give to outgoing connections.

    Among those, a client that tries to reconnect to a stopped server could take the server's port itself.
    """
    while True:
        if _free(port := random.randrange(*_PORTS)):
            return port


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _wait(met: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not (done := met()) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return done
