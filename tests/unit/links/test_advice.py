"""Advice on broken links: what is asked, what is read out of an answer, and what of it is shown."""

import json
import time
from typing import Any

import pytest

from gapless.links import Crawl
from gapless.links.advice import checked, read_answer
from gapless.links.question import question
from gapless.links.report.document import report_of
from gapless.links.report.markdown import report_markdown
from gapless.links.report.page import html
from gapless.links.report.suggestions import Advice, advice_markdown, read_advice
from unit.links.httpsite import Audit, Reply, Site, page, redirect

ROUTES: dict[str, Any] = {
    "/": page("/guide/setup", "/guide/install-linux.html", "/old/install-linux.html", "/gone.png"),
    "/guide/setup": page("/old/install-linux.html", "/reference#pool-size"),
    "/guide/install-linux.html": page("/"),
    "/reference": page(extra='<h2 id="pool_size">x</h2><h2 id="timeouts">x</h2>'),
}


def asked_of(text: str) -> dict[str, Any]:
    """Return the data in a prompt."""
    data: dict[str, Any] = json.loads(next(line for line in text.splitlines() if line.startswith('{"site"')))
    return data


def answer(*rows: tuple[str, str], pages: tuple[str, ...] = ()) -> str:
    """Write an answer as advisors do."""
    listed = [{"target": old, "suggestion": new, "why": "moved", "linked_from": pages} for old, new in rows]
    return f"Here you are:\n```json\n{json.dumps({'suggestions': listed})}\n```"


async def advised(found: Crawl, text: str) -> Advice:
    """Check an answer."""
    return await checked(found, read_answer(text, found), advisor="m", asked=3)


async def test_the_question_has_what_is_broken_and_likely_addresses(audit: Audit) -> None:
    """What stands on most pages comes first, fragments last; candidates work and are on the same host."""
    found = await audit(ROUTES)
    site = found.scope.site
    asks = question(found)
    assert asks is not None
    assert asks.fingerprint == report_of(found).fingerprint
    data = asked_of(asks.text)
    assert data["site"] == site
    rows = {row["target"]: row for row in data["broken"]}
    assert list(rows) == ["/old/install-linux.html", "/gone.png", "/reference#pool-size"]
    assert rows["/old/install-linux.html"]["candidates"][0] == "/guide/install-linux.html"
    assert rows["/old/install-linux.html"]["on_pages"] == 2
    assert rows["/old/install-linux.html"]["linked_from"] == ["/", "/guide/setup"]
    assert rows["/reference#pool-size"]["candidates"] == ["/reference#pool_size"]
    assert rows["/gone.png"]["text"] == "to it"
    assert asks.asked == 3


async def test_an_anchor_that_moved_to_another_page(audit: Audit) -> None:
    """Where it stands now comes first, unless many pages have one of that name."""
    many = {f"/{n}": page(extra='<p id="top-level"></p>') for n in range(5)}
    found = await audit(
        {
            "/": page("/a#pooling", "/a#top-level", "/a", "/b", *many),
            "/a": page(extra='<p id="polling"></p>'),
            "/b": page(extra='<p id="pooling"></p>'),
            **many,
        }
    )
    asks = question(found)
    assert asks is not None
    rows = {row["target"]: row["candidates"] for row in asked_of(asks.text)["broken"]}
    assert rows == {"/a#pooling": ["/b#pooling", "/a#polling"], "/a#top-level": []}


async def test_nothing_broken_is_no_question(audit: Audit) -> None:
    """A site in order needs no advice."""
    assert question(await audit({"/": page("/a"), "/a": page("/")})) is None


async def test_a_question_is_bounded(audit: Audit) -> None:
    """Two hundred targets at most, no long address, and never more than so many characters."""
    links = [f"/gone/{number}" for number in range(400)] + ["/" + "x" * 1_000]
    found = await audit(
        {"/": page(*links, *(f"/ok/{n}" for n in range(20))), **{f"/ok/{n}": page() for n in range(20)}}
    )
    asks = question(found)
    assert asks is not None
    assert asks.asked == len(asked_of(asks.text)["broken"]) == 200
    assert len(asks.text) < 110_000
    assert "x" * 600 not in asks.text


async def test_hidden_characters_stand_in_the_question_as_escapes(audit: Audit) -> None:
    """What a page hides from people is not hidden in the prompt; line ends do not end the data."""
    found = await audit({"/": '<title>t</title><a href="/gone">\u202eevil\u202c\u200b end"}]}</a>'})
    asks = question(found)
    assert asks is not None
    assert asks.text.isascii()
    assert asked_of(asks.text)["broken"][0]["target"].endswith("/gone")


async def test_only_what_works_is_shown(audit: Audit) -> None:
    """Each suggestion is looked up or fetched; the report has those that work, and counts the others."""
    found = await audit(ROUTES | {"/unlinked": page()})
    site = found.scope.site
    text = answer(
        ("/old/install-linux.html", "/guide/install-linux.html"),
        (f"{site}/gone.png", "/invented.png"),
        (f"{site}/reference#pool-size", "/reference#pool_size"),
        (f"{site}/guide/setup", "/"),  # that one is not broken
        pages=(f"{site}/", f"{site}/nowhere"),
    )
    advice = await advised(found, text)
    assert (advice.works, advice.broken, advice.suggested, advice.unusable) == (2, 1, 3, 1)
    assert advice.by_target == {
        f"{site}/old/install-linux.html": f"{site}/guide/install-linux.html",
        f"{site}/reference#pool-size": f"{site}/reference#pool_size",
    }
    assert {each.target: each.pages for each in advice.suggestions} == {
        f"{site}/old/install-linux.html": (f"{site}/",),
        f"{site}/reference#pool-size": (),  # only another page links there
    }
    assert advice.wrong_pages == 4
    assert advice.summary() == "2 of 3 suggestions work, 4 wrong pages named"
    shown = report_markdown(found, instead=advice.by_target)
    assert "- [404] /old/install-linux.html `to it` at 3:1, perhaps now /guide/install-linux.html\n" in shown
    assert "invented" not in shown
    assert "Advice: 2 of 3 suggestions work" in advice_markdown(advice, site)
    document = json.loads(json.dumps(advice.to_dict()))
    assert read_advice(document) == advice
    browser = html(report_of(found), advised=advice)
    assert '"instead":"/guide/install-linux.html"' in browser
    assert "Advice of m: 2 of 3 suggestions work" in browser
    assert "invented" not in browser


async def test_a_page_that_no_link_names_is_fetched(audit: Audit) -> None:
    """The crawl need not know an address for it to be good; its fragment is looked for, too."""
    found = await audit(ROUTES | {"/unlinked": page(extra='<p id="here"></p>')})
    site = found.scope.site
    rows = (("/gone.png", "/unlinked#here"), ("/old/install-linux.html", "/unlinked#there"))
    advice = await advised(found, answer(*rows))
    assert advice.by_target == {f"{site}/gone.png": f"{site}/unlinked#here"}
    assert advice.broken == 1


@pytest.mark.parametrize("everything", [Reply(page()), redirect("/")])
async def test_a_site_that_has_every_address(audit: Audit, everything: Reply) -> None:
    """Where what cannot exist is there, or leads home, a suggestion that only an advisor knows is not believed."""
    found = await audit(ROUTES)
    site = audit.site
    site.routes = AnythingElse(site.routes, everything)
    advice = await advised(found, answer(("/gone.png", "/made-up"), ("/old/install-linux.html", "/guide/setup")))
    assert (advice.works, advice.unverified) == (1, 1)
    assert advice.suggestions[0].suggestion == f"{found.scope.site}/guide/setup"


class AnythingElse(dict[str, Any]):
    """Routes, with an answer for all that has none."""

    def __init__(self, routes: Any, answer: Reply) -> None:
        super().__init__(routes)
        self._answer = answer

    def get(self, path: str, default: Any = None) -> Any:
        return super().get(path, self._answer)


async def test_robots_txt_holds_for_suggestions(audit: Audit) -> None:
    """What the site forbids to visit is not visited because an advisor says so."""
    rules = "User-agent: *\nDisallow: /private/\n"
    routes = ROUTES | {"/robots.txt": Reply(rules, type="text/plain"), "/private/a": page()}
    found = await audit(routes)
    advice = await advised(found, answer(("/gone.png", "/private/a")))
    assert (advice.works, advice.unverified) == (0, 1)
    assert audit.site.requests["/private/a"] == 0
    found = await audit(routes, robots=False)
    advice = await advised(found, answer(("/gone.png", "/private/a")))
    assert advice.works == 1


async def test_a_crawl_delay_holds_for_suggestions(audit: Audit) -> None:
    """A site that asks for a pause between requests gets it."""
    found = await audit(ROUTES | {"/robots.txt": Reply("User-agent: *\nCrawl-delay: 0.5\n", type="text/plain")})
    begin = time.monotonic()
    advice = await advised(found, answer(("/gone.png", "/x"), ("/old/install-linux.html", "/y")))
    assert advice.broken == 2
    assert time.monotonic() - begin > 0.9  # three requests: for both, and for what no site has


async def test_other_hosts(audit: Audit) -> None:
    """A host that the site links to is asked; any other is listed, and nobody goes there."""
    async with Site({"/a": page(), "/b": page()}) as known, Site({"/a": page()}) as unknown:
        allow = (known.url[7:], unknown.url[7:])
        found = await audit(ROUTES | {"/guide/setup": page(f"{known.url}/a")}, allow=allow)
        rows = (("/gone.png", f"{known.url}/b"), ("/old/install-linux.html", f"{unknown.url}/a"))
        advice = await advised(found, answer(*rows))
        assert (advice.works, advice.not_checked) == (1, 1)
        assert [each.suggestion for each in advice.unchecked] == [f"{unknown.url}/a"]
        assert unknown.connections == 0
        shown = advice_markdown(advice, found.scope.site)
        assert "### Outside the audit, not checked: 1" in shown
        assert f"- /old/install-linux.html: `{unknown.url}/a`" in shown
        seen = known.requests.copy()
        alone = await audit(ROUTES | {"/guide/setup": page(f"{known.url}/a")}, allow=allow, external=False)
        assert (await advised(alone, answer(rows[0]))).not_checked == 1
        assert known.requests == seen


async def test_private_addresses_are_left_alone(audit: Audit) -> None:
    """A host on a private address that the site links to is no more visited than by the crawl."""
    async with Site({"/": page()}) as private:
        found = await audit(ROUTES | {"/guide/setup": page(f"{private.url}/a")})
        advice = await advised(found, answer(("/gone.png", f"{private.url}/b")))
        assert (advice.unverified, private.connections) == (1, 0)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "mailto:a@b.example", "http://[", "file:///etc/passwd", "//", "http://u:p@/"]
)
async def test_what_is_no_web_address_is_broken(audit: Audit, address: str) -> None:
    """It is counted, and shown nowhere."""
    found = await audit(ROUTES)
    advice = await advised(found, answer(("/gone.png", address)))
    assert (advice.works, advice.suggestions, advice.unchecked) == (0, (), ())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("no idea", 0),
        ('{"suggestions": []}', 0),
        ('{"suggestions": [{"target": "/gone.png", "suggestion": "/"}', 1),
        ("[{'target': '/gone.png', 'suggestion': '/', 'why': 3, 'linked_from': 'x'}]", 1),
        ('{"target": "/gone.png", "suggestion": "/"} // that is all', 1),
        ('{"a": {"b": [[{"target": "/gone.png", "suggestion": "/"}]]}}', 1),
        ('{"target": "/gone.png", "suggestion": "/"}{"target": "/gone.png", "suggestion": "/b"}', 1),
        ('{"target": "/gone.png", "suggestion": null}', 0),
        ('{"target": ["/gone.png"], "suggestion": {"a": 1}}', 0),
        ('{"target": "/gone.png", "suggestion": "/' + "x" * 3_000 + '"}', 0),
        ('{"target": "/gone.png", "suggestion": "\\ud800"}', 1),
        ("[" * 10_000, 0),
        ('{"target": "/gone.png", "suggestion": "/"},' * 100_000, 1),
    ],
)
async def test_answers_are_read_leniently(audit: Audit, text: str, number: int) -> None:
    """Whatever is written, nothing raises, and a target has one suggestion."""
    found = await audit(ROUTES)
    assert len(read_answer(text, found).said) == number


async def test_a_site_that_is_public_elsewhere(audit: Audit) -> None:
    """Addresses are asked about and answered as people know them, and looked up where the site is."""
    found = await audit(ROUTES | {"/unlinked": page()}, public="https://docs.example.com")
    asks = question(found)
    assert asks is not None
    assert "127.0.0.1" not in asks.text
    advice = await advised(found, answer(("https://docs.example.com/gone.png", "https://docs.example.com/unlinked")))
    assert advice.by_target == {"https://docs.example.com/gone.png": "https://docs.example.com/unlinked"}


def test_a_report_says_nothing_of_advice_that_nobody_asked_for() -> None:
    """Without advice a report's bytes are what they were."""
    assert advice_markdown(None, "http://a.example") == ""
    assert read_advice(None) is None


async def test_why_there_is_none() -> None:
    """An advisor that failed is a line of the report, and one that was cut off counts as far as it came."""
    failed = Advice("m", "failed", note="HTTP 400: no such model <b>")
    assert "no such model %3Cb%3E" in advice_markdown(failed, "")
    assert Advice("m", "incomplete").summary() == "no suggestion that can be read; it ended as incomplete"
    assert Advice("m", "incomplete", works=1, broken=1).summary() == "1 of 2 suggestions work"
