"""Workers for tests that kill them: a process of its own, and an interceptor that holds an activity up.

A stall is written "before:submit": the activity hangs before its body runs. "after:submit": after its first end, a
return or an error, and before the server hears of it. "return:poll": the same, but only after a return, since a poll
that says "not yet" ends with an error. Temporal's own interceptors do that; the product has no switch for it.

A death is written "during:segment:3": the worker kills itself while it stores its third artifact of that name, or
before, or after it.

TEST_ASK_AGAIN in its environment is after how many seconds who waits in a lane asks again; a minute is usual.
TEST_SLOTS is how many activities it takes at once. A worker that stands still has as many polls open
as slots are free, and the server loses an attempt to each of them, heartbeat timeout by heartbeat timeout, before
anybody else gets one.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
)

import gapless_workers.worker as wiring
from gapless.artifacts import ArtifactStore
from gapless.client import Gapless
from gapless.config import Settings
from gapless.contract.interaction import Artifact
from gapless.telemetry import configure_logging
from gapless_workers.main import run_main
from gapless_workers.worker import worker
from gapless_workflows import policies

BEAT = 1.0
"""Seconds between the beats of an activity that is held up."""


class Stall(Interceptor):
    """Holds one activity up, once, until it is released; meanwhile it repeats the last heartbeat, marked `stalled`."""

    def __init__(self, spec: str) -> None:
        self.where, self.name = spec.split(":")
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap the activities."""
        return _Stalled(next, self)

    async def hold(self, last: Sequence[Any]) -> None:
        """Hang here, beating, so that only a kill ends the attempt."""
        self.reached.set()
        print("stalled", self.where, self.name, flush=True)
        known = last[0] if last and isinstance(last[0], dict) else {}
        while not self.released.is_set():
            activity.heartbeat({**known, "stalled": True})
            with suppress(TimeoutError):
                await asyncio.wait_for(self.released.wait(), BEAT)


class _Stalled(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, stall: Stall) -> None:  # noqa: A002
        super().__init__(next)
        self._stall = stall

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._beats = _Beats(outbound)
        super().init(self._beats)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        stall = self._stall
        if activity.info().activity_type != stall.name or stall.reached.is_set():
            return await super().execute_activity(input)
        if stall.where == "before":
            await stall.hold(activity.info().heartbeat_details)
        self._beats.last = activity.info().heartbeat_details
        try:
            result = await super().execute_activity(input)
        except Exception:
            if stall.where == "after":
                await stall.hold(self._beats.last)
            raise
        if stall.where != "before":
            await stall.hold(self._beats.last)
        return result


class _Beats(ActivityOutboundInterceptor):
    """Remembers the last heartbeat."""

    last: Sequence[Any] = ()

    def heartbeat(self, *details: Any) -> None:
        self.last = details
        super().heartbeat(*details)


def die_at_artifact(where: str, name: str, number: int) -> None:
    """Let this process kill itself before, during or after it stores its n-th artifact of a name."""
    put, stored = ArtifactStore.put, 0

    async def last(store: ArtifactStore, named: str, data: bytes) -> Artifact:
        nonlocal stored
        stored += named == name
        if named != name or stored < number:
            return await put(store, named, data)
        if where != "before":
            writing = asyncio.ensure_future(put(store, named, data))
            await (writing if where == "after" else asyncio.sleep(0))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    ArtifactStore.put = last  # type: ignore[assignment,method-assign]


class Fork(ForkServerProcess):
    """A process that a server forks which has loaded everything; it has the methods of a `Popen`."""

    def __init__(self, environment: dict[str, str], log: Path, queue: str, stall: str) -> None:
        super().__init__(target=_main, args=(environment, log, queue, stall), daemon=True)

    def poll(self) -> int | None:
        """Return the exit code, or None while it lives."""
        return self.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid or 0, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit code."""
        self.join(timeout)
        if self.exitcode is None:
            raise TimeoutError(f"worker {self.pid} has not ended within {timeout} s")
        return self.exitcode


# What takes long to import, and is found without the path of the tests, which the server does not have.
multiprocessing.get_context("forkserver").set_forkserver_preload(["gapless_workers.worker", "gapless.providers.gemini"])


def _main(environment: dict[str, str], log: Path, queue: str, stall: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    if seconds := environment.get("TEST_ASK_AGAIN"):
        wiring.RUNNER = UnsandboxedWorkflowRunner()  # a sandbox would load the policies anew
        policies.IN_LANE["start_to_close_timeout"] = timedelta(seconds=float(seconds))
    if slots := environment.get("TEST_SLOTS"):
        vars(wiring)["Worker"] = partial(Worker, max_concurrent_activities=int(slots))
    run_main(_serve(queue, stall))


async def _serve(queue: str, stall: str) -> int:
    """Serve the queue until SIGTERM."""
    configure_logging("info")
    gapless = await Gapless.connect(Settings.load())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    where, _, rest = stall.partition(":")
    name, death, number = rest.partition(":")
    if death:
        die_at_artifact(where, name, int(number))
    interceptors = [Stall(stall)] if stall and not death else []
    async with worker(gapless.client, gapless.settings, [queue], interceptors=interceptors):
        await stop.wait()
    return 0
