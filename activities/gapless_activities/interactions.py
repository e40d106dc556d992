"""Submit, poll, fetch, cancel: the four calls to a provider as durable activities."""

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import structlog
from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from gapless.artifacts import ArtifactStore
from gapless.config import Settings
from gapless.contract.interaction import (
    PRIVATE_SITE,
    Allowance,
    Artifact,
    Handle,
    InteractionActivities,
    InteractionRequest,
    OnLostSubmission,
    Order,
    Result,
    Settled,
    Snapshot,
    State,
    Submission,
    Watch,
)
from gapless.errors import (
    ConfigurationError,
    InteractionNotFound,
    ProviderError,
    SubmissionRefused,
    SubmissionRejected,
    Unavailable,
)
from gapless.providers.base import Observation, Provider, known, open_provider
from gapless_activities.beats import beating, beating_shielded
from gapless_activities.books import Books
from gapless_activities.public import is_public

MAX_TEXT = 8 * 1024
"""Characters of the answer that go into history; a longer one is in the artifact store."""
STALLED = 6.0
"""Seconds without a beat, short of the heartbeat timeout, after which nothing is sent any more."""
ANSWER_TO_BEAT = 1.0
"""Seconds in which the server says of a heartbeat that it came too late."""
MAX_RETRY_AFTER = 600.0
"""Seconds for which a provider can put a look off; it may be free again before it said."""
LAST_LOOK = 2.0
"""Seconds before the deadline."""
SECONDS_PER_SECOND_WAITED = 0.2
"""How the time between polls grows with the time waited already."""
AT_ONCE = 20.0
"""Seconds in which a result is collected by the look that saw the end; what takes longer is fetched on its own."""
CANCEL_LOOKS = 5
"""Looks at an interaction that does not stop, two seconds apart, before it is reported as it is."""
NEXT_LOOK = timedelta(seconds=2)

log = structlog.get_logger()


class _SubmitBeat:
    """The submission's heartbeat: that it goes on, and the interaction's id as soon as there is one."""

    def __init__(self) -> None:
        self.details: dict[str, Any] = {"posting": True}
        self._last = monotonic()
        self._longest_gap = 0.0

    def __call__(self) -> None:
        activity.heartbeat(self.details)
        self._longest_gap = max(self._longest_gap, monotonic() - self._last)
        self._last = monotonic()

    @property
    def stalled(self) -> bool:
        """Whether the whole process once stood still for so long that the server may have given this attempt up."""
        return max(self._longest_gap, monotonic() - self._last) > STALLED


async def _refuse_private(order: Order, provider: Provider) -> None:
    """Keep a task about a site that only this network can see from a provider elsewhere."""
    if order.site is not None and provider.capabilities().remote and not await is_public(order.site):
        said = "the site is on a private address, and the provider is elsewhere"
        raise ApplicationError(said, type=PRIVATE_SITE, non_retryable=True)


class Seen(BaseModel):
    """What the polls before this one saw; it travels in the heartbeat. An end that was seen once stays seen."""

    polls: int = 0
    state: State = State.UNKNOWN
    raw: str = "not seen yet"
    since: datetime
    settled: Snapshot | None = None


class ProviderActivities(InteractionActivities):
    """The activities over the providers that the settings can open.

    A provider is opened on first use, so a worker without a key serves everything else.
    """

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._settings = settings
        self._store = store
        self._books = Books(settings)
        self._providers: dict[str, Provider] = {}
        self._opening = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the providers' connections."""
        for provider in self._providers.values():
            await provider.aclose()

    async def open_configured(self) -> None:
        """Open what this worker has a key for ahead of its first task: an SDK takes a second to load."""
        for name in known():
            with suppress(ConfigurationError):
                await self.provider(name)

    async def provider(self, name: str) -> Provider:
        """Return the provider of this name, opened once.

        Raises:
            ConfigurationError: no such provider, or no key on this worker.
        """
        async with self._opening:
            if name not in self._providers:  # an SDK takes a second to load, in which heartbeats go on
                self._providers[name] = await asyncio.to_thread(open_provider, name, self._settings)
        return self._providers[name]

    @activity.defn(name="submit")
    async def submit(self, order: Order) -> Submission:
        """Send the task in one POST, and leave its id in the heartbeat right after."""
        if order.sensitive and not self._store.keys:
            said = "nothing was sent: a sensitive task is kept encrypted only, set GAPLESS_ENCRYPTION_KEY here"
            raise ApplicationError(said, type=SubmissionRejected.__name__, non_retryable=True)
        beat = _SubmitBeat()
        try:
            return await beating_shielded(beat, self._send(order, beat))
        except ProviderError as error:
            raise _failure(error, order, allowed=beat.details.get("allowed")) from None

    async def _send(self, order: Order, beat: "_SubmitBeat") -> Submission:
        """Book and post; an entry in the ledger goes only when the task was surely not taken."""
        try:
            provider = await self.provider(order.provider)
            await _refuse_private(order, provider)
            allowed = self._books.allowance(order)
            beat.details["allowed"] = allowed.model_dump(mode="json")
            await self._books.sent(order)
            return await self._post(provider, order, allowed, beat)
        except ConfigurationError as error:
            raise SubmissionRejected(str(error)) from None
        except (SubmissionRefused, SubmissionRejected):
            await self._books.refused(order)
            raise

    async def _post(self, provider: Provider, order: Order, allowed: Allowance, beat: "_SubmitBeat") -> Submission:
        if activity.is_cancelled() or beat.stalled:  # not wanted any more, or given up by the server by now
            raise SubmissionRefused("cancelled, or this worker stood still for too long, before anything was sent")
        observation = await provider.submit(order, max_tokens=allowed.tokens)
        beat.details["interaction_id"] = observation.interaction_id
        beat()
        log.info("interaction.accepted", interaction_id=observation.interaction_id, status=observation.raw)
        await self._books.accepted(order, observation.interaction_id)
        if beat.stalled:
            await self._stop_orphan(provider, order, observation.interaction_id)
        return Submission(
            interaction_id=observation.interaction_id,
            snapshot=await self._first_snapshot(provider, order, observation),
        )

    async def _stop_orphan(self, provider: Provider, request: InteractionRequest, interaction_id: str) -> None:
        """Deal with an id that came too late: the server gave this attempt up, so the run does not wait for it."""
        await asyncio.sleep(ANSWER_TO_BEAT)
        details = activity.cancellation_details()
        if details is None or not (details.not_found or details.timed_out):
            return
        log.warning("interaction.orphan", interaction_id=interaction_id, policy=request.on_lost_submission.value)
        if request.on_lost_submission is OnLostSubmission.RESUBMIT:  # another one takes its place
            await provider.cancel(interaction_id)

    async def _first_snapshot(self, provider: Provider, order: Order, observation: Observation) -> Snapshot:
        """Return what the accept showed, with the result where it was final; whatever fails here, the id is kept."""
        try:
            snapshot = await self._snapshot(observation)
        except Exception:
            log.exception("interaction.first_answer_not_stored", interaction_id=observation.interaction_id)
            return Snapshot(state=State.UNKNOWN, raw=observation.raw, observed_at=_now())
        handle = Handle(
            provider=order.provider,
            interaction_id=observation.interaction_id,
            accepted_at=snapshot.observed_at,
            account=order.account,
            sensitive=order.sensitive,
        )
        return await self._complete(provider, handle, snapshot)

    @activity.defn(name="poll")
    async def poll(self, watch: Watch) -> Snapshot:
        """Look once; "not yet" is a failure whose next attempt the server keeps, at no cost in history.

        The look that sees the end takes the result along where that is had at once.
        """
        seen = _seen()
        provider = await self._open(watch.handle.provider)
        snapshot = seen.settled or await self._look(provider, watch, seen)
        seen = seen.model_copy(update={"settled": snapshot})
        _beat(seen)
        return await beating(lambda: _beat(seen), self._complete(provider, watch.handle, snapshot))

    async def _look(self, provider: Provider, watch: Watch, seen: Seen) -> Snapshot:
        """Return a settled snapshot.

        Raises:
            ApplicationError: not settled yet; or over a limit, which ends the wait.
        """
        try:
            snapshot = await beating(lambda: _beat(seen), self._observe(provider, watch.handle.interaction_id))
        except InteractionNotFound:
            return self._not_found(provider, watch, seen)
        except Unavailable as error:
            said = f"provider unavailable ({_said(error, watch.handle)})"
            raise self._not_yet(watch, seen, said, error.retry_after) from None
        except ProviderError as error:
            raise _failure(error, watch.handle) from None
        if snapshot.state.settled:
            return snapshot
        seen = _advance(seen, snapshot.state, snapshot.raw)
        _check_age(watch, seen)
        if (excess := self._books.excess(watch, snapshot.usage, _now() - watch.handle.accepted_at)) is not None:
            raise ApplicationError(excess[1], type=excess[0], non_retryable=True)
        raise self._not_yet(watch, seen, snapshot.raw)

    async def _observe(self, provider: Provider, interaction_id: str) -> Snapshot:
        return await self._snapshot(await provider.poll(interaction_id))

    async def _complete(self, provider: Provider, handle: Handle, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with its result, if that can be had at once; else `fetch` sees to it, in its own time."""
        if snapshot.document is None or snapshot.usage is None:
            return snapshot
        try:
            async with asyncio.timeout(AT_ONCE):
                result = await self._collect(provider, handle, snapshot, snapshot.document)
        except Exception as error:  # noqa: BLE001 - whatever it is, the end was seen and is kept
            log.info("interaction.result_left_to_fetch", reason=type(error).__name__)
            return snapshot
        return snapshot.model_copy(update={"result": result})

    @activity.defn(name="fetch")
    async def fetch(self, settled: Settled) -> Result:
        """Take the result out of the settled document, with the environment's files.

        The document was stored when the end was first seen, so a provider that later shows less takes nothing
        away; usage that was missing then is asked for again.
        """
        handle, snapshot = settled.handle, settled.snapshot
        provider = await self._open(handle.provider)
        if snapshot.document is None:
            raise ApplicationError("nothing was stored to fetch from", type="NothingToFetch", non_retryable=True)
        try:
            return await beating(activity.heartbeat, self._collect(provider, handle, snapshot, snapshot.document))
        except ProviderError as error:
            raise _failure(error, handle) from None

    @activity.defn(name="cancel")
    async def cancel(self, handle: Handle) -> Snapshot:
        """Ask the provider to stop, and look until it has; what it says at last is recorded."""
        provider = await self._open(handle.provider)
        try:
            snapshot = await self._snapshot(await provider.cancel(handle.interaction_id))
        except InteractionNotFound:
            if _not_visible_yet(provider, handle):
                raise _once_more("NotVisibleYet", "not visible yet, so it cannot be stopped yet") from None
            snapshot = Snapshot(state=State.EXPIRED, raw="not found", observed_at=_now())
        except ProviderError as error:
            raise _failure(error, handle) from None
        if not snapshot.state.settled and activity.info().attempt < CANCEL_LOOKS:
            raise _once_more("NotStoppedYet", f"after the request to stop, the provider still says {snapshot.raw!r}")
        log.info("interaction.cancel", interaction_id=handle.interaction_id, status=snapshot.raw)
        await self._books.stopped(handle, snapshot)
        return snapshot

    async def _open(self, name: str) -> Provider:
        try:
            return await self.provider(name)
        except ConfigurationError as error:  # another worker may have the key: try again, visibly
            raise ApplicationError(str(error), type="NotConfigured") from None

    async def _snapshot(self, observation: Observation) -> Snapshot:
        document = None
        if observation.state.settled:
            document = await self._store.put("interaction.json", observation.document)
        return Snapshot(
            state=observation.state,
            raw=observation.raw,
            observed_at=_now(),
            usage=observation.usage,
            document=document,
        )

    async def _collect(self, provider: Provider, handle: Handle, snapshot: Snapshot, document: Artifact) -> Result:
        data = await self._store.get(document.digest)
        problems: list[str] = []
        if snapshot.usage is None:
            data, document, regressed = await self._look_again(provider, handle, snapshot, data, document)
            problems += regressed
        content = provider.read(data)
        files: list[Artifact] = []
        if content.environment_id:
            found = provider.files(content.environment_id, problems)
            files = [await self._store.put(file.name, file.data) async for file in found]
        return Result(
            text=content.text[:MAX_TEXT],
            whole_text=await self._whole(content.text),
            document=document,
            files=files,
            usage=content.usage,
            cost=await self._books.settled(handle, snapshot, content.usage),
            problems=[error[:500] for error in content.errors[:10]] + problems,
        )

    async def _whole(self, text: str) -> Artifact | None:
        return await self._store.put("text.md", text.encode()) if len(text) > MAX_TEXT else None

    async def _look_again(
        self, provider: Provider, handle: Handle, snapshot: Snapshot, data: bytes, document: Artifact
    ) -> tuple[bytes, Artifact, list[str]]:
        """GET once more for the usage; terminal states absorb, so a step back is recorded and ignored."""
        try:
            again = await provider.poll(handle.interaction_id)
        except ProviderError as error:
            return data, document, [f"usage is missing, and asking again failed: {_said(error, handle)}"]
        if again.state is not snapshot.state:
            log.warning("interaction.regressed", interaction_id=handle.interaction_id, status=again.raw)
            return data, document, [f"after the end, the provider said {again.raw!r}; ignored"]
        if again.usage is None and activity.info().attempt < 4:
            raise Unavailable("usage is missing; it often comes seconds later", retry_after=2.0)
        return again.document, await self._store.put(document.name, again.document), []

    def _not_found(self, provider: Provider, watch: Watch, seen: Seen) -> Snapshot:
        """Take a 404 shortly after the accept for "not visible yet", and a later one for the end."""
        if _not_visible_yet(provider, watch.handle):
            raise self._not_yet(watch, _advance(seen, State.UNKNOWN, "not visible yet"), "not visible yet")
        return Snapshot(state=State.EXPIRED, raw="not found", observed_at=_now())

    def _not_yet(self, watch: Watch, seen: Seen, word: str, retry_after: float | None = None) -> ApplicationError:
        """Build the small, benign failure that the server answers with a timer."""
        waited = _now() - activity.info().scheduled_time
        seen = seen.model_copy(update={"polls": seen.polls + 1})
        _beat(seen)
        return ApplicationError(
            f"{word[:300]}; poll {seen.polls}, waiting for {_age(waited)}, in this state for "
            f"{_age(_now() - seen.since)}. Nothing to do: the next look is on its way.",
            seen.model_dump(mode="json"),
            type="NotYet",
            next_retry_delay=timedelta(seconds=self._delay(waited.total_seconds(), retry_after)),
            category=ApplicationErrorCategory.BENIGN,
        )

    def _delay(self, waited: float, retry_after: float | None) -> float:
        """Return the seconds to the next poll: a fifth of the time waited, jittered.

        The time waited counts, not the attempt, which a reset sets back; the server's floor is 1 s.
        """
        delay = min(self._settings.poll_max_interval, max(1.0, waited * SECONDS_PER_SECOND_WAITED))
        delay = max(delay * random.uniform(0.8, 1.2), min(retry_after or 0.0, MAX_RETRY_AFTER))
        limit = activity.info().schedule_to_close_timeout
        if limit is None:
            return delay
        # One last look just before the deadline: a retry that came after it would end the wait at once.
        return max(1.0, min(delay, limit.total_seconds() - waited - LAST_LOOK))


def _not_visible_yet(provider: Provider, handle: Handle) -> bool:
    return _now() - handle.accepted_at < provider.capabilities().visibility_grace


def _once_more(kind: str, said: str) -> ApplicationError:
    return ApplicationError(
        f"{said}; the next look is on its way.",
        type=kind,
        next_retry_delay=NEXT_LOOK,
        category=ApplicationErrorCategory.BENIGN,
    )


def _check_age(watch: Watch, seen: Seen) -> None:
    """End the wait for what lasts too long in one state; a status that nobody knows counts as running."""
    queued = seen.state is State.QUEUED
    kind, limit = ("QueuedTooLong", watch.queued) if queued else ("RunningTooLong", watch.running)
    if _now() - seen.since > limit:
        raise ApplicationError(
            f"the provider says {seen.raw!r} for {_age(_now() - seen.since)}, the limit is {_age(limit)}",
            type=kind,
            non_retryable=True,
        )


def _seen() -> Seen:
    details = activity.info().heartbeat_details
    return Seen.model_validate(details[0]) if details else Seen(since=_now())


def _beat(seen: Seen) -> None:
    activity.heartbeat(seen.model_dump(mode="json"))


def _advance(seen: Seen, state: State, raw: str) -> Seen:
    since = seen.since if state is seen.state else _now()
    return seen.model_copy(update={"state": state, "raw": raw, "since": since})


def _said(error: ProviderError, task: Order | Handle) -> str:
    """Return what a provider said; not of a sensitive task, whose prompt it may repeat."""
    if task.sensitive:
        return f"HTTP status {error.status or 'none'}; what was said is left out of a sensitive task"
    return str(error)


def _failure(error: ProviderError, task: Order | Handle, **more: Any) -> ApplicationError:
    """Turn a provider's error into a failure of its class's name; small, without a chained traceback."""
    details: list[Any] = [{"retry_after": error.retry_after, "status": error.status, **more}]
    return ApplicationError(
        _said(error, task)[:1000],
        *details,
        type=type(error).__name__,
        non_retryable=not error.retryable,
        next_retry_delay=timedelta(seconds=error.retry_after) if error.retry_after else None,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _age(span: timedelta) -> str:
    return str(timedelta(seconds=round(span.total_seconds())))
