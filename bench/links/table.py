"""What was measured, as a table and as JSON."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from links.run import FOREIGN, Run, Typical
from links.tools import DURABLE

PEER = "lychee"
_HEAD = (
    f"{'tool':<12}{'wall s':>8}{'':>7}{'CPU s':>8}{'':>7}{'MB':>6}{'':>7}{'requests':>10}"
    f" | {'pairs':>6}{'missing':>8}{'extra':>6} | {'targets':>7}{'missing':>8}{'extra':>6}"
)


def lines(rows: Sequence[Typical]) -> Iterator[str]:
    """Yield the lines of the table, a block for each site and scheme."""
    for tool, runs_on in {row.case.tool.name: row.case.tool.runs_on for row in rows}.items():
        yield f"{tool:<12}{runs_on}"
    order = sorted(rows, key=lambda row: row.case.site.base)
    for _, block in groupby(order, key=lambda row: row.case.site.base):
        yield from _block(list(block))
    yield ""
    yield from _comparisons(rows)
    yield f"x  of {PEER}'s on the same site   * others had more than {FOREIGN:.0%} of the machine in one of its runs"
    yield "MB  peak of the process tree's memory, what is shared counted once   requests  by nginx's own count"


def _block(rows: list[Typical]) -> Iterator[str]:
    site = rows[0].case.site
    pairs = site.pairs()
    counts = f"{site.page_count:,} pages, {len(pairs):,} broken links to {len({t for _, t in pairs}):,} targets"
    runs = sorted({row.runs for row in rows})
    yield ""
    yield f"{site.profile.name} over {rows[0].case.scheme}: {counts}; median of {' or '.join(map(str, runs))}"
    yield _HEAD
    peer = next((row for row in rows if row.case.tool.name == PEER), None)
    yield from (_line(row, peer) for row in rows)


def _line(row: Typical, peer: Typical | None) -> str:
    name = row.case.tool.name + ("*" if row.spoilt else "")
    if row.score is None:
        return f"{name:<12}{row.failure}"

    def times(ours: float, theirs: float | None) -> str:
        return f" x{ours / theirs:.2f}" if theirs else ""

    other = peer if peer is not None and peer.score is not None else None
    score = row.score
    return (
        f"{name:<12}{row.wall:>8.2f}{times(row.wall, other.wall if other else None):>7}"
        f"{row.cpu:>8.2f}{times(row.cpu, other.cpu if other else None):>7}"
        f"{row.peak_pss / 1e6:>6.0f}{times(row.peak_pss, other.peak_pss if other else None):>7}{row.requests:>10,.0f}"
        f" | {score.pairs_found:>6}{score.pairs_missing:>8}{score.pairs_extra:>6}"
        f" | {score.targets_found:>7}{score.targets_missing:>8}{score.targets_extra:>6}"
    )


def _comparisons(rows: Sequence[Typical]) -> Iterator[str]:
    """Yield what ten times the pages cost, and what Temporal adds."""
    found = {(row.case.site.profile.name, row.case.scheme, row.case.tool.name): row for row in rows if row.score}
    small, large = (found.get((name, "http", "ours")) for name in ("l10000", "l100000"))
    if small and large:
        yield (
            f"ours on l100000: {large.wall / small.wall:.1f} times the time, {large.cpu / small.cpu:.1f} times the CPU "
            f"and {large.peak_pss / small.peak_pss:.1f} times the memory of l10000"
        )
    for (site, scheme, tool), row in found.items():
        bare = found.get((site, scheme, "ours"))
        if tool == DURABLE and bare:
            added = row.wall - bare.wall
            yield f"through Temporal on {site}: {added:+.2f} s, {added / bare.wall:+.0%} of the bare audit's time"


def document(runs: Sequence[Run], rows: Sequence[Typical]) -> dict[str, Any]:
    """Return everything that was measured, as values for JSON."""
    return {
        "machine": machine(),
        "tools": {run.case.tool.name: run.case.tool.runs_on for run in runs},
        "typical": [
            _case(row)
            | {"wall": row.wall, "cpu": row.cpu, "peak_pss": row.peak_pss, "requests": row.requests}
            | {"runs": row.runs, "spoilt": row.spoilt}
            | _values(row)
            for row in rows
        ],
        "runs": [
            _case(run) | run.usage._asdict() | _values(run) | {"requests": run.requests, "spoilt": run.spoilt}
            for run in runs
        ],
    }


def machine() -> dict[str, Any]:
    """Return what it was measured on."""
    models = (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    cpu = next(models, platform.machine()).rpartition(":")[2].strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}


def _case(row: Run | Typical) -> dict[str, Any]:
    return {"site": row.case.site.profile.name, "scheme": row.case.scheme, "tool": row.case.tool.name}


def _values(row: Run | Typical) -> dict[str, Any]:
    return {"score": asdict(row.score) if row.score else None, "failure": row.failure}
