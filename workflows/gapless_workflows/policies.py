"""Every timeout and every retry of the project."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType


class Policy(TypedDict, total=False):
    """The part of Temporal's `ActivityConfig` that is policy; what depends on the run is given at the call."""

    activity_id: str
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


SUBMIT: Policy = {
    "start_to_close_timeout": timedelta(minutes=12),  # longer than the longest HTTP timeout that can be set
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(maximum_attempts=1),
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}
"""One attempt: Temporal must never repeat a POST that nobody knows the end of."""

REFUSALS = 5
"""How often a refused submission is sent again."""
REFUSAL_BACKOFF = timedelta(seconds=2)
"""The wait after the first refusal or loss, doubled for each further one, where the provider names none."""

POLL: Policy = {
    "activity_id": "poll",
    "start_to_close_timeout": timedelta(minutes=12),  # as for SUBMIT; a killed worker is noticed by its silence
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
    ),
}
"""No limit on attempts: the deadline is schedule_to_close, set for each run."""

FETCH: Policy = {
    "start_to_close_timeout": timedelta(minutes=10),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=20
    ),
}

FETCH_LIMIT = timedelta(hours=1)
"""For all attempts together."""

CANCEL: Policy = {
    "start_to_close_timeout": timedelta(seconds=120),  # a POST and a GET, 45 s each at the most
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
}
CANCEL_LIMIT = timedelta(minutes=5)
"""Best effort and bounded: a provider that does not answer must not keep a cancelled run open."""

CRAWL_LIMIT = timedelta(hours=11)
"""For all attempts together; with what follows it stays below the 12 hours that a scheduled audit has by default."""
JUDGE_LIMIT = timedelta(minutes=30)
REPORT_LIMIT = timedelta(minutes=25)

CRAWL: Policy = {
    "start_to_close_timeout": CRAWL_LIMIT,
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=50),
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}

SERVE: Policy = CRAWL
"""A turn in a lane. Its cancellation is waited for: its end is the next one's start."""
LANE_SLICE = timedelta(seconds=60)
"""How long a piece has its turn when others wait."""
LANE_DOUBLINGS = 6
"""How often a turn is doubled at the most, after turns in which nothing was achieved."""
LANE_FIRST_ASK = timedelta(seconds=30)
"""How long a lane that was just started waits for the ask that started it."""
LANE_LEFT = timedelta(seconds=30)
"""How long whoever leaves a lane waits for the end of its turn."""

IN_LANE: Policy = {
    "start_to_close_timeout": timedelta(minutes=1),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
    "cancellation_type": ActivityCancellationType.TRY_CANCEL,
}
"""An audit's activity that the lane completes. When it has not done so within the timeout, it is asked again, which
changes nothing for a lane that is there, and starts one that was lost anew. That leaves no event on either side."""
LEAVE: Policy = {
    "start_to_close_timeout": timedelta(seconds=40),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
}
LEAVE_LIMIT = timedelta(minutes=1)
"""Best effort: a lane that is not told sees at the next heartbeat that nobody waits any more."""
REFUSE_LIMIT = timedelta(minutes=10)
"""For all attempts to tell an audit that its piece cannot be done; after that, it asks again."""

_PATIENT = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
"""No limit on attempts: workers that are replaced must not use them up."""

JUDGE: Policy = {
    "start_to_close_timeout": JUDGE_LIMIT,
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": _PATIENT,
}

REPORT: Policy = {
    "start_to_close_timeout": timedelta(minutes=10),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": _PATIENT,
}

REFUSE: Policy = {"start_to_close_timeout": timedelta(seconds=30), "retry_policy": _PATIENT}

LOOK_ELSEWHERE: Policy = {
    "start_to_close_timeout": timedelta(minutes=5),  # an attempt waits for half a minute
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": _PATIENT,
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}
LOOK_ELSEWHERE_LIMIT = timedelta(hours=1)
"""For all attempts together: after three quarters of it, the activity makes do with what has answered."""

RECHECK: Policy = {**LOOK_ELSEWHERE, "start_to_close_timeout": timedelta(minutes=30)}
RECHECK_LIMIT = timedelta(hours=1)
"""For all attempts of one look at what was broken on other hosts."""

ADMIT: Policy = {
    "start_to_close_timeout": timedelta(minutes=2),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": _PATIENT,
}
ADMIT_LIMIT = timedelta(minutes=30)
"""For all attempts together, and for a worker that asks agents to turn up."""

AGENT_DEADLINE = timedelta(hours=2)
"""How long an agent may take."""
AGENT_HELD = timedelta(hours=1)
"""How long an agent's run is held for a person, while the audit waits."""
AGENT_LIMIT = AGENT_DEADLINE + AGENT_HELD + FETCH_LIMIT + CANCEL_LIMIT + timedelta(minutes=10)
"""For the agent's run as a whole: longer than it takes by its own limits, for when nobody works on it at all."""

ADVICE_TOTAL = timedelta(hours=1)
"""For all that is done about advice: the report waits for it."""
ADVICE_LEAST = timedelta(minutes=10)
"""An audit that has to end so soon goes without advice."""
ADVICE_DUE_LIMIT = timedelta(minutes=10)
ADVICE_DEADLINE = timedelta(minutes=30)
"""How long an advisor may take."""
ADVICE_HELD = timedelta(minutes=10)
ADVICE_LIMIT = ADVICE_DEADLINE + ADVICE_HELD + FETCH_LIMIT + CANCEL_LIMIT + timedelta(minutes=10)
"""For the advisor's run as a whole, as for an agent's."""
