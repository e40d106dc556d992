import random
import time

import pytest

from gapless.links.css import references

CASES = [
    ("a { b: url(x.png) }", ["x.png"]),
    ("a { b: url( 'a b' ) }", ["a b"]),
    ('URL("a\\"b")', ['a"b']),
    ("url(  x  )", ["x"]),
    ("url(x)url(y)", ["x", "y"]),
    ("src: url(a.woff2)format('woff2'), url('a.eot?#iefix')", ["a.woff2", "a.eot?#iefix"]),
    ("url(data:image/png;base64,AA==)", ["data:image/png;base64,AA=="]),
    ("\\75 rl(x)", ["x"]),
    ("u\\72 l(x)", ["x"]),
    ("u\\000072\r\nl(x)", ["x"]),
    ("url(a\\ b)", ["a b"]),
    ("url(a\\29 b)", ["a)b"]),
    ("url(a\\0 b)", ["a\ufffdb"]),
    ("url(a\\d800 b)", ["a\ufffdb"]),
    ("url(a\\110000 b)", ["a\ufffdb"]),
    ("url('a\\\nb')", ["ab"]),
    ("url(é/日本)", ["é/日本"]),
    ("@import 'a.css';", ["a.css"]),
    ('@IMPORT"a.css"screen;', ["a.css"]),
    ("@\\69mport 'a.css';", ["a.css"]),
    ("@import/**/url(a.css) layer(x) supports(display: grid) screen;", ["a.css"]),
    ("@import url('a.css'); @import 'b.css' layer('no');", ["a.css", "b.css"]),
    ("@media print { a { b: url(x) } }", ["x"]),
    ("url(x", ["x"]),
    ("url('x", ["x"]),
    ("url(/*x*/y)", ["/*x*/y"]),
    ("#fff{b:url(x)}", ["x"]),
    ("a{b:url(x)!important}", ["x"]),
    ("/**/url(x)/**/", ["x"]),
    ("url('') url() url( )", []),
    ("url(#clip) url('#clip')", []),
    ("/* url(x) */", []),
    ("/* url(x)", []),
    ("a { content: 'url(x)' }", []),
    ('a { content: "url(x)\\"url(y)" }', []),
    ("@namespace svg url(http://www.w3.org/2000/svg);", []),
    ("@namespace 'http://www.w3.org/2000/svg'; a { b: url(x) }", ["x"]),
    ("@-moz-document url(http://x/) { a { b: url(y) } }", ["y"]),
    ("@charset 'utf-8'; a { b: url(x) }", ["x"]),
    ("url (x)", []),
    ("burl(x) -url(x) url2(x) --url(x)", []),
    ("#url(x)", []),
    ("url(a b)", []),
    ("url(a'b) url(c)", ["c"]),
    ("url(a(b) url(c)", ["c"]),
    ("url(a b\\) c) url(d)", ["d"]),
    ("url(a\x01b) url(c)", ["c"]),
    ("url('a\nb') url(c)", []),  # the string that is left open takes the rest of its line
    ("url('a\n) url(c)", ["c"]),
    ("'a\n url(c)", ["c"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_references(text: str, expected: list[str]) -> None:
    """Addresses are read as CSS Syntax Level 3 tokenizes them."""
    assert references(text) == expected


def test_references_do_not_depend_on_what_stands_around_them() -> None:
    """Rules in any order, with comments and strings between them, give the addresses of each."""
    random_ = random.Random(7)
    closed = [case for case in CASES if not case[0].startswith(("url(x", "url('x", "/* url(x)"))]
    closed = [case for case in closed if "\n" not in case[0]]
    for _ in range(300):
        chosen = random_.choices(closed, k=5)
        text = "".join(f"{case[0]};}} {random_.choice(['', '/*x*/', 'a{b:c}', chr(10)])} " for case in chosen)
        assert references(text) == [href for case in chosen for href in case[1]]


@pytest.mark.parametrize(
    "piece",
    [
        "url(",
        "url('",
        'url("',
        "url( ",
        "url(\\",
        "/*",
        "*/",
        "\\",
        "'",
        "@import ",
        "@import '",
        "a",
        "url(x y ",
        "\\75 ",
    ],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """Megabytes of unclosed things cost a second at most."""
    started = time.process_time()
    references(piece * (1_000_000 // len(piece)) + "url(")
    assert time.process_time() - started < 2
