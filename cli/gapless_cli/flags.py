"""What the command line says about settings: a flag goes before the environment."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gapless.config import Settings

_flags: dict[str, Any] = {}


def remember(**flags: Any) -> None:
    """Keep the flags that stand before the command; None counts as not given."""
    _flags.update(flags)


def settings() -> "Settings":
    """Read the settings: flag, environment, gapless.toml, default.

    Raises:
        ConfigurationError: a value does not fit.
    """
    from gapless.config import Settings

    return Settings.load(**_flags)
