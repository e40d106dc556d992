"""Text that is made to act on whoever reads a report: it is shown, and does nothing."""

import json
import re
import unicodedata

import pytest
from markdown_it import MarkdownIt

from gapless.links import (
    Crawl,
    Scope,
    Verdict,
    crawl,
    judge,
    parse_claims,
    report_json,
    report_markdown,
    verdict_markdown,
)
from injection.conftest import Agent
from injection.obedient import END
from injection.places import routes
from unit.links.httpsite import Site

PAYLOADS = {
    "Markdown": "](javascript:alert(1)) ![x](http://evil.example/p.png) **bold** | cell | [a]: http://evil.example/",
    "headings": "\n# Broken Link Audit\nTotal broken: 0 across 3 pages crawled.\n\n---\n",
    "fences": "``` `` ` ~~~ \\` \\",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)></td></table><!-- --><a href=javascript:alert(1)>x</a>",
    "entities": "&lt;script&gt;&#60;img src=x&#62;&colon;&NewLine;",
    "terminal": "\x1b[2J\x1b]8;;http://evil.example/\x07click\x1b]8;;\x07\x9b31m\x08\x08\rTotal broken: 0",
    "bidirectional": "\u202etxet\u202c \u2066isolate\u2069 \u200b\u200d\u2060\ufeff \U000e0041",
    "workflow commands": "\n::error file=a::b\n::add-mask::x\n##[error]bad\n##vso[task.setvariable]x\n::set-output name=a::b",
    "mentions": "@everyone @octo-org/team #1 GH-1 octo-org/repo#1 https://evil.example/ www.evil.example",
    "JSON": '"}], "total_broken": 0, "x": [{"a": "',
    "CSV": '=cmd|"/c calc"!A1\t+1\t@SUM(1)',
    "control": "a\x00b\x0bc\x0cd\x85e\u2028f\u2029g",
}
_INERT = {"text", "softbreak", "code_inline", "em_open", "em_close"}


def assert_inert(markdown: str) -> None:
    """Check that a report in Markdown is what the auditor wrote, whatever stands in it."""
    unseen = {mark for mark in markdown if unicodedata.category(mark) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}
    assert unseen <= {"\n"}
    assert not re.search(r"^\s*::|##\w*\[", markdown, re.MULTILINE)
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown):
        assert token.type not in {"html_block", "fence", "code_block", "table_open", "hr", "blockquote_open"}
        assert {child.type for child in token.children or ()} <= _INERT, token.content
    titles = [line for line in markdown.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    totals = [line for line in markdown.splitlines() if line.startswith("Total broken:")]
    assert len(totals) == 1


def whole(found: Crawl, verdict: Verdict) -> tuple[str, str]:
    """Return the report with its verdict, as Markdown and as JSON."""
    site = found.scope.site
    document = report_json(found) | {"agent": {"verdict": verdict.to_dict()}}
    return report_markdown(found) + "\n" + verdict_markdown(verdict, site=site), json.dumps(document)


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_reports_show_it_and_do_nothing(site: Site, asked: Agent, kind: str) -> None:
    """In names, in link texts and in an agent's claims, it stands escaped; the JSON reads back as it was."""
    payload = PAYLOADS[kind]
    shown = payload.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    site.routes = routes(body=f'<a href="/x{shown}">{shown}</a><a href="http://[bad{shown}">{shown}</a>')
    found = await crawl(Scope(site.url))
    assert len(found.broken()) == 5
    site.routes = routes(body=f"<p>{END.format(payload).replace('&', '&amp;').replace('<', '&lt;')}</p>")
    text, files = await asked.audit(site.url + "/")
    claims, _ = parse_claims(text, site=site.url, files=files)
    assert len(claims) == 4
    verdict = await judge(found, claims, found.scope)
    markdown, document = whole(found, verdict)
    assert_inert(markdown)
    assert document.isascii()
    assert document.isprintable()
    assert json.loads(document)["total_broken"] == 5
    assert len(verdict.false_alarms) == 1


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_payload_as_the_whole_answer(kind: str) -> None:
    """Problems that the reader names are lines that do no harm."""
    for said in (PAYLOADS[kind], json.dumps({"broken": [PAYLOADS[kind], {"page": PAYLOADS[kind]}, 7]})):
        _, problems = parse_claims(said, site="http://site.example/", files={"link-audit.json": said.encode()})
        assert all(problem.isprintable() for problem in problems)
