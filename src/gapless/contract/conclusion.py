"""The end of an audit in which somebody was asked: what they said is checked at the site, and the report written."""

from abc import ABC, abstractmethod
from datetime import date

from temporalio import activity

from gapless.contract.interaction import Digest, Outcome
from gapless.contract.link_audit import AuditOutcome, ReportRequest
from gapless.contract.question import Question


class Conclusion(ReportRequest):
    """What a report is made from once it is checked.

    `claimed` is an agent's outcome that is to become `agent`. `question` is what an advisor was asked, and `answered`
    what came back, or None where an answer is kept; `advice` holds what that took, and gets what it is worth.
    `answers` is what other hosts said to the claims about them, and `day` when the report was asked for.
    """

    claimed: Outcome | None = None
    question: Question | None = None
    answered: Outcome | None = None
    answers: Digest | None = None
    day: date | None = None


class ConclusionActivities(ABC):
    """What an audit needs at its end."""

    @activity.defn(name="report_in_lane")
    @abstractmethod
    async def report_in_lane(self, conclusion: Conclusion) -> AuditOutcome:
        """Have claims about other hosts looked at; the site's lane checks the rest, writes the report, and is done."""
