"""What the API refuses before it creates an interaction."""

import re
from collections.abc import Callable
from typing import Any

from gapless.testing.emulator.wire import ApiError

ANTIGRAVITY = frozenset({"antigravity-preview-05-2026", "antigravity-preview-09-2026"})
DEEP_RESEARCH = frozenset(
    {
        "deep-research-pro-preview-12-2025",
        "deep-research-preview-04-2026",
        "deep-research-max-preview-04-2026",
    }
)

_FIELDS = frozenset(
    {
        *("model", "agent", "input", "system_instruction", "tools", "generation_config", "cached_content"),
        *("agent_config", "environment", "background", "store", "stream", "previous_interaction_id"),
        *("continuation_token", "response_format", "labels", "service_tier", "safety_settings"),
        *("webhook_config", "response_mime_type", "response_modalities"),
    }
)
_NOT_EMULATED = ("webhook_config", "stream", "continuation_token", "cached_content")
_TIERS = ("flex", "standard", "priority", "deferred")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_MCP_NAME = re.compile(r"[a-z0-9_-]+")
_NO_ANTIGRAVITY_TOOLS = frozenset({"file_search", "computer_use", "google_maps"})


def check(body: dict[str, Any], status_of: Callable[[str], str | None]) -> None:
    """Check a create request; `status_of` gives the status of a stored interaction, None if there is none.

    The rules are Google's (ai.google.dev/gemini-api/docs), except for what is not emulated yet.

    Raises:
        ApiError: 400 or 404, the request breaks a rule.
    """
    for name in body:
        if name not in _FIELDS:
            raise ApiError(400, f"Unknown parameter: {name}", "parameter_unknown")
    _check_types(body)
    _check_labels(body.get("labels"))
    _check_modes(body)
    if body.get("agent"):
        _check_agent(body)
    elif "agent_config" in body:
        raise ApiError(400, "agent_config needs an agent")
    _check_previous(body, status_of)
    for name in _NOT_EMULATED:
        if body.get(name):
            raise ApiError(400, f"{name} is not emulated yet: this is a local stand-in of the API")
    if (wanted := body.get("response_format")) and not _is_json(wanted):
        raise ApiError(400, "of response_format only JSON text is emulated: this is a local stand-in of the API")


def _is_json(wanted: Any) -> bool:
    if not isinstance(wanted, dict) or wanted.keys() - {"type", "mime_type", "schema"}:
        return False
    return wanted.get("type") == "text" and wanted.get("mime_type") == "application/json"


def _check_types(body: dict[str, Any]) -> None:
    if bool(body.get("model")) == bool(body.get("agent")):
        raise ApiError(400, "exactly one of model and agent is required")
    for name in ("model", "agent", "system_instruction", "previous_interaction_id", "service_tier"):
        if not isinstance(body.get(name, ""), str):
            raise ApiError(400, f"{name} must be a string")
    for name in ("background", "store", "stream"):
        if not isinstance(body.get(name, False), bool):
            raise ApiError(400, f"{name} must be true or false")
    if not isinstance(body.get("input"), str | list | dict) or not body["input"]:
        raise ApiError(400, "input is required: text, content, a list of content or a list of steps")
    if body.get("service_tier", "standard") not in _TIERS:
        raise ApiError(400, f"service_tier must be one of {', '.join(_TIERS)}")
    _tools(body)


def _tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(t, dict) and t.get("type") for t in tools):
        raise ApiError(400, "tools must be a list of objects with a type")
    return tools


def _check_labels(labels: Any) -> None:
    if labels is None:
        return
    if not isinstance(labels, dict):
        raise ApiError(400, "labels must be an object")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise ApiError(400, f"label key {key!r}: up to 63 of a-z, 0-9, _ and -, a letter first")
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            raise ApiError(400, f"label {key}: its value must be up to 63 of a-z, 0-9, _ and -")


def _check_modes(body: dict[str, Any]) -> None:
    if body.get("background") and body.get("store") is False:
        raise ApiError(400, "background=true needs store=true")
    if body.get("webhook_config") and not body.get("background"):
        raise ApiError(400, "webhook_config needs background=true")


def _check_agent(body: dict[str, Any]) -> None:
    agent = body["agent"]
    for name in ("generation_config", "cached_content"):
        if name in body:
            raise ApiError(400, f"{name} is not supported with an agent")
    if agent in ANTIGRAVITY:
        _check_antigravity(body)
    elif agent in DEEP_RESEARCH:
        _check_deep_research(body)
    else:
        raise ApiError(404, f"Agent {agent} not found", "model_not_found")


def _check_antigravity(body: dict[str, Any]) -> None:
    _check_agent_config(body, "antigravity")
    _refuse(body, "response_format")
    for tool in _tools(body):
        if tool["type"] in _NO_ANTIGRAVITY_TOOLS:
            raise ApiError(400, f"tool {tool['type']} is not supported with {body['agent']}")
        if tool["type"] == "mcp_server" and not _MCP_NAME.fullmatch(str(tool.get("name", ""))):
            raise ApiError(400, "the name of an mcp_server must match ^[a-z0-9_-]+$")
        if tool["type"] == "function" and body.get("store") is False:
            raise ApiError(400, "functions need store=true")
    if body.get("previous_interaction_id") and not body.get("environment"):
        raise ApiError(400, "an agent's follow-up needs both previous_interaction_id and environment")


def _check_deep_research(body: dict[str, Any]) -> None:
    _check_agent_config(body, "deep-research")
    _refuse(body, "response_format")
    _refuse(body, "system_instruction")
    if not body.get("background"):
        raise ApiError(400, f"{body['agent']} needs background=true")
    if any(tool["type"] == "function" for tool in _tools(body)):
        raise ApiError(400, f"functions are not supported with {body['agent']}")


def _check_agent_config(body: dict[str, Any], kind: str) -> None:
    config = body.get("agent_config", {"type": kind})
    if not isinstance(config, dict) or config.get("type") not in {kind, "dynamic"}:
        raise ApiError(400, f"agent_config must be an object of type {kind}")
    if not re.fullmatch(r"[1-9]\d*", str(config.get("max_total_tokens", "1"))):
        raise ApiError(400, "agent_config.max_total_tokens must be a positive whole number")


def _refuse(body: dict[str, Any], name: str) -> None:
    if body.get(name):
        raise ApiError(400, f"{name} is not supported with {body['agent']}")


def _check_previous(body: dict[str, Any], status_of: Callable[[str], str | None]) -> None:
    previous = body.get("previous_interaction_id")
    if not previous:
        return
    status = status_of(previous)
    if status is None:
        raise ApiError(404, f"Interaction {previous} not found")
    if status in {"queued", "in_progress"}:
        raise ApiError(400, f"Interaction {previous} is {status}; wait for its end", "failed_precondition")
