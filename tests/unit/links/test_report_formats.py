import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from gapless.links import check, escape
from gapless.links.report.annotations import annotations
from gapless.links.report.digest import digest
from gapless.links.report.document import Report, ReportFinding, read_report, write
from gapless.links.report.junit import junit
from gapless.links.report.markdown import markdown
from gapless.links.report.page import html
from gapless.links.report.reasons import meaning
from gapless.links.report.review import review
from gapless.links.report.sarif import sarif
from gapless.links.report.settings import ReportSettings
from unit.links.reports import NASTY, SITE, TODAY, everywhere, finding, report

HIDDEN = set("\x1b\x07\u202e\u202c\u200b\ufffe")
SOURCES = {
    "sources": {"/guide/{path}.html": "site/guide/{path}.html", "/guide/{path}/": "docs/{path}.md"},
    "edit_url": "https://github.com/o/r/edit/main/{path}",
}


def hostile() -> Report:
    """Make a report in which everything that a site says is an attack."""
    return report(
        finding("/p", "/x", text=NASTY, href=NASTY, line=1, column=1),
        finding(f"/p?{NASTY}", NASTY, "bad_url"),
        finding("/q", f"https://h/{NASTY}", chain=((f"https://h/{NASTY}", 301), (f"https://i/{NASTY}", 404))),
        finding("/q", f"https://j/{NASTY}", "blocked_403", "unverified", text=NASTY),
        incomplete_reason=f"stopped at {NASTY}",
    )


def lines_of(*findings: ReportFinding, pages: int = 20, **settings: Any) -> list[str]:
    """Return the Markdown up to the sum."""
    found = report(*findings, pages=pages)
    return markdown(found, review(found, ReportSettings.read(settings))).partition("\n\n")[0].splitlines()[1:]


def test_a_broken_link_has_its_place_and_text() -> None:
    """The known form, with line and column in the page and what a reader sees."""
    found = report(finding("/getting-started", "/old-quickstart", text="Quick start", line=12, column=34), pages=14)
    assert markdown(found) == (
        "# Broken Link Audit — docs.example.com\n"
        "## /getting-started\n"
        "- [404] /old-quickstart `Quick start` at 12:34\n"
        "\nTotal broken: 1 across 14 pages crawled.\n"
    )


@pytest.mark.parametrize(
    ("pages", "stands_on", "settings", "folded"),
    [
        (20, 9, {}, False),
        (20, 10, {}, True),
        (225, 22, {}, False),
        (225, 23, {}, True),
        (225, 113, {"fold_share": 0.6}, False),
        (20, 3, {"fold_pages": 3}, True),
    ],
)
def test_what_stands_on_many_pages_is_folded(
    pages: int, stands_on: int, settings: dict[str, Any], folded: bool
) -> None:
    """On a tenth of the pages and at least ten, unless the settings say otherwise."""
    lines = lines_of(*everywhere(range(stands_on)), pages=pages, **settings)
    assert (len(lines) == 2) is folded
    if folded:
        assert lines[0] == f"## On {stands_on} pages"
        assert lines[1].startswith("- [404] /_static/gone.css, on /page/000, /page/001, /page/002")


def test_a_breakage_in_several_versions_is_one_line() -> None:
    """It stands at the version that readers want, and names the others."""
    versions = ("1.4", "1.10", "latest")
    same = [finding(f"/{version}/guide", f"/{version}/gone", line=3, column=1) for version in versions]
    only = finding("/1.4/guide", "/1.4/other")
    assert lines_of(*same, only, versions=["/{version}/"]) == [
        "## /1.4/guide",
        "- [404] /1.4/other",
        "## /latest/guide",
        "- [404] /latest/gone at 3:1, also in /1.10/, /1.4/",
    ]
    assert len(lines_of(*same, only)) == 7
    outside = [finding(f"/{version}/guide", "https://gone.example.net/", "dns") for version in versions]
    assert lines_of(*outside, versions=["/1.4/", "/latest/"]) == [
        "## /1.10/guide",
        "- [dns] https://gone.example.net/",
        "## /latest/guide",
        "- [dns] https://gone.example.net/, also in /1.4/",
    ]


def test_a_folded_link_in_many_versions_is_one_line() -> None:
    """Pages of all versions count together."""
    found = [finding(f"/{version}/{n}", f"/{version}/gone") for version in ("1", "2") for n in range(6)]
    assert lines_of(*found, pages=12, versions=["/{version}/"]) == [
        "## On all 12 pages",
        "- [404] /2/gone, also in /1/",
    ]


def test_markdown_is_harmless() -> None:
    """No markup, mention, reference, control or order of a build's log gets through."""
    for text in (markdown(hostile()), digest(hostile()), markdown(hostile(), limit=1)):
        assert not set(text) & HIDDEN
        assert "##[" not in text
        assert "##vso[" not in text
        assert not re.search(r"^\s*::", text, re.MULTILINE)
        tokens = [token for block in MarkdownIt().parse(text) for token in [block, *(block.children or ())]]
        kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
        blocks = {"heading", "bullet_list", "list_item", "paragraph", "inline"}
        assert kinds <= blocks | {"text", "text_special", "code_inline", "softbreak"}
        shown = [token.content for token in tokens if token.type == "text"]
        assert not any(re.search(r"[@|<]| #\d", part) for part in shown)


def test_junit_counts_what_it_holds() -> None:
    """One case for the audit, one failure for each line, and what does not count is skipped."""
    found = report(
        *everywhere(range(20)),
        finding("/a", "/x", text="to it", line=2, column=7),
        finding("/a", "/y", "blocked_403", "unverified"),
        finding("/a", "/ignored"),
    )
    settings = ReportSettings.read({"ignore": [{"target": "/ignored", "reason": "known"}]})
    root = ET.fromstring(junit(found, review(found, settings)))
    suite = root[0]
    cases = suite.findall("testcase")
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "2")
    assert len(cases) == 5
    assert [case.get("name") for case in suite.findall("testcase[failure]")] == ["/_static/gone.css", "/x"]
    assert "On 19 more pages" in (cases[1][0].text or "")
    assert "Line 2, column 7 of the page" in (cases[2][0].text or "")
    assert [skip.get("message") for skip in suite.iter("skipped")] == [
        "known",
        "The host refuses the auditor (403 Forbidden).",
    ]


def test_junit_of_a_clean_site_passes_and_of_an_incomplete_one_does_not() -> None:
    """A test that passed, and a test with an error."""
    clean, cut = (ET.fromstring(junit(found)) for found in (report(), report(incomplete_reason="stopped")))
    assert [(root.get("tests"), root.get("errors")) for root in (clean, cut)] == [("1", "0"), ("1", "1")]
    assert [len(root[0][0]) for root in (clean, cut)] == [0, 1]


def test_junit_is_harmless() -> None:
    """It is well-formed whatever a site says."""
    root = ET.fromstring(junit(hostile()))
    assert {element.tag for element in root.iter()} == {
        *("testsuites", "testsuite", "testcase", "failure", "skipped", "error"),
    }
    assert not set(junit(hostile())) & HIDDEN


def test_sarif_names_rules_places_and_prints() -> None:
    """Rules with help, the source file when it is known, lines only where the file is served as it is."""
    found = report(
        finding("/guide/a.html", "/x", line=3, column=9),
        finding("/guide/b/", "/y", "missing_fragment", line=5, column=1, text="see [it]"),
        finding("/other", "/z", "blocked_403", "unverified", line=7, column=2),
    )
    run = json.loads(sarif(found, review(found, ReportSettings.read(SOURCES))))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["blocked_403", "http_404", "missing_fragment"]
    assert rules[1]["help"]["text"].startswith("There is no such page (404 Not Found).")
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert places == [
        {
            "artifactLocation": {"uri": "site/guide/a.html", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 3, "startColumn": 9},
        },
        {"artifactLocation": {"uri": "docs/b.md", "uriBaseId": "%SRCROOT%"}},
        {"artifactLocation": {"uri": f"{SITE}/other"}, "region": {"startLine": 7, "startColumn": 2}},
    ]
    assert [result["level"] for result in run["results"]] == ["error", "error", "note"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [
        "http_404",
        "missing_fragment",
        "blocked_403",
    ]
    assert 'as "see \\[it\\]"' in run["results"][1]["message"]["text"]
    assert run["invocations"][0]["executionSuccessful"] is True


def test_sarif_prints_stay_when_the_site_moves() -> None:
    """The same link has the same fingerprint wherever the site is served, and another reason another one."""
    prints = [
        json.loads(sarif(found))["runs"][0]["results"][0]["partialFingerprints"]
        for found in (
            report(finding("/a", "/x")),
            report(finding("/a", "/x"), site="http://127.0.0.1:1"),
            report(finding("/a", "/x", "timeout")),
        )
    ]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_sarif_says_what_is_new_and_what_is_suppressed() -> None:
    """Ignored links and those of the baseline are suppressed with the reason; changes are baseline states."""
    found = report(finding("/a", "/new"), finding("/a", "/old"), finding("/a", "/ignored"))
    settings = ReportSettings.read({"ignore": [{"target": "/ignored", "reason": "known"}]})
    judged = review(found, settings, previous=report(finding("/a", "/old")), baseline=frozenset({(None, "/old")}))
    results = {
        result["message"]["text"].split(" ")[1]: result
        for result in json.loads(sarif(found, judged))["runs"][0]["results"]
    }
    by_path = {target.rsplit("/", 1)[1].strip(","): result for target, result in results.items()}
    assert {name: result.get("baselineState") for name, result in by_path.items()} == {
        "new": "new",
        "old": "unchanged",
        "ignored": None,
    }
    assert by_path["ignored"]["suppressions"] == [{"kind": "external", "justification": "known"}]
    assert by_path["old"]["suppressions"][0]["justification"] == "in the baseline"


def test_sarif_is_harmless() -> None:
    """Addresses hold only characters of RFC 3986, and texts none that hide."""
    run = json.loads(sarif(hostile()))["runs"][0]
    for result in run["results"]:
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"https://[\w:/?@!$&'()*+,;=%.~-]+(#[\w:/?@!$&'()*+,;=%.~-]*)?", uri, re.ASCII)
        assert not set(result["message"]["text"]) & HIDDEN
        assert "##[" not in result["message"]["text"].replace("\\", "")


def test_annotations_name_file_and_place() -> None:
    """One command for each line of the report, and what is too many counted in a notice."""
    found = report(
        finding("/guide/a.html", "/x", line=3, column=9, text="to it"),
        finding("/guide/b,c/", "/y", "missing_fragment", line=5, column=1),
        finding("/other", "/z%0A"),
    )
    judged = review(found, ReportSettings.read(SOURCES))
    assert annotations(found, judged, limit=2).splitlines() == [
        (
            "::error file=site/guide/a.html,line=3,col=9,title=Broken link%3A 404::"
            '/x "to it" on /guide/a.html. There is no such page (404 Not Found).'
        ),
        (
            "::error file=docs/b%2Cc.md,title=Broken link%3A missing fragment::"
            "/y on /guide/b,c/. The page exists, but nothing on it has the id that the link names."
        ),
        "::notice title=Broken links::1 more; the report has them all",
    ]
    assert "/z%250A on /other" in annotations(found, judged)
    assert annotations(report()) == ""


def test_an_expired_rule_is_a_warning() -> None:
    """Whoever reads the log learns why a link counts again."""
    rule = {"target": "/x", "reason": "soon", "expires": "2026-01-31"}
    found = report(finding("/a", "/x"))
    judged = review(found, ReportSettings.read({"ignore": [rule]}), today=TODAY)
    assert annotations(found, judged).splitlines()[1:] == [
        "::warning title=Ignore rule expired on 2026-01-31::/x on *: soon"
    ]


def test_every_reason_has_help() -> None:
    """What an audit may say is explained, each reason in its own words."""
    named = re.findall(
        r"\b[a-z]+(?:_[a-z0-9]+)*\b", (check.__doc__ or "").partition("broken:")[2].partition("flaky:")[0]
    )
    warned = (check.__doc__ or "").partition("warning:")[2].replace(".", "").replace(",", " ").split()
    reasons = {*named, *warned} - {"unverified", "http", "blocked", "status", "http_", "blocked_"}
    assert len(reasons) > 25
    assert {reason for reason in reasons if meaning(reason) == meaning("no such reason")} == set()
    assert meaning("http_410") != meaning("http_500") != meaning("blocked_403")
    assert meaning("http_799").startswith("The server answered 799")


def test_annotations_are_harmless() -> None:
    """A site cannot add a command or a property."""
    text = annotations(hostile())
    assert not set(text) & HIDDEN
    assert all(re.match(r"::(error|warning|notice) title=[^:,]+::[^\r]*$", line) for line in text.splitlines())
    assert text.count("\n") == 4
    assert "##[" not in text


def test_the_same_report_gives_the_same_bytes() -> None:
    """Each form depends on the report alone, also when it was written and read again."""
    found = hostile()
    read = read_report(json.loads(json.dumps(found.to_dict())))
    assert read == found
    for form in (markdown, junit, sarif, annotations, digest, html):
        assert form(found) == form(read)


def test_text_is_escaped_for_where_it_stands() -> None:
    """Each place has its own rules."""
    assert escape.markup('<a b="c">&\'\x00') == "&lt;a b=&quot;c&quot;&gt;&amp;&#x27;\\x00"
    assert escape.script_data({"a": "</script><!--\u2028"}) == '{"a":"\\u003c/script\\u003e\\u003c!--\\u2028"}'
    assert escape.command_data("50%\n::x") == "50%25 ::x"
    assert escape.command_property("a:b,c%") == "a%3Ab%2Cc%25"
    assert escape.uri("https://h/a b|c\u202e%41#x") == "https://h/a%20b%7Cc%E2%80%AE%41#x"
    assert escape.uri("http://[::1]:80/[a]?50%#[b]#c") == "http://[::1]:80/%5Ba%5D?50%25#%5Bb%5D%23c"
    assert escape.visible("a ##[group]b ###vso[x] ##teamcity[y]") == "a # #[group]b ## #vso[x] # #teamcity[y]"


def test_no_text_of_a_page_can_break_the_json() -> None:
    """Whatever a link says, what is written reads back as it was, and nothing in it is hidden."""
    rows = [{"text": text} for text in ("}, {", '}, {"a": 1', NASTY, "\u202e\n\x1b")]
    written = write(rows)
    assert json.loads(written) == rows
    assert "\u202e" not in written.decode()
