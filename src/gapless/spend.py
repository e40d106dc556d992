"""What runs cost: a rate card with dated prices, and a ledger of every submission in the artifact store.

    # rates.toml: US dollars; what is not stated is unknown, never zero
    [[rates]]
    target = "gemini-3.8-flash"     # a model or an agent
    from = 2026-11-01               # holds until the target's next entry
    input = 0.30                    # per million tokens; cached ones are a part of the input, with a price of their own
    cached = 0.03
    output = 2.50
    thought = 2.50
    tool_use = 0.30
    sandbox_hour = 0                # an environment, from the accept to the end
    background_hour = 0             # any interaction, from the accept to the end

A price in the example is an example: no prices are built in, since they change without notice.
"""

import asyncio
import hashlib
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

import obstore
from obstore.exceptions import BaseError as StoreError
from obstore.exceptions import NotFoundError
from pydantic import Field, ValidationError

from gapless.artifacts import StoreUnavailable, open_store
from gapless.config import Settings
from gapless.contract.interaction import Account, Cost, Model, ProviderName, Request, State, Usage
from gapless.errors import ConfigurationError

RATES = "rates.toml"

_MILLION = Decimal(1_000_000)
_HOUR = Decimal(3600)
_NANO = Decimal("1e-9")
_FOLDER = "spend"

Price = Annotated[Decimal | None, Field(default=None, ge=0)]


class Rate(Request):
    """The prices of one model or agent from one day on; dollars per million tokens, and per hour."""

    provider: ProviderName = "gemini"
    target: str = Field(min_length=1)
    since: date = Field(alias="from")
    input: Price
    cached: Price
    output: Price
    thought: Price
    tool_use: Price
    sandbox_hour: Price
    background_hour: Price

    @property
    def dearest_token(self) -> Decimal | None:
        """The highest price of a token, or None when one of them is unknown."""
        prices = [self.input, self.cached, self.output, self.thought, self.tool_use]
        known = [price for price in prices if price is not None]
        return max(known) / _MILLION if len(known) == len(prices) else None

    def hours(self, time: timedelta, *, sandbox: bool) -> Cost:
        """Price time in the background, and in a sandbox where there is one."""
        hours = Decimal(time // timedelta(seconds=1)) / _HOUR
        layers = {"background_hour": hours} | ({"sandbox_hour": hours} if sandbox else {})
        return _total(self, layers)

    def tokens(self, usage: Usage) -> Cost:
        """Price tokens by kind; what the provider counts in none of them has no price."""
        kinds = {
            "input": max(0, usage.input - usage.cached),
            "cached": usage.cached,
            "output": usage.output,
            "thought": usage.thought,
            "tool_use": usage.tool_use,
        }
        priced = _total(self, {kind: count / _MILLION for kind, count in kinds.items()})
        rest = usage.total - usage.input - usage.output - usage.thought - usage.tool_use
        return _sum(priced, Cost(usd=None, unknown=[f"{rest} tokens of no kind"])) if rest > 0 else priced


def _total(rate: Rate, quantities: dict[str, Decimal]) -> Cost:
    """Multiply and add; a quantity of zero costs nothing at any price."""
    billed = {name: quantity for name, quantity in quantities.items() if quantity}
    unknown = [f"no price {name} of {rate.target}" for name in billed if getattr(rate, name) is None]
    usd = sum((quantity * getattr(rate, name) for name, quantity in billed.items() if not unknown), Decimal(0))
    return Cost(usd=None if unknown else usd, unknown=unknown)


def _sum(*costs: Cost) -> Cost:
    unknown = [reason for cost in costs for reason in cost.unknown]
    known = [cost.usd for cost in costs if cost.usd is not None]
    usd = sum(known, Decimal(0)).quantize(_NANO) if len(known) == len(costs) else None
    return Cost(usd=usd, unknown=unknown)


class _File(Request):
    rates: list[Rate] = Field(default_factory=list)


@dataclass(frozen=True)
class RateCard:
    """All rates; empty without a file."""

    rates: tuple[Rate, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the rate card that the settings name, else `rates.toml` in this folder, if it is there.

        Raises:
            ConfigurationError: it cannot be read, or an entry does not fit.
        """
        if settings.rates is None and not Path(RATES).exists():
            return cls()
        return cls.read(settings.rates or Path(RATES))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a rate card.

        Raises:
            ConfigurationError: it cannot be read, or an entry does not fit.
        """
        try:
            body = tomllib.loads(path.read_text(), parse_float=Decimal)
            rates = _File.model_validate(body).rates
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            raise ConfigurationError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
        except (OSError, ValueError) as error:  # TOMLDecodeError among them
            raise ConfigurationError(f"{path} cannot be read: {error}") from None
        return cls(tuple(sorted(rates, key=lambda rate: rate.since)))

    def rate(self, provider: str, target: str, on: date) -> Rate | None:
        """Return the newest entry that holds on a day."""
        held = [rate for rate in self.rates if (rate.provider, rate.target) == (provider, target) and rate.since <= on]
        return held[-1] if held else None


class Entry(Model):
    """One submission in the ledger; without an id nobody knows whether it was taken, and billed."""

    workflow_id: str
    run_id: str
    provider: str
    account: Account
    state: State = State.SUBMITTING
    interaction_id: str | None = None
    usage: Usage | None = None
    time: timedelta | None = None
    cost: Cost | None = None

    @property
    def target(self) -> str:
        """The model or the agent."""
        return self.account.model or self.account.agent or ""

    @property
    def day(self) -> date:
        """The day on which it was sent, in UTC."""
        return self.account.sent_at.astimezone(UTC).date()

    @property
    def path(self) -> str:
        """Where it is kept: one place for each submission of each round of each run, however often it is written."""
        key = f"{self.workflow_id}\n{self.run_id}\n{self.account.round}\n{self.account.submission}"
        return f"{_FOLDER}/{self.day}/{hashlib.sha256(key.encode()).hexdigest()}.json"

    def priced(self, card: RateCard) -> Cost:
        """Price it by the rates of its day."""
        rate = card.rate(self.provider, self.target, self.day)
        if rate is None:
            return Cost(usd=None, unknown=[f"no rate for {self.target} on {self.day}"])
        if self.usage is None or self.time is None:
            return Cost(usd=None, unknown=["usage unknown"])
        return _sum(rate.tokens(self.usage), rate.hours(self.time, sandbox=self.account.sandbox))


class Ledger:
    """The entries of all runs, in the artifact store that the workers share.

    Raises:
        ConfigurationError: the URL names no store that can be opened.
    """

    def __init__(self, url: str) -> None:
        self._store = open_store(url)

    async def write(self, entry: Entry) -> None:
        """Write an entry, or write it again: the key is the submission.

        Raises:
            StoreUnavailable: it may not be there.
        """
        try:
            await obstore.put_async(self._store, entry.path, entry.model_dump_json().encode())
        except (OSError, StoreError) as error:
            raise StoreUnavailable(f"the ledger cannot be written just now ({type(error).__name__})") from None

    async def remove(self, entry: Entry) -> None:
        """Take out an entry of what was surely not taken.

        Raises:
            StoreUnavailable: it may still be there.
        """
        try:
            await obstore.delete_async(self._store, entry.path)
        except (FileNotFoundError, NotFoundError):
            return
        except (OSError, StoreError) as error:
            raise StoreUnavailable(f"the ledger cannot be written just now ({type(error).__name__})") from None

    async def entries(self, since: date, until: date) -> AsyncIterator[Entry]:
        """Yield the entries of these days, the last one included; an interaction that two runs shared comes once.

        Raises:
            StoreUnavailable: nobody knows what there is.
        """
        seen: set[tuple[str, str]] = set()
        for number in range((until - since).days + 1):
            async for entry in self._of(since + timedelta(days=number)):
                key = (entry.provider, entry.interaction_id or "")
                if entry.interaction_id is None or key not in seen:
                    seen.add(key)
                    yield entry

    async def _of(self, day: date) -> AsyncIterator[Entry]:
        """Yield a day's entries, those with the most knowledge first."""
        try:
            found: list[Entry] = []
            async for batch in obstore.list(self._store, f"{_FOLDER}/{day}"):
                found += await asyncio.gather(*(self._read(meta["path"]) for meta in batch))
        except (OSError, StoreError) as error:
            raise StoreUnavailable(f"the ledger cannot be read just now ({type(error).__name__})") from None
        for entry in sorted(found, key=lambda entry: (entry.usage is None, entry.path)):
            yield entry

    async def _read(self, path: str) -> Entry:
        answer = await obstore.get_async(self._store, path)
        return Entry.model_validate_json(bytes(await answer.bytes_async()))


@dataclass
class Sum:
    """What a group of submissions came to; `unpriced` of them cost something that nobody knows."""

    submissions: int = 0
    tokens: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    unknown: tuple[str, ...] = ()

    def add(self, entry: Entry, cost: Cost) -> None:
        """Count one submission in."""
        self.submissions += 1
        self.tokens += entry.usage.total if entry.usage else 0
        if cost.usd is None:
            self.unpriced += 1
            self.unknown = tuple(sorted({*self.unknown, *cost.unknown}))
        else:
            self.usd += cost.usd


KEYS: dict[str, Callable[[Entry], str]] = {
    "day": lambda entry: entry.day.isoformat(),
    "model": lambda entry: entry.account.model or "",
    "agent": lambda entry: entry.account.agent or "",
    "job": lambda entry: entry.account.job or "",
}
"""What can be summed by."""


def summed(entries: Iterable[Entry], by: Iterable[str], card: RateCard) -> dict[tuple[str, ...], Sum]:
    """Sum entries by some of `KEYS`, sorted; what had no price when it was booked is priced by this card."""
    keys, sums = list(by), dict[tuple[str, ...], Sum]()
    for entry in entries:
        booked = entry.cost
        cost = booked if booked is not None and booked.usd is not None else _cost(entry, card)
        sums.setdefault(tuple(KEYS[key](entry) for key in keys), Sum()).add(entry, cost)
    return dict(sorted(sums.items()))


def _cost(entry: Entry, card: RateCard) -> Cost:
    if entry.interaction_id is None:
        return Cost(usd=None, unknown=["no answer: it may run and be billed"])
    return entry.priced(card)


def today() -> date:
    """Return the day in UTC, as the ledger counts them."""
    return datetime.now(UTC).date()
