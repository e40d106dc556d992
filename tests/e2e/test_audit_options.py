"""What `gapless audit` and the schedules take from gapless.toml, and advice as a person asks for it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conftest import MODEL
from e2e.command import Command
from gapless.testing.emulator import Emulator
from unit.links.httpsite import Reply, Route, Site, page

FILE = """
[links]
nights = 1
exclude = ["/draft/"]
max_pages = 3
external = false

[jobs.nightly]
url = "{url}/"
cron = "0 2 * * *"
max_pages = 2
"""


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Serve four pages; one broken link stands among drafts, another leads to what has moved."""
    routes: dict[str, Route] = {
        "/": page("/a", "/b", "/new/guide", "/draft/x"),
        "/a": page("/old/guide"),
        "/b": page("/"),
        "/new/guide": page("/"),
        "/robots.txt": Reply("", 404),
    }
    async with Site(routes) as site:
        yield site


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    """Start an emulator that answers soon."""
    async with Emulator(run_seconds=0.1, state=tmp_path / "emulator.sqlite") as emulator:
        yield emulator


async def test_the_file_says_how_to_crawl_and_flags_go_before_it(command: Command, site: Site, tmp_path: Path) -> None:
    """Options of the table hold for an audit, one by one, unless a flag says otherwise."""
    (tmp_path / "gapless.toml").write_text(FILE.format(url=site.url))
    done = await command("audit", site.url, "--json")
    assert done.code == 3, done.err
    assert "exclude, external, max_pages as in gapless.toml" in done.err
    report = json.loads(done.out)
    assert report["incomplete_reason"].startswith("stopped at 3 pages; ")
    assert site.requests["/draft/x"] == 0
    done = await command("audit", site.url, "--json", "--max-pages", "10", "--exclude", "/old/")
    assert "external as in gapless.toml" in done.err
    report = json.loads(done.out)
    assert (done.code, report["complete"]) == (1, True)
    assert {found["target"] for found in report["findings"]} == {f"{site.url}/draft/x"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_page = 3", "links.max_page is not a setting; did you mean max_pages? (known: allow, baseline, "),
        ("connections = 0", "links.connections: Input should be greater than or equal to 1"),
    ],
)
async def test_a_wrong_line_is_an_error_at_once(
    command: Command, site: Site, tmp_path: Path, line: str, words: str
) -> None:
    """Before anything is fetched or applied, in one line."""
    (tmp_path / "gapless.toml").write_text(f'[links]\n{line}\n[jobs.a]\nurl = "{site.url}"\ncron = "0 2 * * *"\n')
    for arguments in (("audit", site.url), ("schedules", "apply"), ("schedules", "plan")):
        done = await command(*arguments)
        assert (done.code, done.err.count("\n")) == (2, 1), done
        assert words in done.err
    assert site.connections == 0


async def test_the_plan_shows_what_a_job_comes_to(command: Command, site: Site, tmp_path: Path) -> None:
    """Each value with where it is from: the job, the table of links, or the default."""
    (tmp_path / "gapless.toml").write_text(FILE.format(url=site.url))
    done = await command("schedules", "plan")
    rows = {tuple(line.split(None, 3)) for line in done.out.splitlines()[1:]}
    assert ("nightly", "max_pages", "2", "job") in rows
    assert ("nightly", "exclude", '["/draft/"]', "links") in rows
    assert ("nightly", "connections", "8", "default") in rows
    plan = json.loads((await command("schedules", "plan", "--json")).out)["nightly"]
    assert (plan["max_pages"], plan["external"], plan["cron"]) == (2, False, "0 2 * * *")


async def test_advice_from_the_command_line(command: Command, emulator: Emulator, site: Site, tmp_path: Path) -> None:
    """What works stands beside the link, on the screen and in the files; asked once, and nothing is billed again."""
    arguments = ("audit", site.url, "--no-external", "--advice", MODEL)
    done = await command(*arguments)
    assert done.code == 1, done.err
    assert "- [404] /old/guide `to it` at 1:32, perhaps now /new/guide" in done.out
    assert f"Advice    {MODEL}: 1 of 1 suggestions work\n" in done.err
    assert "tokens, cost unknown" in done.err
    assert f"; advice by {MODEL}" in done.err
    folder = tmp_path / "gapless-report"
    assert "perhaps now /new/guide" in (folder / "report.md").read_text()
    assert "Advice: 1 of 1 suggestions work." in (folder / "report.md").read_text()
    assert json.loads((folder / "report.json").read_text())["advice"]["works"] == 1
    assert '"instead":"/new/guide"' in (folder / "report.html").read_text()
    again = await command(*arguments)
    assert "what is broken has not changed, so nobody was asked" in again.err
    assert "Used" not in again.err
    assert emulator.stats()["created"] == 1
