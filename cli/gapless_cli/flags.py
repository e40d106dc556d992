"""What the command line says about settings: a flag goes before the environment."""

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import typer

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


def dollars(value: str) -> Decimal:
    """Read an amount of US dollars, such as 0.50."""
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise typer.BadParameter("an amount of US dollars above zero is needed, such as 0.50")
    return amount


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(value: str) -> timedelta:
    """Read a time span, such as 90s, 30m, 6h or 2d."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", value.strip())
    if found is None or not int(found[1]):
        raise typer.BadParameter("a time span above zero is needed, such as 90s, 30m, 6h or 2d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
