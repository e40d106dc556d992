"""A worker for tests that kill it: `worker_process.py QUEUE [STALL]`.

STALL names an activity that hangs: "before:submit" before its body runs, "after:submit" after it has returned and
before the server hears of it. Temporal's own interceptors do that; the product has no switch for it.
"""

import asyncio
import signal
import sys
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from gapless.client import Gapless
from gapless.config import Settings
from gapless.telemetry import configure_logging
from gapless_workers.main import run_main
from gapless_workers.worker import serve


class Stall(Interceptor):
    """Makes one activity hang."""

    def __init__(self, where: str, name: str) -> None:
        self._where, self._name = where, name

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap the activities."""
        return _Stalled(next, self._where, self._name)


class _Stalled(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, where: str, name: str) -> None:  # noqa: A002
        super().__init__(next)
        self._where, self._name = where, name

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        mine = activity.info().activity_type == self._name
        if mine and self._where == "before":
            activity.heartbeat({"stalled": True})
            print("stalled before", self._name, flush=True)
            await asyncio.sleep(3600)
        result = await super().execute_activity(input)
        if mine and self._where == "after":
            print("stalled after", self._name, flush=True)
            await asyncio.sleep(3600)
        return result


async def main() -> int:
    """Serve the queue until SIGTERM."""
    queue, stall = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    configure_logging("info")
    gapless = await Gapless.connect(Settings.load())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    interceptors = [Stall(*stall.split(":"))] if stall else []
    await serve(gapless.client, gapless.settings, [queue], stop, interceptors=interceptors)
    return 0


if __name__ == "__main__":
    run_main(main())
