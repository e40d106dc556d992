"""CPU of a poll and of a submission, by the adapter and by the SDK's own calls. `python bench/polls.py [--json]`.

The local Interactions API runs in a process of its own, so only the client's CPU is counted (`process_time`, all
threads). The ways take turns call by call, so that whatever else the machine does meets them alike; the medians are
printed. Small documents are those of a run that has just begun; large ones hold about 1 MB of steps.
"""

import argparse
import asyncio
import json
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from statistics import median
from time import process_time
from typing import Any, NamedTuple

from google import genai
from google.genai import types

from gapless import InteractionRequest, Settings
from gapless.providers.gemini import GeminiProvider

KEY = "any"
MODEL = "gemini-3.8-flash"
BIG = 1_000_000
LABELS = {"gapless-fault": "stuck-running"}


class Row(NamedTuple):
    """Milliseconds of CPU for one call, by the adapter and by the SDK."""

    what: str
    bytes: int
    calls: int
    gapless_ms: float
    sdk_ms: float


Call = Callable[[], Awaitable[object]]


@asynccontextmanager
async def _emulator() -> AsyncIterator[str]:
    """Run the local Interactions API as a process, and yield its address."""
    command = [sys.executable, "-m", "gapless.testing.emulator", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        if process.stdout is None or not (line := await process.stdout.readline()):
            raise SystemExit("the emulator did not start")
        yield line.decode().strip()
    finally:
        process.terminate()
        await process.wait()


async def _measure(what: str, size: int, calls: int, ours: Call, theirs: Call) -> Row:
    """Call both in turn; the first calls of each load code and open connections, and are not counted."""
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(-3, calls):
        for times, call in zip(spent, (ours, theirs), strict=True):
            before = process_time()
            await call()
            if turn >= 0:
                times.append(process_time() - before)
    return Row(what, size, calls, *(round(median(times) * 1000, 2) for times in spent))


def _steps() -> list[dict[str, Any]]:
    """Return about 1 MB of steps such as an agent takes."""
    step: list[dict[str, Any]] = [
        {"type": "model_output", "content": [{"type": "text", "text": "I read the next page. " * 12}]},
        {
            "type": "code_execution_call",
            "id": "c1",
            "arguments": {"code": "print('hello')\n" * 10, "language": "python"},
        },
        {"type": "code_execution_result", "call_id": "c1", "result": "hello\n" * 40},
    ]
    return step * (BIG // len(json.dumps(step)))


async def _run(url: str, polls: int) -> list[Row]:
    provider = GeminiProvider(Settings.load(GEMINI_API_KEY=KEY, gemini_base_url=url))
    options = types.HttpOptions(base_url=url, timeout=60_000, retry_options=types.HttpRetryOptions(attempts=1))
    client = genai.Client(api_key=KEY, vertexai=False, http_options=options)
    sdk: Any = client.aio.interactions
    task = InteractionRequest(model=MODEL, input="Say hello.", labels=LABELS)
    fields = {"model": MODEL, "input": "Say hello.", "labels": LABELS, "background": True, "store": True}
    rows = []
    for what, given, calls in (("poll, small", "Say hello.", polls), ("poll, large", _steps(), max(polls // 10, 5))):
        begun = (await sdk.create(**fields | {"input": given})).id
        size = len((await provider.poll(begun)).document)
        rows.append(await _measure(what, size, calls, partial(provider.poll, begun), partial(sdk.get, begun)))
    size = len((await provider.submit(task)).document)
    ours, theirs = partial(provider.submit, task), partial(sdk.create, **fields)
    rows.append(await _measure("submit", size, max(polls // 4, 5), ours, theirs))
    await provider.aclose()
    await client.aio.aclose()
    return rows


def _print(rows: list[Row]) -> None:
    print(f"google-genai {version('google-genai')}, Python {sys.version.split()[0]}; ms of CPU for one call, medians")
    print(f"{'':<14}{'bytes':>10}{'calls':>8}{'Gapless':>10}{'SDK':>10}{'ratio':>8}")
    for row in rows:
        ratio = row.sdk_ms / row.gapless_ms
        print(f"{row.what:<14}{row.bytes:>10}{row.calls:>8}{row.gapless_ms:>10.2f}{row.sdk_ms:>10.2f}{ratio:>8.1f}")


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--polls", type=int, default=400, help="how often the small document is read by each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    async with _emulator() as url:
        rows = await _run(url, arguments.polls)
    if arguments.json:
        print(json.dumps({"google_genai": version("google-genai"), "rows": [row._asdict() for row in rows]}))
    else:
        _print(rows)


if __name__ == "__main__":
    asyncio.run(_main())
