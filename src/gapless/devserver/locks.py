"""File locks that the kernel lets go when their last holder ends, however it ends."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gapless.devserver.server import Say
from gapless.errors import ConfigurationError

_POLL = 0.05
_PATIENCE = 1.0
"""Seconds of waiting that need no explanation."""


def take(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file, created if missing, and return its descriptor; None while another holder is in the way.

    Closing the descriptor lets the lock go, unless a child process inherited it: then it lasts as long as the child.

    Raises:
        ConfigurationError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}); GAPLESS_DATA_DIR and GAPLESS_CACHE_DIR choose other folders"
        ) from None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@asynccontextmanager
async def exclusive(path: Path, *, say: Say, doing: str) -> AsyncIterator[None]:
    """Hold a lock; say once what another process is doing when it takes long."""
    waited = 0.0
    while (descriptor := take(path)) is None:
        await asyncio.sleep(_POLL)
        if waited < _PATIENCE <= waited + _POLL:
            say(f"waiting for another command that is {doing}")
        waited += _POLL
    try:
        yield
    finally:
        os.close(descriptor)
