import random
import re
import time
from collections.abc import Callable

import pytest

from gapless.links.locate import MAX_TEXT, Place, places
from gapless.links.parse import MAX_LINKS, TABLE, parse
from unit.links.test_extraction import ELEMENTS, NO_LINKS, WAYS


def gone(href: str) -> str | None:
    return "T" if "gone" in href else None


def where(text: str, kind: str = "html") -> list[tuple[str, str, int | None, int | None]]:
    return [(place.href, place.text, place.line, place.column) for place in places(text, gone, kind)]


@pytest.mark.parametrize(("element", "kind"), ELEMENTS + WAYS)
def test_what_the_parser_finds_is_found(element: str, kind: str) -> None:
    """Each link of the table has a line, and once."""
    [place] = places(f"<!doctype html>\n{element}", gone)
    assert place.target == "T"
    assert place.href == parse(f"<!doctype html>\n{element}").links[0][1]
    assert place.line == 2


@pytest.mark.parametrize("element", NO_LINKS)
def test_what_is_no_link_is_not_found(element: str) -> None:
    """Comments, scripts, templates and text are walked over."""
    assert places(f"<!doctype html>\n{element}", gone) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a href=gone>x</a>", ("gone", "x", 1, 1)),
        ("\n\n  <a href=gone>x</a>", ("gone", "x", 3, 3)),
        ("\r\n\r\r <a href=gone>x</a>", ("gone", "x", 4, 2)),
        ("é日\U0001f600<a href=gone>x</a>", ("gone", "x", 1, 4)),
        ("<p>\n<A\nclass=x\nHREF = 'gone' href=no>x</A>", ("gone", "x", 2, 1)),
        ("<a class=x/href=gone>x</a><a x='>' href=gone>y</a>", ("gone", "y", 1, 27)),
        ("<a x\"y='>' href=gone>x</a>", ("gone", "x", 1, 1)),
        ("<a x='1'href=gone>x</a>", ("gone", "x", 1, 1)),
        ("<a =href=no href=gone>x</a>", ("gone", "x", 1, 1)),
        ("<a href='/gone?a=1&amp;b&copy=2&lt;&#x41;&notit;'>x</a>", ("/gone?a=1&b&copy=2<A&notit;", "x", 1, 1)),
        ("<!-- <a href=gone> --!><a href=gone>x</a>", ("gone", "x", 1, 24)),
        ("<!--><a href=gone>x</a>", ("gone", "x", 1, 6)),
        ("<!x '><a href=gone>x</a>", ("gone", "x", 1, 7)),
        ("</ x='><a href=gone>x</a>", ("gone", "x", 1, 8)),
        ("<script><!-- <script> </script> <a href=gone> --></script><a href=gone>x</a>", ("gone", "x", 1, 59)),
        ("<svg><style><a href=gone>x</a></style></svg>", ("gone", "x", 1, 13)),
        ("<svg><![CDATA[<a href=gone>]]></svg><a href=gone>x</a>", ("gone", "x", 1, 37)),
        ("<svg><title><p></svg><a href=gone>x</a>", ("gone", "x", 1, 22)),
        ("<a href=gone> a \n <b>b</b></a>", ("gone", "a b", 1, 1)),
        ("<a href=gone><p>a</p><p>b</p></a>", ("gone", "a b", 1, 1)),
        ("<a href=gone>a<i>b</i>c</a>", ("gone", "abc", 1, 1)),
        ("<a href=gone>a<!-- no --><img src=x alt=' an  image '>b</a>", ("gone", "a an image b", 1, 1)),
        ("<a href=gone><svg><path d='M0'/></svg></a>", ("gone", "", 1, 1)),
        ("<a href=gone aria-label=Label title=Title> </a>", ("gone", "Label", 1, 1)),
        ("<a href=gone title=Title><img src=x></a>", ("gone", "Title", 1, 1)),
        ("<a href=gone>&lt;x&gt; &eacute;</a>", ("gone", "<x> é", 1, 1)),
        ("<a href=gone>x<a href=y>y</a>", ("gone", "x", 1, 1)),
        ("<a href=gone>unclosed", ("gone", "unclosed", 1, 1)),
        (f"<a href=gone>{'x' * 500}</a>", ("gone", "x" * MAX_TEXT, 1, 1)),
        ("<img src=gone alt=' an  image '>", ("gone", "an image", 1, 1)),
        ("<iframe src=gone title=Frame></iframe>", ("gone", "Frame", 1, 1)),
        ("<style>\na{}\nb { c: url(gone) }</style>", ("gone", "", 3, 12)),
        ("<style>\na { b: url(g\\6f ne) }</style>", ("gone", "", 1, 1)),
        ('<script type="application/ld+json">\n{"url":\n "http:\\/\\/h/gone"}</script>', ("http://h/gone", "", 1, 1)),
        ('<script type="application/ld+json">\n{"url":\n "http:\\/\\/h\\/gone"}</script>', ("http://h/gone", "", 3, 3)),
        ("<a href=//me:secret@h/gone>x</a>", ("//h/gone", "x", 1, 1)),
    ],
)
def test_places(text: str, expected: tuple[str, str, int, int]) -> None:
    """Line and column are those of the element's tag, and the text is what a reader sees."""
    assert where(text) == [expected]


def test_every_occurrence_is_a_place() -> None:
    """The same target is named wherever it stands, in the order of the source."""
    text = "<a href=gone>1</a>\n<style>a { b: url(gone) }\nc { d: url(gone) }</style>\n<img srcset='gone, gone 2x'><a href=gone>2</a>"
    assert [(line, column) for _, _, line, column in where(text)] == [(1, 1), (2, 19), (3, 12), (4, 1), (4, 29)]


def test_css_and_feeds() -> None:
    """In other documents the address itself has the place, where it stands as it is read."""
    sheet = "a { b: url(x) }\n@import 'gone';\nurl(gone) url(/\\67one)"
    assert where(sheet, "css") == [("gone", "", 2, 10), ("gone", "", 3, 5), ("/gone", "", None, None)]
    feed = "<rss><channel>\n<link>http://h/gone?a&amp;b</link></channel></rss>"
    assert where(feed, "feed") == [("http://h/gone?a&b", "", 2, 7)]


def test_what_only_the_parser_finds_has_the_place_of_its_address() -> None:
    """Where the walk goes wrong, the first raw occurrence is shown, and nothing is lost."""
    text = "<title>x</title>\n<svg><title><div><title>\n<a href=gone>x</a></title>"
    assert {href for href, *_ in where(text)} == {href for _, href in parse(text).links if "gone" in href}


def pages(count: int) -> list[str]:
    """Return pages made of pieces in any order, well-formed or not."""
    pieces = [text for text, _ in ELEMENTS + WAYS[:-2]] + NO_LINKS
    pieces += [
        "</a>",
        "<p>",
        "</p>",
        "<div>",
        "</div>",
        "<b>",
        "</b>",
        "<li>",
        "<ul>",
        "</ul>",
        "text &amp; more",
        "\n",
    ]
    pieces += ["<a href=%d>", "<a href='?a=%d&copy=1&amp;b'>", "<a\nhref\n=\n'%d'/>", "<!-->", "<!x>", "</ x>", "<?x>"]
    pieces = [piece for piece in pieces if not re.search("<(frameset|title|form|/head)", piece)]
    random_ = random.Random(7)
    return [
        "".join(piece.replace("%d", str(n)).replace("/gone", f"/gone{n}") for n, piece in enumerate(chosen))
        for chosen in (random_.choices(pieces, k=random_.randrange(1, 9)) for _ in range(count))
    ]


def test_the_walk_agrees_with_the_parser() -> None:
    """On any page each link of the parser has a place, and no place is something else."""

    def every(href: str) -> str:
        return f"target of {href}"

    for text in pages(3_000):
        assert {place.href for place in places(text, every)} == {href for _, href in parse(text).links}, text


HOSTILE: list[Callable[[int], str]] = [
    lambda n: "<a href=gone>" * n,
    lambda n: "<a href=gone>x<b>" * n,
    lambda n: "<a href=gone" + " a" * n + ">",
    lambda n: "<" * n,
    lambda n: "<!--" * n,
    lambda n: "<a href='" * n,
    lambda n: '<a href="gone' * n,
    lambda n: "<svg>" * n + "</title>" * n,
    lambda n: "<svg><desc>" * n + "</svg>" * n,
    lambda n: "<script>" + "<!--<script>" * n,
    lambda n: "<style>" + "url(gone)" * n,
    lambda n: "<style>" + "url(g\\6fne)url(gone)" * n,
    lambda n: "<a href='gone" + "&amp" * n + "'>",
    lambda n: "<a href=gone>" + "&" * n,
    lambda n: "\n" * n + "<a href=gone>" * n,
    lambda n: '<script type="application/ld+json">[' + ",".join(['{"url": "//gon\\u0065"}'] * (n // 10)) + "]</script>",
    lambda n: "</a>" * n,
    lambda n: "<div>" * n + "<a href=gone>",
]


@pytest.mark.parametrize("make", HOSTILE)
def test_hostile_pages_take_linear_time(make: Callable[[int], str]) -> None:
    """A hundred thousand repetitions of anything cost a second or two."""
    text = make(100_000)
    started = time.process_time()
    found = places(text, gone)
    assert time.process_time() - started < 3
    assert len(found) <= MAX_LINKS


def test_addresses_are_resolved_once() -> None:
    """A page with one link a thousand times asks for its target once."""
    asked: list[str] = []

    def ask(href: str) -> str | None:
        asked.append(href)
        return None

    assert places("<a href=x>x</a>" * 1_000, ask) == []
    assert asked == ["x"]


def test_places_are_plain_tuples() -> None:
    """They can be sent to another process as they are."""
    assert places("<a href=gone>x</a>", gone) == [Place("T", "gone", "x", 1, 1)]
    assert len(TABLE) == len(ELEMENTS)
