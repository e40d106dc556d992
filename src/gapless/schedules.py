"""Jobs declared in `gapless.toml`, and how they become Temporal Schedules.

    [jobs.nightly-docs]
    url = "https://docs.example.com"
    cron = "0 2 * * *"
    time_zone = "Europe/Berlin"

What the table `links` says of the crawl holds for jobs that say nothing else. `apply` creates or updates, never
duplicates; a schedule that is paused stays paused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from gapless.config import TOML
from gapless.contract import attributes
from gapless.contract.link_audit import LinkAudit, LinkAuditRequest
from gapless.contract.queues import TaskQueue
from gapless.crawl_options import read_crawl_options
from gapless.errors import ConfigurationError, GaplessError
from gapless.providers.base import check_known
from gapless.text import clip

PREFIX = "gapless-"
"""Of the ids of our schedules, so that another's are never touched."""


class JobNotFound(GaplessError):
    """There is no schedule for a job of this name; see `gapless schedules list`."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("not an IANA time zone, such as Europe/Berlin or UTC") from None
    return name


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: list[tuple[str, int, int, list[str]]] = [
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _WEEKDAYS),
]
_ITEM = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9]\d*))?", re.ASCII)


def _cron(expression: str) -> str:
    """Check a cron expression here, since Temporal would only after other jobs have been applied."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ValueError('five fields are needed: minute hour day month weekday, such as "0 2 * * *"')
    for field, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        for item in field.split(","):
            match = _ITEM.fullmatch(item)
            ends = [_number(end, low, words) for end in match.group("first", "last") if end] if match else [-1]
            if ends != sorted(ends) or not all(low <= end <= high for end in ends):
                raise ValueError(f"{item!r} is no {name} ({low} to {high})")
    return expression


def _number(text: str, low: int, words: list[str]) -> int:
    if text.lower() in words:
        return low + words.index(text.lower())
    return int(text) if text.isdigit() else -1


def _provider(name: str) -> str:
    try:
        check_known(name)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return name


JobName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$")]


class Job(LinkAuditRequest):
    """A nightly link audit: the request's own fields, and when it runs.

    A run that is due while the former one is still going is skipped. `catchup_window` says how late a run may
    start after an outage; Temporal's own default is a year.
    """

    provider: Annotated[str, AfterValidator(_provider)] = "gemini"
    cron: Annotated[str, AfterValidator(_cron)]
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    jitter: timedelta = Field(default=timedelta(minutes=5), ge=timedelta(0))
    catchup_window: timedelta = Field(default=timedelta(hours=1), ge=timedelta(seconds=10))
    execution_timeout: timedelta = Field(default=timedelta(hours=12), gt=timedelta(0))

    def request(self) -> LinkAuditRequest:
        """Return what is started each time."""
        return LinkAuditRequest(**{name: getattr(self, name) for name in LinkAuditRequest.model_fields})


@dataclass(frozen=True)
class Scheduled:
    """A schedule as Temporal holds it."""

    job: str
    url: str
    paused: bool
    next_run: datetime | None
    last_run: str | None


def read_jobs(jobs: Mapping[str, Mapping[str, Any]], links: Mapping[str, Any] | None = None) -> dict[str, Job]:
    """Check the `[jobs.*]` tables of `gapless.toml`.

    Args:
        jobs: the tables by name.
        links: the table `links`, whose options of the crawl hold where a job does not say otherwise.

    Raises:
        ConfigurationError: names the job and the field that does not fit.
    """
    options = read_crawl_options(links or {})
    try:
        return TypeAdapter(dict[JobName, Job]).validate_python(
            {name: options | dict(job) for name, job in jobs.items()}
        )
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        raise ConfigurationError(f"jobs.{where}: {problem['msg'].removeprefix('Value error, ')} ({TOML})") from None


async def apply(client: Client, name: str, job: Job) -> str:
    """Create the job's schedule or update it; returns "created" or "updated".

    Raises:
        ConfigurationError: Temporal does not take it, for example for its cron expression.
    """
    schedule = _schedule(name, job)
    try:
        return await _create_or_update(client, name, schedule)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise ConfigurationError(f"jobs.{name}: Temporal does not take it: {error.message}") from None
        raise


async def _create_or_update(client: Client, name: str, schedule: Schedule) -> str:
    try:
        await client.create_schedule(PREFIX + name, schedule, search_attributes=attributes.at_start(name))
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(PREFIX + name).update(lambda held: _update(held, schedule))
        return "updated"
    return "created"


def _update(held: ScheduleUpdateInput, schedule: Schedule) -> ScheduleUpdate:
    schedule.state = held.description.schedule.state  # paused, and why, is an operator's decision
    return ScheduleUpdate(schedule=schedule)


async def listed(client: Client) -> list[Scheduled]:
    """Return our schedules by name."""
    ids = [entry.id async for entry in await client.list_schedules() if entry.id.startswith(PREFIX)]
    found = [await _describe(client.get_schedule_handle(id_)) for id_ in ids]
    return sorted(found, key=lambda scheduled: scheduled.job)


async def trigger(client: Client, name: str) -> None:
    """Run the job now, besides its times, and beside a run that is going on.

    Raises:
        JobNotFound: no such schedule.
    """
    await _on_existing(name, client.get_schedule_handle(PREFIX + name).trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL))


async def remove(client: Client, name: str) -> None:
    """Delete the job's schedule; runs that were started go on.

    Raises:
        JobNotFound: no such schedule.
    """
    await _on_existing(name, client.get_schedule_handle(PREFIX + name).delete())


async def _on_existing(name: str, call: Any) -> None:
    try:
        await call
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise JobNotFound(f"there is no schedule for a job named {name!r} (gapless schedules list)") from None
        raise


def _schedule(name: str, job: Job) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            LinkAudit.run,
            job.request(),
            id=name,  # the server appends the nominal time
            task_queue=TaskQueue.LINKS,
            execution_timeout=job.execution_timeout,
            typed_search_attributes=attributes.at_start(name),
            static_summary=clip(f"{name}: link audit of {job.url}"),
        ),
        spec=ScheduleSpec(cron_expressions=[job.cron], jitter=job.jitter, time_zone_name=job.time_zone),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=job.catchup_window),
        state=ScheduleState(note=f"from {TOML}"),
    )


async def _describe(handle: ScheduleHandle) -> Scheduled:
    description = await handle.describe()
    info, state = description.info, description.schedule.state
    last = info.recent_actions[-1].action if info.recent_actions else None
    return Scheduled(
        job=handle.id.removeprefix(PREFIX),
        url=await _url(description),
        paused=state.paused,
        next_run=info.next_action_times[0] if info.next_action_times else None,
        last_run=last.workflow_id if isinstance(last, ScheduleActionExecutionStartWorkflow) else None,
    )


async def _url(description: ScheduleDescription) -> str:
    """Return the site of a schedule; empty when its action is not one of ours."""
    action = description.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != "LinkAudit":
        return ""
    [request] = await description.data_converter.decode(cast("Sequence[Payload]", action.args), [LinkAuditRequest])
    return str(request.url)
