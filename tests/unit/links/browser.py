"""A Chromium that tests drive over the DevTools protocol. Source: chromedevtools.github.io/devtools-protocol."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--remote-debugging-port=0",
    "--window-size=1280,1300",
)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "/": 191}


def program() -> str | None:
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab of a browser that ends with the block."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        path = program()
        assert path is not None
        process = await asyncio.create_subprocess_exec(
            path,
            *FLAGS,
            f"--user-data-dir={folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._stack.push_async_callback(_end, process)
        port = await _port(folder / "DevToolsActivePort")
        session = await self._stack.enter_async_context(aiohttp.ClientSession())
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tab = next(each for each in await answer.json() if each["type"] == "page")
        self._socket = await self._stack.enter_async_context(
            session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=50_000_000)
        )
        reader = asyncio.create_task(self._read())
        self._stack.push_async_callback(_cancelled, reader)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.send(f"{domain}.enable")

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(60):
            answer = await future
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, path: Path, state: str = "") -> None:
        """Load a file, anew when it is open already."""
        await self.send("Page.navigate", url="about:blank")
        self.events.clear()
        await self.send("Page.navigate", url=f"{path.as_uri()}#{state}")
        await self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    async def run(self, script: str) -> Any:
        """Return what an expression comes to in the page."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        async with asyncio.timeout(20):
            while not await self.run(script):
                await asyncio.sleep(0.02)

    async def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"Enter": "\r", "/": "/"}.get(key, "")
        common = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        await self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    async def write(self, text: str) -> None:
        """Type text where the focus is."""
        await self.send("Input.insertText", text=text)

    async def _read(self) -> None:
        async for message in self._socket:
            document = message.json()
            if "id" in document:
                self._waiting.pop(document["id"]).set_result(document)
            else:
                self.events.append(document)


async def _port(path: Path) -> int:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(FileNotFoundError):
                if lines := path.read_text().splitlines():
                    return int(lines[0])
            await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
