"""Booking: what a submission may use, and what it came to."""

from collections.abc import Awaitable
from datetime import timedelta
from decimal import Decimal

import structlog
from temporalio import activity

from gapless.artifacts import StoreUnavailable
from gapless.config import Settings
from gapless.contract.interaction import Account, Allowance, Cost, Handle, Order, Snapshot, State, Usage, Watch
from gapless.errors import SubmissionRefused, SubmissionRejected
from gapless.spend import Entry, Ledger, RateCard, today

log = structlog.get_logger()


class Books:
    """The ledger, kept before and after each submission, so that a loss leaves an entry, too.

    Raises:
        ConfigurationError: the rate card does not fit, or the store cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self._ledger = Ledger(settings.artifacts_url)
        self._card = RateCard.of(settings)

    def allowance(self, order: Order) -> Allowance:
        """Turn a submission's limits into tokens, since these are what a provider can be told.

        Raises:
            SubmissionRejected: a limit in dollars that cannot be held; nothing was sent.
        """
        own = (order.agent_config or {}).get("max_total_tokens")
        limits = [order.allowance.tokens, int(own) if isinstance(own, int | str) and str(own).isdigit() else None]
        tokens = min((limit for limit in limits if limit is not None), default=None)
        if order.allowance.cost_usd is None:
            return Allowance(tokens=tokens)
        price, time = self._dearest(order)
        left = order.allowance.cost_usd - time
        if left <= 0 or price > left:
            raise SubmissionRejected(
                f"of max_cost_usd, {order.allowance.cost_usd} are left, and {order.limits.running} of running time may "
                f"cost {time}: that leaves nothing for tokens; nothing was sent"
            )
        if price:
            tokens = min(int(left / price), tokens if tokens is not None else int(left / price))
        return Allowance(tokens=tokens, cost_usd=time + price * (tokens or 0))

    def _dearest(self, order: Order) -> tuple[Decimal, Decimal]:
        """Return what a token costs at the most, and what the longest run costs in time."""
        rate = self._card.rate(order.provider, order.target, today())
        time = rate.hours(order.limits.running, sandbox=order.environment is not None) if rate else None
        if rate is None or time is None or time.usd is None or rate.dearest_token is None:
            raise SubmissionRejected(
                f"max_cost_usd cannot be held: rates.toml on this worker does not state every price of {order.target} "
                "(tokens of each kind, background_hour, and sandbox_hour with an environment); nothing was sent"
            )
        return rate.dearest_token, time.usd

    def excess(self, watch: Watch, usage: Usage | None, waited: timedelta) -> tuple[str, str] | None:
        """Return which limit an interaction is over while it runs, as a failure's type and reason."""
        most = watch.allowance
        if most.tokens is not None and usage is not None and usage.total > most.tokens:
            return "TokenLimit", f"it has used {usage.total:,} tokens, {most.tokens:,} were left of max_total_tokens"
        if most.cost_usd is None:
            return None
        entry = _entry(watch.handle)
        spent = self._cost(entry, usage or Usage(), waited).usd if entry else None
        if spent is not None and spent > most.cost_usd:
            return "CostLimit", f"it has cost {spent:.4f} USD, {most.cost_usd} were left of max_cost_usd"
        return None

    async def sent(self, order: Order) -> None:
        """Book a submission before it is sent: should its answer be lost, the entry says so.

        Raises:
            SubmissionRefused: it cannot be booked, so it must not be sent.
        """
        if (entry := _sending(order)) is None:
            return
        try:
            await self._ledger.write(entry)
        except StoreUnavailable as error:
            raise SubmissionRefused(f"{error}, so nothing was sent") from None

    async def refused(self, order: Order) -> None:
        """Take a submission out that was surely not taken."""
        if (entry := _sending(order)) is not None:
            await _kindly(self._ledger.remove(entry))

    async def accepted(self, order: Order, interaction_id: str) -> None:
        """Book that a submission was taken; what it costs is not known yet."""
        if (entry := _sending(order)) is not None:
            update = {"state": State.UNKNOWN, "interaction_id": interaction_id}
            await _kindly(self._ledger.write(entry.model_copy(update=update)))

    async def stopped(self, handle: Handle, snapshot: Snapshot) -> None:
        """Book what became of an interaction that was cancelled."""
        await _kindly(self.settled(handle, snapshot, snapshot.usage))

    async def settled(self, handle: Handle, snapshot: Snapshot, usage: Usage | None) -> Cost | None:
        """Book an end, and return what it cost.

        Raises:
            StoreUnavailable: it may not be booked; book it again.
        """
        if (entry := _entry(handle)) is None:
            return None
        time = max(snapshot.observed_at - handle.accepted_at, timedelta(0))
        cost = self._cost(entry, usage, time)
        update = {"state": snapshot.state, "usage": usage, "time": time, "cost": cost}
        await self._ledger.write(entry.model_copy(update=update))
        return cost

    def _cost(self, entry: Entry, usage: Usage | None, time: timedelta) -> Cost:
        return entry.model_copy(update={"usage": usage, "time": time}).priced(self._card)


async def _kindly(booking: Awaitable[object]) -> None:
    """Book, and go on if that fails: what was booked before the POST stands, and says that nobody knows."""
    try:
        await booking
    except StoreUnavailable as error:
        log.warning("spend.not_booked", reason=str(error))


def _sending(order: Order) -> Entry | None:
    return _book(order.provider, order.account)


def _entry(handle: Handle) -> Entry | None:
    return _book(handle.provider, handle.account, handle.interaction_id)


def _book(provider: str, account: Account | None, interaction_id: str | None = None) -> Entry | None:
    if account is None:  # a run of before there was a ledger
        return None
    info = activity.info()
    return Entry(
        workflow_id=info.workflow_id,
        run_id=info.workflow_run_id,
        provider=provider,
        account=account,
        interaction_id=interaction_id,
    )
