"""`gapless spend`, as a person sees it after a night of work."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import MODEL
from e2e.command import Command
from gapless.spend import today
from gapless.testing.emulator import Emulator

RATES = f"""
[[rates]]
target = "{MODEL}"
from = 2026-01-01
input = 100000
cached = 0
output = 100000
thought = 100000
tool_use = 0
background_hour = 0
"""


@pytest.fixture
def priced(command: Command, tmp_path: Path) -> dict[str, Any]:
    """Write a rate card into the command's folder; returns variables that name a ledger of its own."""
    (tmp_path / "rates.toml").write_text(RATES)
    return {"GAPLESS_ARTIFACTS": (tmp_path / "store").as_uri()}


async def test_what_was_used_is_summed(
    command: Command, emulator: Emulator, queue: str, priced: dict[str, Any]
) -> None:
    """A task says what it cost, and the ledger sums it; one whose answer was lost is not taken for free."""
    done = await command("run", "Hello.", "--model", MODEL, "--id", queue, "--max-cost", "500", **priced)
    assert done.code == 0, done
    assert "Used" in done.err
    assert "46 tokens, 4.6000 USD" in done.err
    emulator.inject("answer-lost", times=9)
    lost = ("--on-lost-submission", "resubmit", "--max-tokens", "100")
    assert (await command("run", "Hello.", "--model", MODEL, "--id", f"{queue}-2", *lost, **priced)).code == 1
    shown = await command("spend", **priced)
    assert shown.code == 0, shown
    header, row = shown.out.splitlines()
    assert header.split() == ["DAY", "AGENT", "MODEL", "JOB", "TASKS", "TOKENS", "USD", "UNPRICED"]
    assert row.split() == [today().isoformat(), MODEL, "2", "46", "4.6000", "1"]
    assert "2 tasks, 46 tokens, 4.6000 USD, and what 1 task cost is unknown: no answer" in shown.err
    assert (await command("show", queue, **priced)).out.count("4.6000 USD") == 1


async def test_machines_get_json(command: Command, queue: str, priced: dict[str, Any]) -> None:
    """Amounts are decimal strings, since a float is no money."""
    await command("run", "Hello.", "--model", MODEL, "--id", queue, **priced)
    done = await command("spend", "--by", "model", "--json", **priced)
    found = json.loads(done.out)
    assert found["rows"] == [{"model": MODEL, **found["total"]}]
    assert found["total"] == {"tasks": 1, "tokens": 46, "usd": "4.600000000", "unpriced": 0, "unknown": []}


async def test_an_empty_ledger_says_where_it_is(command: Command, priced: dict[str, Any]) -> None:
    """Nothing was sent: that is no error, and may be the wrong store."""
    done = await command("spend", **priced)
    assert (done.code, done.out) == (0, "")
    assert "nothing was sent since" in done.err
    assert priced["GAPLESS_ARTIFACTS"] in done.err


@pytest.mark.parametrize("arguments", [["spend"], ["run", "Hello.", "--model", MODEL]])
async def test_a_bad_card_is_one_line(command: Command, emulator: Emulator, arguments: list[str]) -> None:
    """It is refused before anything is sent."""
    (command.folder / "rates.toml").write_text("[[rates]]\ntarget = 1")
    done = await command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith("error: rates.toml: rates.0.")
    assert emulator.stats()["created"] == 0


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "much"])
async def test_an_amount_is_above_zero(command: Command, amount: str) -> None:
    """A limit that is no amount is refused at once."""
    done = await command("run", "Hello.", "--model", MODEL, "--max-cost", amount)
    assert done.code == 2
    assert "US dollars above zero" in done.err
