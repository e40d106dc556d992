"""What comes out of an interaction: steps, files and token counts."""

import base64
from dataclasses import dataclass, field
from typing import Any

from gapless.testing.emulator.advice import advise
from gapless.testing.emulator.wire import STAND_IN, prompt_text


@dataclass
class Answer:
    """An agent's or a model's work; it grows until `complete`."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    tokens_read: int = 0
    complete: bool = False
    error: str | None = None

    def think(self, text: str) -> None:
        """Add a thought."""
        signature = base64.b64encode(text.encode()).decode()
        summary = [{"type": "text", "text": text}]
        self.steps.append({"type": "thought", "signature": signature, "summary": summary})

    def call(self, name: str, arguments: dict[str, Any], result: str) -> None:
        """Add a function call that has been carried out, and its result."""
        key = f"call_{len(self.steps)}"
        self.steps.append({"type": "function_call", "id": key, "name": name, "arguments": arguments})
        self.steps.append({"type": "function_result", "call_id": key, "name": name, "result": result})

    def write(self, path: str, text: str) -> None:
        """Write a file into the environment."""
        self.files[path] = text
        self.call("write_to_file", {"TargetFile": path}, f"{len(text.encode())} bytes written")

    def say(self, text: str) -> None:
        """Add the text that ends the work."""
        content = [{"type": "text", "text": f"{STAND_IN}\n{text}"}]
        self.steps.append({"type": "model_output", "content": content})
        self.complete = True


def answered(prompt: str, invent: int) -> Answer:
    """Answer as a model: with advice on broken links, or the prompt's first line and its length; the same each time."""
    answer = Answer()
    if (advice := advise(prompt, invent)) is not None:
        answer.think("Addresses are compared.")
        answer.say(advice)
        return answer
    answer.think("The request is restated.")
    first = next(iter(prompt.splitlines()), "")[:200]
    answer.say(f"The prompt has {len(prompt)} characters. Its first line: {first}")
    return answer


def halved(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cut the text of the last output in the middle, as when a limit ends a run."""
    if not steps or steps[-1].get("type") != "model_output":
        return steps
    text = steps[-1]["content"][0]["text"]
    return [*steps[:-1], {"type": "model_output", "content": [{"type": "text", "text": text[: len(text) // 2]}]}]


def enlarged(steps: list[dict[str, Any]], megabytes: int) -> list[dict[str, Any]]:
    """Make the text of the last output so long that it outgrows what it is carried in."""
    text = steps[-1]["content"][0]["text"]
    text += "\n" + "All of this belongs to the answer.\n" * (megabytes * 1_000_000 // 35 + 1)
    return [*steps[:-1], {"type": "model_output", "content": [{"type": "text", "text": text}]}]


def waiting_call(request: dict[str, Any]) -> dict[str, Any]:
    """Return a call of the request's first function, whose result the client must bring."""
    tools = request.get("tools") or []
    names = [tool["name"] for tool in tools if tool.get("type") == "function" and tool.get("name")]
    name = names[0] if names else "ask_user"
    return {"type": "function_call", "id": "call_waiting", "name": name, "arguments": {}}


def usage(request: dict[str, Any], answer: Answer) -> dict[str, int]:
    """Return token counts: a quarter of the characters, and what the agent read."""
    said = sum(len(str(step.get("content", step.get("arguments", "")))) for step in answer.steps)
    read = len(prompt_text(request.get("input"))) // 4 + 1 + answer.tokens_read
    written, thought = said // 4 + 1, 16
    return {
        "total_input_tokens": read,
        "total_output_tokens": written,
        "total_cached_tokens": 0,
        "total_thought_tokens": thought,
        "total_tool_use_tokens": 0,
        "total_tokens": read + written + thought,
    }
