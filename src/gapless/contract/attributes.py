"""Search attributes: how runs are found in the Temporal UI and by `gapless list`.

Values are never encrypted by a payload codec, so nothing private goes into them.
"""

from temporalio.common import SearchAttributeKey

PROVIDER = SearchAttributeKey.for_keyword("GaplessProvider")
MODEL = SearchAttributeKey.for_keyword("GaplessModel")
"""The model or the agent."""
STATE = SearchAttributeKey.for_keyword("GaplessState")
INTERACTION_ID = SearchAttributeKey.for_keyword("GaplessInteractionId")
"""The provider's id."""
JOB = SearchAttributeKey.for_keyword("GaplessJob")
"""The scheduled job that a run belongs to."""

ALL = (PROVIDER, MODEL, STATE, INTERACTION_ID, JOB)
