"""What a provider has to offer, and how one is found by its name."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Protocol

from gapless.config import Settings
from gapless.contract.interaction import InteractionRequest, State, Usage
from gapless.errors import ConfigurationError

_ADAPTERS = {"gemini": ("gapless.providers.gemini", "GeminiProvider")}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between providers and changes what is done.

    `remote`: it runs outside this machine, so it cannot and must not be sent to private sites.
    `visibility_grace`: for so long after an accept, "not found" means not visible yet.
    """

    remote: bool
    visibility_grace: timedelta


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer about an interaction; `document` is the provider's own JSON."""

    interaction_id: str
    state: State
    raw: str
    usage: Usage | None
    document: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A file that an agent made."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """What a settled document holds; `environment_id` names where its files are, if it has any."""

    text: str
    usage: Usage | None
    environment_id: str | None
    errors: list[str]


class Provider(Protocol):
    """Four calls and a reader. A provider's "failed" is an observation, never an exception."""

    def capabilities(self) -> Capabilities:
        """Say what this provider does differently from others."""
        ...

    async def submit(self, request: InteractionRequest, *, max_tokens: int | None = None) -> Observation:
        """Send the task in exactly one HTTP request, with `max_tokens` as the provider's own limit where it has one.

        Raises:
            SubmissionRefused, SubmissionRejected: surely not created.
            SubmissionUnknown: it may have been created.
        """
        ...

    async def poll(self, interaction_id: str) -> Observation:
        """Look once where an interaction stands; without side effects.

        Raises:
            Unavailable: to be tried again, after `retry_after` seconds where given.
            InteractionNotFound, ReadRejected: as they say.
        """
        ...

    async def cancel(self, interaction_id: str) -> Observation:
        """Ask to stop, and look what became of it. Finished already is no error.

        Raises:
            As `poll`.
        """
        ...

    def read(self, document: bytes) -> Content:
        """Take text, usage and errors out of a document."""
        ...

    def files(self, environment_id: str, problems: list[str]) -> AsyncIterator[File]:
        """Fetch the files of an environment, one after the other.

        A file that cannot be had is named in `problems`.

        Raises:
            Unavailable: to be tried again.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def known() -> list[str]:
    """Return the names of the providers."""
    return sorted(_ADAPTERS)


def check_known(name: str) -> None:
    """Raise ConfigurationError unless there is a provider of this name."""
    if name not in _ADAPTERS:
        raise ConfigurationError(f"unknown provider {name!r}; known: {', '.join(known())}")


def open_provider(name: str, settings: Settings) -> Provider:
    """Load an adapter and connect it.

    Raises:
        ConfigurationError: no such provider, or its key is missing.
    """
    check_known(name)
    module, attribute = _ADAPTERS[name]
    provider: Provider = getattr(import_module(module), attribute)(settings)
    return provider
