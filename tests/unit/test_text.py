"""Foreign text made harmless."""

import re

import pytest

from gapless.text import cell, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Grüße, 日本語, 🎉", "plain, Grüße, 日本語, 🎉"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("back\rover", r"back\rover"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\U000e0041 tag", r"\U000e0041 tag"),
        ("\udcff", r"\udcff"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """What a terminal would obey, or would hide, is shown as an escape; all else stays as it is."""
    assert printable(text) == shown


def test_every_character_is_harmless() -> None:
    """No control or format character of Unicode gets through but tab and newline."""
    shown = printable("".join(map(chr, range(0x110000))))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", shown)


def test_cell() -> None:
    """A cell of a table is one line, bounded, and no mark in it is Markdown."""
    assert cell("a | b\n# c <img> [x](y) `z` *w*") == r"a \| b \# c \<img\> \[x\](y) \`z\` \*w\*"
    assert len(cell("x" * 5000, 100)) == 100
    assert cell("\x1b[2J") == r"\\x1b\[2J"
