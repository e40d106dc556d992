"""An audit's advice: asked for when what is broken has changed, and checked whether it is new or kept."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from gapless.contract.advice import AGENTS, AdviceActivities, Answered, Found, advice_run_id
from gapless.contract.host_lane import HostLaneActivities
from gapless.contract.interaction import PRIVATE_SITE, InteractionRequest, Limits, Outcome, State
from gapless.contract.link_audit import Advice, Crawled, LinkAuditRequest
from gapless.contract.question import Question
from gapless.text import clip
from gapless_workflows import asking, policies

_ANSWERED = frozenset({State.SUCCEEDED, State.INCOMPLETE})
"""How an interaction ends that is paid for again, night by night, unless its answer is kept, whatever it is worth."""


class Advised(NamedTuple):
    """What came of asking: advice that failed, or the question with its answer, still to be checked.

    An answer is None where one is kept; then `advice` says what it took.
    """

    advice: Advice | None = None
    question: Question | None = None
    answered: Outcome | None = None


NOBODY = Advised()
"""There was nobody to be asked, or nothing to ask."""


class Advisor:
    """Asks for advice. Whatever fails here is a note in the report.

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

    async def ask(self, question: Question | None) -> Advised:
        """Ask, unless there is nothing to ask, or an answer is kept."""
        if question is None or (question.prompt is None and question.kept is None):
            note = question.note if question else None
            self._show(note or "nothing to advise on")
            return Advised(self._without(note)) if note else NOBODY
        if question.prompt is not None and (failed := await self._answer(question)) is not None:
            return Advised(failed)
        self._show("to be checked")
        advice = Advice(advisor=self._name, state=State.SUCCEEDED, kept=self._outcome is None, **self._used())
        asked = question.model_copy(update={"prompt": None, "answer_schema": {}})
        return Advised(advice, asked, self._outcome)

    async def _answer(self, question: Question) -> Advice | None:
        """Wait for an answer; returns why there is none that is worth to be checked."""
        limit = _time_left(policies.REPORT_LIMIT + policies.JUDGE_LIMIT)
        if limit < policies.ADVICE_LEAST:
            return self._without("not asked, since the audit has to end soon")
        self._show(f"asked, see {self._run}")
        try:
            # By its own limits it is stopped at the provider, too; a run that nobody works on ends by the last one.
            self._outcome = outcome = await self._ask(question, limit / 2, limit / 4, limit)
        except WorkflowAlreadyStartedError:
            return self._without(f"not asked, since there is a run {self._run} that has not ended")
        except ChildWorkflowError as error:
            if is_cancelled_exception(error) and workflow.cancellation_reason() is not None:
                raise
            return self._without(f"no advice: {error.cause or error}")
        if outcome.state in _ANSWERED and outcome.result is not None:
            return None
        said = outcome.failure.message if outcome.failure else f"it ended as {outcome.state}"
        private = outcome.failure is not None and outcome.failure.kind == PRIVATE_SITE
        return self._without(said, State.CANCELLED if private else outcome.state)

    # What an audit of an earlier release did on its own

    async def advise(self, crawled: Crawled) -> Advice | None:
        """Return what the advice is worth, or None when there is nothing to advise on."""
        limit = _time_left(policies.REPORT_LIMIT)
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
            self._outcome = outcome = await self._ask(
                question, policies.ADVICE_DEADLINE, policies.ADVICE_HELD, policies.ADVICE_LIMIT
            )
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

    async def _ask(self, question: Question, deadline: timedelta, held: timedelta, limit: timedelta) -> Outcome:
        agent = (self._name.startswith(AGENTS) and self._name.removeprefix(AGENTS)) or None
        request = InteractionRequest(
            provider=self._request.provider,
            agent=agent,
            model=None if agent else self._name,
            environment="remote" if agent else None,
            input=question.prompt or "",
            response_schema=None if agent else question.answer_schema,
            site=self._request.url,
            limits=Limits(
                deadline=min(deadline, policies.ADVICE_DEADLINE),
                held=min(held, policies.ADVICE_HELD),
                max_total_tokens=self._request.max_total_tokens,
                max_cost_usd=self._request.max_cost_usd,
            ),
        )
        summary = f"{self._name} is asked where {question.asked} broken links should lead"
        return await asking.ask(request, self._run, summary, limit)

    async def _check(self, crawled: Crawled, question: Question) -> Advice:
        advice = await workflow.execute_activity_method(
            HostLaneActivities.advise_in_lane,
            Answered(request=self._request, crawled=crawled, question=question, outcome=self._outcome),
            summary=clip(f"look where {self._name}'s suggestions lead"),
            schedule_to_close_timeout=policies.JUDGE_LIMIT,
            **policies.IN_LANE,
        )
        self._show(worth(advice))
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


def worth(advice: Advice) -> str:
    """Return what advice was worth, in one line."""
    return advice.note or f"{advice.works} of {advice.suggested} suggestions work"


def _time_left(after: timedelta) -> timedelta:
    """Return how long the report can wait: it goes before the advice when the audit has to end.

    Args:
        after: what the rest of the audit may take.
    """
    info = workflow.info()
    if info.execution_timeout is None:
        return policies.ADVICE_TOTAL
    end = info.workflow_start_time + info.execution_timeout - after
    return min(policies.ADVICE_TOTAL, end - workflow.now())
