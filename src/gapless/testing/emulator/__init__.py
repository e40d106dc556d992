"""A local stand-in of Gemini's Interactions API. It bills nothing and says so on every answer."""

from gapless.testing.emulator.app import create_app
from gapless.testing.emulator.faults import FAULTS
from gapless.testing.emulator.server import Emulator, run

__all__ = ["FAULTS", "Emulator", "create_app", "run"]
