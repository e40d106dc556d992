"""The fault matrix: the cases of `matrix`, each under every kill, side by side."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pytest

import leaks
from conftest import AGENT, WorkerProcess, connect, released, settings_for, until
from faults.matrix import CASES, FAULTS, KILLS, LEFT_OUT, MOMENTS, Case, Fault
from faults.runs import beat
from gapless import Gapless, InteractionRequest, Limits, Outcome, Resolution, Run, State, devserver
from gapless.client import RunCancelled, RunFailed
from gapless.config import Settings
from gapless.testing.emulator import Emulator
from gapless.testing.emulator.faults import INTERACTION_FAULTS
from gapless_workers.worker import worker
from worker_process import Stall

OPENER = Fault("5xx-before")
"""Keeps a poll from collecting the result itself, so that there is a fetch."""
LONG = 600
"""Seconds for which an interaction runs that is to be cancelled."""
LIMITS = Limits(queued=timedelta(seconds=15), running=timedelta(seconds=30))
AT_ONCE = 12
"""Cases of one kill that go on at the same time; those that stand in their seam do not count."""
HALVES = (("submit", "poll"), ("fetch", "cancel"))
ALL = HALVES[0] + HALVES[1]
LAST_WORDS = 240
"""Seconds within which a run must have ended after a kill."""


def test_nothing_is_missing() -> None:
    """Each fault has a case at each moment, or a reason why not."""
    for fault in FAULTS:
        moments = [case.moment for case in CASES if case.fault == fault]
        moments += LEFT_OUT.get(fault, ("",))[0].split(", ") if fault in LEFT_OUT else []
        assert sorted(moments) == sorted(MOMENTS), fault


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a few tests for each kill, so that those whose server is killed have not all their cases at once."""
    if "kill" not in metafunc.fixturenames:
        return
    groups = {"none": [ALL], "worker": [ALL], "server": HALVES, "both": HALVES}
    chosen = [(kill, group) for kill in KILLS for group in groups[kill]]
    metafunc.parametrize(("kill", "moments"), chosen, ids=[f"{kill}-{'+'.join(group)}" for kill, group in chosen])


@dataclass
class Stage:
    """Where the cases of one kill are played: a Temporal server of their own."""

    gapless: Gapless
    settings: Settings
    folder: Path

    def __post_init__(self) -> None:
        self.entry = asyncio.Semaphore(3)
        """Starting workers takes CPU, and who waits for it for seconds counts as lost."""
        self.room = asyncio.Semaphore(AT_ONCE)
        """The same holds for cases that go on at the same time."""

    async def replace_server(self) -> None:
        """Kill the server, and start it again on its file and ports."""
        os.kill(int(devserver.Files.of(self.settings).pid.read_text()), signal.SIGKILL)
        address = self.gapless.server.address
        await until(lambda: devserver.status(self.settings) is None and released(address))
        assert (await devserver.start(self.settings)).address == address


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Start a server; when it has ended, no file of it holds a secret."""
    settings = settings_for(tmp_path / "own", "")
    gapless = await connect(settings, await devserver.start(settings))
    yield Stage(gapless, settings, tmp_path)
    devserver.stop(settings)
    leaks.assert_none(tmp_path)


@pytest.mark.matrix
@pytest.mark.timeout(900)
async def test_matrix(kill: str, moments: Sequence[str], stage: Stage, subtests: pytest.Subtests) -> None:
    """Each case ends as the table says."""
    trials = [Trial(case, kill, stage) for case in CASES if case.moment.split()[0] in moments]
    found = await (side_by_side if kill in {"none", "worker"} else together)(trials, stage)
    for trial, ended in zip(trials, found, strict=True):
        with subtests.test(f"{trial.case.fault} at {trial.case.moment}, kill {kill}"):
            assert ended == trial.expected, trial.queue


async def side_by_side(trials: list["Trial"], stage: Stage) -> list[Any]:
    """Play each case by itself."""

    async def play(trial: "Trial") -> dict[str, Any]:
        async with stage.room, trial:
            await trial.reach()
            trial.kill_worker()
            return await trial.finish()

    longest_first = sorted(trials, key=lambda trial: trial.case.fault != "404 for ever")
    found = await asyncio.gather(*map(play, longest_first), return_exceptions=True)
    ended = dict(zip(longest_first, found, strict=True))
    return [ended[trial] for trial in trials]


async def together(trials: list["Trial"], stage: Stage) -> list[Any]:
    """Kill the server once, when all cases stand in their seam; those that hang come last, since no call hangs long."""
    reached: dict[Trial, Any] = {}

    async def finish(trial: "Trial") -> dict[str, Any]:
        async with stage.room:
            return reached[trial] or await trial.finish()

    async with AsyncExitStack() as stack:
        for trial in trials:
            await stack.enter_async_context(trial)
        for wave in (False, True):
            group = [trial for trial in trials if trial.hangs is wave]
            found = await asyncio.gather(*(trial.reach() for trial in group), return_exceptions=True)
            reached |= dict(zip(group, found, strict=True))
        for trial in trials:
            trial.kill_worker()
        await stage.replace_server()
        return list(await asyncio.gather(*map(finish, trials), return_exceptions=True))


class Trial:
    """A case under a kill: with an emulator and a queue of its own, and with a worker of its own."""

    def __init__(self, case: Case, kill: str, stage: Stage) -> None:
        self.case, self._kill, self._stage = case, kill, stage
        self.queue = f"matrix-{uuid4().hex[:12]}"
        self.hangs = case.fault == "hang"
        self._operation = MOMENTS[case.moment]
        self._open = AsyncExitStack()
        self._stall: Stall | None = None
        self._process: WorkerProcess | None = None
        self._strikes: list[Fault] = []

    @property
    def expected(self) -> dict[str, Any]:
        """What the table says."""
        case = self.case
        held = case.held_after_kill if self._kill in {"worker", "both"} else case.held
        return _found(held, case.end, case.created, case.running)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what is left of it; a worker that failed cancels who waits for it, and says here why."""
        self.kill_worker()
        await self._open.__aexit__(kind, error, trace)

    # Up to the kill

    async def reach(self) -> None:
        """Bring the task to the moment of the kill."""
        async with self._stage.entry:
            emulator = Emulator(run_seconds=LONG if self.case.moment == "cancel" else 1)
            self._emulator = await self._open.enter_async_context(emulator)
            self._switch_on()
            self._settings = self._told()
            await self._start_worker()
            request = InteractionRequest(agent=AGENT, input="Write an answer.", environment="remote", limits=LIMITS)
            self._run: Run[Outcome] = await self._stage.gapless.start(request, id=self.queue, queue=self.queue)
        if self.case.moment == "cancel":
            await until(lambda: self._asked("get"))
            await self._run.cancel()
        if self._kill != "none":
            await until(self._in_the_seam, seconds=120)

    def _switch_on(self) -> None:
        fault = FAULTS[self.case.fault]
        lasting = fault is not None and fault.name in INTERACTION_FAULTS
        if fault is not None and lasting:
            self._emulator.inject(fault.name, seconds=fault.seconds, count=fault.count)
        if self.case.moment.startswith("fetch"):  # first it strikes the poll that collects the result itself
            self._strikes.append(OPENER if fault is None or lasting or self.hangs else fault)
        if fault is not None and not lasting:
            self._strikes.append(fault)
        for strike in self._strikes:
            self._emulator.inject(strike.name, operation=self._operation, seconds=strike.seconds)

    def _told(self) -> Settings:
        patience = 30.0 if self.hangs and self._kill != "none" else 5.0
        timeouts = {"submit_timeout": patience, "read_timeout": patience, "poll_max_interval": 5.0}
        return settings_for(self._stage.settings.data_dir, self._emulator.url).model_copy(update=timeouts)

    async def _start_worker(self) -> None:
        fault = FAULTS[self.case.fault]
        where = "return" if fault is not None and fault.at_the_end and self.case.moment == "poll" else "after"
        stall = "" if self.hangs or self._kill == "none" else f"{where}:{self.case.moment.split()[0]}"
        if self._kill in {"worker", "both"}:
            log = self._stage.folder / f"{self.queue}.log"
            self._process = process = await asyncio.to_thread(WorkerProcess, self._settings, self.queue, log, stall)
            await until(lambda: process.says("worker.started"))
        else:
            self._stall = Stall(stall) if stall else None
            await self._serve([self._stall] if self._stall else [])

    async def _serve(self, interceptors: Sequence[Any] = ()) -> None:
        serving = worker(self._stage.gapless.client, self._settings, [self.queue], interceptors=interceptors)
        await self._open.enter_async_context(serving)

    async def _in_the_seam(self) -> bool:
        """Say whether the call hangs, or was answered, and Temporal has not heard of it but for heartbeats."""
        if self.hangs:
            there = self._operation != "create" or self._emulator.stats()["created"] > 0
            return there and self._asked(self._operation) >= len(self._strikes)
        stalled = self._stall.reached.is_set() if self._stall else self._process.says("stalled")
        return stalled and bool(await beat(self._run, self.case.moment.split()[0], "stalled"))

    def _asked(self, operation: str) -> int:
        return int(self._emulator.stats()["requests"].get(operation, 0))

    # From the kill on

    def kill_worker(self) -> None:
        """SIGKILL, where the worker is a process of its own."""
        if self._process is not None:
            self._process.kill()

    async def finish(self) -> dict[str, Any]:
        """See the run to its end, with whatever a person has to decide, and say how it ended."""
        async with asyncio.timeout(LAST_WORDS):
            if self._process is not None:
                await self._serve()
            if self._stall is not None:
                self._stall.released.set()
            held = [await self._decide() async for status in self._run.watch() if status.state == "held"]
            end, flaws = await self._end()
        shown = (await self._run.status()).state
        if not end.startswith(shown):
            flaws.append(f"shown as {shown}")
        stats = self._emulator.stats()
        running = sum(status in {"queued", "in_progress"} for status in stats["statuses"].values())
        found = _found(", ".join(held), end, stats["created"], running, flaws)
        await self._open.aclose()
        return found

    async def _decide(self) -> str:
        """Look at the provider, as a person does, and decide."""
        created = self._emulator.stats()["interactions"]
        if created:
            await self._run.resolve(Resolution(action="adopt", interaction_id=created[-1]))
        else:
            await self._run.resolve(Resolution(action="resubmit"))
        return "adopted" if created else "sent again"

    async def _end(self) -> tuple[str, list[str]]:
        try:
            outcome = await self._run.result()
        except RunCancelled:
            return "cancelled", []
        except RunFailed as error:
            return "no outcome", [str(error)]
        end = outcome.state.value + (f": {outcome.failure.kind}" if outcome.failure else "")
        return end, await self._flaws(outcome) if outcome.state is State.SUCCEEDED else []

    async def _flaws(self, outcome: Outcome) -> list[str]:
        """Say what is wrong with a result."""
        result, artifacts = outcome.result, self._stage.gapless.artifacts
        files = {file.name: await artifacts.get(file.digest) for file in result.files}
        text = (await artifacts.get(result.whole_text.digest)).decode() if result.whole_text else result.text
        checks = {
            "another interaction": outcome.interaction_id == self._emulator.stats()["interactions"][-1],
            f"not the files: {files}": files == {"answer.md": b"The task was taken note of: Write an answer.\n"},
            "not the text": "The task was taken note of: Write an answer." in text,
            "the text is cut": self.case.fault != "oversized result" or len(text) > 5_000_000,
            "no usage": result.usage is not None,
            f"problems: {result.problems}": not result.problems,
        }
        return [flaw for flaw, right in checks.items() if not right]


def _found(held: str, end: str, created: int, running: int, flaws: Sequence[str] = ()) -> dict[str, Any]:
    return {"held": held, "end": end, "created": created, "running": running, "flaws": list(flaws)}
