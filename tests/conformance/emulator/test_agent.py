"""The managed agent audits links truly, unless it is told to lie."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from gapless.testing.emulator import Emulator

pytestmark = pytest.mark.filterwarnings("ignore:Environments usage is experimental:UserWarning")

AGENT = "antigravity-preview-09-2026"


@pytest.fixture
def true(broken: set[tuple[str, str, str]]) -> set[tuple[str, str]]:
    """Return page and target of what is broken."""
    return {(page, target) for page, target, _ in broken}


async def audit(sdk: Any, site: str, **labels: str) -> tuple[Any, Any]:
    """Return the finished interaction and its link-audit.json."""
    made = await sdk.start(f"Find broken links on {site}/.", agent=AGENT, environment="remote", labels=labels or None)
    done = await sdk.until(made.id)
    data = await sdk.environments.files.download(environment=done.environment_id, path="link-audit.json")
    return done, json.loads(data)


def pairs(document: Any, site: str) -> set[tuple[str, str]]:
    """Return page and target of each claim, without the origin."""
    return {(b["page"].removeprefix(site), b["target"].removeprefix(site)) for b in document["broken"]}


async def test_it_finds_what_is_broken(sdk: Any, site: str, broken: Any) -> None:
    """The claims are exactly the site's faults, with what is written in the page and why."""
    done, document = await audit(sdk, site)
    assert done.status == "completed"
    assert document["pages_crawled"] == 3
    assert {
        (b["page"].removeprefix(site), b["target"].removeprefix(site), b["reason"]) for b in document["broken"]
    } == broken
    assert {b["href"] for b in document["broken"]} == {"/missing", "#nowhere", "gone.png", "/moved#absent", "/boom"}


async def test_it_reports_by_page(sdk: Any, site: str) -> None:
    """The text is the report, after a line that says who wrote it; the same is in the environment."""
    done, _ = await audit(sdk, site)
    stand_in, _, report = done.output_text.partition("\n")
    assert stand_in == "[local stand-in, not Gemini]"
    host = site.removeprefix("http://")
    assert report == (
        f"# Broken Link Audit — {host}\n"
        "## /\n- [missing_fragment] /#nowhere\n- [404] /missing\n"
        "## /guide/\n- [500] /boom\n- [404] /guide/gone.png\n- [404] /missing\n- [missing_fragment] /moved#absent\n"
        "Total broken: 5 across 3 pages crawled.\n"
    )
    data = await sdk.environments.files.download(environment=done.environment_id, path="link-audit.md")
    assert data.decode() == report


async def test_its_work_shows_in_the_steps(sdk: Any, site: str) -> None:
    """The timeline has the input, a thought, calls with their results, and the output."""
    done, _ = await audit(sdk, site)
    kinds = [step.type for step in done.steps]
    assert kinds[:2] == ["user_input", "thought"]
    assert kinds[-1] == "model_output"
    calls = {step.id: step.name for step in done.steps if step.type == "function_call"}
    answered = {step.call_id: step.name for step in done.steps if step.type == "function_result"}
    assert calls == answered
    assert {"read_url_content", "write_to_file"} == set(calls.values())
    assert done.usage.total_tokens > 0


async def test_it_misses_what_it_is_told_to_miss(sdk: Any, site: str, true: Any) -> None:
    """The first targets in order are left out, everywhere."""
    _, document = await audit(sdk, site, **{"gapless-miss": "3"})
    missed = sorted({target for _, target in true})[:3]
    assert pairs(document, site) == {(page, target) for page, target in true if target not in missed}


async def test_it_invents_what_it_is_told_to_invent(sdk: Any, site: str, true: Any) -> None:
    """Inventions are in no page, and the same at every time; some lead to pages that work."""
    _, first = await audit(sdk, site, **{"gapless-invent": "4"})
    _, second = await audit(sdk, site, **{"gapless-invent": "4"})
    assert first == second
    invented = pairs(first, site) - true
    assert len(invented) == 4
    assert pairs(first, site) > true
    assert any(target in {"/", "/guide/", "/target"} for _, target in invented)


async def test_lies_may_be_the_default(connect: Any, site: str, true: Any) -> None:
    """An emulator can be started with an agent that lies."""
    async with Emulator(run_seconds=0, miss=1, invent=1) as emulator:
        sdk = connect(emulator.url)
        _, document = await audit(sdk, site)
        claims = pairs(document, site)
        assert len(claims - true) == 1
        assert true - claims == {("/", "/#nowhere")}
        _, honest = await audit(sdk, site, **{"gapless-miss": "0", "gapless-invent": "0"})
        assert pairs(honest, site) == true


async def test_a_site_that_is_down_is_broken(sdk: Any, unused_port: int) -> None:
    """The agent says why the start page cannot be had; it does not fail."""
    done, document = await audit(sdk, f"http://127.0.0.1:{unused_port}")
    assert done.status == "completed"
    assert document["pages_crawled"] == 0


async def test_it_takes_note_of_anything_else(sdk: Any) -> None:
    """Another task gets a short answer and a file."""
    made = await sdk.start("Write a poem", agent=AGENT, environment="remote")
    done = await sdk.until(made.id)
    assert "Write a poem" in done.output_text
    data = await sdk.environments.files.download(environment=done.environment_id, path="answer.md")
    assert b"Write a poem" in data


async def test_it_stops_when_it_is_cancelled(sdk: Any, serve: Any) -> None:
    """A cancelled audit gives up its requests and writes nothing."""
    reached, gone = asyncio.Event(), asyncio.Event()

    async def never(request: web.BaseRequest) -> web.StreamResponse:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return web.Response()

    async with serve(never, handler_cancellation=True) as site:
        made = await sdk.start(f"Check the links of {site}", agent=AGENT, environment="remote")
        await asyncio.wait_for(reached.wait(), 10)
        await sdk.interactions.cancel(made.id)
        await asyncio.wait_for(gone.wait(), 10)
    seen = await sdk.interactions.get(made.id)
    assert seen.status == "cancelled"
    listed = await sdk.environments.files.list(environment=made.environment_id, path="", recursive=True)
    assert not listed.files


async def test_it_works_in_the_foreground(sdk: Any, site: str) -> None:
    """A foreground create of an agent answers with the whole work."""
    made = await sdk.interactions.create(agent=AGENT, input=f"Check the links of {site}/")
    assert made.status == "completed"
    assert "Total broken: 5 across 3 pages crawled." in made.output_text


async def test_its_budget_ends_it(sdk: Any, site: str) -> None:
    """A token limit below what the work takes makes it incomplete."""
    config = {"type": "antigravity", "max_total_tokens": 10}
    made = await sdk.start(f"Check the links of {site}", agent=AGENT, agent_config=config)
    assert (await sdk.until(made.id)).status == "incomplete"


async def test_a_follow_up_uses_the_same_environment(sdk: Any, site: str) -> None:
    """A chained agent goes on where the former one left its files."""
    done, _ = await audit(sdk, site)
    more = await sdk.start("And now?", agent=AGENT, environment=done.environment_id, previous_interaction_id=done.id)
    await sdk.until(more.id)
    listed = await sdk.environments.files.list(environment=done.environment_id, path="", recursive=True)
    assert [f.path for f in listed.files] == ["answer.md", "link-audit.json", "link-audit.md"]
