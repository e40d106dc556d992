import json
from random import Random
from time import process_time

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


A, B, C = (f"http://site.example/{name}" for name in "abc")


def read(text: str) -> list[tuple[str | None, str, str]]:
    """Return page, target and reason of what a text claims."""
    claims, _ = parse_claims(text, site=SITE, files={})
    return [(claim.page, claim.target, claim.reason) for claim in claims]


@pytest.mark.parametrize(
    "text",
    [
        '{"broken": [{"page": "/a", "target": "/b", "reason": "404"}]}',
        'Sure.\n```json\n{"broken": [\n  // one\n  {"page": "/a", "target": "/b", "reason": 404,}, /* x */\n],}\n```\n',
        "{'broken': [{'page': '/a', 'target': '/b', 'reason': '404', 'ok': False, 'note': None}]}",
        '{broken: [{page: "/a", target: "/b", reason: "404"}]}',
        '{"broken": [{"page": "/a", "target": "/b", "reason": "404"}, {"page": "/a", "targ',
        '{"page": "/a", "url": "/b", "status": 404}\n{"page": "/a", "url": "/c", "status": 200}',
        '[{"source": "/a", "href": "/b", "status_code": 404}, {"source": "/a", "href": "/c", "status_code": 200}]',
        '[["/a", "/b", 404], ["/a", "/c", 200]]',
        '{"broken_links": [{"foundOn": ["/a"], "brokenUrl": "/b", "error": "404"}], "working": ["/c"]}',
        '{"links": [{"source_page": "/a", "link": "[b](/b)", "httpStatus": 404}, {"source_page": "/a", "link": "/c", "ok": true}]}',
        '{"report": {"pages": [{"url": "/a", "broken": [{"href": "/b", "status": 404}], "fixed": ["/c"]}]}}',
        '{"url": "/", "broken": {"/a": {"/b": 404, "/c": 200}}}',
        '{"findings": [{"page": {"url": "/a"}, "link": {"href": "/b"}, "status": "404", "chain": [{"url": "/c", "status": 301}]}]}',
        "## Broken links\n| Page | Link | Status |\n|---|:-:|---|\n| /a | [b](/b) | 404 |\n| /a | /c | 200 OK |",
        "| Status | Broken URL | Found on |\n|--|--|--|\n| **404** | <http://site.example/b> | `/a` |",
        "| http://site.example/a | http://site.example/b | 404 |\n| http://site.example/a | http://site.example/c | ok |",
        "<table><tr><th>Page</th><th>Link</th><th>Status</th></tr>\n<tr>\n <td>/a</td><td><a href='/b'><code>/b</code></a></td><td>404</td></tr></table>",
        "<h2>Broken</h2><ul><li>/a<ul><li>/b (404)</li></ul></li></ul>",
        "```csv\npage,href,status\n/a,/b,404\n/a,/c,200\n```",
        "Page;Target;Status\n/a;/b;404\n/a;/c;200",
        "Page\tTarget\tStatus\n/a\t/b\t404",
        "On http://site.example/a the link http://site.example/b returns 404.",
        "The page `/a` links to `/b`, which gives a 404; it should point to `/c` instead.",
        "http://site.example/b (linked from http://site.example/a) returns 404. It should be http://site.example/c.",
        "I audited http://site.example/ and found 1 broken link. On /a, /b returns 404. http://site.example/c works.",
        "1. **http://site.example/a**\n   1. `/b` - 404\n   2. /c - 200",
        "- /a:\n    - [the guide](/b): 404",
        "**/a**\n* /b (404)",
        "Page: /a\nLink: /b\nStatus: 404\n\nPage: /a\nLink: /c\nStatus: 200",
        "- **URL:** /b\n- **Found on:** /a\n- **Status:** 404\n- **Replacement:** /c",
        "- Page: /a | Link: /b | Status: 404",
        "- http://site.example/b\n  - Status: 404\n  - Found on: /a",
        "- /a \u2192 /b (404)",
        "\u5728\u9875\u9762 http://site.example/a\uff0c\u94fe\u63a5 http://site.example/b \u8fd4\u56de 404\u3002",
        "## /a\n- [404] /b\n- [200] /c\n## Suggested fixes\n- [404] /c\n### /a\n- [404] /c",
        "> ## /a\n> - [404] `/b`",
        "\ufeff## `/a`\n- [404] \u202ahttp://site.example/b\u202c",
        "## /a\n- \uff48\uff54\uff54\uff50\uff1a\uff0f\uff0fsite.example\uff0fb (404)",
        "## site.example/a\n- [404] site.example/b",
    ],
)
def test_one_claim_in_many_forms(text: str) -> None:
    """However an agent writes it, /b on /a is the one link that it calls broken, and /c is none."""
    claims = read(text)
    assert [target for _, target, _ in claims] == [B]
    assert "404" in claims[0][2]
    assert claims[0][0] in {A, None}


@pytest.mark.parametrize(
    "text",
    [
        "No broken links were found on http://site.example/a.",
        "All links work. See http://site.example/b for what 404 means.",
        "http://site.example/b works, it is not broken.",
        "The link to http://site.example/b was fixed.",
        "## Working links\n- /b\n## Unverified: 1\n- [blocked 403] /b\n## Warnings\n- [404] /b",
        '{"ok": ["/b"], "fixed": [{"page": "/a", "target": "/b", "reason": "404"}]}',
        '[{"url": "/b", "status": 200}]',
        "Total broken: 0 across 500 pages crawled, starting at http://site.example/.",
    ],
)
def test_what_is_no_claim(text: str) -> None:
    """An address that is named as working, as mended, or in passing is not called broken."""
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("http://site.example/b(1) and http://site.example/c), http://site.example/a. are broken", [B + "(1)", C, A]),
        ("## Broken\n- **http://site.example/b**,\n- <http://site.example/c>;\n- [x](/a_(1))", [B, C, A + "_(1)"]),
        ("## /a\n- [404] /x\\_y?a=1&amp;b=2", ["http://site.example/x_y?a=1&b=2"]),
        ("Broken: /b, /c. Working: /a", [B, C]),
        ("There are 2 broken links:\n\n1. http://site.example/b\n2. http://site.example/c\n", [B, C]),
        ("404: http://site.example/b, 200: http://site.example/c", [B]),
        ('{"broken": ["/b", "http://site.example/c"]}', [B, C]),
        ('{"broken": [{"target": "/b", "fragment": "x"}]}', [B + "#x"]),
        ('{"broken": [{"page": "/a", "href": "x y.html"}]}', ["http://site.example/x%20y.html"]),
        ('{"broken": [{"page": "/a", "missing_anchor": "#x", "url": "/b"}]}', [B + "#x"]),
        ("page,target\n/a,/b\n\nIn short, as said.\n## More, and worse\n- [404] /c, on /a", [B, C]),
        ("On http://site.example/a, the anchor `#x` is missing.", [A + "#x"]),
    ],
)
def test_addresses_are_read_as_they_are_meant(text: str, targets: list[str]) -> None:
    """Punctuation, mark-up and escapes around an address do not belong to it."""
    assert [target for _, target, _ in read(text)] == targets


def test_pages_come_from_above() -> None:
    """Headings, items, labels and phrases say on which page a link stands."""
    text = "## /a\n- [404] /b\n## Broken links\n- /c\n  - /b\n- /d: 404\n\nOn /e:\n- /b\n- /c\n"
    pages = [(page and page[-1], target[-1]) for page, target, _ in read(text)]
    assert pages == [("a", "b"), ("c", "b"), (None, "d"), ("e", "b"), ("e", "c")]
    several = '{"broken": [{"pages": ["/a", "/c"], "target": "/b"}]}'
    assert [(page, target) for page, target, _ in read(several)] == [(A, B), (C, B)]


def test_an_empty_report_is_a_report() -> None:
    """An agent that says that nothing is broken said something; one that says nothing did not."""
    assert parse_claims('{"report": {"broken": []}}', site=SITE, files={}) == ([], [])
    assert parse_claims("", site=SITE, files={"link-audit.json": b'{"broken": []}'}) == ([], [])
    assert parse_claims("Done.", site=SITE, files={})[1] == ["the answer holds no report that can be read"]


def test_files_come_in_order() -> None:
    """The file asked for, then the text, then other files; one that holds no report gives way."""
    row = {"page": "/a", "target": "/b", "reason": "404"}
    other = {"notes.json": json.dumps({"broken": [row]}).encode()}
    assert [claim.target for claim in parse_claims("/c is broken", site=SITE, files=other)[0]] == [C]
    assert [claim.target for claim in parse_claims("See the file.", site=SITE, files=other)[0]] == [B]
    claims, problems = parse_claims("/c is broken", site=SITE, files={"link-audit.json": b"nothing"})
    assert [claim.target for claim in claims] == [C]
    assert problems == ["link-audit.json holds no report that can be read"]


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
    "|" * 9_999,
    "- " * 9_999,
    "<td>" * 9_999,
    "[](" * 9_999,
    "`" * 9_999,
    'page,target\n"',
    "Page: " * 9_999,
    '[{"page": ["/a", ["/b"]], "target": {"target": {"target": "/c"}}}]',
]


@pytest.mark.parametrize("text", JUNK)
def test_junk_never_raises(text: str) -> None:
    """Whatever an agent writes, the answer is claims and problems, each in one harmless line."""
    for files in ({}, {"link-audit.json": text.encode("utf-8", "replace")}, {"link-audit.json": b"\xff\xfe\x00"}):
        claims, problems = parse_claims(text, site=SITE, files=files)
        assert claims or problems
        assert not any(mark in problem for problem in problems for mark in "\x1b\n\x00")


PIECES = [
    *"{}[]\"':,\n\t|`()<>#?@%\\*\0",
    *(
        '"broken":',
        '"page":',
        '"target":',
        "null",
        "1e999",
        "//",
        "/*",
        "*/",
        "\\u",
        "\ud800",
        "\u202e",
        "\uff1a",
        "```csv\n",
    ),
    *(
        "- ",
        "1. ",
        "  ",
        "# ",
        "## /a\n",
        "- [404] ",
        "| /b ",
        "Page: ",
        "Link: ",
        "404",
        " not ",
        " works",
        "on ",
        ".",
    ),
    *(
        "/b",
        "http://site.example/c",
        "http://[::1",
        "https://",
        "<td>",
        "<li>",
        '<a href="/b">',
        "</a>",
        "&amp;",
        "&#x0;",
    ),
]


def test_whatever_is_written_never_raises() -> None:
    """Answers put together at random give claims that can be stored, and problems of one harmless line."""
    random = Random(7)
    for _ in range(4_000):
        text = "".join(random.choices(PIECES, k=random.randrange(60)))
        claims, problems = parse_claims(text, site=SITE, files={"link-audit.json": text.encode("utf-8", "replace")})
        json.dumps(claims).encode("ascii")
        assert all((claim.target + claim.reason + (claim.page or "")).encode() for claim in claims)
        assert all(problem.isprintable() for problem in problems)


def test_size_is_bounded() -> None:
    """More claims than are read, and a file larger than is read, are problems."""
    many = json.dumps({"broken": [{"target": f"/{number}"} for number in range(20_005)]})
    claims, problems = parse_claims(many, site=SITE, files={})
    assert len(claims) == 20_000
    assert "20000" in problems[0]
    claims, problems = parse_claims("", site=SITE, files={"link-audit.json": b" " * 5_000_001})
    assert claims == []
    assert "larger" in problems[0]


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        '{"a":',
        "[[",
        '["',
        "[/*",
        "`a ",
        "[](",
        " /a",
        "| /a ",
        "- [x] ",
        "<li>",
        "Page: /a ",
        "404 not on the ",
        "\\",
    ],
)
def test_time_is_proportional(unit: str) -> None:
    """Four times as much of what parsers dislike takes about four times as long, and not sixteen."""

    def seconds(size: int) -> float:
        begin = process_time()
        parse_claims(unit * (size // len(unit)), site=SITE, files={})
        return process_time() - begin

    assert seconds(800_000) < 8 * seconds(200_000) + 0.5


def test_braces_without_end_are_given_up() -> None:
    """Text made to be tried at every brace is tried at few of them."""
    assert parse_claims('{"a":' * 900_000, site=SITE, files={})[0] == []
