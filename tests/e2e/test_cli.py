"""The commands, as a person or a CI job sees them."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from conftest import AGENT, KEY, MODEL, environment, free_port, until
from e2e.command import Command, Done
from gapless import Gapless
from gapless.client import RunNotFound, audit_id
from gapless.contract.host_lane import CRAWLING
from gapless.testing.emulator import Emulator
from unit.links.httpsite import Reply, Site, page

BROKEN = {"index.html": page("b.html", "gone.html"), "b.html": page("/")}


def folder(path: Path, files: dict[str, str]) -> str:
    """Write a built site into a folder."""
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return str(path)


@pytest.fixture
async def slow() -> AsyncIterator[Site]:
    """Serve a chain of pages, one of which is missing at its end, and one hangs when it is first asked for."""
    pages = {f"/p/{n}": page(f"/p/{n + 1}") for n in range(40)}
    async with Site({"/": page("/p/0"), "/robots.txt": Reply("", 404), **pages}) as site:
        site.delay = lambda path: 60 if path == "/p/20" and site.requests[path] == 1 else 0
        yield site


def one_line(done: Done, code: int, *words: str) -> None:
    """Check that a command ended with one clear line, and nothing else."""
    assert (done.code, done.out) == (code, ""), done
    assert done.err.startswith("error: "), done.err
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


BAD = {
    "no command of that name": (["adit"], "No such command 'adit'", "--help"),
    "no target": (["audit"], "Missing argument 'URL|PATH'"),
    "no URL": (["audit", "docs.example.com"], "such as https://docs.example.com"),
    "a file": (["audit", "page.html"], "is a file", "folder"),
    "another scheme": (["audit", "ftp://example.com/"], "not an http or https URL"),
    "half a URL": (["audit", "http://"], "not an http or https URL"),
    "credentials": (["audit", "http://user:word@127.0.0.1/"], "leave them out"),
    "no such option": (["audit", ".", "--depth", "3"], "--depth"),
    "no such choice": (["audit", ".", "--fail-on", "all"], "'all' is not one of 'any', 'new', 'never'"),
    "no pages": (["audit", ".", "--max-pages", "0"], "--max-pages"),
    "no folder for the report": (["audit", ".", "--output", "page.html"], "report cannot be written to page.html"),
    "an agent of nobody": (["audit", ".", "--agent", AGENT, "--provider", "nobody"], "unknown provider 'nobody'"),
    "model and agent": (["run", "Hi", "--model", "m", "--agent", "a"], "either a model or an agent"),
    "neither": (["run", "Hi"], "either a model or an agent"),
    "unknown provider": (["run", "Hi", "--model", "m", "--provider", "nobody"], "unknown provider 'nobody'", "gemini"),
    "nothing to do": (["run", " ", "--model", "m"], "PROMPT", "empty"),
    "an empty pipe": (["run", "-", "--model", "m"], "PROMPT", "empty"),
    "not UTF-8": (["run", "\udcff", "--model", "m"], "UTF-8"),
    "no decision": (["resolve", "x"], "--adopt ID, --resubmit, --abandon"),
    "two decisions": (["resolve", "x", "--abandon", "--resubmit"], "--adopt ID, --resubmit, --abandon"),
    "no id": (["resolve", "x", "--adopt", "../secret"], "interaction_id"),
    "half a command": (["schedules"], "Missing command", "gapless schedules --help"),
    "no jobs": (["schedules", "apply"], "[jobs.NAME]"),
    "no such level": (["--log-level", "loud", "list"], "log_level", "debug, info, warning, error"),
    "no store": (["--artifacts", "page.html", "audit", "."], "artifact store 'page.html'"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_one_line(case: str, alone: Command, tmp_path: Path) -> None:
    """Bad input gets one clear line and exit code 2, and starts nothing."""
    (tmp_path / "page.html").write_text("<p>")
    arguments, *words = BAD[case]
    assert isinstance(arguments, list)
    one_line(await alone(*arguments), 2, *map(str, words))
    assert not (tmp_path / "data" / "server").exists()


async def test_no_key_is_one_line(alone: Command, tmp_path: Path) -> None:
    """Without a key nothing is started that would need one; an audit without an agent needs none."""
    one_line(await alone("run", "Hi", "--model", "m", GEMINI_API_KEY=""), 2, "GEMINI_API_KEY")
    one_line(await alone("audit", ".", "--agent", AGENT, GEMINI_API_KEY=""), 2, "GEMINI_API_KEY")
    assert not (tmp_path / "data" / "server").exists()


@pytest.mark.parametrize("text", ["nosuch = 1", "broken", 'GEMINI_API_KEY = "a-key-in-a-file"'])
async def test_a_broken_file_is_one_line(alone: Command, tmp_path: Path, text: str) -> None:
    """A gapless.toml that cannot be used is named, and a key in it is not repeated."""
    (tmp_path / "gapless.toml").write_text(text)
    done = await alone("list")
    one_line(done, 2, "gapless.toml")
    assert "a-key-in-a-file" not in done.err


async def test_no_temporal_is_one_line(alone: Command, tmp_path: Path) -> None:
    """A cluster that does not answer is named; an audit then counts as incomplete, never as broken."""
    nowhere = f"127.0.0.1:{free_port()}"
    one_line(await alone("list", TEMPORAL_ADDRESS=nowhere), 1, nowhere)
    one_line(await alone("audit", "http://127.0.0.1:9/", TEMPORAL_ADDRESS=nowhere), 3, nowhere)


async def test_a_taken_port_is_one_line(alone: Command, emulator: Emulator) -> None:
    """The emulator says that its port is taken, and what to do."""
    port = emulator.url.rpartition(":")[2]
    one_line(await alone("emulator", "--port", port), 1, port, "--port")


async def test_help_is_light(alone: Command) -> None:
    """Help and version load nothing that takes time, and name every command."""
    heavy = "import sys, gapless_cli.main as m; m._run(['--help']); sys.exit('temporalio' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", heavy), stdout=asyncio.subprocess.PIPE, env=environment(alone.settings)
    )
    out = (await process.communicate())[0].decode()
    assert process.returncode == 0
    for name in ("audit", "run", "list", "show", "cancel", "resolve", "schedules", "worker", "server", "emulator"):
        assert f"  {name} " in out
    assert re.fullmatch(r"gapless \d+\.\d+\.\d+\n", (await alone("--version")).out)


async def test_run_prints_the_result_alone(command: Command, emulator: Emulator) -> None:
    """The result alone is on stdout; the prompt may come from a pipe; a repeated id runs once."""
    name = f"run-{uuid4()}"
    first = await command("run", "-", "--model", MODEL, "--id", name, stdin="Grüße\tan \x1b[31malle\n".encode())
    assert first.code == 0
    assert first.out.splitlines()[-1].endswith("Its first line: Grüße\tan \x1b[31malle")
    assert "\x1b" not in first.err
    assert name in first.err
    again = await command("run", "Grüße\tan \x1b[31malle\n", "--model", MODEL, "--id", name)
    assert (again.code, again.out) == (0, first.out)
    assert "attached" in again.err
    assert emulator.stats()["created"] == 1
    other = await command("run", "Something else", "--model", MODEL, "--id", name)
    assert (other.code, other.out) == (2, "")
    assert "another request" in other.err


async def test_run_as_json(command: Command, emulator: Emulator) -> None:
    """--json gives the whole outcome; anything but success is exit code 1, and says why."""
    done = await command("run", "Hello", "--model", MODEL, "--json")
    assert (done.code, json.loads(done.out)["state"]) == (0, "succeeded")
    emulator.inject("ends-failed")
    name = f"failed-{uuid4()}"
    failed = await command("run", "Hello", "--model", MODEL, "--json", "--id", name)
    assert (failed.code, json.loads(failed.out)["state"]) == (1, "failed")
    assert "Failed" in failed.err
    assert re.search(r"State +failed\n(.+\n)*Failed +\w", (await command("show", name)).out)


async def test_audit_of_a_folder(command: Command, tmp_path: Path) -> None:
    """A built site is audited in its folder: the report on stdout and in files, and the exit code says it."""
    site = folder(tmp_path / "site", BROKEN)
    done = await command("audit", site)
    assert done.code == 1
    assert re.match(r"# Broken Link Audit — 127\.0\.0\.1:\d+\n## /\n- \[404\] /gone\.html", done.out)
    assert "Total broken: 1 across 2 pages crawled." in done.out
    assert "same origin, robots.txt obeyed, 8 connections" in done.err
    assert "worker.started" not in done.err
    report = tmp_path / "gapless-report"
    assert (report / "report.md").read_text().startswith("# Broken Link Audit")
    found = json.loads((report / "report.json").read_text())
    assert [finding["href"] for finding in found["findings"]] == ["gone.html"]
    as_json = await command("audit", site, "--json", "--fail-on", "never", "--output", "elsewhere")
    assert (as_json.code, json.loads(as_json.out)) == (0, found)
    assert (tmp_path / "elsewhere" / "report.md").exists()


async def test_audit_exit_codes(command: Command, tmp_path: Path) -> None:
    """0 is clean, 3 is incomplete, whatever --fail-on says."""
    clean = await command("audit", folder(tmp_path / "site", {"index.html": page("/#top", extra='<p id="top">')}))
    assert (clean.code, "Total broken: 0 across 1 page" in clean.out) == (0, True)
    assert "1 page, 1 link" in clean.err
    refusing = await command("audit", f"http://127.0.0.1:{free_port()}/", "--fail-on", "never")
    assert refusing.code == 3
    assert "Incomplete" in refusing.err


async def test_audit_of_a_folder_with_a_cluster(command: Command, gapless: Gapless, tmp_path: Path) -> None:
    """With a cluster elsewhere a folder is still served and audited from here."""
    site = folder(tmp_path / "site", BROKEN)
    done = await command("audit", site, TEMPORAL_ADDRESS=gapless.server.address)
    assert (done.code, "Total broken: 1" in done.out) == (1, True)
    assert "from TEMPORAL_ADDRESS" in done.err


async def _crawled(gapless: Gapless, name: str, pages: int) -> bool:
    """Say whether an audit's crawl has so many pages on record."""
    try:
        status = await (await gapless.run(name)).status()
    except RunNotFound:
        return False
    return any(p.heartbeat.get("pages", 0) >= pages for p in status.pending if p.activity in CRAWLING)


async def test_ctrl_c_and_the_same_command(command: Command, gapless: Gapless, slow: Site) -> None:
    """Ctrl-C keeps the run and says so; the same command goes on where it was, without starting again."""
    name = audit_id(slow.url)
    first = await command.start("audit", slow.url, "--max-pages", "60")
    await until(lambda: _crawled(gapless, name, 20))
    stopped = await command.interrupt(first)
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err.endswith(f"The run is kept. The same command goes on with it; gapless cancel {name} ends it.\n")
    again = await command("audit", slow.url, "--max-pages", "60")
    assert again.code == 1
    assert re.search(r"attached\n +going on at page 2[0-2]", again.err)
    assert "Total broken: 1 across 41 pages crawled." in again.out
    assert slow.requests["/p/10"] == 1
    listed = [status.id async for status in gapless.list(limit=1000)]
    assert listed.count(name) == 1


async def test_kill_and_the_same_command(command: Command, emulator: Emulator, gapless: Gapless) -> None:
    """SIGKILL for the command, while the agent works, and the same command again: one interaction was created."""
    emulator.inject("slow", operation="get", times=1, seconds=0.1)
    name = f"killed-{uuid4()}"
    arguments = ("run", "Look around", "--agent", AGENT, "--environment", "remote", "--id", name)
    first = await command.start(*arguments)
    await until(lambda: _running(gapless, name))
    first.kill()
    await command.finish(first)
    again = await command(*arguments)
    assert (again.code, "attached" in again.err) == (0, True)
    assert again.out
    assert emulator.stats()["created"] == 1


async def _running(gapless: Gapless, name: str) -> bool:
    """Say whether the provider has taken the task of a run."""
    try:
        status = await (await gapless.run(name)).status()
    except RunNotFound:
        return False
    return status.interaction_id is not None


async def test_cancel_of_an_orphan(command: Command, emulator: Emulator, gapless: Gapless) -> None:
    """A run whose command was killed has no worker: `cancel` attends it, and stops it at the provider."""
    emulator.inject("stuck-running")
    name = f"orphan-{uuid4()}"
    first = await command.start("run", "Never ends", "--model", MODEL, "--id", name)
    await until(lambda: _running(gapless, name))
    first.kill()
    await command.finish(first)
    shown = await command("show", name)
    assert re.search(r"State +running", shown.out)
    one_line(await command("cancel", name, GEMINI_API_KEY=""), 2, "GEMINI_API_KEY")
    done = await command("cancel", name)
    assert (done.code, done.err.splitlines()[-1]) == (0, f"{name}: cancelled")
    assert emulator.stats()["cancel_requests"] == 1
    assert re.search(rf"Failed +{name} was cancelled", (await command("show", name)).out)
    again = await command("cancel", name)
    assert (again.code, "has ended already" in again.err) == (0, True)
    rerun = await command("run", "Never ends", "--model", MODEL, "--id", name)
    assert (rerun.code, rerun.out) == (1, "")
    assert f"error: {name} was cancelled" in rerun.err


async def test_a_lost_answer_is_resolved(command: Command, emulator: Emulator, gapless: Gapless) -> None:
    """A submission without an answer is held; `resolve` adopts the interaction, and the same command prints it."""
    emulator.inject("answer-lost")
    name = f"held-{uuid4()}"
    first = await command.start("run", "Hello", "--model", MODEL, "--id", name)
    await until(lambda: _held(gapless, name))
    stopped = await command.interrupt(first)
    assert stopped.code == 130
    [interaction] = emulator.stats()["interactions"]
    shown = await command("show", name)
    assert f"gapless resolve {name} --adopt ID | --resubmit | --abandon" in shown.out
    done = await command("resolve", name, "--adopt", interaction)
    assert (done.code, f"{name}: adopted" in done.err) == (0, True)
    again = await command("run", "Hello", "--model", MODEL, "--id", name)
    assert (again.code, "Its first line: Hello" in again.out) == (0, True)
    assert emulator.stats()["created"] == 1
    one_line(await command("resolve", name, "--abandon"), 1, "has ended already")


async def _held(gapless: Gapless, name: str) -> bool:
    """Say whether a run waits for a decision."""
    try:
        return (await (await gapless.run(name)).status()).state == "held"
    except RunNotFound:
        return False


async def test_list_and_show(command: Command) -> None:
    """Runs are listed, newest first, and shown with what came of them; an unknown one is one line."""
    name = f"listed-{uuid4()}"
    assert (await command("run", "Hello", "--model", MODEL, "--id", name)).code == 0
    await until(lambda: _listed(command, name))
    table = (await command("list", "--limit", "1000")).out.splitlines()
    assert table[0].split()[:2] == ["ID", "STATE"]
    assert any(re.match(rf"{name} +succeeded +{MODEL}", line) for line in table)
    shown = await command("show", name)
    assert shown.out.splitlines()[-1].endswith("Its first line: Hello")
    whole = json.loads((await command("show", name, "--json")).out)
    assert (whole["status"]["id"], whole["outcome"]["state"]) == (name, "succeeded")
    one_line(await command("show", "nobody"), 1, "nobody")


async def _listed(command: Command, name: str) -> bool:
    found = json.loads((await command("list", "--limit", "1000", "--json")).out)
    print([run for run in found if run["id"] == name])
    return any((run["id"], run["state"]) == (name, "succeeded") for run in found)


async def test_show_of_an_audit(command: Command, tmp_path: Path) -> None:
    """`show` prints an audit's report again, wherever its files went."""
    done = await command("audit", folder(tmp_path / "site", BROKEN), "--id", f"shown-{tmp_path.name}")
    shown = await command("show", f"shown-{tmp_path.name}")
    assert done.out.strip() in shown.out


async def test_doctor(alone: Command, command: Command, tmp_path: Path) -> None:
    """`doctor` says what there is, starts nothing, keeps the key to itself, and ends with 1 when something is wrong."""
    fresh = await alone("doctor", "--json", GEMINI_API_KEY="")
    checks = {check["name"]: check["ok"] for check in json.loads(fresh.out)}
    assert (fresh.code, checks) == (
        0,
        {"gapless": True, "artifacts": True, "encryption": None, "gemini": None, "jobs": None, "temporal": None},
    )
    assert not (tmp_path / "data" / "server").exists()
    up = await command("doctor")
    assert (up.code, KEY in up.out + up.err) == (0, False)
    assert re.search(r"queue gapless-links +none", up.out)
    (tmp_path / "page.html").touch()
    wrong = await command("--artifacts", "page.html", "doctor", TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    assert (wrong.code, len(re.findall(r"(artifacts|temporal) +wrong", wrong.out))) == (1, 2)


async def test_emulator(alone: Command) -> None:
    """`gapless emulator` says how to use it, answers, and ends cleanly with SIGTERM."""
    process = await alone.start("emulator", "--port", "0")
    assert process.stderr is not None
    first = (await process.stderr.readline()).decode()
    url = re.search(r"http://127\.0\.0\.1:\d+", first).group()
    async with httpx2.AsyncClient() as http:
        assert (await http.get(f"{url}/_emulator/stats")).json()["created"] == 0
    process.send_signal(signal.SIGTERM)
    done = await alone.finish(process)
    assert (done.code, done.out) == (0, "")
    assert f"GOOGLE_GEMINI_BASE_URL={url}" in done.err


async def test_a_hostile_page_on_a_terminal(command: Command, tmp_path: Path) -> None:
    """On a terminal nothing that a page says is obeyed: no colour, no title, no cursor movement of its own."""
    hostile = '<a href="/x\x1b[2J\u202e.html">\x1b]0;owned\x07\u202e`[a](b)</a><a href="/\x9b31m">\x9b31m</a>'
    site = folder(tmp_path / "site", {"index.html": f"<!doctype html><meta charset=utf-8>{hostile}"})
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gapless_cli", "audit", site),
        cwd=tmp_path,
        env={name: value for name, value in environment(command.settings).items() if value},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_drain, ours)
    assert await process.wait() == 1
    assert "Total broken: 2" in shown
    assert "owned" in shown
    assert set(re.findall(r"\x1b[^m]*?[A-Za-z]", shown)) <= {"\x1b[2K"}
    assert not {"\x9b", "\u202e", "\x07"}.intersection(shown)


def _drain(terminal: int) -> str:
    """Read a terminal until the other side is closed."""
    parts = []
    while True:
        try:
            parts.append(os.read(terminal, 65536))
        except OSError:
            break
    os.close(terminal)
    return b"".join(parts).decode()
