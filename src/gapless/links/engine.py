"""A crawl in a process of its own, which forks those that fetch, and dies with whoever asked for it.

A worker holds threads and a provider's keys: it must not be forked, and what reads strangers' pages must not be in it.
"""

import asyncio
import gc
import io
import json
import os
import select
import signal
import sys
import threading
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from gapless.links.check import BROKEN, UNVERIFIED
from gapless.links.crawl import crawl
from gapless.links.elsewhere import Elsewhere, unseen
from gapless.links.pool import ChildLost, Pool
from gapless.links.report.document import documents
from gapless.links.result import Crawl
from gapless.links.scope import Progress, Scope

SEGMENT, PROGRESS, FOUND, DONE, STOPPED, FAILED = b"S", b"P", b"R", b"D", b"X", b"F"
SAFE, STOP, HERE = b".", b"x", b"+"
WORD, SILENCE = 1.0, 5.0
"""Seconds between two words of the owner, and without one, after which this process ends. An owner that stands still is
soon taken for dead, and whoever goes on for it must not find this process at the site."""
BETWEEN = 0.1
"""Seconds between two words about the progress."""
COLLECT_AFTER = 50_000
"""Objects between two collections of garbage: an audit's records are no garbage, and looking at them costs."""
ENDED = "the audit's process ended on its own; what was sealed is kept"
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Summary(NamedTuple):
    """What a crawl comes to, for whoever asked for it: to report, nobody need read the crawl itself.

    Attributes:
        pages, links, broken, unverified: as `Crawled` counts them.
        complete: whether the whole site was seen.
        incomplete_reason: why not, in one line, or None.
        refused: an address of the site that was refused because the site was asked too much, or None.
        unseen: where links lead on other hosts that others are to ask, see `elsewhere`.
    """

    pages: int
    links: int
    broken: int
    unverified: int
    complete: bool
    incomplete_reason: str | None
    refused: str | None
    unseen: list[str]


Over = Callable[[Summary, bytes, bytes], Awaitable[None]]
"""Takes what a crawl comes to, what report.json holds of it, and links that failed and then worked, as JSON for
`read_findings`: a report has none of these. Both are empty as long as others have to ask other hosts."""


def processes() -> int:
    """Return how many processes fetch and parse: more than four only wait for the one that decides."""
    return min(os.cpu_count() or 1, 4)


async def start() -> Process:
    """Start a process that waits to be told what to crawl, and ends when nobody is there any more to tell."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gapless.links.engine"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ}  # noqa: TID251 (passed on, not read)
        | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def crawl_apart(
    scope: Scope,
    *,
    process: Process | None = None,
    resume: Iterable[bytes] = (),
    previous: bytes | None = None,
    seal: Callable[[bytes], Awaitable[None]] | None = None,
    progress: Callable[[Progress], None] | None = None,
    over: Over | None = None,
    credentials: Mapping[str, tuple[str, ...]] | None = None,
    stop: asyncio.Event | None = None,
    elsewhere: Elsewhere = Elsewhere.HERE,
) -> bytes | None:
    """Crawl in a process of its own; arguments and errors as of `crawl`.

    Args:
        scope: what to audit.
        process: one that was started before, for this; otherwise, or when it has ended, one is started now.
        resume: segments that earlier attempts sealed, in order.
        previous: the bytes of the last crawl of this scope.
        seal: awaited with each new segment.
        progress: called as the audit goes on.
        over: awaited when the crawl is over, with what it comes to, while its bytes are still being written.
        credentials: header fields, each as `Name: value`, by origin.
        stop: when it is set, what was fetched is sealed, and the crawl ends; it can be resumed.
        elsewhere: who asks other hosts.

    Returns:
        The bytes of the crawl, or None when it was stopped.
    """
    if process is None or process.returncode is not None:
        process = await start()
    assert process.stdin is not None
    assert process.stdout is not None
    speaking: list[asyncio.Task[None]] = []
    try:
        segments = list(resume)
        head = {"scope": asdict(scope), "segments": len(segments), "credentials": dict(credentials or {})}
        head["elsewhere"] = elsewhere
        await _order(process.stdin, json.dumps(head).encode(), previous or b"", *segments)
        speaking.append(asyncio.create_task(_speak(process.stdin)))
        if stop is not None:
            speaking.append(asyncio.create_task(_stop(stop, process.stdin)))
        return await _attend(process.stdin, process.stdout, seal, progress, over)
    finally:
        for task in speaking:
            task.cancel()
        if process.returncode is None:
            process.kill()  # its children see their pipes close
        await process.wait()


async def _order(sink: asyncio.StreamWriter, *parts: bytes) -> None:
    try:
        for data in parts:
            sink.write(len(data).to_bytes(8, "big") + data)
            await sink.drain()
    except ConnectionError as error:
        raise ChildLost(ENDED) from error


async def _speak(sink: asyncio.StreamWriter) -> None:
    while True:
        sink.write(HERE)
        await asyncio.sleep(WORD)


async def _stop(stop: asyncio.Event, sink: asyncio.StreamWriter) -> None:
    await stop.wait()
    sink.write(STOP)


async def _attend(
    sink: asyncio.StreamWriter,
    source: asyncio.StreamReader,
    seal: Callable[[bytes], Awaitable[None]] | None,
    progress: Callable[[Progress], None] | None,
    over: Over | None,
) -> bytes | None:
    found: list[bytes] = []
    while True:
        try:
            head = await source.readexactly(9)
            data = await source.readexactly(int.from_bytes(head[1:], "big"))
        except asyncio.IncompleteReadError as error:
            raise ChildLost(ENDED) from error
        if head[:1] == SEGMENT:
            if seal is not None:
                await seal(data)
            sink.write(SAFE)
        elif head[:1] == PROGRESS and progress is not None:
            progress(Progress(*json.loads(data)))
        elif head[:1] == FAILED:
            kind, message = json.loads(data)
            raise ValueError(message) if kind == "ValueError" else ChildLost(message)
        elif head[:1] == FOUND:
            found.append(data)
            if over is not None and len(found) == 3:
                await over(Summary(*json.loads(found[0])), *found[1:])
        elif head[:1] in {DONE, STOPPED}:
            return data if head[:1] == DONE else None


class _Owner:
    """Whoever started this process, at the other end of standard input and output."""

    def __init__(self, source: io.RawIOBase, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self._safe = asyncio.Semaphore(0)
        self._progress: Progress | None = None

    def read(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(8), "big"))

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size and (part := self._source.read(min(size, 1 << 20))):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def say(self, kind: bytes, data: bytes) -> None:
        self._sink.write(kind + len(data).to_bytes(8, "big") + data)
        self._sink.flush()

    async def seal(self, segment: bytes) -> None:
        """Hand a segment over; it is safe when the owner says so."""
        self.say(SEGMENT, segment)
        await self._safe.acquire()

    def progress(self, progress: Progress) -> None:
        """Say how far it has come, ten times a second at most; the newest is never lost."""
        if self._progress is None:
            asyncio.get_running_loop().call_later(BETWEEN, self._tell)
        self._progress = progress

    def _tell(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            self.say(PROGRESS, json.dumps([progress.pages, progress.links, progress.failures, progress.phase]).encode())

    def watch(self) -> None:
        """End with the owner, or when nothing is heard of it, whatever this process is busy with."""
        loop = asyncio.get_running_loop()
        crawling = asyncio.current_task()
        assert crawling is not None

        def read() -> None:
            heard = time.monotonic()
            while select.select([self._source], [], [], max(0.0, heard + SILENCE - time.monotonic()))[0]:
                said = self._source.read(1)
                if not said:
                    break
                heard = time.monotonic()
                if said != HERE:
                    loop.call_soon_threadsafe(self._safe.release if said == SAFE else crawling.cancel)
            os._exit(1)

        threading.Thread(target=read, name="owner", daemon=True).start()


def main() -> None:
    """Read what to crawl from standard input, and write segments, progress and the crawl to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who stops this process
    import_module("gapless.links.child")  # while the owner is busy still
    quieten()
    owner = _Owner(io.FileIO(0, closefd=False), sys.stdout.buffer)
    if not (order := owner.read()):
        return  # the owner had no use for it
    head: dict[str, Any] = json.loads(order)
    previous = owner.read()
    resume = [owner.read() for _ in range(head["segments"])]
    scope = Scope(**head["scope"])
    pool = Pool(scope, processes=processes(), credentials=head["credentials"])
    try:
        asyncio.run(_crawl(owner, scope, pool, resume, previous, Elsewhere(head["elsewhere"])))
    except asyncio.CancelledError:
        owner.say(STOPPED, b"")
    except (ValueError, ChildLost) as error:
        owner.say(FAILED, json.dumps([type(error).__name__, str(error)]).encode())
    finally:
        pool.close()


async def _crawl(
    owner: _Owner, scope: Scope, pool: Pool, resume: list[bytes], previous: bytes, elsewhere: Elsewhere
) -> None:
    owner.watch()
    last = read_previous(previous)
    async with pool:
        done = await crawl(
            scope,
            pool=pool,
            resume=resume,
            previous=last,
            seal=owner.seal,
            progress=owner.progress,
            elsewhere=elsewhere,
        )
    for part in _found(done, elsewhere):
        owner.say(FOUND, part)
    owner.say(DONE, previous if done == last else done.to_bytes())


def _found(done: Crawl, elsewhere: Elsewhere) -> tuple[bytes, bytes, bytes]:
    """Return what `Over` takes."""
    left = unseen(done) if elsewhere is not Elsewhere.HERE and done.scope.external else []
    whole = not left or elsewhere is Elsewhere.GIVEN
    wrong = done.findings() if whole else []
    summary = Summary(
        pages=len(done.pages),
        links=done.links,
        broken=len({found.target for found in wrong if found.result == BROKEN}),
        unverified=len({found.target for found in wrong if found.result == UNVERIFIED}),
        complete=done.complete,
        incomplete_reason=done.incomplete_reason,
        refused=next((url for url, each in done.records.items() if each.is_refused and done.scope.on_site(url)), None),
        unseen=left,
    )
    report, flaky = documents(done) if whole else (b"", b"")
    return json.dumps(summary).encode(), report, flaky


def read_previous(data: bytes) -> Crawl | None:
    """Return the last crawl, or None when there is none or another version wrote it."""
    try:
        return Crawl.from_bytes(data) if data else None
    except ValueError:
        return None


def quieten() -> None:
    """Collect garbage seldom, and never what is there before the fork."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 50, 1_000)


if __name__ == "__main__":
    main()
