import random
from collections.abc import Sequence

import pytest

from gapless.links.glance import glance
from gapless.links.locate import places

WANTED = frozenset({"/gone"})
LINK = '<a href="/gone">to it</a>'


def both(text: str) -> tuple[Sequence[object] | None, Sequence[object]]:
    """Return what both ways of locating say of the first place."""
    quick = glance(text, lambda href: href if href in WANTED else None, WANTED)
    return quick, places(text, lambda href: href if href in WANTED else None)[:1]


@pytest.mark.parametrize(
    "text",
    [
        LINK,
        f"<title>t</title>\n<p>one\n  {LINK}",
        f"<!-- {LINK} -->\n{LINK}",
        f"<script>var a = '{LINK}';</script>{LINK}",
        f"<style>a{{}}</style><textarea>{LINK}</textarea>\n\n{LINK}",
        '<a href="/gone"><b>bold</b> and <em>not</em></a>',
        "<A HREF=/gone>x</A>",
        "<a title='>' href='/gone'>x</a>",
        '<img src="/gone">',
    ],
)
def test_plain_pages_are_read_at_a_glance(text: str) -> None:
    """The place is that of the slower way."""
    quick, slow = both(text)
    assert quick == slow
    assert len(slow) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"<template>{LINK}</template>{LINK}",
        f"<svg>{LINK}</svg>{LINK}",
        f"<!-- {LINK}",
        f"<script>{LINK}",
        f"<script><!-- <script></script> {LINK} --></script>{LINK}",
        '<a href="/gone"><img alt="a picture"></a>',
        f"<base href='/x/'>{LINK}",
        f"one\r\n{LINK}",
        '<form action="/gone">',
        '<a href="/gon&#101;"></a>',
    ],
)
def test_all_others_are_left_to_the_walk(text: str) -> None:
    """Where more than plain sight is needed, nothing is said."""
    assert both(text)[0] is None


def test_whatever_the_page_both_say_the_same() -> None:
    """Pages put together at random are never read differently."""
    dice = random.Random(7)
    parts = [LINK, "<p>", "</p>", "\n", "<!--", "-->", "<script>", "</script>", "<b>", "</b>", "&amp;", "<", ">", '"']
    parts += ["<a name=x>", "</a>", "text", "<title>", "</title>", "<svg>", "</svg>", "<img src=/gone>", "<style", "'"]
    seen = 0
    for _ in range(5_000):
        quick, slow = both("".join(dice.choices(parts, k=dice.randrange(1, 12))))
        assert quick is None or quick == slow
        seen += quick is not None
    assert seen > 300
