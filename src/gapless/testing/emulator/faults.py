"""Faults that can be switched on, and what the client sees of each.

One interaction gets a fault by its labels: `gapless-fault` names it, `gapless-fault-times` says how often,
`gapless-fault-seconds` how long, `gapless-fault-operation` on which call (default `create`). Others come from
the control API: `{"fault", "times" | "rate", "operation"?, "seconds"?, "count"?}`, where `times` is how many
requests or interactions get it, and `count` how many GETs or cancels of one interaction it lasts for.
In a label's number `_` is the decimal point, which labels may not contain: `0_5` is a half.
"""

import asyncio
import hashlib
import json
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gapless.testing.emulator.store import Store
from gapless.testing.emulator.wire import ApiError, Dropped, Torn, error_body

REQUEST_FAULTS = {
    "status-NNN": "any 4xx or 5xx, such as status-408, status-409, status-429, with Retry-After: `seconds` "
    "(default 1; 0 leaves the header out); nothing is done, nothing created",
    "5xx-before": "503, with Retry-After if `seconds` are given; nothing is done, nothing created",
    "5xx-after": "503, although the request was carried out",
    "answer-lost-before": "the connection is closed without a byte of an answer; nothing is done, nothing created",
    "answer-lost": "the request is carried out, then the connection is closed without a byte of an answer",
    "hang": "the request is carried out and never answered, until the client gives up or `seconds` are over "
    "(default 600)",
    "slow": "the request is carried out and answered `seconds` later (default 5)",
    "reset-mid-body": "the request is carried out; its answer breaks off in the middle of the body by a reset",
    "malformed-200": "200 with JSON that is cut off in the middle; the request is carried out",
    "empty-200": "200 with `{}`; the request is carried out",
    "error-200": "200 with an error as body; the request is carried out",
}
"""Faults of one request of any operation."""

INTERACTION_FAULTS = {
    "404-after-accept": "GET gives 404 for the first `count` GETs (default 2), or for `seconds` after create",
    "404-forever": "GET gives 404, always",
    "stuck-queued": "queued for ever, unless cancelled",
    "stuck-running": "in_progress for ever, unless cancelled",
    "regress": "after the first terminal answer, `count` GETs (default 2) say in_progress again",
    "usage-missing": "the first `count` terminal answers (default 1) have no usage",
    "oversized": "the answer's text is `count` MB long (default 5)",
    "cancel-refused": "cancel gives 404 `Method not found` (the first `count` times, default always)",
    "cancel-late": "cancel answers `cancelled`, yet the next `count` GETs (default 2) say in_progress",
    "ends-failed": "ends as failed, with errors[]",
    "ends-incomplete": "ends as incomplete, with half of the text",
    "ends-budget-exceeded": "ends as budget_exceeded, with half of the text",
    "ends-requires-action": "ends as requires_action, with a function call that waits for its result",
    "ends-cancelled": "ends as cancelled without anybody having asked for it",
    "unknown-status": "ends as paused_for_review, which no client knows (for `count` GETs, default for ever)",
}
"""Faults of one interaction, decided when it is created."""

FAULTS = REQUEST_FAULTS | INTERACTION_FAULTS
OPERATIONS = ("create", "get", "cancel", "delete", "environments", "files", "download")

_STATUS = re.compile(r"status-([45]\d\d)")
_COUNTS = {"404-after-accept": 2, "regress": 2, "usage-missing": 1, "oversized": 5, "cancel-late": 2}
_SECONDS = {"hang": 600.0, "slow": 5.0}


@dataclass(frozen=True)
class Fault:
    """A fault that is switched on; its fields are described at the top of this module.

    Raises:
        ApiError: 400, there is no such fault or operation.
    """

    name: str
    operation: str = "create"
    times: int | None = None
    rate: float | None = None
    seconds: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        named = self.name in FAULTS and self.name != "status-NNN"
        if not named and not _STATUS.fullmatch(self.name):
            raise ApiError(400, f"no fault is called {self.name!r}; there are: {', '.join(sorted(FAULTS))}")
        if self.operation not in OPERATIONS:
            raise ApiError(400, f"no operation is called {self.operation!r}; there are: {OPERATIONS}")
        if self.of_interaction and self.operation != "create":
            raise ApiError(400, f"{self.name} is decided at create, not at {self.operation}")

    @property
    def of_interaction(self) -> bool:
        """Whether it belongs to an interaction rather than to a request."""
        return self.name in INTERACTION_FAULTS

    @property
    def refusal(self) -> int | None:
        """The status with which the request is refused before anything is done."""
        match = _STATUS.fullmatch(self.name)
        return int(match[1]) if match else 503 if self.name == "5xx-before" else None

    @property
    def before(self) -> bool:
        """Whether it strikes before anything is done."""
        return self.refusal is not None or self.name == "answer-lost-before"

    @property
    def lasts(self) -> int | None:
        """For how many GETs, cancels or MB of its interaction; None is for ever."""
        return _COUNTS.get(self.name) if self.count is None else self.count


def label_number(labels: dict[str, str], name: str) -> float | None:
    """Return the number in a label, or None.

    Raises:
        ApiError: 400, it is not a number.
    """
    value = labels.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"\d+(_\d+)?", value):
        raise ApiError(400, f"label {name} must be a number such as 3 or 0_5, not {value!r}")
    return float(value.replace("_", "."))


def labelled(labels: dict[str, str]) -> Fault | None:
    """Return the fault that an interaction's labels ask for.

    Raises:
        ApiError: 400, they ask for something that does not exist.
    """
    if "gapless-fault" not in labels:
        return None
    times = label_number(labels, "gapless-fault-times")
    fault = Fault(
        labels["gapless-fault"],
        operation=labels.get("gapless-fault-operation", "create"),
        seconds=label_number(labels, "gapless-fault-seconds"),
        count=None if times is None else int(times),
    )
    once = fault.before or fault.operation != "create"
    return replace(fault, times=fault.count if fault.count is not None else 1 if once else None)


class Pending:
    """Faults that wait for requests; each request takes the first that is meant for it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, fault: Fault) -> None:
        """Switch a fault on; without times and rate it happens once."""
        if fault.times is None and fault.rate is None:
            fault = replace(fault, times=1)
        self._store.put("fault", f"{self._store.count('faults'):08}", asdict(fault))

    def clear(self) -> None:
        """Switch off all faults that have not happened yet."""
        for key, _ in self._store.all("fault"):
            self._store.remove("fault", key)

    def take(self, operation: str, *, of_interaction: bool = False) -> Fault | None:
        """Return the first fault for this operation, and count it off."""
        for key, body in self._store.all("fault"):
            fault = Fault(**body)
            if fault.operation != operation or fault.of_interaction != of_interaction:
                continue
            if fault.rate is not None and random.random() >= fault.rate:
                continue
            if fault.times is not None:
                self._count_off(key, fault, fault.times)
            return fault
        return None

    def _count_off(self, key: str, fault: Fault, times: int) -> None:
        if times > 1:
            self._store.put("fault", key, asdict(replace(fault, times=times - 1)))
        else:
            self._store.remove("fault", key)

    def repeated(self, fault: Fault, request: Any) -> Fault | None:
        """Return a labelled fault of create until it happened `times` to this same request; then start anew."""
        if fault.times is None:
            return fault
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        name = f"repeated.{digest}"
        happened = self._store.count(name)
        if happened <= fault.times:
            return fault
        self._store.count(name, -happened)
        return None


async def disturb(fault: Fault | None, request: Request, act: Callable[[], Awaitable[Response]]) -> Response:
    """Carry out a request as its fault allows, and answer as its fault demands."""
    if fault is not None and fault.before:
        return Dropped() if fault.refusal is None else _refused(fault, fault.refusal)
    response = await act()
    if fault is None:
        return response
    if fault.name in _SECONDS:
        over = await _wait(request, _SECONDS[fault.name] if fault.seconds is None else fault.seconds)
        return response if over and fault.name == "slow" else Dropped()
    return _spoiled(fault.name, response)


def _spoiled(name: str, response: Response) -> Response:
    """Return what is answered in place of the right answer."""
    body = bytes(response.body)
    match name:
        case "answer-lost":
            return Dropped()
        case "reset-mid-body":
            return Torn(response)
        case "5xx-after":
            return JSONResponse(error_body(503, "The service is currently unavailable."), 503)
        case "malformed-200":
            return Response(body[: max(1, len(body) // 2)], media_type="application/json")
        case "empty-200":
            return JSONResponse({})
        case _:
            return JSONResponse(error_body(500, "Internal error encountered."))


def _refused(fault: Fault, status: int) -> Response:
    wait = fault.seconds if fault.seconds is not None else 0 if fault.name == "5xx-before" else 1
    message = f"refused by the fault {fault.name}; nothing was done"
    return JSONResponse(error_body(status, message), status, headers={"retry-after": f"{wait:g}"} if wait else None)


async def _wait(request: Request, seconds: float) -> bool:
    """Wait until `seconds` are over, or return False as soon as the client is gone."""
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return True
    return False
