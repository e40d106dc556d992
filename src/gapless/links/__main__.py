"""`python -m gapless.links URL`: an audit without Temporal."""

import argparse
import asyncio
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Self

from gapless.links import segments
from gapless.links.client import USER_AGENT
from gapless.links.crawl import crawl
from gapless.links.credentials import VARIABLE, credentials
from gapless.links.engine import processes, quieten, read_previous
from gapless.links.pool import Pool
from gapless.links.result import Crawl
from gapless.links.scope import Scope

CLEAN, BROKEN, USAGE, INCOMPLETE = range(4)


class State:
    """A folder with the last crawl of a scope, its report, and the progress of one that was interrupted.

    Attributes:
        last: the last crawl, once it was read.
    """

    def __init__(self, folder: Path, scope: Scope) -> None:
        key = hashlib.sha256(json.dumps(asdict(scope), sort_keys=True).encode()).hexdigest()[:16]
        self._crawl, self._report, self._progress = (folder / f"{key}.{end}" for end in ("crawl", "report", "progress"))
        self.last: Crawl | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> Crawl | None:
        """Read the last crawl."""
        self.last = read_previous(self._crawl.read_bytes() if self._crawl.exists() else b"")
        return self.last

    def segments(self) -> list[bytes]:
        """Return what an interrupted audit sealed; a segment that was cut off is left out."""
        data = self._progress.read_bytes() if self._progress.exists() else b""
        found, at = [], 0
        while at + 8 <= len(data) and (end := at + 8 + int.from_bytes(data[at : at + 8], "big")) <= len(data):
            found.append(data[at + 8 : end])
            at = end
        if at < len(data):
            self._progress.write_bytes(data[:at])
        return found

    async def seal(self, segment: bytes) -> None:
        """Append a segment."""
        with self._progress.open("ab") as file:
            file.write(len(segment).to_bytes(8, "big") + segment)

    def report(self, done: Crawl) -> "Report":
        """Return a crawl's report: that of the last crawl when this one saw the same, else a new one, which is kept."""
        same = done == self.last
        if same and (kept := self._kept()) is not None:
            report = kept
        else:
            report = Report.of(done)
            self._report.unlink(missing_ok=True)  # it must not outlive its crawl
            if not same:
                self._write(self._crawl, done.to_bytes())
            self._write(self._report, "\n".join((_VERSION, str(report.broken), report.text)).encode())
        self._progress.unlink(missing_ok=True)
        return report

    def _kept(self) -> "Report | None":
        if not self._report.exists():
            return None
        version, broken, text = self._report.read_text("utf-8").split("\n", 2)
        return Report(text, broken=broken == str(True)) if version == _VERSION else None

    @staticmethod
    def _write(file: Path, data: bytes) -> None:
        new = file.with_name(file.name + ".new")
        new.write_bytes(data)
        new.replace(file)


_VERSION = f"{USER_AGENT} {segments.VERSION}"
"""Of what a crawl is taken for; what another version made of the same crawl is no report of this one."""


class Report(NamedTuple):
    """A report as JSON, and whether anything is broken."""

    text: str
    broken: bool

    @classmethod
    def of(cls, done: Crawl) -> Self:
        """Work out what is wrong on the site, and write it."""
        from gapless.links.report.document import report_json

        # At once: the encoder that writes bit by bit is the slow one.
        text = json.dumps(report_json(done), ensure_ascii=False, sort_keys=True) + "\n"
        return cls(text, broken=bool(done.broken()))


def main() -> int:
    """Audit a site, and print the report."""
    options = _options()
    try:
        scope = Scope(
            options.url,
            max_pages=options.max_pages,
            external=options.external,
            robots=options.robots,
            connections=options.connections,
            prefix=options.prefix,
            include=tuple(options.include),
            exclude=tuple(options.exclude),
            public=options.public,
            contacts=options.contacts,
            timeout=options.timeout,
            allow=tuple(options.allow),
        )
        headers = credentials(os.environ.get(VARIABLE, ""))  # noqa: TID251 (it needs nothing else of Gapless)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    quieten()
    state = State(options.state, scope) if options.state else None
    pool = Pool(scope, processes=options.processes, credentials=headers)
    try:
        done = asyncio.run(_crawl(scope, pool, state))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; with --state the same command goes on where it was.\n")
        return INCOMPLETE
    finally:
        pool.close()
    report = state.report(done) if state else Report.of(done)
    sys.stdout.write(report.text if options.json else _markdown(done))
    if report.broken:
        return BROKEN
    return CLEAN if done.complete else INCOMPLETE


async def _crawl(scope: Scope, pool: Pool, state: State | None) -> Crawl:
    async with pool:
        if state is None:
            return await crawl(scope, pool=pool)
        return await crawl(scope, pool=pool, resume=state.segments(), previous=state.read(), seal=state.seal)


def _markdown(done: Crawl) -> str:
    from gapless.links.report.markdown import report_markdown

    return report_markdown(done)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gapless.links",
        description="Find broken links on a site. Exit codes: 0 clean, 1 broken links, 2 usage, 3 incomplete.",
    )
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="go on there, and read only what has changed")
    parser.add_argument("--max-pages", type=int, default=10_000, metavar="N")
    parser.add_argument("--connections", type=int, default=8, metavar="N", help="to the site, at the same time")
    parser.add_argument("--processes", type=int, default=processes(), metavar="N", help="that fetch and parse")
    parser.add_argument("--prefix", default="/", metavar="PATH", help="pages under it are crawled, others checked")
    parser.add_argument("--include", action="append", default=[], metavar="REGEX", help="check only such targets")
    parser.add_argument("--exclude", action="append", default=[], metavar="REGEX", help="leave such targets alone")
    parser.add_argument("--as", dest="public", default="", metavar="URL", help="links to this address mean the site")
    parser.add_argument("--contacts", action="store_true", help="check the syntax of mailto and tel links")
    parser.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS", help="for one request in total")
    parser.add_argument("--allow", action="append", default=[], metavar="HOST:PORT", help="visit it although private")
    parser.add_argument("--no-external", dest="external", action="store_false", help="leave other hosts alone")
    parser.add_argument("--no-robots", dest="robots", action="store_false", help="ignore robots.txt")
    return parser.parse_args()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # nobody has a use for the crawl, and to take it apart costs as much as to read it back
