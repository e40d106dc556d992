"""Pages that could stall or fill whoever reads them."""

import json

import pytest

from links.hostile.attack import Attack
from unit.links.httpsite import Reply, Route, page

GONE = "broken:http_404"
GIVEN_UP = {"unverified:too_deep", "unverified:unparsable"}
READ = {"ok", "warning:too_many_links"}


@pytest.mark.parametrize("element", ["b", "span", "font color=red", "table", "table><tr><td", "svg", "a href=/fine"])
async def test_50000_nested_elements(attack: Attack, element: str) -> None:
    """Whatever is nested, the page is read or given up, and soon."""
    run = await attack({"/deep": f"<{element}>" * 50_000 + "<p>end"}, {"/deep": GIVEN_UP | READ}, limit=15)
    assert run.document["complete"]


async def test_pages_that_would_take_the_parser_minutes(attack: Attack) -> None:
    """The parser's time grows with the square of the depth, and of the attributes: it gets ten seconds."""
    routes: dict[str, Route] = {
        "/deep": "<div>" * 50_000 + "<p>end",
        "/attributes": "<p " + " ".join(f"a{number}=1" for number in range(200_000)) + ">",
    }
    await attack(routes, dict.fromkeys(routes, GIVEN_UP | READ), limit=25)


async def test_formatting_elements_that_are_opened_again(attack: Attack) -> None:
    """36 KB become millions of elements."""
    body = "".join(f"<p><b id={number}>x" for number in range(3_000))
    await attack({"/reopened": body}, {"/reopened": GIVEN_UP}, limit=15)


async def test_many_pages_that_fill_the_parser(attack: Attack) -> None:
    """Pages that are parsed in processes of their own, and 20 MB ones beside them, take turns."""
    routes: dict[str, Route] = {
        f"/reopened/{number}": "".join(f"<p><b id={each}>x" for each in range(3_000 + number)) for number in range(6)
    }
    routes |= {f"/text/{number}": f"<!doctype html><p>{number}" + "word " * 3_800_000 for number in range(4)}
    routes |= {f"/tags/{number}": f"<!doctype html><p>{number}" + "<i>x</i> " * 45_000 for number in range(4)}
    expected = {path: GIVEN_UP | {"ok"} for path in routes if not path.startswith("/text")}
    await attack(routes, expected, limit=25)


async def test_thousands_of_attributes(attack: Attack) -> None:
    """3,000 attributes cost their square; so do those of many body elements, which all go to the first."""
    routes: dict[str, Route] = {
        "/element": "<p " + " ".join(f"a{number}=1" for number in range(3_000)) + "><a href=/gone>x</a>",
        "/bodies": "".join(f"<body a{number}=1>" for number in range(20_000)),
    }
    expected: dict[str, str | set[str]] = {"/gone": GONE, "/bodies": GIVEN_UP | {"ok"}}
    await attack(routes, expected, limit=15)


async def test_attributes_of_10_megabytes(attack: Attack) -> None:
    """A class and an id, each as long as ten books."""
    long = "x" * 10_000_000
    routes: dict[str, Route] = {
        "/class": f"<p class='{long}'><a href=/gone>x</a>",
        "/id": f"<p id='{long}'><a href=/gone>x</a>",
    }
    run = await attack(routes, {"/gone": GONE}, limit=15)
    assert len({page for page, target, _ in run.verdicts if target == "/gone"}) == 2


async def test_links_of_10_megabytes(attack: Attack) -> None:
    """They are told, and not kept whole."""
    routes: dict[str, Route] = {
        f"/{number}": f"<a href=/{number}{'x' * 10_000_000}>x</a><a href=/gone>x</a>" for number in range(4)
    }
    cut = dict.fromkeys(routes, "warning:too_many_links")
    run = await attack(routes, cut, ignoring=lambda target: target == "/gone", limit=15)
    assert len({page for page, target, _ in run.verdicts if target == "/gone"}) == 4


async def test_a_million_links_on_one_page(attack: Attack) -> None:
    """The first 20,000 are taken, and the report says so."""
    body = "".join(f"<a href=/m/{number % 50}></a>" for number in range(1_000_000))
    routes: dict[str, Route] = {"/million": body, **{f"/m/{number}": page() for number in range(50)}}
    run = await attack(routes, {"/million": "warning:too_many_links"}, links=["/million"], limit=20)
    assert run.document["links"] < 21_000


async def test_a_page_of_20_megabytes(attack: Attack) -> None:
    """Text alone, in UTF-8 and in Latin-1: the last link is found. One byte too many, and it is not read."""
    text = "word " * 3_900_000
    routes: dict[str, Route] = {
        "/plain": f"<!doctype html><p>{text}<a href=/gone>x</a>",
        "/latin": Reply(f"<p>é{text}<a href=/gone>x</a>".encode("cp1252"), type="text/html; charset=latin-1"),
        "/larger": "<p>".ljust(20_000_001),
    }
    run = await attack(routes, {"/gone": GONE, "/larger": "unverified:too_large"}, limit=20)
    assert len({page for page, target, _ in run.verdicts if target == "/gone"}) == 2


async def test_pages_of_20_megabytes_with_a_wide_letter(attack: Attack) -> None:
    """A letter beyond the first 65,536 makes Python's text four times as large as the page."""
    text = "\N{GRINNING FACE}" + "word " * 3_900_000
    routes: dict[str, Route] = {
        f"/wide/{number}": f"<!doctype html><p>{number}{text}<a href=/gone/{number}>x</a>" for number in range(6)
    }
    await attack(routes, {f"/gone/{number}": GONE for number in range(6)}, limit=20)


async def test_hundreds_of_large_pages(attack: Attack) -> None:
    """150 pages of 2 MB are read one after another, and none is kept."""
    body = page("/fine") + "<p>" + "word " * 400_000
    routes: dict[str, Route] = {f"/{number}": body + str(number) for number in range(150)}
    await attack(routes, {}, limit=25)


async def test_links_that_are_no_addresses(attack: Attack) -> None:
    """NUL, lone surrogates, control characters, 10,000 characters, bad ports and hosts are told, and hurt nobody."""
    hrefs = {
        "/nul&#0;x": "/nul%EF%BF%BDx",
        "/surrogate&#xd800;x": "/surrogate%EF%BF%BDx",
        "/bell&#7;x": "/bell%07x",
        "/" + "y" * 10_000: "/" + "y" * 10_000,
        "/a\\b": "/a/b",
        "//[::1": "//[::1",
        "http://a:99999/": "http://a:99999/",
        "http://\x01\x02/": "http://\x01\x02/",
        "http://" + "a." * 5_000 + "/": "http://" + "a." * 5_000 + "/",
        "http://xn--a-.example.invalid/": "http://xn--a-.example.invalid/",
        "https://user:secret@[v1.x]/": "https://[v1.x]/",
    }
    body = "<!doctype html>" + "".join(f'<a href="{href}">x</a>\n' for href in hrefs)
    reasons = {"broken:bad_url", "broken:dns", "unverified:crawler_trap", GONE}
    run = await attack({"/odd": body}, dict.fromkeys(hrefs.values(), reasons))
    assert set(hrefs.values()) <= run.hostile.keys()
    assert "secret" not in json.dumps(run.document)


async def test_invalid_utf8_in_links_and_ids(attack: Attack) -> None:
    """Bytes that are no text come out as something that a report can hold."""
    body = b"<!doctype html><p id=\xff\xfe\xed\xa0\x80><a href='/\xff\xed\xa0\x80'>\xff</a><a href='#\xff'>x</a>"
    expected = {"/%EF%BF%BD%EF%BF%BD%EF%BF%BD%EF%BF%BD": GONE, "/bytes#%EF%BF%BD": "broken:missing_fragment"}
    await attack({"/bytes": Reply(body)}, expected)


async def test_srcset_css_and_json_ld_that_could_stall(attack: Attack) -> None:
    """Megabytes of commas, brackets, quotes, comments and nesting take no longer than their bytes."""
    sizes = {
        "srcset": ["," * 2_000_000, "a(" * 500_000, "a " * 500_000, "a (,".ljust(1_000_000, "("), " " * 2_000_000],
        "style": [
            "url(" * 400_000,
            "/*" * 500_000,
            "url('" * 300_000,
            "@import" * 200_000,
            "\\" * 1_000_000,
            "url( " * 400_000,
        ],
    }
    routes: dict[str, Route] = {}
    for number, value in enumerate(sizes["srcset"]):
        routes[f"/srcset/{number}"] = f'<!doctype html><img srcset="{value}"><a href=/gone>x</a>'
    for number, value in enumerate(sizes["style"]):
        routes[f"/style/{number}"] = f'<!doctype html><p style="{value.replace(chr(34), "")}"><a href=/gone>x</a>'
        routes[f"/element/{number}"] = f"<!doctype html><style>{value}</style><a href=/gone>x</a>"
        routes[f"/css/{number}"] = Reply(value, type="text/css")
    ld = {
        "brackets": "[" * 500_000,
        "objects": '{"a":' * 200_000,
        "quotes": '"' * 500_000,
        "escapes": '"' + "\\u0000" * 100_000,
        "number": "9" * 500_000,
        "deep": "[" * 900 + '{"url":"/gone"}' + "]" * 900,
    }
    for name, value in ld.items():
        routes[f"/ld/{name}"] = f'<!doctype html><script type="application/ld+json">{value}</script><a href=/gone>x</a>'
    run = await attack(routes, {"/gone": GONE}, ignoring=lambda target: target != "/gone", limit=20)
    readers = {page for page, target, _ in run.verdicts if target == "/gone"}
    cut = {
        page for page, _, why in run.verdicts if why == "warning:too_many_links"
    }  # the links of its style came first
    assert readers | cut == {path for path in routes if not path.startswith("/css/")} | cut


async def test_pages_that_are_all_ids(attack: Attack) -> None:
    """What is remembered of ids is bounded, however many pages are made of nothing else."""
    routes: dict[str, Route] = {
        f"/{page}": "<!doctype html>" + "".join(f"<p id={'x' * 180}{page:04}{number:05}>" for number in range(9_000))
        for page in range(120)
    }
    await attack(routes, {}, limit=25)


async def test_pages_that_are_all_links(attack: Attack) -> None:
    """What is remembered of links is bounded, however many pages are made of nothing else."""
    routes: dict[str, Route] = {
        f"/{page}": "".join(f"<a href=/fine#:~:text={page:04}{number:05}{'x' * 60}>x</a>" for number in range(19_000))
        for page in range(40)
    }
    await attack(routes, dict.fromkeys(routes, "warning:too_many_links"), limit=90, computing=15)


async def test_long_links_in_many_folders(attack: Attack) -> None:
    """What is remembered of how links resolve is bounded."""
    routes: dict[str, Route] = {
        f"/{page}/": "".join(f"<a href='/fine#:~:text={number:05}{'x' * 1_700}'>x</a>" for number in range(1_000))
        for page in range(40)
    }
    await attack(routes, {}, limit=25)


async def test_long_bases(attack: Attack) -> None:
    """A base makes long addresses of short links: those that are too long are left out, and not remembered."""
    links = "<a href=/gone>x</a>" + "".join(f"<a href={number}>x</a>" for number in range(19_000))
    bases = {"/long": f"/{'y' * 16_000}/", "/deep": "/a" * 8_000, "/longer": f"/{'y' * 1_000_000}/"}
    routes: dict[str, Route] = {path: f"<base href='{base}'>{links}" for path, base in bases.items()}
    cut: dict[str, str | set[str]] = dict.fromkeys(routes, "warning:too_many_links")
    traps = ("/y", "/a")
    run = await attack(routes, {"/gone": GONE, **cut}, ignoring=lambda target: target.startswith(traps), limit=25)
    assert len({page for page, target, _ in run.verdicts if target == "/gone"}) == len(bases)


async def test_many_pages_with_many_links_each(attack: Attack) -> None:
    """Where no page alone has too many links, all together may: each is cut to the same share."""
    routes: dict[str, Route] = {
        f"/{page}": "".join(f"<a href=/fine#:~:text={page:04}{number:05}{'x' * 60}>x</a>" for number in range(3_000))
        for page in range(150)
    }
    await attack(routes, dict.fromkeys(routes, "warning:too_many_links"), limit=25)


async def test_a_charset_of_its_own_for_each_page(attack: Attack) -> None:
    """Names of charsets are looked up, and not remembered."""
    routes: dict[str, Route] = {
        f"/{page}": Reply(page_of(page), type=f"text/html; charset={page:04}{'x' * 50_000}") for page in range(500)
    }
    await attack(routes, {}, limit=25)


def page_of(number: int) -> str:
    """Return a page that is like no other."""
    return f"<!doctype html><title>{number}</title><p>{number}"
