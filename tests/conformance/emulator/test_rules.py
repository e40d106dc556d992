"""What the API refuses, on the wire: each refusal is clear and creates nothing."""

from typing import Any

import pytest

MODEL = {"model": "m", "input": "x"}
AGENT = {"agent": "antigravity-preview-09-2026", "input": "x", "background": True}
DEEP = {"agent": "deep-research-preview-04-2026", "input": "x", "background": True}
INVALID, UNKNOWN = "invalid_request", "parameter_unknown"

REFUSED = {
    "neither model nor agent": ({"input": "x"}, 400, INVALID),
    "both model and agent": ({**MODEL, "agent": "a"}, 400, INVALID),
    "no input": ({"model": "m"}, 400, INVALID),
    "wrong input": ({"model": "m", "input": 7}, 400, INVALID),
    "unknown field": ({**MODEL, "idempotency_key": "k"}, 400, UNKNOWN),
    "wrong type": ({**MODEL, "background": "yes"}, 400, INVALID),
    "wrong tier": ({**MODEL, "service_tier": "gold"}, 400, INVALID),
    "wrong tools": ({**MODEL, "tools": [{"name": "f"}]}, 400, INVALID),
    "background unstored": ({**MODEL, "background": True, "store": False}, 400, INVALID),
    "webhook in foreground": ({**MODEL, "webhook_config": {"uris": ["https://h.test"]}}, 400, INVALID),
    "webhook": ({**MODEL, "background": True, "webhook_config": {"uris": ["https://h.test"]}}, 400, INVALID),
    "stream": ({**MODEL, "stream": True}, 400, INVALID),
    "structured output": ({**MODEL, "response_format": {"type": "text"}}, 400, INVALID),
    "config without agent": ({**MODEL, "agent_config": {"type": "antigravity"}}, 400, INVALID),
    "label key": ({**MODEL, "labels": {"Job": "x"}}, 400, INVALID),
    "label value": ({**MODEL, "labels": {"job": "A B"}}, 400, INVALID),
    "label length": ({**MODEL, "labels": {"job": "a" * 64}}, 400, INVALID),
    "label fault": ({**MODEL, "labels": {"gapless-fault": "no-such-fault"}}, 400, INVALID),
    "label number": ({**MODEL, "labels": {"gapless-polls": "many"}}, 400, INVALID),
    "unknown agent": ({**AGENT, "agent": "nobody"}, 404, "model_not_found"),
    "agent with generation": ({**AGENT, "generation_config": {"seed": 1}}, 400, INVALID),
    "agent with schema": ({**AGENT, "response_format": {"type": "text"}}, 400, INVALID),
    "agent with other config": ({**AGENT, "agent_config": {"type": "deep-research"}}, 400, INVALID),
    "agent with bad budget": (
        {**AGENT, "agent_config": {"type": "antigravity", "max_total_tokens": "-1"}},
        400,
        INVALID,
    ),
    "agent with maps": ({**AGENT, "tools": [{"type": "google_maps"}]}, 400, INVALID),
    "agent with MCP name": ({**AGENT, "tools": [{"type": "mcp_server", "name": "My Server"}]}, 400, INVALID),
    "agent with functions unstored": (
        {"agent": AGENT["agent"], "input": "x", "store": False, "tools": [{"type": "function", "name": "f"}]},
        400,
        INVALID,
    ),
    "agent chained without environment": ({**AGENT, "previous_interaction_id": "v1_x"}, 400, INVALID),
    "unknown environment": ({**AGENT, "environment": "no-such"}, 404, "not_found"),
    "root as target": (
        {**AGENT, "environment": {"type": "remote", "sources": [{"type": "inline", "target": "/"}]}},
        400,
        INVALID,
    ),
    "research in foreground": ({**DEEP, "background": False}, 400, INVALID),
    "research with instructions": ({**DEEP, "system_instruction": "x"}, 400, INVALID),
    "research with functions": ({**DEEP, "tools": [{"type": "function", "name": "f"}]}, 400, INVALID),
    "not an object": ([1], 400, INVALID),
}


@pytest.mark.parametrize("rule", REFUSED)
async def test_a_broken_rule_is_refused(http: Any, emulator: Any, rule: str) -> None:
    """The answer has the documented status and code, and nothing comes into being."""
    body, status, code = REFUSED[rule]
    before = emulator.stats()["created"]
    answer = await http.post("/v1/interactions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.json()["error"]["message"]
    assert emulator.stats()["created"] == before


async def test_a_body_that_is_not_json_is_refused(http: Any) -> None:
    """Broken JSON is a 400 in the API's form."""
    answer = await http.post("/v1/interactions", content=b"{")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"fault": "no-such"},
        {"fault": "status-NNN"},
        {"fault": "hang", "operation": "x"},
        {"fault": "slow", "on": 1},
        {"fault": "regress", "operation": "get"},
        {"fault": "slow", "seconds": "1"},
        {},
    ],
)
async def test_a_wrong_fault_is_refused(http: Any, body: Any) -> None:
    """The control API says what is wrong with a fault."""
    answer = await http.post("/_emulator/faults", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


async def test_every_documented_shape_of_a_request_is_accepted(http: Any) -> None:
    """Lists of content, steps, tools and settings go through."""
    text = [{"type": "text", "text": "hello"}]
    for given in (text, text[0], [{"type": "user_input", "content": text}], ["hello"]):
        answer = await http.post(
            "/v1/interactions",
            json={"model": "m", "input": given, "background": True, "generation_config": {"seed": 1}},
        )
        assert answer.status_code == 200, answer.text
        seen = (await http.get(f"/v1/interactions/{answer.json()['id']}")).json()
        assert seen["steps"][0] == {"type": "user_input", "content": text}
