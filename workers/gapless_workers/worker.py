"""A worker: workflows and activities on their task queues, stopped without dropping a POST in flight."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.worker import Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import gapless
from gapless.artifacts import ArtifactStore
from gapless.config import Settings
from gapless.contract.queues import TaskQueue
from gapless_activities.advice import Advisors
from gapless_activities.conclusions import Conclusions
from gapless_activities.elsewhere import OtherHosts
from gapless_activities.interactions import ProviderActivities
from gapless_activities.lanes import LaneActivities
from gapless_activities.links import AuditActivities
from gapless_workers.context import LogContext
from gapless_workflows.host_lane import HostLaneWorkflow
from gapless_workflows.interaction import InteractionWorkflow
from gapless_workflows.link_audit import LinkAuditWorkflow
from gapless_workflows.revision import RevisionWorkflow

log = structlog.get_logger()

HEARTBEAT_THROTTLE = timedelta(milliseconds=20)
"""The SDK's own throttle is up to 60 s, in which a killed worker would take the interaction's id with it."""
RUNNER: WorkflowRunner = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules("gapless", "structlog")
)


@dataclass(frozen=True)
class _Wares:
    workflows: list[type]
    activities: list[Any]


def _wares(
    queue: str,
    interactions: ProviderActivities,
    audits: AuditActivities,
    advisors: Advisors,
    lanes: LaneActivities,
    others: OtherHosts,
    conclusions: Conclusions,
) -> _Wares:
    """Return what is served on a queue: its own part on ours, everything on a run's private one."""
    tasks = _Wares(
        [InteractionWorkflow],
        [interactions.submit, interactions.poll, interactions.fetch, interactions.cancel, audits.admit_agent],
    )  # admission needs the provider's settings, which only these workers may have
    links = _Wares(
        [LinkAuditWorkflow, HostLaneWorkflow, RevisionWorkflow],
        [
            *(audits.crawl, audits.judge, audits.report, advisors.advice_due),
            *(others.look_elsewhere, others.recheck, conclusions.report_in_lane),
            *(lanes.crawl_in_lane, lanes.judge_in_lane, lanes.advise_in_lane, lanes.leave_lane),
            *(lanes.serve, lanes.refuse),
        ],
    )
    if queue == TaskQueue.INTERACTIONS:
        return tasks
    if queue == TaskQueue.LINKS:
        return links
    return _Wares(tasks.workflows + links.workflows, tasks.activities + links.activities)


@asynccontextmanager
async def worker(
    client: Client,
    settings: Settings,
    queues: Sequence[str] = tuple(TaskQueue),
    *,
    engine: Process | None = None,
    interceptors: Sequence[Any] = (),
) -> AsyncIterator[None]:
    """Serve the queues until the block is left; a POST in flight is then waited for.

    Args:
        client: of the server.
        settings: of this worker.
        queues: what to serve.
        engine: a process for the first crawl, for which this worker is there; without one it makes ready to ask
            providers.
        interceptors: of activities and workflows, besides our own.

    Raises:
        ConfigurationError: the artifact store cannot be opened.
    """
    store = ArtifactStore.of(settings)
    interactions = ProviderActivities(settings, store)
    audits = AuditActivities(settings, store, engine)
    advisors = Advisors(settings, store)
    conclusions = Conclusions(store, audits, advisors)
    lanes = LaneActivities(store, audits, advisors, conclusions)
    others = OtherHosts(store, audits)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(interactions.aclose)
        stack.push_async_callback(audits.aclose)
        opening = asyncio.create_task(interactions.open_configured()) if engine is None else None
        wares = {queue: _wares(queue, interactions, audits, advisors, lanes, others, conclusions) for queue in queues}
        workers = [_worker(client, settings, queue, served, interceptors) for queue, served in wares.items()]
        for each in workers:
            await stack.enter_async_context(each)
        log.info("worker.started", queues=list(queues), namespace=client.namespace)
        try:
            yield
        finally:
            log.info("worker.stopping", queues=list(queues))
            if opening is not None:
                await asyncio.wait({opening})
            await asyncio.gather(*(each.shutdown() for each in workers))  # at once: none takes work while others drain
    log.info("worker.stopped", queues=list(queues))


def _worker(client: Client, settings: Settings, queue: str, served: _Wares, interceptors: Sequence[Any]) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=served.workflows,
        activities=served.activities,
        workflow_runner=RUNNER,
        build_id=f"gapless-{gapless.__version__}",  # the SDK's own reads the code of every module, for 0.1 s
        interceptors=[LogContext(), *interceptors],
        graceful_shutdown_timeout=timedelta(seconds=settings.submit_timeout + 5),
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
    )
