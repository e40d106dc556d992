"""The rate card and the ledger: dated prices, three layers, and nothing that is unknown taken for zero."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gapless.artifacts import StoreUnavailable
from gapless.config import Settings
from gapless.contract.interaction import Account, Cost, State, Usage
from gapless.errors import ConfigurationError
from gapless.spend import Entry, Ledger, RateCard, summed

CARD = """
[[rates]]
target = "m"
from = 2026-01-01
input = 1
cached = 0.1
output = 4.00
thought = 4
tool_use = 1
sandbox_hour = 0.60
background_hour = 0

[[rates]]
target = "m"
from = 2026-06-01
input = 2
cached = 0.2
output = 8
thought = 8
tool_use = 2
sandbox_hour = 0.60
background_hour = 0
"""
USAGE = Usage(total=2_100_000, input=1_000_000, cached=400_000, output=900_000, thought=100_000, tool_use=100_000)


@pytest.fixture
def card(tmp_path: Path) -> RateCard:
    """Return the card above."""
    return read(tmp_path, CARD)


def read(folder: Path, text: str) -> RateCard:
    """Return a card from a file."""
    path = folder / "rates.toml"
    path.write_text(text)
    return RateCard.read(path)


def entry(number: int = 1, /, *, day: date = date(2026, 5, 31), **fields: Any) -> Entry:
    """Return a settled entry of a day."""
    account = {"model": "m", "submission": number, "sent_at": datetime(day.year, day.month, day.day, 23, tzinfo=UTC)}
    account |= {name: fields.pop(name) for name in ("agent", "model", "job", "sandbox") if name in fields}
    known = {"state": State.SUCCEEDED, "interaction_id": f"v1_{number}", "usage": USAGE, "time": timedelta(hours=2)}
    return Entry(workflow_id="w", run_id="r", provider="gemini", account=Account(**account), **(known | fields))


def test_tokens_are_priced_by_kind(card: RateCard) -> None:
    """Cached tokens are a part of the input, at a price of their own."""
    assert entry().priced(card) == Cost(usd=Decimal("0.6") + Decimal("0.04") + Decimal("3.6") + Decimal("0.5"))


def test_the_price_of_the_day_holds(card: RateCard) -> None:
    """From its date on a new price counts, and before its first date a target has none."""
    assert entry(day=date(2026, 6, 1)).priced(card).usd == 2 * (entry().priced(card).usd or 0)
    before = entry(day=date(2025, 12, 31)).priced(card)
    assert before == Cost(usd=None, unknown=["no rate for m on 2025-12-31"])


def test_a_sandbox_costs_time(card: RateCard) -> None:
    """Two hours of it are 1.20, where an environment was asked for."""
    assert (entry(sandbox=True).priced(card).usd or 0) - (entry().priced(card).usd or 0) == Decimal("1.2")


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ({"usage": None}, "usage unknown"),
        ({"time": None}, "usage unknown"),
        ({"model": "other"}, "no rate for other on 2026-05-31"),
        ({"usage": Usage(total=7)}, "7 tokens of no kind"),
    ],
)
def test_what_is_unknown_is_not_zero(card: RateCard, change: dict[str, Any], unknown: str) -> None:
    """Without the quantity or its price there is no cost, and it says why."""
    assert entry(**change).priced(card) == Cost(usd=None, unknown=[unknown])


@pytest.mark.parametrize("missing", ["input", "cached", "output", "thought", "tool_use", "background_hour"])
def test_a_missing_price_is_named(tmp_path: Path, missing: str) -> None:
    """Each kind needs its price as soon as there is any of it."""
    text = "\n".join(line for line in CARD.splitlines() if not line.startswith(f"{missing} "))
    assert entry().priced(read(tmp_path, text)) == Cost(usd=None, unknown=[f"no price {missing} of m"])


def test_none_of_it_needs_no_price(tmp_path: Path) -> None:
    """A kind that was not used costs nothing at any price."""
    bare = read(tmp_path, '[[rates]]\ntarget = "m"\nfrom = 2026-01-01\noutput = 4\nbackground_hour = 0')
    assert entry(usage=Usage(total=1_000_000, output=1_000_000)).priced(bare).usd == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rates]", "cannot be read"),
        ("[[prices]]", "prices: Extra"),
        ('[[rates]]\ntarget = "m"', "from"),
        ('[[rates]]\ntarget = "m"\nfrom = 2026-01-01\ninput = -1', "input"),
        ('[[rates]]\ntarget = "m"\nfrom = 2026-01-01\nimput = 1', "imput"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file and the field."""
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, text)


def test_a_card_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting and a file there are no prices; a setting without its file is an error."""
    monkeypatch.chdir(tmp_path)
    assert RateCard.of(Settings.load()) == RateCard()
    with pytest.raises(ConfigurationError, match=r"gone\.toml"):
        RateCard.of(Settings.load(rates=tmp_path / "gone.toml"))
    (tmp_path / "rates.toml").write_text(CARD)
    assert len(RateCard.of(Settings.load()).rates) == 2


async def kept(ledger: Ledger, since: date = date(2026, 5, 1), until: date = date(2026, 6, 30)) -> list[Entry]:
    """Return the entries of some days."""
    return [entry async for entry in ledger.entries(since, until)]


async def test_an_entry_is_written_over(tmp_path: Path) -> None:
    """The key is the submission, so a retry changes nothing and a price that comes later takes its place."""
    ledger = Ledger(tmp_path.as_uri())
    sent = entry(state=State.SUBMITTING, interaction_id=None, usage=None, time=None)
    for each in (sent, sent, entry(), entry()):
        await ledger.write(each)
    assert await kept(ledger) == [entry()]
    await ledger.remove(sent)
    await ledger.remove(sent)
    assert await kept(ledger) == []


async def test_an_interaction_counts_once(tmp_path: Path) -> None:
    """A run that was reset sees the same end under another run id; two lost ones are two."""
    ledger = Ledger(tmp_path.as_uri())
    unknown: dict[str, Any] = {"state": State.SUBMITTING, "interaction_id": None, "usage": None, "time": None}
    for each in (
        entry(usage=None),
        entry().model_copy(update={"run_id": "after the reset"}),
        entry(2, **unknown),
        entry(3, **unknown),
    ):
        await ledger.write(each)
    found = await kept(ledger)
    assert [each.usage for each in found if each.interaction_id] == [USAGE]
    assert len(found) == 3


async def test_days_are_apart(tmp_path: Path) -> None:
    """What is asked for is what comes, both ends included."""
    ledger, days = Ledger(tmp_path.as_uri()), [date(2026, 5, day) for day in (1, 2, 3, 4)]
    for number, day in enumerate(days):
        await ledger.write(entry(number, day=day))
    assert [each.day for each in await kept(ledger, days[1], days[2])] == days[1:3]


async def test_a_store_that_fails_says_so(tmp_path: Path) -> None:
    """What could not be booked is an error, and can be booked later."""
    (tmp_path / "spend").write_text("in the way")
    ledger = Ledger(tmp_path.as_uri())
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await ledger.write(entry())
    (tmp_path / "spend").unlink()
    await ledger.write(entry())
    assert await kept(ledger) == [entry()]


def test_sums_keep_the_unknown_apart(card: RateCard) -> None:
    """By any of the keys; what had no price when it was booked gets that of the card, what was lost has none."""
    booked = [
        entry(1, job="nightly", cost=Cost(usd=Decimal(5))),
        entry(2, job="nightly", cost=Cost(usd=None, unknown=["no rate for m on 2026-05-31"])),
        entry(3, model=None, agent="a", cost=None),
        entry(4, interaction_id=None, usage=None, time=None, state=State.SUBMITTING),
    ]
    by_job = summed(booked, ["job"], card)
    assert by_job["nightly",].usd == Decimal(5) + Decimal("4.74")
    assert (by_job["nightly",].submissions, by_job["nightly",].unpriced) == (2, 0)
    rest = by_job["",]
    assert (rest.submissions, rest.unpriced, rest.usd) == (2, 2, Decimal(0))
    assert rest.unknown == ("no answer: it may run and be billed", "no rate for a on 2026-05-31")
    assert list(summed(booked, ["agent", "model"], card)) == [("", "m"), ("a", "")]
    assert summed(booked, [], card)[()].tokens == 3 * USAGE.total
