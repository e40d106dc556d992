"""The documentation says what is true: links, tests, settings, commands and examples are there as it names them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pydantic import AliasChoices

from conftest import environment
from gapless import Gapless, Outcome, State
from gapless.config import Settings
from gapless.contract.queues import TaskQueue
from gapless.crawl_options import read_crawl_options
from gapless.links.report.settings import ReportSettings
from gapless.schedules import read_jobs
from gapless.spend import RateCard
from gapless.testing.emulator import Emulator
from gapless_cli.main import app
from gapless_workers.worker import worker

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FOLDERS = (ROOT, ROOT / "docs", ROOT / "docs" / "decisions", ROOT / "deploy")
PAGES = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))
IN_EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
PARSER = MarkdownIt().enable("table")

COMMAND = re.compile(r"(?<!from )(?<![\w.-])gapless (?P<words>[a-z]+(?: [a-z]+)?)(?P<rest>[^#|\n]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


class Example(NamedTuple):
    """A fenced block: its language, what it says, and the line it starts at."""

    language: str
    text: str
    line: int


def tokens(page: Path) -> Iterator[Token]:
    """Yield the tokens of a page, those within lines too."""
    for token in PARSER.parse(page.read_text()):
        yield token
        yield from token.children or []


def examples(page: Path, language: str | None = None) -> list[Example]:
    """Return the fenced blocks of a page."""
    fences = [token for token in tokens(page) if token.type == "fence"]
    found = [Example(token.info.strip(), token.content, (token.map or [0])[0] + 1) for token in fences]
    return [example for example in found if language in {None, example.language}]


def code(page: Path) -> str:
    """Return what is set as code, one piece a line, but for Python."""
    pieces = [token.content for token in tokens(page) if token.type == "code_inline"]
    return "\n".join(pieces + [example.text for example in examples(page) if example.language != "python"])


def command(words: str) -> Any:
    """Return what a command line that starts with these words runs, or None where there is no such command."""
    first, _, second = words.partition(" ")
    group: Any = typer.main.get_command(app)
    found = group.get_command(typer.Context(group), first)
    if hasattr(found, "list_commands") and second:
        found = found.get_command(typer.Context(found), second)
    return found


def options(found: Any) -> set[str]:
    """Return the options of a command, those of all its subcommands too."""
    subcommands = getattr(found, "commands", {}).values()
    parameters = [*found.params, *(parameter for sub in subcommands for parameter in sub.params)]
    names = {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("--")} | {"--help"}


def test_the_readme_is_short_and_starts_with_what_runs() -> None:
    """It has at most 150 lines, and the first thing to run stands within the first 30."""
    assert len(README.read_text().splitlines()) <= 150
    first = examples(README)[0]
    assert first.line <= 30
    assert [line.partition("#")[0].strip() for line in first.text.splitlines()] == ["make demo", "make test"]


@IN_EACH
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file or a folder of the repository."""
    links = [str(token.attrs["href"]) for token in tokens(page) if token.type == "link_open"]
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert not [link for link in local if not (page.parent / link).exists()]


def test_every_page_is_linked() -> None:
    """Whoever starts at the README gets to every page of docs and deploy."""
    seen, ahead = set[Path](), [README]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = [str(token.attrs["href"]).partition("#")[0] for token in tokens(page) if token.type == "link_open"]
        ahead += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert not set(PAGES) - seen


def test_every_guarantee_has_its_test() -> None:
    """Each test that the README names exists, and each row of the table names one."""
    table = README.read_text().partition("| guarantee | proof |")[2].partition("\n\n")[0]
    rows = table.strip().splitlines()[1:]
    proofs = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", table, re.MULTILINE)
    assert len(proofs) == len(rows) >= 10
    for file, test in proofs:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


KEYS = {"gemini_api_key": "", "encryption_key": "", "link_headers": "", "jobs": "`[jobs.NAME]`", "links": "`[links]`"}
"""How settings stand in gapless.toml that do not stand there by their name."""


def test_every_setting_is_documented() -> None:
    """The table of settings has each variable and key, with its default, and no other."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    expected = {variable: name for name, field in Settings.model_fields.items() for variable in _variables(name, field)}
    assert set(re.findall(r"`((?:GAPLESS|GEMINI|GOOGLE)_[A-Z_]+)`", text)) == set(expected)
    for name, field in Settings.model_fields.items():
        variable = next(iter(_variables(name, field)))
        row = next(line for line in text.splitlines() if line.startswith("| ") and f"`{variable}`" in line)
        key, default = (cell.strip() for cell in row.split("|")[2:4])
        assert key == KEYS.get(name, f"`{name}`")
        if isinstance(field.default, str | float):
            assert default == f"`{field.default}`"


def _variables(name: str, field: Any) -> list[str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [f"GAPLESS_{name.upper()}"]
    return [choice for choice in map(str, choices) if choice.isupper()]


@IN_EACH
def test_variables_are_settings(page: Path) -> None:
    """A variable of ours that is named anywhere is one that is read."""
    known = {variable for name, field in Settings.model_fields.items() for variable in _variables(name, field)}
    assert not set(re.findall(r"\b(?:GAPLESS|GEMINI|GOOGLE)_[A-Z_]+\b", page.read_text())) - known


@IN_EACH
def test_commands_and_their_options_exist(page: Path) -> None:
    """Every command line that is shown can be typed."""
    wrong = []
    for found in COMMAND.finditer(code(page)):
        shown = command(found["words"])
        if shown is None or set(OPTION.findall(found["rest"])) - options(shown):
            wrong.append(found[0])
    assert not wrong


def test_every_command_is_documented() -> None:
    """The page of the command line names each command, and each option of those that it lists."""
    page = ROOT / "docs" / "command-line.md"
    group: Any = typer.main.get_command(app)
    named = code(page)
    for name in group.list_commands(typer.Context(group)):
        found = command(name)
        lines = [f"gapless {name} {sub}" for sub in getattr(found, "commands", {})] or [f"gapless {name}"]
        assert not [line for line in lines if line not in named]
    for section in page.read_text().split("\n## gapless ")[1:]:
        title, _, body = section.partition("\n")
        assert options(command(title)) == set(OPTION.findall(body)) | {"--help"}


@IN_EACH
def test_examples_load(page: Path, tmp_path: Path) -> None:
    """Python runs as far as definitions and imports go; what is TOML are jobs, or a rate card."""
    for example in examples(page, "python"):
        exec(compile(example.text, f"{page.name}:{example.line}", "exec"), {"__name__": "example"})
    card = tmp_path / "rates.toml"
    for example in examples(page, "toml"):
        card.write_text(example.text)
        found = tomllib.loads(example.text)
        if "links" in found:
            assert ReportSettings.read(found["links"]) != ReportSettings()
            assert read_crawl_options(found["links"])
        else:
            assert RateCard.read(card).rates if "rates" in found else read_jobs(found["jobs"])


def test_the_jobs_of_a_deployment_are_jobs() -> None:
    """The example that a deployment starts from can be applied."""
    assert read_jobs(tomllib.loads((ROOT / "deploy" / "gapless.toml").read_text())["jobs"])


async def test_the_service_of_the_readme_runs(
    gapless: Gapless, emulator: Emulator, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example starts a task and waits for it, and a second call with the same order does not run it again."""
    (example,) = examples(README, "python")
    service: dict[str, Any] = {"__name__": "service"}
    exec(compile(example.text, "README.md", "exec"), service)
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(gapless.settings).items():
        monkeypatch.setenv(name, value)
    async with worker(gapless.client, gapless.settings, [TaskQueue.INTERACTIONS]):
        first: Outcome = await service["summarise"](queue, "A long text.")
        again: Outcome = await service["summarise"](queue, "A long text.")
    assert first.state is State.SUCCEEDED
    assert again == first
    assert emulator.stats()["created"] == 1


def test_every_rule_of_a_link_audit_has_its_test() -> None:
    """Each row of the rules names a test that exists."""
    rows = [line for line in (ROOT / "docs" / "link-rules.md").read_text().splitlines() if line.startswith("| ")][1:]
    proofs = [re.search(r"`(test_\w+\.py)::(test_\w+)` \|$", row) for row in rows]
    assert len(rows) > 40
    for row, proof in zip(rows, proofs, strict=True):
        assert proof, row
        assert f"def {proof[2]}(" in (ROOT / "tests" / "unit" / "links" / proof[1]).read_text(), row
