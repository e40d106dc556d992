"""Search attributes: how runs are found in the Temporal UI and by `gapless list`.

Values are never encrypted by a payload codec, so nothing private goes into them.
"""

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from gapless.contract.interaction import InteractionRequest, State

PROVIDER = SearchAttributeKey.for_keyword("GaplessProvider")
MODEL = SearchAttributeKey.for_keyword("GaplessModel")
"""The model or the agent."""
STATE = SearchAttributeKey.for_keyword("GaplessState")
INTERACTION_ID = SearchAttributeKey.for_keyword("GaplessInteractionId")
"""The provider's id."""
JOB = SearchAttributeKey.for_keyword("GaplessJob")
"""The scheduled job that a run belongs to."""

ALL = (PROVIDER, MODEL, STATE, INTERACTION_ID, JOB)


def at_start(job: str | None, request: InteractionRequest | None = None) -> TypedSearchAttributes:
    """Return what a run can be found by from its start; what an interaction is given here costs no event later."""
    pairs: list[SearchAttributePair[Any]] = [SearchAttributePair(JOB, job)] if job else []
    if request is not None:
        pairs.append(SearchAttributePair(PROVIDER, request.provider))
        pairs.append(SearchAttributePair(MODEL, request.target))
        pairs.append(SearchAttributePair(STATE, State.SUBMITTING.value))
    return TypedSearchAttributes(pairs)
