"""Later looks from the command line: they are started, shown, and decide the exit code where they are asked to."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from conftest import until
from e2e.command import Command
from gapless.links.urls import authority
from unit.links.httpsite import Reply, Site, page

ASKED = 3
"""Requests for what does not work, each time that it is looked at."""


@pytest.fixture
async def other() -> AsyncIterator[Site]:
    """Serve another host, on which one thing does not work yet."""
    async with Site({"/late": Reply("", 500)}) as site:
        yield site


@pytest.fixture
async def site(other: Site) -> AsyncIterator[Site]:
    """Serve a site whose only broken link leads there."""
    async with Site({"/": page(f"{other.url}/late"), "/robots.txt": Reply("", 404)}) as site:
        yield site


def _audit(site: Site, other: Site, name: str, *more: str) -> list[str]:
    looks = ("--recheck-after", "3s", "--recheck-after", "2s")
    return ["audit", site.url, "--id", name, "--allow", authority(other.url + "/"), *looks, *more]


async def test_the_revision_decides(command: Command, site: Site, other: Site) -> None:
    """The command waits for the later looks; what has recovered by then does not count."""
    name = f"audit-{uuid4().hex[:8]}"
    process = await command.start(*_audit(site, other, name, "--fail-on", "revision"))
    other.routes = {"/late": lambda request: Reply("", 500) if request.number <= ASKED else Reply(page())}
    done = await command.finish(process)
    assert (done.code, "Total broken: 0" in done.out) == (0, True), done.err
    assert f"revision-{name}: 1 recovered, 0 still broken" in done.err
    shown = await command("show", f"revision-{name}")
    assert "1 recovered on other hosts, 0 still broken" in shown.out
    assert "Total broken: 0" in shown.out
    assert f"revision-{name}" in (await command("show", name)).out


async def test_the_report_decides(command: Command, site: Site, other: Site) -> None:
    """Without being asked to wait, the command ends with the report, and says how the later looks go on."""
    name = f"audit-{uuid4().hex[:8]}"
    done = await command(*_audit(site, other, name))
    assert (done.code, "Total broken: 1" in done.out) == (1, True)
    assert f"gapless show revision-{name}; gapless worker --queue {name} serves it" in done.err
    waiting = await command("show", f"revision-{name}")
    assert "running" in waiting.out
    worker = await command.start("worker", "--queue", name)
    await until(lambda: other.requests["/late"] == 3 * ASKED)
    await until(lambda: _says(command, f"revision-{name}", "0 recovered on other hosts, 1 still broken"))
    await command.interrupt(worker)


async def _says(command: Command, id_: str, text: str) -> bool:
    await asyncio.sleep(0.5)
    return text in (await command("show", id_)).out


async def test_there_must_be_something_to_wait_for(command: Command, site: Site) -> None:
    """A revision cannot decide where none is asked for, and a time span is written as one."""
    for arguments, word in ((("--fail-on", "revision"), "--recheck-after"), (("--recheck-after", "6"), "6h")):
        done = await command("audit", site.url, *arguments)
        assert done.code == 2
        assert word in done.err
    assert site.requests.total() == 0
