"""What an advisor is asked about what an audit found broken."""

from pydantic import Field, JsonValue

from gapless.contract.interaction import Artifact, Digest, Model


class Question(Model):
    """What to ask about what is broken, which is known by its fingerprint; `asked` counts the broken targets in it.

    `prompt` is None when nobody is to be asked: nothing is broken, the audit is ill, or `kept` names the answer to the
    same question. With a prompt, `kept` is None. `note` says why nobody can be asked, in one line.
    """

    fingerprint: Digest
    asked: int = 0
    prompt: str | None = None
    answer_schema: dict[str, JsonValue] = Field(default_factory=dict)
    kept: Artifact | None = None
    note: str | None = None
