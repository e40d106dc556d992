"""The end of an audit in which somebody was asked: claims and suggestions are checked, then the report is written."""

from typing import Any

import structlog
from temporalio import activity

from gapless.artifacts import ArtifactLost, ArtifactStore
from gapless.contract.advice import Answered
from gapless.contract.conclusion import Conclusion, ConclusionActivities
from gapless.contract.host_lane import Piece, Work
from gapless.contract.interaction import State
from gapless.contract.link_audit import Advice, AgentReport, AuditOutcome, Judgement, ReportRequest
from gapless.encryption import KeyMissing
from gapless.links import elsewhere
from gapless_activities.advice import Advisors
from gapless_activities.asking import ask, caller_here
from gapless_activities.beats import beating
from gapless_activities.elsewhere import Look
from gapless_activities.links import AuditActivities

log = structlog.get_logger()

_FOR_GOOD = (ArtifactLost, KeyMissing)
"""What does not pass: the report goes without the part that needs it."""


class Conclusions(ConclusionActivities):
    """Both ends of a conclusion: the audit's, and what its site's lane does."""

    def __init__(self, store: ArtifactStore, audits: AuditActivities, advisors: Advisors) -> None:
        self._store = store
        self._audits = audits
        self._advisors = advisors

    @activity.defn(name="report_in_lane")
    async def report_in_lane(self, conclusion: Conclusion) -> AuditOutcome:
        """Have claims about other hosts looked at, ask for the rest, and leave it to the lane to complete this."""
        details = activity.info().heartbeat_details
        stored = details[0].get("conclusion") if details else None
        if stored is None:
            look = Look(self._store, conclusion.request, fresh=True)
            ready = await beating(look.beat, self._prepared(conclusion, look))
            stored = (await self._store.put("conclusion.json", ready.model_dump_json().encode())).digest
            activity.heartbeat({"conclusion": stored})  # the next attempt asks nobody else again
        await ask(Piece(caller=caller_here(), work=Work.REPORT, request=conclusion.request, judgement=stored))

    async def _prepared(self, conclusion: Conclusion, look: Look) -> Conclusion:
        """Return it with an advisor's answer kept, and with what other hosts say to the claims about them."""
        day, answers = activity.info().scheduled_time.date(), await self._answers(conclusion, look)
        changes: dict[str, Any] = {"day": day, "answers": answers}
        if conclusion.question is not None:
            kept = await self._advisors.keep(_answered(conclusion))
            changes |= {"question": kept.question, "answered": None}
        return conclusion.model_copy(update=changes)

    async def _answers(self, conclusion: Conclusion, look: Look) -> str | None:
        if conclusion.claimed is None:
            return None
        try:
            targets = await self._audits.claimed_elsewhere(conclusion.request, conclusion.crawled, conclusion.claimed)
        except _FOR_GOOD:
            return None  # there will be no verdict, either
        if not targets:
            return None
        records = await look.wait_for(targets)
        return (await self._store.put("answers", elsewhere.pack(records.values()))).digest

    async def concluded(self, conclusion: Conclusion) -> AuditOutcome:
        """Check at the site what was said, and write the report.

        Raises:
            StoreUnavailable: the next attempt goes on.
        """
        request = ReportRequest(
            request=conclusion.request,
            crawled=conclusion.crawled,
            agent=await self._agent(conclusion),
            advice=await self._advice(conclusion),
        )
        return await self._audits.reported(request, conclusion.day or activity.info().scheduled_time.date())

    async def _agent(self, conclusion: Conclusion) -> AgentReport | None:
        if (claimed := conclusion.claimed) is None:
            return conclusion.agent
        judgement = Judgement(
            request=conclusion.request,
            crawled=conclusion.crawled,
            outcome=claimed,
            elsewhere="given",
            answers=conclusion.answers,
        )
        try:
            return await self._audits.judged(judgement)
        except _FOR_GOOD as error:
            log.warning("audit.not_judged", reason=str(error))
            return AgentReport(
                agent=claimed.target,
                state=State.FAILED,
                interaction_id=claimed.interaction_id,
                submissions=claimed.submissions,
                usage=claimed.result.usage if claimed.result else None,
                cost=claimed.result.cost if claimed.result else None,
                note=f"its report could not be judged: {error}"[:1000],
            )

    async def _advice(self, conclusion: Conclusion) -> Advice | None:
        if conclusion.question is None or conclusion.advice is None:
            return conclusion.advice
        try:
            checked = await self._advisors.checked(_answered(conclusion))
        except _FOR_GOOD as error:
            log.warning("audit.advice_not_checked", reason=str(error))
            return conclusion.advice.model_copy(update={"state": State.FAILED, "note": f"no advice: {error}"[:1000]})
        used = ("kept", "interaction_id", "submissions", "usage", "cost")
        return checked.model_copy(update={name: getattr(conclusion.advice, name) for name in used})


def _answered(conclusion: Conclusion) -> Answered:
    assert conclusion.question is not None
    return Answered(
        request=conclusion.request,
        crawled=conclusion.crawled,
        question=conclusion.question,
        outcome=conclusion.answered,
    )
