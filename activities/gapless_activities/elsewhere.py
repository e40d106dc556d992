"""An audit's end of the lanes of other hosts: many are asked at once, and waited for in short attempts.

An attempt that waits holds a slot of its worker, which the lanes need, too. So it gives up after a while, and the
server starts the next one; the lanes go on meanwhile, and know by the update's id who asks again.
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from gapless.artifacts import ArtifactStore
from gapless.contract.elsewhere import ElsewhereActivities, Looking
from gapless.contract.host_lane import HostLane, Piece, Seen, Work
from gapless.contract.interaction import Artifact
from gapless.contract.link_audit import LinkAuditRequest, Revision, RevisionRequest
from gapless.links import elsewhere, urls
from gapless.links.record import Record
from gapless_activities import answers
from gapless_activities.asking import caller_here, leave, start_of_lane
from gapless_activities.beats import INTERVAL, beating
from gapless_activities.caller import Waiting
from gapless_activities.crawling import scope_of
from gapless_activities.links import AuditActivities

log = structlog.get_logger()

AT_ONCE = 16
"""Lanes that one audit asks at the same time."""
ATTEMPT = 30.0
"""Seconds for which an attempt waits."""
PAUSE = timedelta(seconds=2)
"""Between two attempts."""
PATIENCE = timedelta(minutes=45)
"""After that, an audit goes on without the hosts that have not answered; what links there stays unverified."""
AGAIN = 1.0
"""Seconds before a lane that could not be asked is asked again."""


NOTHING: Mapping[str, Record] = {}


class OtherHosts(ElsewhereActivities):
    """The activities over a Temporal client and the artifact store."""

    def __init__(self, store: ArtifactStore, audits: AuditActivities) -> None:
        self._store = store
        self._audits = audits

    @activity.defn(name="look_elsewhere")
    async def look_elsewhere(self, looking: Looking) -> Artifact:
        """Have targets looked at in the lanes of their hosts, and where they redirect to."""
        look = Look(self._store, looking.request, fresh=looking.fresh)
        looked = self._looked(looking, look)
        return await beating(look.beat, _while_wanted(looking, looked) if looking.caller else looked)

    async def _looked(self, looking: Looking, look: "Look") -> Artifact:
        known = elsewhere.unpack(await self._store.get(looking.answers)) if looking.answers else {}
        targets: list[str] = json.loads(await self._store.get(looking.targets.digest))
        records = await look.wait_for(targets, known)
        return await self._store.put("answers", elsewhere.pack(records.values()))

    @activity.defn(name="recheck")
    async def recheck(self, request: RevisionRequest) -> Revision:
        """Have looked at again what is broken on other hosts, and write the report anew when something recovered."""
        look = Look(self._store, request.request, fresh=True)
        return await beating(look.beat, self._audits.revised(request, look.wait_for))


async def _while_wanted(looking: Looking, looked: Coroutine[Any, Any, Artifact]) -> Artifact:
    """Look for as long as somebody waits for the crawl that it is for, and show there what is done.

    Raises:
        ApplicationError: nobody does.
    """
    assert looking.caller is not None
    caller = Waiting(activity.client(), looking.caller)
    progress = looking.progress.model_copy(update={"phase": "other hosts are looked at"})
    task = asyncio.ensure_future(looked)
    try:
        while await caller.beat(progress):
            done, _ = await asyncio.wait({task}, timeout=INTERVAL)
            if done:
                return task.result()
        raise ApplicationError("nobody waits for this crawl any more", type="Unwanted", non_retryable=True)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


class Look:
    """What one activity wants of other hosts, over all its attempts."""

    def __init__(self, store: ArtifactStore, request: LinkAuditRequest, *, fresh: bool) -> None:
        details = activity.info().heartbeat_details
        self._store = store
        self._request = request
        self._scope = scope_of(request)
        self._fresh = fresh
        self._records: dict[str, Record] = {}
        self._found: list[str] = (details and details[0].get("answers")) or []
        self._asked: set[str] = set()
        self._silent: set[str] = set()
        self._at_once = asyncio.Semaphore(AT_ONCE)

    def beat(self) -> None:
        """Tell the server what was found: the next attempt goes on there."""
        activity.heartbeat({"answers": self._found, "hosts": len(self._found), "waiting": len(self._asked)})

    async def wait_for(self, targets: list[str], known: Mapping[str, Record] = NOTHING) -> dict[str, Record]:
        """Return what is known and the records of all addresses on the way of the targets that answered in time.

        Raises:
            ApplicationError: not yet; the next attempt goes on.
        """
        self._records.update(known)
        for digest in self._found:
            self._records |= elsewhere.unpack(await self._store.get(digest))
        try:
            async with asyncio.timeout(ATTEMPT):
                while await self._ask_hosts(targets):
                    pass
        except TimeoutError:
            self.beat()
            if datetime.now(UTC) - activity.info().scheduled_time < PATIENCE:
                raise _not_yet() from None
            log.warning("elsewhere.gave_up", hosts=len(self._asked))
            await self._leave()
        except asyncio.CancelledError:
            if not _is_taken_over():
                await self._leave()
            raise
        return self._records

    async def _ask_hosts(self, targets: list[str]) -> bool:
        """Ask the hosts that the targets lead to and that have not answered; say whether there was one."""
        hosts: dict[str, list[str]] = defaultdict(list)
        for target in elsewhere.onward(targets, self._records, self._scope):
            hosts[urls.authority(target)].append(target)
        wanted = {host: found for host, found in hosts.items() if host not in self._silent}
        try:
            async with asyncio.TaskGroup() as group:
                for host, found in wanted.items():
                    group.create_task(self._ask(host, found))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return bool(wanted)

    async def _ask(self, host: str, targets: list[str]) -> None:
        """Take what the host answered lately, and have it asked for the rest in its lane."""
        async with self._at_once:
            if not self._fresh:
                lately = await answers.find(self._store, self._scope, host)
                self._records |= elsewhere.enough(targets, lately.records)
                onward = elsewhere.onward(targets, self._records, self._scope)
                targets = [each for each in onward if urls.authority(each) == host]
            if targets:
                await self._ask_lane(host, targets)

    async def _ask_lane(self, host: str, targets: list[str]) -> None:
        stored = await self._store.put("targets.json", json.dumps(targets).encode())
        piece = Piece(
            caller=caller_here(), work=Work.LOOK, request=self._request, targets=stored.digest, fresh=self._fresh
        )
        self._asked.add(host)
        seen = await _seen(host, piece)
        self._asked.discard(host)
        if seen.answers is None:
            log.warning("elsewhere.refused", reason=seen.refusal)
            self._silent.add(host)
            return
        self._records |= elsewhere.unpack(await self._store.get(seen.answers))
        self._found.append(seen.answers)
        if not set(targets).isdisjoint(elsewhere.onward(targets, self._records, self._scope)):
            self._silent.add(host)  # it was asked and there is no answer; there would be none the next time

    async def _leave(self) -> None:
        """Take out of the lanes what still waits there."""
        for host in self._asked:
            with suppress(RPCError, WorkflowUpdateFailedError):  # the lane sees that nobody waits
                await leave(host, activity.info().activity_id)


async def _seen(host: str, piece: Piece) -> Seen:
    """Wait for what comes of a look; a lane that was lost, or is full, or moved on, is asked again."""
    name = "/".join((piece.caller.workflow_id, piece.caller.run_id, piece.caller.activity_id, piece.targets or ""))
    turn = 0
    while True:
        start = start_of_lane(host)
        try:
            seen = await activity.client().execute_update_with_start_workflow(
                HostLane.look,
                piece,
                id=f"look-{hashlib.sha256(f'{name}/{turn}'.encode()).hexdigest()[:32]}",
                start_workflow_operation=start,
            )
        except (RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            with suppress(asyncio.CancelledError, Exception):  # it has the same error, and would complain of neglect
                await start.workflow_handle()
            if (task := asyncio.current_task()) is not None and task.cancelling():  # the client hides it
                raise asyncio.CancelledError from None
            log.info("elsewhere.ask_again", error=type(error).__name__)
            await asyncio.sleep(AGAIN)
            continue
        if seen.answers is not None or seen.refusal is not None:
            return seen
        turn += 1


def _is_taken_over() -> bool:
    """Say of a cancelled attempt whether the lanes go on, for another one; if there is none, they notice that."""
    why = activity.cancellation_details()
    return activity.is_worker_shutdown() or (why is not None and (why.timed_out or why.not_found))


def _not_yet() -> ApplicationError:
    return ApplicationError(
        "other hosts have not answered yet; their lanes go on",
        type="NotYet",
        category=ApplicationErrorCategory.BENIGN,
        next_retry_delay=PAUSE,
    )
