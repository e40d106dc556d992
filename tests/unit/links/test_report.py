import json
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from gapless.links import escape, report_json, report_markdown
from gapless.links.report.document import flaky, read_report, report_of
from gapless.links.report.review import review
from unit.links.httpsite import Audit, Reply, page, redirect
from unit.links.reports import validate

NASTY = "\x1b[31mred\x1b[0m \x07 \u202egnp.exe\u202c \u200b </code><script>alert(1)</script> ]( http://x ) `` | @team #12 **b**"


async def test_the_report_is_grouped_by_page(audit: Audit) -> None:
    """One section for each page, one line for each link, and the sum at the end."""
    found = await audit(
        {
            "/": page("/getting-started", "/api/reference"),
            "/getting-started": '<a href="old-quickstart">Quick start</a>',
            "/api/reference": '<a href="/api/legacy-auth"></a><a href="#gone"></a><a href="/go"></a>',
            "/api/legacy-auth": Reply("", 500),
            "/go": redirect("/nowhere"),
        },
    )
    assert report_markdown(found) == (
        f"# Broken Link Audit — 127.0.0.1:{audit.site.port}\n"
        "## /api/reference\n"
        "- [500] /api/legacy-auth at 1:1\n"
        "- [redirect to broken] /go → /nowhere at 1:52\n"
        "- [missing fragment] /api/reference#gone at 1:32\n"
        "## /getting-started\n"
        "- [404] /old-quickstart `Quick start` at 1:1\n"
        "\nTotal broken: 4 across 3 pages crawled.\n"
    )


async def test_links_on_many_pages_are_folded(audit: Audit) -> None:
    """A link on every page stands once, one on many pages with their number and three of them."""
    pages = {f"/{n:02}": page(f"/{n + 1:02}", "/every", *(["/many#x"] if n % 2 else [])) for n in range(24)}
    found = await audit({"/": page("/00", "/every"), **pages, "/24": page("/every"), "/many": page("/every")})
    lines = report_markdown(found).splitlines()
    assert lines[1:5] == [
        "## On all 27 pages",
        "- [404] /every `to it`",
        "## On 12 pages",
        "- [missing fragment] /many#x `to it`, on /01, /03, /05 and 9 more pages",
    ]
    assert lines[-1] == "Total broken: 2 across 27 pages crawled."


async def test_what_is_not_broken_stands_below_the_sum(audit: Audit) -> None:
    """Unverified links and warnings have sections of their own and are never counted."""
    found = await audit(
        {"/": page("/no", "/moved", "/a"), "/a": page("/no"), "/no": Reply("", 403), "/moved": redirect("/a", 301)},
    )
    assert report_markdown(found).splitlines()[1:] == [
        "",
        "Total broken: 0 across 2 pages crawled.",
        "## Unverified: 1",
        "- [blocked 403] /no `to it`, on /, /a",
        "## Warnings: 1",
        "- [permanent redirect] /moved → /a `to it`, on /",
    ]


async def test_long_lists_are_shortened_for_a_terminal(audit: Audit) -> None:
    """With a limit, what is left out is counted, and the sum stays."""
    found = await audit(
        {"/": page(*(f"#x{n}" for n in range(30)), "/a", "/b", "/c"), "/a": page("/x"), "/b": page("/y")}
    )
    lines = report_markdown(found, limit=2).splitlines()
    assert lines[1:] == [
        "## /",
        "- [404] /c `to it` at 33:1",
        "- [missing fragment] /#x0 `to it` at 1:32",
        "… 29 [missing fragment] more here, the rest in report.md",
        "## /a",
        "- [404] /x `to it` at 1:32",
        "… 1 [404] on 1 more pages, the rest in report.md",
        "",
        "Total broken: 33 across 3 pages crawled.",
    ]


async def test_an_incomplete_audit_says_so(audit: Audit) -> None:
    """The report of an audit that was cut names the reason."""
    found = await audit({"/": page("/a", "/b"), "/a": page(), "/b": page()}, max_pages=1)
    assert "Incomplete: stopped at 1 pages" in report_markdown(found)
    assert report_json(found)["complete"] is False


@pytest.mark.parametrize("place", ["text", "href", "page"])
async def test_what_a_page_says_does_no_harm(audit: Audit, place: str) -> None:
    """Text and addresses of a page cannot move a cursor, hide, or be Markdown, HTML, mention or reference."""
    nasty = NASTY.replace('"', "")
    plain = nasty.replace("<", "&lt;")
    start = {
        "text": f'<a href="/gone">{plain}</a>',
        "href": f'<a href="http://[{plain}">x</a><a href="/{plain}">y</a><a href="?a=`|&amp;#64;team;[x](y)<b>#12">z</a>',
        "page": f'<a href="/p?{plain}">x</a>',
    }[place]
    found = await audit({"/": start, "/p?": "x"})
    report = report_markdown(found)
    assert not set(report) & set("\x1b\x07\u202e\u202c\u200b")
    assert all(line.startswith(("# ", "## ", "- [", "Total broken")) for line in report.splitlines() if line)
    tokens = [token for block in MarkdownIt().parse(report) for token in [block, *(block.children or ())]]
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert kinds <= {
        "heading",
        "bullet_list",
        "list_item",
        "paragraph",
        "inline",
        "text",
        "text_special",
        "code_inline",
    }
    shown = [token.content for token in tokens if token.type == "text"]
    assert not any(mark in text for text in shown for mark in ("@", "|", "<", " #"))


def test_hidden_characters_are_spelled() -> None:
    """What nobody would see is written out, new lines are spaces, and long text is cut."""
    assert escape.visible("a\x1b[1m\x9bb\u202e\n\n c\U000e0041") == r"a\x1b[1m\x9bb\u202e c\U000e0041"
    assert len(escape.visible("x" * 10_000)) == 300
    assert escape.code("a``b`") == "``` a``b` ```"
    assert escape.code("") == "` `"


async def test_the_json_names_every_pair(audit: Audit, tmp_path: Path) -> None:
    """One entry for each page and target that is not ok, with plain values only."""
    found = await audit(
        {"/": page("/a", "/to", "/no"), "/a": page("gone#x"), "/to": redirect("/gone"), "/no": Reply("", 401)}
    )
    report = json.loads(json.dumps(report_json(found)))
    site = audit.site.url
    assert {key: report[key] for key in ("site", "pages", "links", "total_broken", "complete")} == {
        "site": site,
        "pages": 2,
        "links": 4,
        "total_broken": 2,
        "complete": True,
    }
    assert [each["result"] for each in report["findings"]] == ["unverified", "broken", "broken"]
    assert report["findings"][1] == {
        "page": f"{site}/",
        "href": "/to",
        "target": f"{site}/to",
        "result": "broken",
        "reason": "redirect_to_broken",
        "status": 404,
        "chain": [[f"{site}/to", 302], [f"{site}/gone", 404]],
        "text": "to it",
        "line": 2,
        "column": 1,
        "attempts": 2,
        "confirmation": "confirmed",
    }
    assert len(report["fingerprint"]) == 64


async def test_the_report_of_a_crawl_fits_the_schema(audit: Audit) -> None:
    """A real audit with each kind of result gives a document of the described form, which is read as it was."""
    found = await audit(
        {
            "/": page("/a", "/no", "/go", "/moved", "http://[x"),
            "/a": '<a href="gone">Gone</a><a href="#x">x</a>',
            "/no": Reply("", 403),
            "/go": redirect("/nowhere"),
            "/moved": redirect("/a", 301),
        }
    )
    document = report_json(found)
    validate(document)
    assert read_report(json.loads(json.dumps(document))).to_dict() == document
    counted = {key: document[key] for key in ("start_reason", "refused", "total_broken", "version")}
    assert counted == {"start_reason": None, "refused": 1, "total_broken": 4, "version": 1}
    assert {each["target"] for each in document["findings"] if each["reason"] == "bad_url"} == {"http://[x"}


async def test_what_was_only_flaky_stands_beside_the_report(audit: Audit) -> None:
    """A link that failed once and then worked is in no report; it is named below the sum."""
    found = await audit({"/": page("/once"), "/once": lambda asked: Reply("", 404 if asked.number == 1 else 200)})
    assert report_json(found)["findings"] == []
    assert [each.result for each in flaky(found)] == ["flaky"]
    assert "## Recovered: 1" in report_markdown(found)


async def test_a_site_that_fails_at_once_is_ill(audit: Audit) -> None:
    """Its first page is why, and nobody is woken."""
    found = report_of(await audit({"/": Reply("", 500)}))
    assert found.start_reason == "http_500"
    assert review(found).exit_code == 3
