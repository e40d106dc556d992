"""One interaction with a model or a managed agent: request, observations, outcome."""

import re
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from temporalio import activity, workflow

INTERACTION_ID = re.compile(r"[A-Za-z0-9_\-=.]{1,256}")
"""Ids go into URLs unescaped, so only these are let through."""

InteractionId = Annotated[str, StringConstraints(pattern=rf"^{INTERACTION_ID.pattern}$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_\-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_\-]{0,63}$")]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_\-]{0,62}$")]
PRIVATE_SITE = "private_site"
"""Type of the error with which a submission is not made, and kind of the failure that comes of it."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in lower-case hexadecimal: the name of an artifact."""


class Model(BaseModel):
    """Frozen; a field that this version does not know is passed over, so that releases can work side by side."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


class Request(Model):
    """What a caller writes: a field that nobody knows is an error, since an ignored limit is no limit."""

    model_config = ConfigDict(extra="forbid")


class State(StrEnum):
    """Where an interaction stands. The first two are Gapless's own, before a provider's state is known."""

    SUBMITTING = "submitting"
    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    UNKNOWN = "unknown"
    INPUT_REQUIRED = "input_required"
    SUCCEEDED = "succeeded"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def settled(self) -> bool:
        """Whether nothing will change any more unless somebody acts."""
        return self in _SETTLED


_SETTLED = frozenset(
    {
        State.INPUT_REQUIRED,
        State.SUCCEEDED,
        State.INCOMPLETE,
        State.FAILED,
        State.CANCELLED,
        State.EXPIRED,
    }
)


class OnLostSubmission(StrEnum):
    """What to do when a task was sent and no usable answer came back."""

    HOLD = "hold"
    RESUBMIT = "resubmit"


class Limits(Request):
    """Bounds of one interaction.

    `deadline` counts for the whole run from its start, the time in which it is held for a person left out: `held`
    bounds that. `queued` and `running` bound the time that the provider reports the state without a break; a status
    that nobody knows counts as running. `max_total_tokens` and `max_cost_usd` hold for all submissions of the run
    together: one whose answer was lost counts with all that it was allowed.
    """

    deadline: timedelta = Field(default=timedelta(hours=4), gt=timedelta(0), le=timedelta(days=30))
    queued: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    running: timedelta = Field(default=timedelta(hours=2), gt=timedelta(0))
    held: timedelta = Field(default=timedelta(days=3), gt=timedelta(0), le=timedelta(days=30))
    max_submissions: int = Field(default=3, ge=1, le=10)
    max_total_tokens: int | None = Field(default=None, ge=1)
    max_cost_usd: Decimal | None = Field(default=None, gt=0, max_digits=12)


class InteractionRequest(Request):
    """A task for a model or for a managed agent; exactly one of `model` and `agent` is named.

    `environment` is "remote" for a new sandbox, the id of an existing one, or the provider's own object.
    `response_schema` is a JSON Schema of the answer, for models only: agents do not take one.
    Labels: keys start with a letter; keys and values hold up to 63 lower-case letters, digits, `_` and `-`.
    `sensitive` marks prompt and answer: such a request is only started where everything that is kept is encrypted.
    `site` is an address that the task is about: nothing is sent to a provider elsewhere when it is a private one.
    """

    provider: ProviderName = "gemini"
    model: str | None = Field(default=None, min_length=1, max_length=256)
    agent: str | None = Field(default=None, min_length=1, max_length=256)
    input: str = Field(min_length=1)
    instructions: str | None = None
    environment: str | dict[str, JsonValue] | None = None
    agent_config: dict[str, JsonValue] | None = None
    response_schema: dict[str, JsonValue] | None = None
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    previous_interaction_id: InteractionId | None = None
    limits: Limits = Limits()
    on_lost_submission: OnLostSubmission = OnLostSubmission.HOLD
    sensitive: bool = False
    site: str | None = Field(default=None, max_length=10_000)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.model is None) == (self.agent is None):
            raise ValueError("name either a model or an agent")
        if self.agent_config is not None and self.agent is None:
            raise ValueError("agent_config goes with an agent")
        if self.response_schema is not None and self.model is None:
            raise ValueError("response_schema goes with a model")
        if self.agent and self.previous_interaction_id and self.environment is None:
            raise ValueError("an agent that goes on from previous_interaction_id needs its environment, too")
        return self

    @property
    def target(self) -> str:
        """The model or the agent."""
        return self.model or self.agent or ""


class Usage(Model):
    """Tokens as the provider counts them; `input` holds the `cached` ones, too."""

    total: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    thought: int = 0
    tool_use: int = 0


class Cost(Model):
    """What something costs in US dollars; None when a price or a quantity is unknown, and `unknown` says which."""

    usd: Decimal | None
    unknown: list[str] = Field(default_factory=list)


class Allowance(Model):
    """What one submission may use at the most; None is without a limit."""

    tokens: int | None = None
    cost_usd: Decimal | None = None


class Account(Model):
    """What a submission is booked under: model or agent, the job, and which submission of which round it is.

    `sandbox`: an environment was asked for, whose time may have a price.
    """

    model: str | None = None
    agent: str | None = None
    sandbox: bool = False
    job: str | None = None
    round: int = 1
    submission: int = 1
    sent_at: datetime


class Order(InteractionRequest):
    """A request on its way to the provider: what it may use, and what it is booked under."""

    allowance: Allowance = Allowance()
    account: Account | None = None


class Artifact(Model):
    """A stored file: `name` as its maker called it, `size` in bytes."""

    name: str
    digest: Digest
    size: int


class Result(Model):
    """What came back. A long `text` is cut; then `whole_text` has all of it.

    `document` is the provider's own JSON; `problems` names files that could not be had, and whatever was odd.
    """

    text: str
    whole_text: Artifact | None = None
    document: Artifact
    files: list[Artifact] = Field(default_factory=list)
    usage: Usage | None = None
    cost: Cost | None = None
    problems: list[str] = Field(default_factory=list)


class Snapshot(Model):
    """One observation of an interaction; `raw` is the provider's own word for the state.

    A settled snapshot names the stored `document`, so that what was seen once is never lost again.
    """

    state: State
    raw: str
    observed_at: datetime
    usage: Usage | None = None
    document: Artifact | None = None
    result: Result | None = None


class Submission(Model):
    """An accepted task."""

    interaction_id: InteractionId
    snapshot: Snapshot


class Handle(Model):
    """What is needed to ask a provider about an interaction, and to book what it costs."""

    provider: str
    interaction_id: InteractionId
    accepted_at: datetime
    account: Account | None = None
    sensitive: bool = False


class Watch(Model):
    """What one wait for an interaction needs: whom to ask, how long a state may last, what may be used."""

    handle: Handle
    queued: timedelta
    running: timedelta
    allowance: Allowance = Allowance()


class Settled(Model):
    """An interaction whose result is to be fetched."""

    handle: Handle
    snapshot: Snapshot


class Failure(Model):
    """Why there is no good result: a stable `kind`, what happened and was kept, and what to do next."""

    kind: str
    message: str
    next_step: str


class LostSubmission(Model):
    """A submission of which nobody knows whether it was taken: it may run, and be billed."""

    at: datetime
    reason: str


class Outcome(Model):
    """The end of an interaction; a provider's failure is an outcome, not an exception."""

    provider: str
    target: str
    state: State
    interaction_id: InteractionId | None = None
    result: Result | None = None
    failure: Failure | None = None
    submissions: int
    lost_submissions: list[LostSubmission] = Field(default_factory=list)


class Resolution(Request):
    """A person's decision about a held submission."""

    action: Literal["adopt", "resubmit", "abandon"]
    interaction_id: InteractionId | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.action == "adopt") != (self.interaction_id is not None):
            raise ValueError("adopt, and only adopt, names an interaction id")
        return self


class InteractionStatus(Model):
    """Where a run stands, as its workflow knows it."""

    state: State
    interaction_id: InteractionId | None
    since: datetime
    waiting_for: str
    submissions: int
    lost_submissions: list[LostSubmission]


class InteractionActivities(ABC):
    """The four calls to a provider."""

    @activity.defn(name="submit")
    @abstractmethod
    async def submit(self, order: Order) -> Submission:
        """Send the task, once."""

    @activity.defn(name="poll")
    @abstractmethod
    async def poll(self, watch: Watch) -> Snapshot:
        """Return when the interaction has settled; until then fail with "not yet"."""

    @activity.defn(name="fetch")
    @abstractmethod
    async def fetch(self, settled: Settled) -> Result:
        """Store what came back, and return its digests with a bounded text."""

    @activity.defn(name="cancel")
    @abstractmethod
    async def cancel(self, handle: Handle) -> Snapshot:
        """Ask the provider to stop, and return what it says then."""


@workflow.defn(name="Interaction")
class Interaction(ABC):
    """One task: submitted once, polled without footprint, fetched once."""

    @workflow.run
    @abstractmethod
    async def run(self, request: InteractionRequest) -> Outcome:
        """See the task through to its outcome."""

    @workflow.update
    @abstractmethod
    async def resolve(self, resolution: Resolution) -> InteractionStatus:
        """Decide about a held submission."""

    @workflow.query
    @abstractmethod
    def status(self) -> InteractionStatus:
        """Say where the run stands."""
