import json

import pytest

from gapless.links import Claim, parse_claims, report_markdown
from unit.links.httpsite import Audit, page

SITE = "http://site.example/docs/"
ROW = {"page": "/a", "href": "b.html", "target": "/b.html#x", "reason": "404"}
CLAIM = Claim("http://site.example/a", "b.html", "http://site.example/b.html#x", "404")


def test_the_file_is_read_first() -> None:
    """The agent's JSON file counts, wherever it lies, and paths are resolved against the site."""
    files = {"work/link-audit.json": json.dumps({"pages_crawled": 3, "broken": [ROW]}).encode(), "other.json": b"{}"}
    assert parse_claims('{"broken": []}', site=SITE, files=files) == ([CLAIM], [])


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"broken": [ROW]}),
        "Here you are {not json}:\n```json\n" + json.dumps({"broken": [ROW]}, indent=2) + "\n```\nDone {}.",
        json.dumps({"note": {}, "broken": [ROW, ROW]}),
    ],
)
def test_json_in_the_text_is_found(text: str) -> None:
    """A JSON object is found in what stands around it; the same claim twice is one."""
    assert parse_claims(text, site=SITE, files={}) == ([CLAIM], [])


def test_markdown_is_read() -> None:
    """Without JSON, the report's own form is understood."""
    text = "# Broken Link Audit — x\n## On all 3 pages\n- [404] /s.css\n## /a\n- [404] /b\\#1 `text`\n* [dns] http://h.x/ `y`\nTotal broken: 3\n## Unverified: 1\n- [blocked 403] /no\n"
    claims, problems = parse_claims(text, site=SITE, files={})
    page_a = "http://site.example/a"
    assert claims == [
        Claim(None, None, "http://site.example/s.css", "404"),
        Claim(page_a, None, "http://site.example/b#1", "404"),
        Claim(page_a, None, "http://h.x/", "dns"),
    ]
    assert problems == []


async def test_the_auditor_s_own_report_can_be_read_as_claims(audit: Audit) -> None:
    """Every broken target of a report comes back as a claim."""
    found = await audit({"/": page("/a", "/gone", "#x"), "/a": page("/gone", "/other?q=1#2")})
    claims, problems = parse_claims(report_markdown(found), site=audit.site.url, files={})
    assert {claim.target for claim in claims} == found.broken()
    assert problems == []


def test_relative_targets_resolve_against_their_page() -> None:
    """A link without an address is resolved as the page would."""
    rows = [{"page": "/a/b.html", "href": "../c.html"}, {"page": "/a/b.html", "target": "d.html"}]
    claims, _ = parse_claims(json.dumps({"broken": rows}), site=SITE, files={})
    assert [claim.target for claim in claims] == ["http://site.example/c.html", "http://site.example/a/d.html"]


JUNK = [
    "",
    "I found nothing.",
    "null",
    "[]",
    "{" * 100_000,
    '{"broken": ' + "[" * 100_000,
    '{"broken": 7}',
    '{"broken": [1, null, "x", [], {}, {"target": 7}, {"target": {"a": 1}}, {"target": ""}, {"page": "/x"}]}',
    '{"broken": [{"target": "http://[::1", "page": "http://[::1"}]}',
    '{"broken": [{"target": "\\ud800", "page": "\\ud800", "href": "\\u0000", "reason": true}]}',
    '{"broken": [{"target": "javascript:x", "reason": "\\u001b[31m"}]}',
    "## /a\n- [\n- [404]\n- [404] \n##\n- [x] \\",
    "\x00\x1b[31m" * 100,
]


@pytest.mark.parametrize("text", JUNK)
def test_junk_never_raises(text: str) -> None:
    """Whatever an agent writes, the answer is claims and problems, each in one harmless line."""
    for files in ({}, {"link-audit.json": text.encode("utf-8", "replace")}, {"link-audit.json": b"\xff\xfe\x00"}):
        claims, problems = parse_claims(text, site=SITE, files=files)
        assert claims or problems
        assert not any(mark in problem for problem in problems for mark in "\x1b\n\x00")


def test_size_is_bounded() -> None:
    """More claims than are read, and a file larger than is read, are problems."""
    many = json.dumps({"broken": [{"target": f"/{number}"} for number in range(20_005)]})
    claims, problems = parse_claims(many, site=SITE, files={})
    assert len(claims) == 20_000
    assert "20000" in problems[0]
    claims, problems = parse_claims("", site=SITE, files={"link-audit.json": b" " * 5_000_001})
    assert claims == []
    assert "larger" in problems[0]


def test_braces_without_end_are_given_up() -> None:
    """Text made to be tried at every brace is tried at few of them."""
    assert parse_claims('{"a":' * 900_000, site=SITE, files={})[0] == []
