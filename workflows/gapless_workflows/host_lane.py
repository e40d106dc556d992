"""A host's lane: one activity at a time asks a host, whoever it is for."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from gapless.contract.elsewhere import ElsewhereActivities, Looking
from gapless.contract.host_lane import (
    MAX_WAITING,
    WAITS_ALREADY,
    Asker,
    Caller,
    HostLane,
    HostLaneActivities,
    Lane,
    Piece,
    Refusal,
    Seen,
    Slice,
    Work,
)
from gapless.contract.interaction import Digest
from gapless.contract.link_audit import Unseen
from gapless.text import cell, clip
from gapless_workflows import policies

MAX_REASON = 1000
"""Characters of a failure that are passed on; Temporal keeps 4 KiB of one."""


class _Away(NamedTuple):
    """A piece that waits for other hosts, as it was when it left."""

    piece: Piece
    look: "asyncio.Task[None]"


@workflow.defn(name="HostLane")
class HostLaneWorkflow(HostLane):
    """See `gapless.contract.host_lane.HostLane`."""

    @workflow.init
    def __init__(self, lane: Lane) -> None:
        self._host = lane.host
        self._waiting = list(lane.waiting)
        self._turn: workflow.ActivityHandle[Slice] | None = None
        self._seen: dict[tuple[Caller, str | None], Seen] = {}
        self._moving = False
        self._away: dict[Caller, _Away] = {}

    @workflow.run
    async def run(self, lane: Lane) -> None:
        """Serve who waits, in turns; end when nobody does."""
        if not self._waiting:
            await self._first_ask()
        while self._is_wanted:
            if self._waiting:
                await self._serve(self._waiting[0])
            else:
                await workflow.wait_condition(lambda: bool(self._waiting) or not self._away)
            self._moving = self._is_wanted and workflow.info().is_continue_as_new_suggested()
            if self._moving or not self._is_wanted:  # handlers may end, and bring somebody new
                await workflow.wait_condition(workflow.all_handlers_finished)
            if self._moving and self._is_wanted:
                away = [each.piece for each in self._away.values()]  # other hosts are asked anew, for what is not known
                workflow.continue_as_new(Lane(host=self._host, waiting=[*self._waiting, *away]))

    @property
    def _is_wanted(self) -> bool:
        return bool(self._waiting or self._away)

    @workflow.update
    async def ask(self, piece: Piece) -> int:  # type: ignore[override] # binds self
        """Take a piece in."""
        self._waiting.append(piece)
        self._show()
        return len(self._waiting) - 1

    @ask.validator
    def _once_and_while_there_is_room(self, piece: Piece) -> None:
        # What a validator refuses leaves no event, however often a long wait is asked about.
        if self._is_waiting(piece.caller) or piece.caller in self._away:
            raise ApplicationError("it waits already", type=WAITS_ALREADY)
        self._has_room()

    def _has_room(self) -> None:
        if len(self._waiting) + len(self._away) >= MAX_WAITING:
            raise ApplicationError(f"{MAX_WAITING} others wait for {self._host}; ask again later", type="LaneFull")

    @workflow.update
    async def look(self, piece: Piece) -> Seen:  # type: ignore[override] # binds self
        """Take a look in, and wait for what comes of it."""
        if not self._is_waiting(piece.caller):
            self._waiting.append(piece)
            self._show()
        await workflow.wait_condition(
            lambda: _look(piece) in self._seen or not self._is_waiting(piece.caller) or self._moving
        )
        return self._seen.get(_look(piece), Seen())

    @look.validator
    def _while_there_is_room(self, piece: Piece) -> None:
        if not self._is_waiting(piece.caller):
            self._has_room()

    @workflow.update
    async def leave(self, asker: Asker) -> None:  # type: ignore[override] # binds self
        """Take the pieces of a run out; one that has its turn ends it first."""
        serving = self._waiting[0].caller if self._waiting and self._turn else None
        self._waiting = [piece for piece in self._waiting if not _is_of(piece.caller, asker)]
        looks = [self._away.pop(caller).look for caller in [*self._away] if _is_of(caller, asker)]
        self._show()
        for look in looks:
            look.cancel()
            await _until(look.done, policies.LANE_LEFT)
        if serving is not None and _is_of(serving, asker):
            turn = self._turn
            await _until(lambda: self._turn is not turn, policies.LANE_LEFT)

    async def _first_ask(self) -> None:
        # The ask that starts a lane comes with the start; that it is handled before is nowhere promised.
        await _until(lambda: bool(self._waiting), policies.LANE_FIRST_ASK)

    async def _serve(self, piece: Piece) -> None:
        """Give a piece its turn."""
        self._turn = workflow.start_activity_method(
            HostLaneActivities.serve,
            piece,
            summary=clip(f"{piece.work} for {cell(piece.caller.workflow_id)}"),
            schedule_to_close_timeout=policies.CRAWL_LIMIT,
            **policies.SERVE,
        )
        self._show()
        try:
            await self._until_over(piece, self._turn)
            slice_ = await self._turn
        except ActivityError as error:
            if not is_cancelled_exception(error):
                await self._refuse(piece, error)
            elif workflow.cancellation_reason() is not None:
                raise
            else:  # its turn was over before any worker had taken it up
                self._go_on(piece, Slice(over=False, progress=piece.progress))
        else:
            self._go_on(piece, slice_)
            if slice_.rest is not None:
                await self._rest(piece.caller, slice_.rest)
        # Not in a finally: a lane that is dropped from a worker's cache is closed there, outside of its workflow.
        self._turn = None
        self._show()

    async def _until_over(self, piece: Piece, turn: "workflow.ActivityHandle[Slice]") -> None:
        """Wait for the end of a turn, and end it when the piece was taken out or has had its time while others wait."""
        # A turn in which nothing could be sealed was too short for a host as slow as this one.
        end = workflow.now() + policies.LANE_SLICE * 2 ** min(piece.idle, policies.LANE_DOUBLINGS)
        await workflow.wait_condition(
            lambda: turn.done() or not self._is_waiting(piece.caller) or self._has_company(piece)
        )
        if not turn.done() and self._is_waiting(piece.caller):
            left = max(end - workflow.now(), timedelta(0))
            await _until(lambda: turn.done() or not self._is_waiting(piece.caller), left)
        if not turn.done():
            turn.cancel()

    def _has_company(self, piece: Piece) -> bool:
        """Say whether others wait, and the piece can be gone on with later: what is judged begins anew."""
        return piece.work in {Work.CRAWL, Work.LOOK} and len(self._waiting) > 1

    def _go_on(self, piece: Piece, turn: Slice) -> None:
        """Take out a piece that is done, and put another one behind those that wait, unless the host rests first."""
        if not self._is_waiting(piece.caller):
            return
        self._waiting = [waiting for waiting in self._waiting if waiting.caller != piece.caller]
        if turn.unseen is not None:
            piece = piece.model_copy(update={"progress": turn.progress})
            self._away[piece.caller] = _Away(piece, asyncio.create_task(self._look_around(piece, turn.unseen)))
            return
        if turn.over:
            self._seen[_look(piece)] = Seen(answers=turn.answers)
            return
        idle = piece.idle + 1 if turn.progress.segment == piece.progress.segment else 0
        later = piece.model_copy(update={"progress": turn.progress, "idle": idle})
        self._waiting.insert(0 if turn.rest is not None else len(self._waiting), later)

    async def _look_around(self, piece: Piece, unseen: Unseen) -> None:
        """Have other hosts asked in their lanes while this one serves others; then the piece waits here again."""
        answers = await self._answers(piece, unseen)
        if piece.caller not in self._away:
            return  # it was taken out
        del self._away[piece.caller]
        given = {"answers": answers, "looks": piece.progress.looks - 1}
        self._waiting.append(piece.model_copy(update={"progress": unseen.progress.model_copy(update=given)}))
        self._show()

    async def _answers(self, piece: Piece, unseen: Unseen) -> Digest | None:
        """Return what other hosts answered; when nobody can ask them, the crawl goes on without."""
        known = piece.progress.answers
        try:
            found = await workflow.execute_activity_method(
                ElsewhereActivities.look_elsewhere,
                Looking(
                    request=piece.request,
                    targets=unseen.targets,
                    answers=known,
                    caller=piece.caller,
                    progress=piece.progress,
                ),
                summary=clip(f"have other hosts looked at for {cell(piece.caller.workflow_id)}"),
                schedule_to_close_timeout=policies.LOOK_ELSEWHERE_LIMIT,
                **policies.LOOK_ELSEWHERE,
            )
        except ActivityError as error:
            workflow.logger.warning("other hosts were not looked at", exc_info=error)
            return known
        return found.digest

    async def _rest(self, caller: Caller, time: timedelta) -> None:
        """Leave the host alone for as long as it asks, whoever waits."""
        self._turn = None
        self._show(f"asked to be left alone until {workflow.now() + time:%H:%M:%S} UTC")
        await _until(lambda: not self._waiting, time)

    async def _refuse(self, piece: Piece, error: ActivityError) -> None:
        cause = error.cause
        refusal = Refusal(
            caller=piece.caller,
            reason=(cause.message if isinstance(cause, ApplicationError) else str(cause or error))[:MAX_REASON],
            type=(cause.type if isinstance(cause, ApplicationError) else None) or type(cause or error).__name__,
        )
        self._waiting = [waiting for waiting in self._waiting if waiting.caller != piece.caller]
        if piece.work is Work.LOOK:  # who asked for it waits for this very update
            self._seen[_look(piece)] = Seen(refusal=refusal.reason)
            return
        try:
            await workflow.execute_activity_method(
                HostLaneActivities.refuse,
                refusal,
                summary="tell the audit",
                schedule_to_close_timeout=policies.REFUSE_LIMIT,
                **policies.REFUSE,
            )
        except ActivityError as untold:
            workflow.logger.warning("nobody was told", exc_info=untold)

    def _is_waiting(self, caller: Caller) -> bool:
        return any(piece.caller == caller for piece in self._waiting)

    def _show(self, state: str = "served") -> None:
        serving = self._waiting[0] if self._waiting else None
        first = f"{serving.work} for {serving.caller.workflow_id}" if serving else "nobody"
        rows = [
            ("Host", self._host),
            ("Now", first),
            ("State", state),
            ("Waiting", str(max(0, len(self._waiting) - 1))),
            ("Waiting for other hosts", str(len(self._away))),
        ]
        table = "\n".join(f"| {name} | {cell(value)} |" for name, value in rows)
        workflow.set_current_details(f"| | |\n|---|---|\n{table}")


def _look(piece: Piece) -> tuple[Caller, str | None]:
    return piece.caller, piece.targets


def _is_of(caller: Caller, asker: Asker) -> bool:
    same_run = (caller.workflow_id, caller.run_id) == (asker.workflow_id, asker.run_id)
    return same_run and asker.activity_id in {None, caller.activity_id}


async def _until(condition: Callable[[], bool], limit: timedelta) -> None:
    """Wait until the condition holds, or the limit is reached."""
    with suppress(TimeoutError):
        await workflow.wait_condition(condition, timeout=limit)
