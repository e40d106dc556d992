"""Processes as the kernel knows them."""

from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return the processes below this one, each before its own."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        parent = _parent(status)
        if parent == pid:
            child = int(status.parent.name)
            found += [child, *descendants(child)]
    return found


def _parent(status: Path) -> int | None:
    try:
        return int(status.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):  # it has gone
        return None


def lives(pid: int) -> bool:
    """Say whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
