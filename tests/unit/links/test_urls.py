import random

import pytest

from gapless.links.record import INVALID
from gapless.links.urls import Resolver, is_web, join

BASES = ["http://h.example/", "http://h.example/a/b/c.html", "https://h.example:8443/a/?x=1", "http://h.example/a/b/"]
PIECES = [
    "..",
    ".",
    "a",
    "b-c",
    "x.html",
    "",
    ".hid",
    "~u",
    "%41",
    "é",
    ":",
    "a:b",
    "//",
    "?",
    "#",
    "?q=1",
    "#f",
    "...",
]
PIECES += [" ", "\\", "?a=b&c", "#a!b", "#é", "..%2f", "A_B", "http:", "//h", "@", "\t", "\x01"]
PIECES += ["http://h.example", "https://h.example:8443/", "http://h.example/a/b"]


def expected(base: str, href: str) -> str | None:
    """Return what the parser makes of a link."""
    try:
        target = join(base, href)
    except ValueError:
        return INVALID + href.strip()
    return target if is_web(target) else None


@pytest.mark.parametrize("base", BASES)
def test_the_short_way_is_the_parser_s(base: str) -> None:
    """Links that are resolved without a parser come out as the parser has them, put together at random."""
    dice = random.Random(7)
    resolve = Resolver().of(base)
    for _ in range(20_000):
        href = "".join(dice.choice(PIECES) + dice.choice(["/", "/", ""]) for _ in range(dice.randint(0, 4)))
        if "@" not in href:
            assert resolve(href, True) == expected(base, href), href


def test_what_is_fetched_for_a_page_has_no_fragment() -> None:
    """Where no reader goes, the fragment is cut off, and one alone is no link."""
    resolve = Resolver().of("http://h/a/b")
    assert resolve("c.svg#icon", False) == "http://h/a/c.svg"
    assert resolve("#icon", False) is None
    assert resolve("#icon", True) == "http://h/a/b#icon"
    assert resolve("mailto:a@b", True) is None


def test_what_is_remembered_is_of_its_directory() -> None:
    """The same link on pages of two directories leads to two places, and a base element counts."""
    resolver = Resolver()
    assert resolver.of("http://h/a/")("x", True) == "http://h/a/x"
    assert resolver.of("http://h/b/")("x", True) == "http://h/b/x"
    assert resolver.of("http://h/b/", "/c/")("x", True) == "http://h/c/x"
    assert resolver.of("http://h/b/", "http://[")("x", True) == "http://h/b/x"
    assert resolver.of("http://h/a/")("../../../x", True) == "http://h/x"
