"""What one run of a program costs, with all processes that it starts."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from links.tree import Tree

LOOK_EVERY = 0.05
QUIET_FOR = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")


class Command(NamedTuple):
    """A program to run, its whole environment, and its working directory."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str]
    folder: Path


class Usage(NamedTuple):
    """What a run cost.

    Attributes:
        wall: seconds from before the start of the process to its end.
        cpu: seconds in user and kernel of the process and of all descendants that were waited for.
        peak_pss: highest sum of their memory in RAM in bytes, shared memory counted once, at a look every 50 ms.
        foreign: share of the machine's CPU time that went to others, 0 to 1.
        exit_code: None when the run was stopped at its time limit; minus the signal for one that was killed.
    """

    wall: float
    cpu: float
    peak_pss: int
    foreign: float
    exit_code: int | None


def run(command: Command, output: Path, errors: Path, limit: float, beside: Callable[[], float]) -> Usage:
    """Run a program to its end.

    Args:
        command: what to run, with no standard input.
        output: file for its standard output.
        errors: file for its standard error.
        limit: seconds after which it is killed.
        beside: CPU seconds so far of processes that work for the run without being part of it.
    """
    busy, others = _busy_seconds(), beside()
    start = time.perf_counter()
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command.arguments,
            env=command.environment,
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    tree = Tree(process.pid)
    try:
        peak, ended = _watch(process.pid, tree, start + limit)
        wall = time.perf_counter() - start
    finally:
        _kill(tree)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # wait4 took it; Popen need not look for it
    cpu = used.ru_utime + used.ru_stime
    spent = _busy_seconds() - busy - cpu - (beside() - others)
    return Usage(
        wall=wall,
        cpu=cpu,
        peak_pss=peak,
        foreign=max(spent / (wall * (os.cpu_count() or 1)), 0.0),
        exit_code=process.returncode if ended else None,
    )


def wait_until_quiet(share: float, patience: float) -> None:
    """Return when less than this share of the machine's CPU time is used, or after so many seconds."""
    over = time.perf_counter() + patience
    while time.perf_counter() < over:
        busy, start = _busy_seconds(), time.perf_counter()
        time.sleep(QUIET_FOR)
        if _busy_seconds() - busy < share * (time.perf_counter() - start) * (os.cpu_count() or 1):
            return


def _watch(pid: int, tree: Tree, until: float) -> tuple[int, bool]:
    """Return the peak of the memory, and whether the process ended in time; the end is seen at once."""
    peak, descriptor = 0, os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while time.perf_counter() < until:
            if poll.poll(LOOK_EVERY * 1000):
                return peak, True
            peak = max(peak, tree.pss())
        return peak, False
    finally:
        os.close(descriptor)


def _kill(tree: Tree) -> None:
    """End what is left; a process that has ended and was not waited for yet does not mind."""
    for pid in tree.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _busy_seconds() -> float:
    """Return the CPU time of the whole machine so far, what the hypervisor took away included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = fields[3:5]
    return (sum(fields) - idle - waiting) / _TICKS
