"""An audit's advice: asked for when what is broken has changed, and checked whether it is new or kept."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from gapless.contract.advice import AGENTS, AdviceActivities, Answered, Found, Question, advice_run_id
from gapless.contract.host_lane import HostLaneActivities
from gapless.contract.interaction import InteractionRequest, Limits, Outcome, State
from gapless.contract.link_audit import Advice, Crawled, LinkAuditRequest
from gapless.text import clip
from gapless_workflows import asking, policies

_ANSWERED = frozenset({State.SUCCEEDED, State.INCOMPLETE})
"""How an interaction ends that is paid for again, night by night, unless its answer is kept, whatever it is worth."""


class Advisor:
    """Asks for advice, and has it checked. Whatever fails here is a note in the report.

    Args:
        request: of the audit; its `advisor` is asked.
        show: told where this stands.
    """

    def __init__(self, request: LinkAuditRequest, show: Callable[[str], None]) -> None:
        self._request = request
        self._name = request.advisor or ""
        self._run = advice_run_id(workflow.info().workflow_id)
        self._show = show
        self._outcome: Outcome | None = None

    async def advise(self, crawled: Crawled) -> Advice | None:
        """Return what the advice is worth, or None when there is nothing to advise on."""
        limit = _time_left()
        if limit < policies.ADVICE_LEAST:
            return self._without("not asked, since the audit has to end soon")
        try:
            return await asyncio.wait_for(self._advice(crawled), limit.total_seconds())
        except WorkflowAlreadyStartedError:
            return self._without(f"not asked, since there is a run {self._run} that has not ended")
        except (ActivityError, ChildWorkflowError, TimeoutError) as error:
            if isinstance(error, FailureError) and not is_cancelled_exception(error):
                return self._without(f"no advice: {error.cause or error}")
            if workflow.cancellation_reason() is not None:
                raise  # the audit's own cancellation
            return self._without(f"no advice: it was stopped, or took longer than {limit}")

    async def _advice(self, crawled: Crawled) -> Advice | None:
        question = await self._due(crawled)
        if question.prompt is None and question.kept is None:
            self._show("nothing to advise on")
            return None
        if question.prompt is not None:
            admission = await asking.admit(self._request)
            if admission.refusal is not None:
                return self._without(admission.refusal, State.CANCELLED)
            self._show(f"asked, see {self._run}")
            self._outcome = outcome = await self._ask(question)
            if outcome.state not in _ANSWERED or outcome.result is None:
                said = outcome.failure.message if outcome.failure else f"it ended as {outcome.state}"
                return self._without(said, outcome.state)
        return await self._check(crawled, question)

    async def _due(self, crawled: Crawled) -> Question:
        return await workflow.execute_activity_method(
            AdviceActivities.advice_due,
            Found(request=self._request, crawled=crawled),
            summary="has what is broken changed?",
            schedule_to_close_timeout=policies.ADVICE_DUE_LIMIT,
            **policies.JUDGE,
        )

    async def _ask(self, question: Question) -> Outcome:
        agent = (self._name.startswith(AGENTS) and self._name.removeprefix(AGENTS)) or None
        request = InteractionRequest(
            provider=self._request.provider,
            agent=agent,
            model=None if agent else self._name,
            environment="remote" if agent else None,
            input=question.prompt or "",
            response_schema=None if agent else question.answer_schema,
            limits=Limits(
                deadline=policies.ADVICE_DEADLINE,
                held=policies.ADVICE_HELD,
                max_total_tokens=self._request.max_total_tokens,
                max_cost_usd=self._request.max_cost_usd,
            ),
        )
        summary = f"{self._name} is asked where {question.asked} broken links should lead"
        return await asking.ask(request, self._run, summary, policies.ADVICE_LIMIT)

    async def _check(self, crawled: Crawled, question: Question) -> Advice:
        advice = await workflow.execute_activity_method(
            HostLaneActivities.advise_in_lane,
            Answered(request=self._request, crawled=crawled, question=question, outcome=self._outcome),
            summary=clip(f"look where {self._name}'s suggestions lead"),
            schedule_to_close_timeout=policies.JUDGE_LIMIT,
            **policies.IN_LANE,
        )
        self._show(advice.note or f"{advice.works} of {advice.suggested} suggestions work")
        return advice.model_copy(update={"kept": self._outcome is None, **self._used()})

    def _without(self, note: str, state: State = State.FAILED) -> Advice:
        self._show(note)
        return Advice(advisor=self._name, state=state, note=note[:1000], **self._used())

    def _used(self) -> dict[str, Any]:
        """Return what the answer took; one that is kept takes nothing."""
        outcome = self._outcome
        if outcome is None:
            return {}
        return {
            "interaction_id": outcome.interaction_id,
            "submissions": outcome.submissions,
            "usage": outcome.result.usage if outcome.result else None,
            "cost": outcome.result.cost if outcome.result else None,
        }


def _time_left() -> timedelta:
    """Return how long the report can wait: it goes before the advice when the audit has to end."""
    info = workflow.info()
    if info.execution_timeout is None:
        return policies.ADVICE_TOTAL
    end = info.workflow_start_time + info.execution_timeout - policies.REPORT_LIMIT
    return min(policies.ADVICE_TOTAL, end - workflow.now())
