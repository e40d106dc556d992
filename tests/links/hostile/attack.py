"""Runs the real auditor in processes of its own against a hostile site, and measures what that costs it."""

import asyncio
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Self

from gapless.links import Crawl, Scope
from gapless.links.engine import crawl_apart
from gapless.links.report.document import report_json
from unit.links.httpsite import Route, Serve, Site, page

MAX_PEAK = 200_000_000
"""Bytes of memory that all processes of an audit may have at once, whatever the site sends."""
SAMPLE = 0.025
GOOD = {
    f"/good/{number}": page("/fine", f"/missing/{number}", f"/fine#no-{number}") + "<p>more</p>" * 40
    for number in range(8)
} | {"/fine": "<!doctype html><title>t</title><p id=here>fine"}
GOOD_FINDINGS = {
    (f"/good/{number}", target, reason)
    for number in range(8)
    for target, reason in (
        (f"/missing/{number}", "broken:http_404"),
        (f"/fine#no-{number}", "broken:missing_fragment"),
    )
}


@dataclass(frozen=True)
class Run:
    """What an audit came to, and what it cost.

    Attributes:
        document: the report as JSON.
        peak: bytes of proportional set size, of all its processes at once.
        seconds: from start to end.
        computed: seconds of processors, of all its processes; measured for a command line.
    """

    document: dict[str, Any]
    peak: int
    seconds: float
    computed: float = 0.0

    @property
    def verdicts(self) -> set[tuple[str, str, str]]:
        """Page, target and result with reason of all that is not ok, addresses of the site as paths."""
        site = self.document["site"]
        return {
            (each["page"].removeprefix(site), each["target"].removeprefix(site), f"{each['result']}:{each['reason']}")
            for each in self.document["findings"]
        }

    @property
    def hostile(self) -> dict[str, str]:
        """The verdicts by target, those on good pages left out."""
        return {target: why for page, target, why in self.verdicts if not page.startswith("/good/")}

    @property
    def good(self) -> set[tuple[str, str, str]]:
        """The verdicts on good pages."""
        return {verdict for verdict in self.verdicts if verdict[0].startswith("/good/")}


async def command_line(url: str, *options: str) -> Run:
    """Audit with `python -m gapless.links URL --json`."""
    begin, computed = monotonic(), _computed()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gapless.links", url, "--json", *options),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    try:
        async with Memory(lambda: [process.pid]) as memory:
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:  # its time is over
            process.kill()
            await process.wait()
    return Run(json.loads(out), memory.peak, monotonic() - begin, _computed() - computed)


async def engine(scope: Scope, credentials: Mapping[str, tuple[str, ...]] | None = None) -> Run:
    """Audit as a worker does it."""
    begin, before = monotonic(), set(_children(os.getpid()))
    async with Memory(lambda: set(_children(os.getpid())) - before) as memory:
        data = await crawl_apart(scope, credentials=credentials)
    seconds = monotonic() - begin
    assert data is not None
    return Run(report_json(Crawl.from_bytes(data)), memory.peak, seconds)


class Memory:
    """Samples the memory of process trees until it is left."""

    def __init__(self, roots: Callable[[], Iterable[int]]) -> None:
        self._roots = roots
        self.peak = 0

    async def __aenter__(self) -> Self:
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._sampling.cancel()

    async def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, await asyncio.to_thread(lambda: sum(map(_tree_pss, self._roots()))))
            await asyncio.sleep(SAMPLE)


def _computed() -> float:
    """Return the processor time of what this process has started, and what that has, once it was waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree_pss(pid: int) -> int:
    return _pss(pid) + sum(map(_tree_pss, _children(pid)))


def _pss(pid: int) -> int:
    """Return a process's share of the memory that it uses, in bytes."""
    with suppress(OSError):  # it has gone
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


class Attack:
    """Serves hostile pages among good ones, audits them, and expects what any audit owes its user."""

    site: Site

    def __init__(self, serve: Serve, record: Callable[[str, object], None]) -> None:
        self._serve = serve
        self._record = record

    async def __call__(
        self,
        routes: Mapping[str, Route],
        expected: Mapping[str, str | set[str]],
        *,
        links: Iterable[str] | None = None,
        ignoring: Callable[[str], bool] = lambda target: False,
        limit: float = 12.0,
        computing: float | None = None,
        timeout: float | None = None,
        connections: int = 8,
        allow: Iterable[str] = (),
    ) -> Run:
        """Audit a site whose start page links to the hostile routes and to eight good pages.

        Args:
            routes: hostile answers by path.
            expected: result and reason of each target that is not ok, those on good pages left out; several where it
                depends on how fast the machine is, "ok" among them.
            links: hostile links of the start page; all routes when None.
            ignoring: says of a target whether it may come to anything.
            limit: seconds that the audit may take.
            computing: seconds of processors that it may take, where it hardly does anything else: others on the
                machine do not count there, and `limit` is for an audit that hangs.
            timeout: of one request, in seconds; when None, that of the command line.
            connections: to the site, at the same time.
            allow: hosts and ports that may be visited although they are private.
        """
        hostile = [path for path in routes if path.startswith("/")] if links is None else list(links)
        start = page(*hostile, *GOOD)
        self.site = await self._serve({"/robots.txt": "", "/sitemap.xml": "", "/": start} | GOOD | dict(routes))
        options = ["--connections", str(connections)]
        options += [] if timeout is None else ["--timeout", str(timeout)]
        options += [option for host in allow for option in ("--allow", host)]
        run = await command_line(self.site.url + "/", *options)
        self.record(run)
        assert run.good == GOOD_FINDINGS
        either = {target: whys for target, whys in expected.items() if isinstance(whys, set)}
        assert all(run.hostile.get(target, "ok") in whys for target, whys in either.items()), run.verdicts
        found = {target: why for target, why in run.hostile.items() if target not in either and not ignoring(target)}
        assert found == {target: why for target, why in expected.items() if target not in either}, run.verdicts
        self.check(run, limit, computing)
        return run

    def record(self, run: Run) -> None:
        """Write down what the table in docs/link-safety.md shows."""
        self._record("peak_mb", round(run.peak / 1e6))
        self._record("seconds", round(run.seconds, 1))
        self._record("verdicts", ", ".join(sorted(set(run.hostile.values()))) or "ok")

    @staticmethod
    def check(run: Run, limit: float, computing: float | None = None) -> None:
        """Expect bounded memory and time."""
        assert run.peak <= MAX_PEAK, f"{run.peak / 1e6:.0f} MB"
        assert run.seconds <= limit
        assert computing is None or 0 < run.computed <= computing
