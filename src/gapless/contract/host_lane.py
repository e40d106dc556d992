"""A host's lane: whoever wants something of a host waits there, so that the host is asked by one at a time."""

import hashlib
from abc import ABC, abstractmethod
from datetime import timedelta
from enum import StrEnum

from pydantic import Field
from temporalio import activity, workflow

from gapless.contract.advice import Answered
from gapless.contract.interaction import Digest, Model
from gapless.contract.link_audit import (
    Advice,
    AgentReport,
    AuditOutcome,
    Crawled,
    CrawlProgress,
    Judgement,
    LinkAuditRequest,
    Unseen,
)
from gapless.contract.queues import TaskQueue

MAX_WAITING = 1000
"""Pieces that wait in one lane: each is a few hundred bytes of its state."""

CRAWLING = frozenset({"crawl", "crawl_in_lane"})
"""Names of the activity in which an audit shows how far its crawl has come: without a lane, and with one."""
WAITS_ALREADY = "WaitsAlready"
"""Type of the error with which a lane answers who asks again."""


class Asker(Model):
    """A run that may have pieces in a lane, or one activity of it."""

    workflow_id: str
    run_id: str
    activity_id: str | None = None


class Caller(Asker):
    """The activity of a run that waits for its piece. It is the piece's token, too: asked twice, it waits once."""

    activity_id: str


class Work(StrEnum):
    """What is done of a host; a look is at addresses that others link to.

    Verdicts and advice are checked with the report; alone only for audits that began before that was so.
    """

    CRAWL = "crawl"
    JUDGE = "judge"
    ADVICE = "advice"
    REPORT = "report"
    LOOK = "look"


class Piece(Model):
    """A piece of work on one host.

    `judgement` names the stored `Judgement`, `Answered` or `Conclusion`, for pieces of those kinds. `targets` names a
    stored JSON array: what a look is at, all of it on the lane's host; `fresh` says that what other looks found lately
    does not count. `progress` is how far a crawl or a look has come, and `idle` in how many turns running it has not
    come any further.
    """

    caller: Caller
    work: Work
    request: LinkAuditRequest
    judgement: Digest | None = None
    targets: Digest | None = None
    fresh: bool = False
    progress: CrawlProgress = CrawlProgress()
    idle: int = 0


class Lane(Model):
    """A lane's state: its host, and who waits there. The first is being served."""

    host: str
    waiting: list[Piece] = Field(default_factory=list)


class Slice(Model):
    """What one turn of a piece came to.

    `over` says that nothing is left to be done: the caller has its result, or is not there any more. `rest` is how long
    the host asks to be left alone. `answers` is what a look found. With `unseen`, other hosts are looked at in their
    lanes before the piece goes on.
    """

    over: bool
    progress: CrawlProgress = CrawlProgress()
    rest: timedelta | None = None
    answers: Digest | None = None
    unseen: Unseen | None = None


class Seen(Model):
    """The end of a look: what was found, or why nothing can be. With neither, ask again: the lane has moved on."""

    answers: Digest | None = None
    refusal: str | None = None


class Refusal(Model):
    """A piece that cannot be done, and why."""

    caller: Caller
    reason: str
    type: str


def lane_id(host: str, queue: str) -> str:
    """Return the id of a host's lane: one for each namespace, and one for each private queue."""
    lane = f"lane-{hashlib.sha256(host.encode()).hexdigest()[:16]}"
    return lane if queue == TaskQueue.LINKS else f"{lane}-{queue}"


class HostLaneActivities(ABC):
    """Both ends of a lane: the first four are an audit's, the others the lane's own."""

    @activity.defn(name="crawl_in_lane")
    @abstractmethod
    async def crawl_in_lane(
        self, request: LinkAuditRequest, progress: CrawlProgress | None = None
    ) -> AuditOutcome | Crawled:
        """Ask the site's lane for a crawl; the lane completes this activity when it is done.

        `progress` is where the crawl goes on, and who asks other hosts: the crawl itself, where there is none. Where
        nobody else is asked, the report may be written already.
        """

    @activity.defn(name="judge_in_lane")
    @abstractmethod
    async def judge_in_lane(self, judgement: Judgement) -> AgentReport:
        """Ask the site's lane to check an agent's claims; the lane completes this activity when it is done."""

    @activity.defn(name="advise_in_lane")
    @abstractmethod
    async def advise_in_lane(self, answered: Answered) -> Advice:
        """Ask the site's lane to check an advisor's suggestions; the lane completes this activity when it is done."""

    @activity.defn(name="leave_lane")
    @abstractmethod
    async def leave_lane(self, request: LinkAuditRequest) -> None:
        """Take this audit's pieces out of the lane; on return, nothing is fetched for it any more."""

    @activity.defn(name="serve")
    @abstractmethod
    async def serve(self, piece: Piece) -> Slice:
        """Work on a piece until it is done or its turn is over, and tell its caller."""

    @activity.defn(name="refuse")
    @abstractmethod
    async def refuse(self, refusal: Refusal) -> None:
        """Tell the caller that its piece cannot be done."""


@workflow.defn(name="HostLane")
class HostLane(ABC):
    """Serves the pieces of one host, one at a time, in turns; it ends when nobody waits."""

    @workflow.run
    @abstractmethod
    async def run(self, lane: Lane) -> None:
        """Serve who waits."""

    @workflow.update
    @abstractmethod
    async def ask(self, piece: Piece) -> int:
        """Wait for a turn; returns how many are before it. It fails when the piece waits already, or too many do."""

    @workflow.update
    @abstractmethod
    async def look(self, piece: Piece) -> Seen:
        """Wait for a turn, and for what comes of it. It fails when too many wait; asked again, the piece waits once."""

    @workflow.update
    @abstractmethod
    async def leave(self, asker: Asker) -> None:
        """Take the pieces of a run out; returns when none of them is worked on any more."""
