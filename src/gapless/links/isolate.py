"""Pages that could stall the parser are parsed in a process that can be killed."""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import IO

from gapless.links import parse
from gapless.links.parse import Parsed
from gapless.links.suspicion import fault

TIME_LIMIT = 10.0
"""Seconds, of CPU time and of wall time, that a page may take."""
MAX_REPLY = 64_000_000
"""Bytes that a process may answer with."""
_CHUNK = 1 << 18

# The package's own __init__ would load the whole auditor, which takes longer and more memory than the page.
_PROGRAM = """
import sys, types
for name, path in ("gapless", ""), ("gapless.links", sys.argv[1]):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
from gapless.links.isolated import main
main(sys.argv[2] == "links", int(sys.argv[3]))
"""


class Isolated:
    """One page that is being parsed in a process of its own, without anybody waiting for it.

    Attributes:
        deadline: by `time.monotonic()`; when it has passed, `advance` gives the page up.
    """

    def __init__(self, body: bytes, *, links: bool, seconds: float = TIME_LIMIT) -> None:
        """Start the process.

        Args:
            body: the page, in UTF-8.
            links: whether base and links are wanted, or ids only.
            seconds: of CPU time and of wall time that it may take.

        Raises:
            OSError: no process can be started.
        """
        self._body = body
        self._reply = bytearray()
        self._result: Parsed | str | None = None
        with _file(body) as file:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-S", "-c", _PROGRAM, str(Path(__file__).parent)),
                    *("links" if links else "ids", str(math.ceil(seconds))),
                ],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # and nothing else: it reads strangers
                bufsize=0,
            )
        self.deadline = monotonic() + seconds
        assert self._process.stdout is not None
        self._answer = self._process.stdout
        os.set_blocking(self._answer.fileno(), False)

    def fileno(self) -> int:
        """Return what becomes readable when `advance` has something to do; it is open until `kill`."""
        return self._answer.fileno()

    def advance(self) -> Parsed | str | None:
        """Go on without waiting.

        Returns:
            What the page holds; "too_deep" or "unparsable" when that takes too long or too much memory; None as long
            as neither is known.
        """
        while self._result is None:
            chunk = self._answer.read(_CHUNK)
            if chunk:
                self._reply += chunk
            if chunk == b"":
                self._result = self._parsed() or self._error()
            elif len(self._reply) > MAX_REPLY or monotonic() > self.deadline:
                self._result = self._error()
            elif chunk is None:
                return None
        return self._result

    def kill(self) -> None:
        """End the process, whatever it does; may be called more than once."""
        self._answer.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _parsed(self) -> Parsed | None:
        try:
            base, links, ids, cut = json.loads(self._reply)
        except ValueError:  # it was killed, or has nothing to say
            return None
        kinds = {parse.NAVIGATE: parse.NAVIGATE, parse.RESOURCE: parse.RESOURCE}
        return Parsed(base, [(kinds[kind], href) for kind, href in links], ids, cut)

    def _error(self) -> str:
        return fault(self._body)


def _file(body: bytes) -> IO[bytes]:
    """Return an open file that no one else can open, which a process can read as fast as it likes."""
    memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("page"), "w+b") if memory else tempfile.TemporaryFile()  # noqa: SIM115 (returned)
    file.write(body)
    file.flush()
    file.seek(0)
    return file
