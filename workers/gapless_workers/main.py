"""How a process that used Temporal's SDK runs and ends."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NoReturn


def run_main(main: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run the coroutine and leave with its exit code, without the interpreter's own farewell.

    Processes that used the SDK's native part abort at interpreter exit now and then (exit code 134 or 139 after
    all work is done; temporalio/sdk-python#300), so this one leaves before that.
    """
    try:
        code = asyncio.run(main) or 0
    except KeyboardInterrupt:
        code = 130
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    leave(code)


def leave(code: int) -> NoReturn:
    """Flush what was written, and end the process here."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it has gone
            stream.flush()
    os._exit(code)
