"""Audits that began with an earlier release, and go on as they did then, in more steps."""

from typing import Protocol

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from gapless.contract.elsewhere import ElsewhereActivities, Looking
from gapless.contract.host_lane import HostLaneActivities
from gapless.contract.interaction import Digest, Outcome
from gapless.contract.link_audit import (
    Advice,
    AgentReport,
    Crawled,
    CrawlProgress,
    Judgement,
    LinkAuditActivities,
    LinkAuditRequest,
    Unseen,
)
from gapless.text import clip
from gapless_workflows import asking, policies
from gapless_workflows.advice import Advisor
from gapless_workflows.steps import LOOKS, crawl_in_lane


class Tell(Protocol):
    """Shows how far the parts of an audit have come."""

    def __call__(
        self, *, auditor: str | None = None, agent: AgentReport | None = None, advice: Advice | str | None = None
    ) -> None:
        """Show what is given."""


class Earlier:
    """The steps of such an audit.

    Args:
        request: of the audit.
        tell: told where it stands.
    """

    def __init__(self, request: LinkAuditRequest, tell: Tell) -> None:
        self._request = request
        self._tell = tell
        self._elsewhere = False
        self.in_lane = False

    async def refusal(self) -> str | None:
        """Return why no agent may be sent."""
        return (await asking.admit(self._request)).refusal

    async def crawl(self) -> Crawled:
        """Crawl as it was done before there were lanes, before other hosts had theirs, or since."""
        self._elsewhere = workflow.patched("elsewhere")
        self.in_lane = self._elsewhere or workflow.patched("lanes")
        if self._elsewhere:
            return await self._crawl_in_lanes()
        if self.in_lane:
            return await crawl_in_lane(self._request, CrawlProgress())
        return await workflow.execute_activity_method(
            LinkAuditActivities.crawl,
            self._request,
            summary=clip(f"crawl {self._request.url}"),
            schedule_to_close_timeout=policies.CRAWL_LIMIT,
            **policies.CRAWL,
        )

    async def _crawl_in_lanes(self) -> Crawled:
        """Crawl in the site's lane, have other hosts looked at in theirs, and go on with what they answered."""
        crawled = await crawl_in_lane(self._request, CrawlProgress(elsewhere="later"))
        answers: Digest | None = None
        for _ in range(LOOKS):
            if (unseen := crawled.unseen) is None:
                break
            self._tell(auditor=f"{crawled.pages} pages, {crawled.links} links; other hosts are looked at")
            answers = await self._look_elsewhere(unseen, answers)
            crawled = await crawl_in_lane(self._request, unseen.progress.model_copy(update={"answers": answers}))
        return crawled.model_copy(update={"unseen": None})

    async def _look_elsewhere(self, unseen: Unseen, answers: Digest | None, *, fresh: bool = False) -> Digest | None:
        """Have links to other hosts looked at; when that fails, the audit goes on without."""
        looking = Looking(request=self._request, targets=unseen.targets, answers=answers, fresh=fresh)
        try:
            found = await workflow.execute_activity_method(
                ElsewhereActivities.look_elsewhere,
                looking,
                summary="have links to other hosts looked at",
                schedule_to_close_timeout=policies.LOOK_ELSEWHERE_LIMIT,
                **policies.LOOK_ELSEWHERE,
            )
        except ActivityError as error:
            if is_cancelled_exception(error) and workflow.cancellation_reason() is not None:
                raise
            workflow.logger.warning("other hosts were not looked at", exc_info=error)
            return answers
        return found.digest

    async def judge(self, crawled: Crawled, outcome: Outcome) -> AgentReport:
        """Judge, in the site's lane where there is one, once claims about other hosts were looked at in theirs."""
        judgement = Judgement(request=self._request, crawled=crawled, outcome=outcome)
        if not self._elsewhere:
            report = await self._judged(judgement)
        else:
            report = await self._judged(judgement.model_copy(update={"elsewhere": "later"}))
            if (unseen := report.unseen) is not None:
                answers = await self._look_elsewhere(unseen, None, fresh=True)
                report = await self._judged(judgement.model_copy(update={"elsewhere": "given", "answers": answers}))
        self._tell(agent=report)
        return report

    async def _judged(self, judgement: Judgement) -> AgentReport:
        return await workflow.execute_activity_method(
            HostLaneActivities.judge_in_lane if self.in_lane else LinkAuditActivities.judge,
            judgement,
            summary="fetch again what the agent calls broken",
            schedule_to_close_timeout=policies.JUDGE_LIMIT,
            **(policies.IN_LANE if self.in_lane else policies.JUDGE),
        )

    async def advise(self, crawled: Crawled) -> Advice | None:
        """Have somebody say where broken links should lead, where one is named."""
        if self._request.advisor is None:
            return None
        return await Advisor(self._request, lambda state: self._tell(advice=state)).advise(crawled)
