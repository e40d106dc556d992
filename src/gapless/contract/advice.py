"""Advice on what an audit found broken: when it is asked for, and what it was worth."""

from abc import ABC, abstractmethod

from temporalio import activity

from gapless.contract.interaction import Model, Outcome
from gapless.contract.link_audit import Crawled, LinkAuditRequest
from gapless.contract.question import Question

AGENTS = "agents/"
"""Begins the name of an advisor that is a managed agent; any other is a model."""


class Found(Model):
    """An audit's crawl, about which advice may be asked for."""

    request: LinkAuditRequest
    crawled: Crawled


class Answered(Found):
    """What was answered to a question: `outcome` now, or what is `kept` of an earlier audit."""

    question: Question
    outcome: Outcome | None = None


class AdviceActivities(ABC):
    """What advice needs, but for the lane of the site's host, see `HostLaneActivities`."""

    @activity.defn(name="advice_due")
    @abstractmethod
    async def advice_due(self, found: Found) -> Question:
        """Say whether what is broken has changed since advice was asked for, and what to ask."""


def advice_run_id(audit_id: str) -> str:
    """Return the id of the run in which an audit asks for advice."""
    return f"advice-{audit_id}"
