"""Pages that could stall the parser are parsed in a process that can be killed."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from types import TracebackType
from typing import Self

from gapless.links import parse
from gapless.links.parse import Parsed

# The parser's time grows with the square of the nesting depth and of the attributes of one element. No page
# nests deeper than it opens elements. Up to here a page costs a tenth of a second at worst, whatever it holds.
MAX_OPEN, MAX_LENGTH = 2_000, 50_000
PROCESSES = 2
TIME_LIMIT = 10.0
_LINE_LIMIT = 1 << 20


class Parsers:
    """Parses harmless pages here and all others in a few child processes, started on first need."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self._time_limit = time_limit
        self._free = asyncio.Semaphore(PROCESSES)
        self._idle: list[Process] = []
        self._all: set[Process] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in tuple(self._all):
            await self._end(process)

    async def parse(self, text: str, *, links: bool) -> Parsed | None:
        """Return what the page holds, or None when it takes the parser too long or too much memory."""
        if len(text) <= MAX_LENGTH and text.count("<") - text.count("</") <= MAX_OPEN:
            return parse.parse(text, links=links)
        async with self._free:
            process = self._idle.pop() if self._idle else await self._start()
            try:
                async with asyncio.timeout(self._time_limit + 2):
                    reply = await _ask(process, text, links=links)
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                await self._end(process)
                return None
            except BaseException:
                await self._end(process)
                raise
            self._idle.append(process)
        base, found, ids, cut = json.loads(reply)
        return Parsed(base, [(goes, href, text) for goes, href, text in found], ids, cut)

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            parse.__file__,
            str(self._time_limit),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=_LINE_LIMIT,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},  # and nothing else: it reads what strangers wrote
        )
        self._all.add(process)
        return process

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ask(process: Process, text: str, *, links: bool) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    data = text.encode("utf-8", "replace")
    process.stdin.write(len(data).to_bytes(4, "big") + bytes([links]) + data)
    await process.stdin.drain()
    size = int.from_bytes(await process.stdout.readexactly(4), "big")
    return await process.stdout.readexactly(size)
