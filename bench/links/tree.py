"""A process with all that descend from it."""

import os
from pathlib import Path


class Tree:
    """A process and its descendants; those once seen stay in it when their parent ends.

    Reading each parent once keeps a look at it below a millisecond: a process that is looked at must not be slowed.
    """

    def __init__(self, root: int) -> None:
        self._members = {root}
        self._others: set[int] = set()

    def pids(self) -> set[int]:
        """Return who is alive."""
        names = (entry.name for entry in os.scandir("/proc"))
        alive = {int(name) for name in names if name.isdigit()}
        self._others &= alive
        for pid in sorted(alive - self._members - self._others):  # a parent mostly has the smaller number
            (self._members if _parent(pid) in self._members else self._others).add(pid)
        self._members &= alive
        return set(self._members)

    def pss(self) -> int:
        """Return the memory in bytes that they have in RAM; what they share counts once."""
        return sum(map(_pss, self.pids()))


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _pss(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)
