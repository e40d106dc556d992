"""The fault matrix: what can happen to one task, and what comes of it, stated beforehand. `test_matrix` drives it.

Every case is played under each kill: none; the worker; Temporal's server; both. The worst moment for a kill is when
the provider has answered and Temporal has not heard of it yet, so that is when it comes; a `hang` is killed while it
hangs. Only at `submit` does it matter whether the worker lives on: it can tell a refusal from a loss, and after its
death only the heartbeat speaks, which has the id if there was one.

The task is an agent's that writes `answer.md`. A success has that file whole, the text, and the usage. A held run is
decided by somebody who looks at the provider: adopted if the task was created, else sent again.
"""

from dataclasses import dataclass
from typing import Literal

KILLS = ("none", "worker", "server", "both")

MOMENTS = {"submit": "create", "poll": "get", "fetch list": "files", "fetch file": "download", "cancel": "cancel"}
"""When a fault strikes, and the provider's operation that it strikes."""


@dataclass(frozen=True)
class Fault:
    """A fault of the emulator; see there for `seconds` and `count`."""

    name: str
    seconds: float | None = None
    count: int | None = None
    at_the_end: bool = False
    """Whether a poll sees it only when the interaction has ended."""


FAULTS: dict[str, Fault | None] = {
    "no fault": None,
    "answer lost before accept": Fault("answer-lost-before"),
    "answer lost after accept": Fault("answer-lost"),
    "408": Fault("status-408", seconds=0),
    "409": Fault("status-409", seconds=0),
    "429 with Retry-After": Fault("status-429", seconds=3),
    "429 without Retry-After": Fault("status-429", seconds=0),
    "500": Fault("status-500", seconds=0),
    "503 before accept": Fault("5xx-before"),
    "503 after accept": Fault("5xx-after"),
    "hang": Fault("hang"),
    "reset mid-body": Fault("reset-mid-body"),
    "malformed 200": Fault("malformed-200"),
    "404 for a while": Fault("404-after-accept", seconds=20),
    "404 for ever": Fault("404-forever"),
    "stuck queued": Fault("stuck-queued"),
    "stuck running": Fault("stuck-running"),
    "regress from terminal": Fault("regress", count=1_000, at_the_end=True),
    "usage missing": Fault("usage-missing", count=2, at_the_end=True),
    "cancel refused": Fault("cancel-refused"),
    "oversized result": Fault("oversized", count=5, at_the_end=True),
}

Held = Literal["", "adopted", "sent again"]
"""How a held run went on; empty if it was never held."""


@dataclass(frozen=True)
class Case:
    """A fault at a moment, and its end: how many interactions were created, and how many run on in the end."""

    fault: str
    moment: str
    held: Held
    held_after_kill: Held
    """The same when the worker was killed."""
    end: str
    """The state, and the failure's kind if there is one."""
    created: int
    running: int


# fmt: off
CASES = [
    #     fault                        moment        held          …worker killed  end                          created, running
    Case("no fault",                   "submit",     "",           "",             "succeeded",                       1, 0),
    Case("answer lost before accept",  "submit",     "sent again", "sent again",   "succeeded",                       1, 0),
    Case("answer lost after accept",   "submit",     "adopted",    "adopted",      "succeeded",                       1, 0),
    Case("408",                        "submit",     "sent again", "sent again",   "succeeded",                       1, 0),
    Case("409",                        "submit",     "sent again", "sent again",   "succeeded",                       1, 0),
    Case("429 with Retry-After",       "submit",     "",           "sent again",   "succeeded",                       1, 0),
    Case("429 without Retry-After",    "submit",     "",           "sent again",   "succeeded",                       1, 0),
    Case("500",                        "submit",     "sent again", "sent again",   "succeeded",                       1, 0),
    Case("503 before accept",          "submit",     "sent again", "sent again",   "succeeded",                       1, 0),
    Case("503 after accept",           "submit",     "adopted",    "adopted",      "succeeded",                       1, 0),
    Case("hang",                       "submit",     "adopted",    "adopted",      "succeeded",                       1, 0),
    Case("reset mid-body",             "submit",     "adopted",    "adopted",      "succeeded",                       1, 0),
    Case("malformed 200",              "submit",     "adopted",    "adopted",      "succeeded",                       1, 0),

    Case("no fault",                   "poll",       "",           "",             "succeeded",                       1, 0),
    Case("answer lost before accept",  "poll",       "",           "",             "succeeded",                       1, 0),
    Case("408",                        "poll",       "",           "",             "succeeded",                       1, 0),
    Case("409",                        "poll",       "",           "",             "succeeded",                       1, 0),
    Case("429 with Retry-After",       "poll",       "",           "",             "succeeded",                       1, 0),
    Case("429 without Retry-After",    "poll",       "",           "",             "succeeded",                       1, 0),
    Case("500",                        "poll",       "",           "",             "succeeded",                       1, 0),
    Case("503 before accept",          "poll",       "",           "",             "succeeded",                       1, 0),
    Case("hang",                       "poll",       "",           "",             "succeeded",                       1, 0),
    Case("reset mid-body",             "poll",       "",           "",             "succeeded",                       1, 0),
    Case("malformed 200",              "poll",       "",           "",             "succeeded",                       1, 0),
    Case("404 for a while",            "poll",       "",           "",             "succeeded",                       1, 0),
    Case("404 for ever",               "poll",       "",           "",             "expired: expired",                1, 0),
    Case("stuck queued",               "poll",       "",           "",             "failed: queued_too_long",         1, 0),
    Case("stuck running",              "poll",       "",           "",             "failed: running_too_long",        1, 0),
    Case("regress from terminal",      "poll",       "",           "",             "succeeded",                       1, 0),
    Case("usage missing",              "poll",       "",           "",             "succeeded",                       1, 0),
    Case("oversized result",           "poll",       "",           "",             "succeeded",                       1, 0),

    Case("no fault",                   "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("answer lost before accept",  "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("408",                        "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("409",                        "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("429 with Retry-After",       "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("429 without Retry-After",    "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("500",                        "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("503 before accept",          "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("hang",                       "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("reset mid-body",             "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("malformed 200",              "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("usage missing",              "fetch list", "",           "",             "succeeded",                       1, 0),
    Case("oversized result",           "fetch list", "",           "",             "succeeded",                       1, 0),

    Case("no fault",                   "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("answer lost before accept",  "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("408",                        "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("409",                        "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("429 with Retry-After",       "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("429 without Retry-After",    "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("500",                        "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("503 before accept",          "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("hang",                       "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("reset mid-body",             "fetch file", "",           "",             "succeeded",                       1, 0),
    Case("malformed 200",              "fetch file", "",           "",             "succeeded",                       1, 0),

    Case("no fault",                   "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("answer lost before accept",  "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("answer lost after accept",   "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("408",                        "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("409",                        "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("429 with Retry-After",       "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("429 without Retry-After",    "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("500",                        "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("503 before accept",          "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("503 after accept",           "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("hang",                       "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("reset mid-body",             "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("malformed 200",              "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("404 for a while",            "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("404 for ever",               "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("stuck queued",               "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("stuck running",              "cancel",     "",           "",             "cancelled",                       1, 0),
    Case("cancel refused",             "cancel",     "",           "",             "cancelled",                       1, 1),
]
# fmt: on

LEFT_OUT = {
    "answer lost after accept": (
        "poll, fetch list, fetch file",
        "a GET changes nothing: it is the same as before the accept",
    ),
    "503 after accept": ("poll, fetch list, fetch file", "a GET changes nothing: it is the same as before the accept"),
    "404 for a while": (
        "submit, fetch list, fetch file",
        "only who asks for an interaction can miss it: poll and cancel",
    ),
    "404 for ever": ("submit, fetch list, fetch file", "only who asks for an interaction can miss it: poll and cancel"),
    "stuck queued": ("submit, fetch list, fetch file", "the first GET shows it, and without an end nothing is fetched"),
    "stuck running": (
        "submit, fetch list, fetch file",
        "the first GET shows it, and without an end nothing is fetched",
    ),
    "regress from terminal": (
        "submit, fetch list, fetch file, cancel",
        "it comes after an end; that is not asked for again, and a stopped run that says it runs is `cancel refused`",
    ),
    "usage missing": (
        "submit, fetch file, cancel",
        "it shows at the end, and is asked for again before files are listed",
    ),
    "cancel refused": ("submit, poll, fetch list, fetch file", "only a cancel can be refused"),
    "oversized result": (
        "submit, fetch file, cancel",
        "an agent is never done when it is accepted, a stopped one has no result, and its text is no file",
    ),
}
"""The combinations that cannot happen, or are others under another name, with the reason."""
