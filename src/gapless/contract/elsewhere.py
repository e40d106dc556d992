"""Links to other hosts: an audit has them looked at in the lanes of these hosts, and never asks them itself."""

from abc import ABC, abstractmethod

from temporalio import activity

from gapless.contract.host_lane import Caller
from gapless.contract.interaction import Artifact, Digest, Model
from gapless.contract.link_audit import CrawlProgress, LinkAuditRequest, Revision, RevisionRequest


class Looking(Model):
    """What is to be looked at on other hosts.

    `targets` is a stored JSON array of addresses; `answers` is what is known of other hosts from earlier looks of the
    same audit. What other audits found lately counts, unless it must be `fresh`. When a lane has them looked
    at for a crawl, `caller` is who waits for that crawl, and `progress` how far it has come.
    """

    request: LinkAuditRequest
    targets: Artifact
    answers: Digest | None = None
    fresh: bool = False
    caller: Caller | None = None
    progress: CrawlProgress = CrawlProgress()


class ElsewhereActivities(ABC):
    """What is asked of other hosts: both activities ask many lanes at once, and wait for them in short attempts."""

    @activity.defn(name="look_elsewhere")
    @abstractmethod
    async def look_elsewhere(self, looking: Looking) -> Artifact:
        """Have targets looked at, and where they redirect to; returns the records of all addresses that answered."""

    @activity.defn(name="recheck")
    @abstractmethod
    async def recheck(self, request: RevisionRequest) -> Revision:
        """Have looked at again what is broken on other hosts, and write the report anew when something recovered."""
