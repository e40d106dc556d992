"""Settings: the only reader of the environment.

Precedence: what the caller passes (a flag), the environment, `gapless.toml` in the working directory, the
default.
"""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gapless.encryption import KeyRing
from gapless.errors import ConfigurationError

TOML = "gapless.toml"


def _xdg(variable: str, fallback: str) -> Path:
    """A base folder of the XDG specification, with our name appended."""
    return Path(os.environ.get(variable) or fallback).expanduser() / "gapless"


def secret_values() -> list[str]:
    """The keys in the environment, for those who must keep them out of what they write."""
    found = [os.environ.get(name, "") for name in _KEYS] + os.environ.get(_ENCRYPTION_KEY, "").split(",")
    if headers := os.environ.get(_LINK_HEADERS):
        from gapless.links.credentials import secrets  # few set it, and all would wait for it

        found += secrets(headers)
    return [value.strip() for value in found if value.strip()]


_KEYS = ("GAPLESS_GEMINI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
_ENCRYPTION_KEY = "GAPLESS_ENCRYPTION_KEY"
_LINK_HEADERS = "GAPLESS_LINK_HEADERS"


class _File(TomlConfigSettingsSource):
    """`gapless.toml`, which is committed, so that a key in it is an error."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        if any(name.lower().endswith("api_key") for name in values):
            raise ConfigurationError(f"{TOML} holds an API key; take it out, and set GEMINI_API_KEY instead")
        if any(name.lower().endswith("encryption_key") for name in values):
            raise ConfigurationError(f"{TOML} holds an encryption key; take it out, and set {_ENCRYPTION_KEY} instead")
        if any(name.lower().endswith("link_headers") for name in values):
            raise ConfigurationError(f"{TOML} holds link_headers; take them out, and set {_LINK_HEADERS} instead")
        return values


class Settings(BaseSettings):
    """What a process of Gapless is told from outside; durations are in seconds.

    Every field is read from `GAPLESS_<NAME>` or from `gapless.toml`; the provider's key and address also from
    the variables its own SDK reads. Keys are never read from a file, since such files are committed.
    """

    model_config = SettingsConfigDict(
        env_prefix="GAPLESS_", toml_file=TOML, extra="forbid", frozen=True, env_ignore_empty=True
    )

    gemini_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices(*_KEYS))
    gemini_base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("gemini_base_url", "GAPLESS_GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"),
    )
    encryption_key: SecretStr | None = Field(default=None, description="several, separated by commas; see KeyRing")
    link_headers: SecretStr | None = Field(default=None, description="JSON, for link audits; see links.credentials")
    submit_timeout: float = Field(default=60.0, gt=0, le=600)
    read_timeout: float = Field(default=30.0, gt=0, le=45, description="shorter than a poll may take, 60 s")
    poll_max_interval: float = Field(default=30.0, ge=1, le=3600)

    data_dir: Path = Field(default_factory=lambda: _xdg("XDG_DATA_HOME", "~/.local/share"))
    cache_dir: Path = Field(default_factory=lambda: _xdg("XDG_CACHE_HOME", "~/.cache"))
    artifacts: str | None = Field(
        default=None, description="URL of the artifact store; a folder in data_dir when unset"
    )
    rates: Path | None = Field(default=None, description="the rate card; rates.toml in this folder when unset")
    temporal_cli: Path | None = Field(default=None, description="a `temporal` binary for the dev server")
    log_level: str = "info"
    jobs: dict[str, dict[str, Any]] = Field(default_factory=dict, description="read by gapless.schedules")
    links: dict[str, Any] = Field(default_factory=dict, description="read by links.report.settings and crawl_options")

    @field_validator("gemini_api_key")
    @classmethod
    def _one_word(cls, key: SecretStr | None) -> SecretStr | None:
        stripped = key.get_secret_value().strip() if key else ""
        if any(not "!" <= character <= "~" for character in stripped):
            raise ValueError("the key holds white space or characters that no key has")
        return SecretStr(stripped) if stripped else None

    @field_validator("encryption_key")
    @classmethod
    def _key_ring(cls, key: SecretStr | None) -> SecretStr | None:
        stripped = key.get_secret_value().strip() if key else ""
        KeyRing(stripped)
        return SecretStr(stripped) if stripped else None

    @field_validator("link_headers")
    @classmethod
    def _by_host(cls, headers: SecretStr | None) -> SecretStr | None:
        if headers is not None:
            from gapless.links.credentials import credentials

            credentials(headers.get_secret_value())
        return headers

    @field_validator("data_dir", "cache_dir", "rates", "temporal_cli")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the file behind the environment."""
        return init_settings, env_settings, _File(settings_cls)

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """Read the settings; flags that are None count as not given.

        Raises:
            ConfigurationError: a value does not fit, or `gapless.toml` has a key nobody knows.
        """
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            raise ConfigurationError(_first_line(error)) from None
        except ValueError as error:  # TOMLDecodeError among them
            raise ConfigurationError(f"{TOML} cannot be read: {error}") from None

    @property
    def artifacts_url(self) -> str:
        """Where the artifact store is."""
        return self.artifacts or (self.data_dir / "artifacts").absolute().as_uri()

    @property
    def link_credentials(self) -> dict[str, tuple[str, ...]]:
        """Header fields that go to one host only, by host."""
        from gapless.links.credentials import credentials

        return credentials(self.link_headers.get_secret_value()) if self.link_headers else {}

    @property
    def keys(self) -> KeyRing:
        """What everything that is written is encrypted with; without a key, nothing is."""
        return KeyRing(self.encryption_key.get_secret_value() if self.encryption_key else "")


def _first_line(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{TOML}: there is no setting {where}"
    return f"setting {where}: {problem['msg'].removeprefix('Value error, ')} (from GAPLESS_{where.upper()} or {TOML})"


def child_environment(**extra: str) -> dict[str, str]:
    """Build the environment for a program that is not ours: no keys, none of Temporal's client settings."""
    ours = (*_KEYS, _ENCRYPTION_KEY, _LINK_HEADERS)
    kept = {n: v for n, v in os.environ.items() if n not in ours and not n.startswith("TEMPORAL_")}
    return kept | extra
