"""Interactions: what state each is in, as a function of its age and of how often it was asked."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import uuid4

from gapless.testing.emulator import agent, rules
from gapless.testing.emulator.answers import Answer, answered, enlarged, halved, usage, waiting_call
from gapless.testing.emulator.environments import Environments
from gapless.testing.emulator.faults import Fault, label_number
from gapless.testing.emulator.store import Store
from gapless.testing.emulator.wire import ApiError, input_steps, prompt_text, timestamp

_ENDS = {
    "ends-failed": "failed",
    "ends-incomplete": "incomplete",
    "ends-budget-exceeded": "budget_exceeded",
    "ends-requires-action": "requires_action",
    "ends-cancelled": "cancelled",
    "unknown-status": "paused_for_review",
}
_RUNNING = ("queued", "in_progress")
_NUMBERS = ("gapless-run-seconds", "gapless-queued-seconds", "gapless-polls", "gapless-miss", "gapless-invent")
_ECHOED = (
    "previous_interaction_id",
    "labels",
    "system_instruction",
    "tools",
    "generation_config",
    "agent_config",
    "environment",
)


@dataclass(frozen=True)
class Defaults:
    """What an interaction does when its labels do not say otherwise.

    `run_seconds`: how long it is in progress at least; `miss` and `invent`: how many broken links the agent
    keeps to itself, and how many it makes up; `invent` holds for the addresses in advice, too.
    """

    run_seconds: float = 2.0
    miss: int = 0
    invent: int = 0


@dataclass
class Interaction:
    """An interaction as it is stored; `gets` counts answered GETs, `ended_at` is that count at its end.

    Labels: `gapless-run-seconds`, `gapless-queued-seconds`, `gapless-polls` (as many GETs say in_progress,
    whatever the time), `gapless-miss`, `gapless-invent`, and the fault's (see `faults`).
    """

    id: str
    created: float
    request: dict[str, Any]
    environment_id: str | None
    run_seconds: float
    queued_seconds: float
    polls: float | None
    faults: list[Fault] = field(default_factory=list)
    gets: int = 0
    hidden: int = 0
    cancels: int = 0
    ended_at: int | None = None
    cancelled_at: int | None = None
    deleted: bool = False

    def fault(self, name: str) -> Fault | None:
        """Return this fault, if the interaction has it."""
        return next((fault for fault in self.faults if fault.name == name), None)

    @property
    def labels(self) -> dict[str, str]:
        """Return the request's labels."""
        return self.request.get("labels") or {}


class Interactions:
    """All interactions, kept in the store, and the agents at work on them, which are not."""

    def __init__(
        self, store: Store, environments: Environments, defaults: Defaults, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._environments = environments
        self._defaults = defaults
        self._clock = clock
        self._work: dict[str, asyncio.Task[None]] = {}

    def check(self, request: dict[str, Any]) -> None:
        """Check a create request.

        Raises:
            ApiError: 400 or 404, the request breaks a rule.
        """
        rules.check(request, self._status_of)
        for name in _NUMBERS:
            label_number(request.get("labels") or {}, name)

    def create(self, request: dict[str, Any], faults: list[Fault]) -> Interaction:
        """Store a new interaction from a checked request, and put its agent to work.

        Raises:
            ApiError: 400 or 404, the environment is wrong or unknown.
        """
        run, queued, polls = (label_number(request.get("labels") or {}, name) for name in _NUMBERS[:3])
        with self._store.transaction():
            new = Interaction(
                id=f"v1_{uuid4().hex}",
                created=self._clock(),
                request=request,
                environment_id=self._environments.resolve(request.get("environment")),
                run_seconds=self._defaults.run_seconds if run is None else run,
                queued_seconds=queued or 0.0,
                polls=polls if request.get("background") else None,
                faults=faults,
            )
            self._save(new)
        self._ensure_work(new)
        return new

    def find(self, key: str) -> Interaction:
        """Return a stored interaction.

        Raises:
            ApiError: 404, unknown, deleted, or made with store=false.
        """
        body = self._store.get("interaction", key)
        if body is None or body["deleted"] or body["request"].get("store") is False:
            raise ApiError(404, f"Interaction {key} not found")
        return _load(body)

    def get(self, key: str) -> Interaction:
        """Find an interaction for a GET, which may come too early to see it."""
        found = self.find(key)
        grace = found.fault("404-after-accept")
        hidden = found.fault("404-forever") is not None
        if grace is not None and grace.seconds is not None:
            hidden |= self._clock() - found.created < grace.seconds
        elif grace is not None:
            hidden |= found.hidden < (grace.lasts or 0)
        if hidden:
            found.hidden += 1
            self._save(found)
            raise ApiError(404, f"Interaction {key} not found")
        self._ensure_work(found)
        return found

    def cancel(self, key: str) -> Interaction:
        """Stop an interaction that runs in the background.

        Raises:
            ApiError: 404, unknown or refused by a fault; 400, it does not run any more.
        """
        found = self.find(key)
        refused = found.fault("cancel-refused")
        found.cancels += 1
        self._save(found)
        if refused is not None and (refused.lasts is None or found.cancels <= refused.lasts):
            raise ApiError(404, "Method not found")
        status = self._status(found)
        if status not in _RUNNING or found.cancelled_at is not None:
            raise ApiError(400, f"Interaction {key} is {status}, not running", "failed_precondition")
        found.cancelled_at = found.gets
        self._save(found)
        task = self._work.pop(key, None)
        if task is not None:
            task.cancel()
        return found

    def delete(self, key: str) -> None:
        """Hide an interaction for ever; its work goes on."""
        found = self.find(key)
        found.deleted = True
        self._save(found)

    def ended(self, interaction: Interaction) -> bool:
        """Whether the interaction has reached a status that does not move by itself."""
        return self._status(interaction) not in _RUNNING

    def observe(self, interaction: Interaction, *, reading: bool) -> dict[str, Any]:
        """Return the resource as this look at it shows it, and note that somebody looked.

        Only a GET (`reading`) counts for the faults that last for some GETs, and has the input among its steps.
        """
        position = interaction.gets if reading else interaction.gets - 1
        status = self._status(interaction)
        if status not in _RUNNING and interaction.ended_at is None:
            interaction.ended_at = position
        looks = 0 if interaction.ended_at is None else position - interaction.ended_at
        if status not in _RUNNING:
            status = _disguised(interaction, status, looks)
        interaction.gets += reading
        self._save(interaction)
        late_usage = interaction.fault("usage-missing")
        with_usage = late_usage is None or looks >= (late_usage.lasts or 0)
        return self._resource(interaction, status, reading=reading, with_usage=with_usage)

    def cancelled(self, interaction: Interaction) -> dict[str, Any]:
        """Return what a cancel that was accepted answers."""
        return self._resource(interaction, "cancelled", reading=False, with_usage=False)

    def take_fault(self, key: str, operation: str) -> Fault | None:
        """Return the fault that an interaction's label put on this operation, and count it off."""
        body = self._store.get("interaction", key)
        found = None if body is None else _load(body)
        if found is None:
            return None
        for index, fault in enumerate(found.faults):
            if fault.operation == operation and not fault.of_interaction and (fault.times or 0) > 0:
                found.faults[index] = replace(fault, times=(fault.times or 0) - 1)
                self._save(found)
                return fault
        return None

    def stats(self) -> dict[str, Any]:
        """Return what was created, in what status each is in truth, and what was billed: nothing, but it counts."""
        statuses, tokens = {}, 0
        for key, body in self._store.all("interaction"):
            found = _load(body)
            statuses[key] = "cancelled" if found.cancelled_at is not None else self._status(found)
            if statuses[key] in {"completed", "incomplete", "budget_exceeded", "requires_action"}:
                tokens += usage(found.request, self._answer(found))["total_tokens"]
        billed = {"interactions": len(statuses), "tokens": tokens, "usd": 0.0}
        return {"created": len(statuses), "billed": billed, "interactions": list(statuses), "statuses": statuses}

    def resume(self) -> None:
        """Put agents to work again whose work was lost with an earlier process."""
        for _, body in self._store.all("interaction"):
            self._ensure_work(_load(body))

    async def stop(self) -> None:
        """Stop all agents; `resume` starts their work again."""
        tasks = list(self._work.values())
        self._work.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _status_of(self, key: str) -> str | None:
        try:
            return self._status(self.find(key))
        except ApiError:
            return None

    def _status(self, interaction: Interaction) -> str:
        """Return the status now, apart from faults that only disguise it."""
        if interaction.cancelled_at is not None:
            late = interaction.fault("cancel-late")
            shown = late is None or interaction.gets - interaction.cancelled_at >= (late.lasts or 0)
            return "cancelled" if shown else "in_progress"
        age = self._clock() - interaction.created - interaction.queued_seconds
        if age < 0 or interaction.fault("stuck-queued"):
            return "queued"
        answer = self._answer(interaction)
        if interaction.fault("stuck-running") or not answer.complete:
            return "in_progress"
        polls = interaction.polls
        if interaction.gets < polls if polls is not None else age < interaction.run_seconds:
            return "in_progress"
        return self._end(interaction, answer)

    def _end(self, interaction: Interaction, answer: Answer) -> str:
        for fault in interaction.faults:
            if fault.name in _ENDS:
                return _ENDS[fault.name]
        if answer.error is not None:
            return "failed"
        config = interaction.request.get("agent_config") or {}
        limit = int(config.get("max_total_tokens") or 0)
        spent = usage(interaction.request, answer)["total_tokens"]
        return "incomplete" if limit and spent > limit else "completed"

    def _resource(self, interaction: Interaction, status: str, *, reading: bool, with_usage: bool) -> dict[str, Any]:
        request, at = interaction.request, timestamp(interaction.created)
        kind = "agent" if request.get("agent") else "model"
        resource: dict[str, Any] = {
            "id": interaction.id,
            "object": "interaction",
            "status": status,
            "created": at,
            "updated": at,  # the same on finished runs, as seen live
            "service_tier": request.get("service_tier", "standard"),
            kind: request[kind],
        }
        if interaction.environment_id is not None:
            resource["environment_id"] = interaction.environment_id
        ended = status not in _RUNNING
        if reading:
            resource |= {name: request[name] for name in _ECHOED if request.get(name)}
        if reading or ended:
            resource["steps"] = input_steps(request["input"]) if reading else []
            resource["steps"] += self._steps(interaction, status)
        if ended and with_usage and status != "cancelled":
            resource["usage"] = usage(request, self._answer(interaction))
        if status == "failed":
            message = self._answer(interaction).error or "the fault ends-failed was switched on"
            resource["errors"] = [{"code": "internal", "message": message}]
        return resource

    def _steps(self, interaction: Interaction, status: str) -> list[dict[str, Any]]:
        steps = self._answer(interaction).steps
        if status in {"completed", "incomplete", "budget_exceeded"}:
            large = interaction.fault("oversized")
            steps = enlarged(steps, large.lasts or 0) if large else steps
            return steps if status == "completed" else halved(steps)
        unfinished = [step for step in steps if step["type"] != "model_output"]
        if status == "requires_action":
            return [*unfinished, waiting_call(interaction.request)]
        return unfinished if "agent" in interaction.request else []

    def _answer(self, interaction: Interaction) -> Answer:
        """Return the work so far; a model's needs no storing, it follows from the request."""
        if interaction.request.get("agent") not in rules.ANTIGRAVITY:
            return answered(prompt_text(interaction.request["input"]), self._number(interaction, "invent"))
        body = self._store.get("answer", interaction.id)
        return Answer() if body is None else Answer(**body)

    def _ensure_work(self, interaction: Interaction) -> None:
        done = interaction.cancelled_at is not None or self._answer(interaction).complete
        stuck = interaction.fault("stuck-queued") or interaction.fault("stuck-running")
        if done or stuck or interaction.id in self._work:
            return
        task = asyncio.get_running_loop().create_task(self._run_agent(interaction))
        self._work[interaction.id] = task
        task.add_done_callback(lambda _: self._work.pop(interaction.id, None))

    def _number(self, interaction: Interaction, name: str) -> int:
        """Return what the label of this name says, or else the default."""
        said = label_number(interaction.labels, f"gapless-{name}")
        return int(getattr(self._defaults, name) if said is None else said)

    async def _run_agent(self, interaction: Interaction) -> None:
        answer = Answer()
        try:
            await agent.work(
                prompt_text(interaction.request["input"]),
                answer,
                lambda: self._store.put("answer", interaction.id, asdict(answer)),
                miss=self._number(interaction, "miss"),
                invent=self._number(interaction, "invent"),
            )
        except Exception as error:  # noqa: BLE001 - whatever stops the agent is its result
            answer.error, answer.complete = f"{type(error).__name__}: {error}", True
        if interaction.environment_id is not None:
            for path, text in answer.files.items():
                self._environments.write(interaction.environment_id, path, text.encode())
        self._store.put("answer", interaction.id, asdict(replace(answer, files={})))

    def _save(self, interaction: Interaction) -> None:
        self._store.put("interaction", interaction.id, asdict(interaction))


def _load(body: dict[str, Any]) -> Interaction:
    return Interaction(**{**body, "faults": [Fault(**fault) for fault in body["faults"]]})


def _disguised(interaction: Interaction, status: str, looks: int) -> str:
    """Return what is shown instead of the end, when it has been looked at `looks` times before."""
    regress, unknown = interaction.fault("regress"), interaction.fault("unknown-status")
    if regress is not None and 0 < looks <= (regress.lasts or 0):
        return "in_progress"
    if unknown is not None and unknown.lasts is not None and looks >= unknown.lasts:
        return "completed"
    return status
