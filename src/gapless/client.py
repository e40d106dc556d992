"""What a service uses: start, watch, await, cancel."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import time
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import urlsplit
from uuid import uuid4

from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue as TaskQueueMessage
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError, is_cancelled_exception
from temporalio.service import RPCError, RPCStatusCode

from gapless import devserver
from gapless.artifacts import ArtifactStore
from gapless.config import Settings
from gapless.contract import attributes
from gapless.contract.interaction import (
    Interaction,
    InteractionRequest,
    InteractionStatus,
    Model,
    Outcome,
    Request,
    Resolution,
)
from gapless.contract.link_audit import AuditOutcome, LinkAudit, LinkAuditRequest, Revision
from gapless.contract.queues import TaskQueue
from gapless.errors import ConfigurationError, GaplessError
from gapless.payloads import data_converter, encrypts
from gapless.providers.base import check_known
from gapless.text import cell, clip

T = TypeVar("T", bound=Model)

LARGE = 200_000
"""Bytes; Temporal's external storage takes over above 256 KiB of payload."""
MAX_PATH = 200
POLLER_MEMORY = 75
"""Seconds: Temporal's long poll takes up to 60."""


class RunNotFound(GaplessError):
    """There is no run of this id; see `gapless list`."""


class RunFailed(GaplessError):
    """The run ended without an outcome."""


class RunCancelled(RunFailed):
    """The run was cancelled."""


class NotHeld(GaplessError):
    """There is nothing to resolve: the run is not held."""


class IdTaken(GaplessError):
    """The id belongs to a run with another request. That run goes on unchanged."""


@dataclass(frozen=True)
class Pending:
    """An activity that has not ended: which attempt, what it beat last, why the last attempt ended."""

    activity: str
    started: bool
    attempt: int
    heartbeat: Mapping[str, Any]
    last_failure: str | None


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands, as the Temporal server knows it; no worker is needed to ask."""

    id: str
    kind: str
    queue: str
    state: str
    closed: bool
    completed: bool
    """Closed with an outcome."""
    started: datetime
    provider: str | None = None
    target: str | None = None
    interaction_id: str | None = None
    job: str | None = None
    pending: list[Pending] = field(default_factory=list)


class Run(Generic[T]):
    """A run that was started: `id` names it for ever, `url` is its page in the Temporal UI, where there is one."""

    def __init__(
        self, gapless: "Gapless", handle: WorkflowHandle[Any, T], *, attached: bool, queue: str | None = None
    ) -> None:
        self._gapless = gapless
        self._handle = handle
        self.id = handle.id
        self.url = gapless.server.run_url(handle.id)
        self.attached = attached
        """Whether the run was there before, and nothing new was started."""
        self.queue = queue
        """The task queue that it was started on; None when it was there before."""

    async def result(self) -> T:
        """Wait for the outcome.

        Raises:
            RunCancelled, RunFailed: it ended without one.
            RunNotFound: there is no such run.
        """
        try:
            return await self._handle.result()
        except WorkflowFailureError as error:
            if is_cancelled_exception(error.cause):
                raise RunCancelled(f"{self.id} was cancelled") from None
            raise RunFailed(f"{self.id} failed: {_innermost(error)}") from None
        except RPCError as error:
            raise _not_found(self.id, error) from None

    async def status(self) -> RunStatus:
        """Ask where the run stands.

        Raises:
            RunNotFound: there is no such run.
        """
        try:
            return await _status(await self._handle.describe())
        except RPCError as error:
            raise _not_found(self.id, error) from None

    async def watch(self, every: float = 1.0) -> AsyncIterator[RunStatus]:
        """Yield the status every so many seconds, when it has changed, until the run has ended."""
        last: RunStatus | None = None
        while True:
            status = await self.status()
            if status != last:
                yield status
            if status.closed:
                return
            last = status
            await asyncio.sleep(every)

    async def cancel(self) -> None:
        """Ask the run to stop; what runs at the provider is stopped, too."""
        try:
            await self._handle.cancel()
        except RPCError as error:
            raise _not_found(self.id, error) from None

    async def resolve(self, resolution: Resolution) -> InteractionStatus:
        """Decide about a held submission.

        Raises:
            NotHeld: the run does not wait for a decision.
        """
        try:
            return await self._handle.execute_update(Interaction.resolve, resolution)
        except WorkflowUpdateFailedError as error:
            raise NotHeld(_innermost(error)) from None
        except RPCError as error:
            raise _not_found(self.id, error) from None


class Gapless:
    """A connection to Temporal and to the artifact store.

    Interactions and audits are started with an id of the caller's choosing: a repeated start with the same id and
    request attaches to the first run, also when that has ended, for as long as the cluster keeps it.
    """

    def __init__(self, client: Client, server: devserver.Server, settings: Settings) -> None:
        self.client = client
        self.server = server
        self.settings = settings
        self.artifacts = ArtifactStore.of(settings)

    @classmethod
    async def connect(cls, settings: Settings | None = None, *, say: Callable[[str], None] = lambda _: None) -> Self:
        """Connect to the cluster that the environment names, else to a local dev server, started if need be.

        Raises:
            NotReachable: there is no server, and none could be started.
            ConfigurationError: the settings do not fit.
        """
        settings = settings or Settings.load()
        converter = data_converter(ArtifactStore.of(settings))
        server = await devserver.ensure(settings, say=say)
        return cls(await devserver.connect(settings, server, data_converter=converter), server, settings)

    @overload
    async def start(
        self,
        request: InteractionRequest,
        *,
        id: str | None = None,
        rerun: bool = False,
        job: str | None = None,
        queue: str | None = None,
    ) -> Run[Outcome]: ...
    @overload
    async def start(
        self,
        request: LinkAuditRequest,
        *,
        id: str | None = None,
        rerun: bool = False,
        job: str | None = None,
        queue: str | None = None,
    ) -> Run[AuditOutcome]: ...

    async def start(
        self,
        request: InteractionRequest | LinkAuditRequest,
        *,
        id: str | None = None,  # noqa: A002 - Temporal's name for it
        rerun: bool = False,
        job: str | None = None,
        queue: str | None = None,
    ) -> Run[Any]:
        """Start a run, or attach to the one that has this id.

        Without an id an interaction gets a random one; an audit is named after its site, and then `rerun` holds:
        attach while one runs, and run again after that.

        Raises:
            ConfigurationError: no such provider, or a sensitive request without encryption; nothing was started.
            IdTaken: a run of this id has another request.
        """
        check_known(request.provider)
        plan = _plan(request)
        self._refuse_in_clear(request)
        self._refuse_unreachable(request)
        fingerprint = _fingerprint(request)
        again = rerun or id is None
        indexed = request if isinstance(request, InteractionRequest) else None
        reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE
        try:
            handle: WorkflowHandle[Any, Any] = await self.client.start_workflow(
                plan.workflow,
                request,
                id=id or plan.id,
                task_queue=queue or plan.queue,
                id_reuse_policy=reuse,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                memo={"request": fingerprint},
                search_attributes=attributes.at_start(job, indexed),
                static_summary=clip(cell(plan.summary)),
                static_details=plan.details,
            )
        except WorkflowAlreadyStartedError as error:
            return await self._attach(error.workflow_id, plan.result_type, fingerprint)
        except RPCError as error:
            raise _refused(error) from None
        return Run(self, handle, attached=False, queue=queue or plan.queue)

    def _refuse_in_clear(self, request: Request) -> None:
        """Refuse a sensitive request that would be kept as it is."""
        sensitive = isinstance(request, InteractionRequest) and request.sensitive
        if sensitive and not (encrypts(self.client.data_converter) and self.artifacts.keys):
            raise ConfigurationError(
                "a sensitive request is kept encrypted only: set GAPLESS_ENCRYPTION_KEY here and on the workers; "
                "nothing was started"
            )

    def _refuse_unreachable(self, request: Request) -> None:
        """Refuse a request that would travel through a store which the workers of a cluster cannot see."""
        local = self.settings.artifacts_url.startswith("file:") and not self.server.ours
        if local and len(request.model_dump_json()) > LARGE:
            raise ConfigurationError(
                f"a request of more than {LARGE} bytes goes through the artifact store, and that is a folder of this "
                "machine: set GAPLESS_ARTIFACTS to a store that the workers share"
            )

    async def _attach(self, id: str, result_type: type, fingerprint: str) -> Run[Any]:  # noqa: A002
        handle: WorkflowHandle[Any, Any] = self.client.get_workflow_handle(id, result_type=result_type)
        if await (await handle.describe()).memo_value("request", None) != fingerprint:
            raise IdTaken(
                f"{id} is already the id of another request, which is unchanged; choose another id, or see "
                f"`gapless show {id}` and `gapless cancel {id}`"
            )
        return Run(self, handle, attached=True)

    async def run(self, id: str) -> Run[Any]:  # noqa: A002
        """Return the run of this id.

        Raises:
            RunNotFound: there is none.
        """
        try:
            description = await self.client.get_workflow_handle(id).describe()
        except RPCError as error:
            raise _not_found(id, error) from None
        kinds = {"Interaction": Outcome, "LinkAudit": AuditOutcome, "Revision": Revision}
        result_type = kinds.get(description.workflow_type)
        handle: WorkflowHandle[Any, Any] = self.client.get_workflow_handle(id, result_type=result_type)
        return Run(self, handle, attached=True)

    async def list(self, *, limit: int = 50) -> AsyncIterator[RunStatus]:
        """Yield the newest runs first."""
        query = 'WorkflowType IN ("Interaction", "LinkAudit", "Revision")'
        async for execution in self.client.list_workflows(query, limit=limit):
            yield _listed(execution)

    async def has_worker(self, queue: str) -> bool:
        """Say whether a worker polls this task queue."""
        answer = await self.client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self.client.namespace,
                task_queue=TaskQueueMessage(name=queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            )
        )
        # The server remembers pollers for minutes after they have died; a living one asks at least each minute.
        newest = max((poller.last_access_time.seconds for poller in answer.pollers), default=0)
        return time() - newest < POLLER_MEMORY


@dataclass(frozen=True)
class _Plan:
    workflow: Any
    result_type: type
    id: str
    queue: str
    summary: str
    details: str


def _plan(request: InteractionRequest | LinkAuditRequest) -> _Plan:
    """Return how a request is started."""
    if isinstance(request, InteractionRequest):
        limits = request.limits
        prompt = "a sensitive prompt" if request.sensitive else request.input
        details = (
            f"{cell(request.provider)}, {cell(request.target)}; deadline {limits.deadline}; "
            f"a lost submission: {request.on_lost_submission}\n\n{cell(prompt, 2000)}"
        )
        summary = " ".join(f"{request.target}: {prompt}".split())
        return _Plan(Interaction.run, Outcome, f"interaction-{uuid4()}", TaskQueue.INTERACTIONS, summary, details)
    agent = f"agent {request.agent}" if request.agent else "no agent"
    agent += f", advice by {request.advisor}" if request.advisor else ""
    scope = f"up to {request.max_pages} pages; links to other hosts {'checked' if request.external else 'left alone'}"
    return _Plan(
        LinkAudit.run,
        AuditOutcome,
        audit_id(request.url),
        TaskQueue.LINKS,
        f"link audit of {request.url}",
        f"{cell(request.url)}; {scope}; {cell(agent)}",
    )


def _fingerprint(request: Request) -> str:
    """Return what tells requests apart: defaults left out, so that a release with a new one changes nothing."""
    plain = json.dumps(request.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def audit_id(url: str) -> str:
    """Return the id of a site's audit: its host, port and path; a long path is cut, and told apart by a hash."""
    parts = urlsplit(url)
    path = parts.path.strip("/").replace("/", "-")
    if len(path) > MAX_PATH:
        path = f"{path[:MAX_PATH]}-{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    return f"audit-{parts.netloc}" + (f"-{path}" if path else "")


async def _status(description: WorkflowExecutionDescription) -> RunStatus:
    pending = []
    for activity in description.raw_description.pending_activities:
        converter = description.data_converter
        beats = await converter.decode(activity.heartbeat_details.payloads)
        failure = await converter.decode_failure(activity.last_failure) if activity.HasField("last_failure") else None
        pending.append(
            Pending(
                activity=activity.activity_type.name,
                started=activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
                attempt=activity.attempt,
                heartbeat=beats[0] if beats else {},
                last_failure=_message(failure) if failure else None,
            )
        )
    return _listed(description, pending)


def _listed(execution: WorkflowExecution, pending: list[Pending] | None = None) -> RunStatus:
    found = execution.typed_search_attributes
    closed = execution.status is not WorkflowExecutionStatus.RUNNING
    completed = execution.status is WorkflowExecutionStatus.COMPLETED
    unindexed = "not started" if execution.workflow_type != "Revision" else "succeeded" if completed else "running"
    state = found.get(attributes.STATE) or unindexed
    if closed and not completed and execution.status is not None:
        state = "cancelled" if execution.status is WorkflowExecutionStatus.CANCELED else execution.status.name.lower()
    return RunStatus(
        id=execution.id,
        kind=execution.workflow_type,
        queue=execution.task_queue,
        state=state,
        closed=closed,
        completed=completed,
        started=execution.start_time,
        provider=found.get(attributes.PROVIDER),
        target=found.get(attributes.MODEL),
        interaction_id=found.get(attributes.INTERACTION_ID),
        job=found.get(attributes.JOB),
        pending=pending or [],
    )


def _not_found(id: str, error: RPCError) -> GaplessError:  # noqa: A002
    if error.status is RPCStatusCode.NOT_FOUND:
        return RunNotFound(f"there is no run {id!r}; see `gapless list`")
    return GaplessError(f"Temporal did not answer as expected: {error.message}")


def _refused(error: RPCError) -> GaplessError:
    """Tell what Temporal will not take from what it cannot answer."""
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return ConfigurationError(f"Temporal does not take it: {error.message}")
    return GaplessError(f"Temporal did not start the run: {error.message}")


def _innermost(error: BaseException) -> str:
    while isinstance(cause := getattr(error, "cause", None), BaseException):
        error = cause
    return _message(error)


def _message(error: BaseException) -> str:
    """Return what an error says, without the type that Temporal puts before it."""
    return error.message if isinstance(error, ApplicationError) else str(error)
