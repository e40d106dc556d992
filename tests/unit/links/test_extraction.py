import random
import re
import time

import pytest

from gapless.links.parse import (
    MAX_LINKS,
    NAVIGATE,
    RESOURCE,
    TABLE,
    decode,
    depth_suspect,
    looks_like_html,
    markup,
    parse,
    sniff,
    srcset,
)
from gapless.links.suspicion import fault
from unit.links.httpsite import Audit, page, results

# One element for each row of the table, with its link as /gone.
ELEMENTS = [
    ('<a href="/gone">x</a>', NAVIGATE),
    ('<svg><a xlink:href="/gone">x</a></svg>', NAVIGATE),
    ('<map><area href="/gone"></map>', NAVIGATE),
    ('<audio src="/gone"></audio>', RESOURCE),
    ('<blockquote cite="/gone">x</blockquote>', NAVIGATE),
    ('</head><body background="/gone">', RESOURCE),
    ('<del cite="/gone">x</del>', NAVIGATE),
    ('<embed src="/gone">', RESOURCE),
    ('<svg><filter><feImage href="/gone" /></filter></svg>', RESOURCE),
    ('<svg><filter><feImage xlink:href="/gone" /></filter></svg>', RESOURCE),
    ('<form action="/gone"></form>', RESOURCE),
    ('<frameset><frame src="/gone"></frameset>', RESOURCE),
    ('<iframe src="/gone"></iframe>', RESOURCE),
    ('<iframe longdesc="/gone"></iframe>', NAVIGATE),
    ('<svg><image href="/gone" /></svg>', RESOURCE),
    ('<svg><image xlink:href="/gone" /></svg>', RESOURCE),
    ('<img src="/gone">', RESOURCE),
    ('<img srcset="/gone 2x">', RESOURCE),
    ('<img longdesc="/gone">', NAVIGATE),
    ('<input type="image" src="/gone">', RESOURCE),
    ('<ins cite="/gone">x</ins>', NAVIGATE),
    ('<link rel="stylesheet" href="/gone">', RESOURCE),
    ('<link rel="preload" imagesrcset="/gone 1x">', RESOURCE),
    ('<meta http-equiv="Refresh" content="5; url=/gone">', NAVIGATE),
    ('<object data="/gone"></object>', RESOURCE),
    ('<q cite="/gone">x</q>', NAVIGATE),
    ('<script src="/gone"></script>', RESOURCE),
    ('<script type="application/ld+json">{"url": "/gone"}</script>', RESOURCE),
    ('<video><source src="/gone"></video>', RESOURCE),
    ('<picture><source srcset="/gone"></picture>', RESOURCE),
    ("<style>a { background: url(/gone) }</style>", RESOURCE),
    ('<table background="/gone"></table>', RESOURCE),
    ('<table><tr><td background="/gone"></table>', RESOURCE),
    ('<table><tr><th background="/gone"></table>', RESOURCE),
    ('<video><track src="/gone"></video>', RESOURCE),
    ('<svg><use href="/gone#icon" /></svg>', RESOURCE),
    ('<svg><use xlink:href="/gone" /></svg>', RESOURCE),
    ('<video poster="/gone"></video>', RESOURCE),
    ('<video src="/gone"></video>', RESOURCE),
    ('<p style="background: url(/gone)">', RESOURCE),
]

# Other ways in which these elements stand in pages.
WAYS = [
    ('<link rel="manifest" href="/gone">', RESOURCE),
    ('<link rel="icon" href="/gone">', RESOURCE),
    ('<link rel="preload" as="font" href="/gone">', RESOURCE),
    ('<link rel="canonical" href="/gone">', RESOURCE),
    ('<link rel="alternate" hreflang="de" href="/gone">', RESOURCE),
    ('<meta http-equiv="refresh" content="0;\'/gone\'x">', NAVIGATE),
    ('<meta property="og:image" content="/gone">', RESOURCE),
    ('<meta property="og:image:secure_url" content="/gone">', RESOURCE),
    ('<meta name="twitter:image" content="/gone">', RESOURCE),
    ('<style>@import "/gone";</style>', RESOURCE),
    ("<svg><style>a { fill: url(/gone) }</style></svg>", RESOURCE),
    ('<script type="application/ld+json">{"@graph": [{"image": ["/gone"]}]}</script>', RESOURCE),
    ('<script type="Application/LD+JSON">{"author": {"sameAs": "\\/gone"}}</script>', RESOURCE),
    ('<form method="GET" action="/gone"></form>', RESOURCE),
    ('<noscript><a href="/gone">x</a></noscript>', NAVIGATE),
    ('<head><noscript><img src="/gone"></noscript><title>x</title></head>', RESOURCE),
    ('<details><pre><code><a href="/gone">x</a></code></pre></details>', NAVIGATE),
    ('<a rel="nofollow" href="/gone">x</a>', NAVIGATE),
    ('<A HREF=/gone HREF="/ok">x</A>', NAVIGATE),
    ('<a href="/&#103;one">x</a>', NAVIGATE),
    ("<ul>" + "<li>" * 3_000 + '<a href="/gone">x', NAVIGATE),
    ('<select><selectedcontent></selectedcontent><option><img src="/gone"></select>', RESOURCE),
]

NO_LINKS = [
    '<!-- <a href="/gone">x</a> -->',
    "<script>'<a href=\"/gone\">x</a>'</script>",
    '<textarea><a href="/gone">x</a></textarea>',
    '<title><a href="/gone">x</a></title>',
    '<template><a href="/gone">x</a><p style="background: url(/gone)"></template>',
    '<iframe><a href="/gone">x</a></iframe>',
    "<style>/* <a href='/gone'> url(/gone) */</style>",
    '<style type="text/x-template">a { b: url(/gone) }</style>',
    "<p>http://127.0.0.1/gone</p>",
    '<link rel="preconnect" href="/gone">',
    '<link rel="DNS-prefetch" href="/gone">',
    '<form method="POST" action="/gone"></form>',
    '<form method="dialog" action="/gone"></form>',
    '<form action=""></form>',
    '<input src="/gone">',
    '<img src="">',
    '<img src=" ">',
    '<svg><use href="#icon" /></svg>',
    '<p style="clip-path: url(#clip)">',
    '<meta name="description" content="/gone">',
    '<meta http-equiv="refresh" content="5">',
    '<script type="application/ld+json">{"@id": "/gone", "@context": "/gone", "name": "/gone"}</script>',
    '<script type="application/ld+json">{"license": "MIT", "url": "/search?q={term}"}</script>',
    '<script type="application/ld+json">{"url": "/gone"</script>',
    '<script type="text/template">{"url": "/gone"}</script>',
    '<a name="/gone" data-href="/gone">x</a>',
    '<p cite="/gone" href="/gone" src="/gone" background="/gone">x</p>',
]


@pytest.mark.parametrize(("element", "kind"), ELEMENTS + WAYS)
def test_links_are_taken_from(element: str, kind: str) -> None:
    """Each place of the table is one where a link is found, once, and of its kind."""
    start = "<!doctype html>" if "<frameset" in element else "<!doctype html><head>"
    href = "/gone#icon" if "#icon" in element else "/gone"
    assert parse(start + element).links == [(kind, href)]
    assert parse((start + element).encode()).links == [(kind, href)]


@pytest.mark.parametrize("element", NO_LINKS)
def test_links_are_not_taken_from(element: str) -> None:
    """What a browser would not follow is no link."""
    assert parse(f"<!doctype html>{element}").links == []


def test_every_row_of_the_table_is_tried() -> None:
    """The elements above are the rows of the table, in its order."""
    assert len(ELEMENTS) == len(TABLE)
    for (element, attribute, _), (text, _) in zip(TABLE, ELEMENTS, strict=True):
        assert element == "*" or f"<{element}" in text.lower()
        assert f"{attribute}=" in text or not attribute


def test_links_come_in_document_order() -> None:
    """Elements give their links in the order of the page, those of style and background attributes after them."""
    text = '<p id=x style="a: url(5)"><a href=1><img srcset="2, 3 2x" src=4></a><a href="">x</a><a href>x</a>'
    assert [href for _, href in parse(text).links] == ["1", "4", "2", "3", "", "", "5"]


def test_ids_are_those_that_fragments_find() -> None:
    """Ids of all elements and names of anchors count, SVG included; templates, comments and empty ids do not."""
    text = (
        '<p id=a><a name=b>x</a><a name=c id=c>x</a><svg><g id=d /></svg><div name=no id=""><a name>x</a>'
        '<template><p id=no></template><!-- <p id=no> --><noscript><p id=e></noscript><p id="f g"><p id=%68>'
    )
    for links in (True, False):
        assert parse(text, links=links).ids.split("\0") == ["a", "b", "c", "d", "e", "f g", "%68"]


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ('<base href="/b/"><base href="/c/">', "/b/"),
        ('<base target=x><base href="/c/">', "/c/"),
        ('<body><p><base href="/b/">', "/b/"),
        ("<base href>", ""),
        ("<base target=x>", None),
        ("<template><base href=x></template>", None),
        ("", None),
    ],
)
def test_base(text: str, base: str | None) -> None:
    """The first base element with an address counts, wherever it stands."""
    assert parse(text).base == base


def test_bytes_and_text_are_read_alike() -> None:
    """UTF-8 needs no decoding: what is no UTF-8 becomes the same signs that decoding makes of it."""
    pieces = [
        b"\xff",
        b"\xc3",
        b"\xc3\xa9",
        "日本".encode(),
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\0",
        b"a",
        b"&eacute;",
    ]
    random_ = random.Random(7)
    for _ in range(500):
        href = b"".join(random_.choices(pieces, k=6))
        body = b'<a href="' + href + b'" id="x' + href + b'">x</a>'
        assert parse(body) == parse(body.decode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        (b"\xc3\xa9", "", "é"),
        (b"\xc3\xa9", "UTF-8", "é"),
        (b"\xef\xbb\xbf\xc3\xa9", "iso-8859-1", "é"),
        ("é".encode("utf-16-le"), "utf-16le", "é"),
        (b"\xff\xfe" + "é".encode("utf-16-le"), "", "é"),
        (b"\xe9\x80", "iso-8859-1", "é€"),
        (b'<meta charset="windows-1251">\xe6', "", '<meta charset="windows-1251">ж'),
        (b'<meta charset="windows-1251">\xc3\xa9', "utf-8", '<meta charset="windows-1251">é'),
        (b'<?xml version="1.0" encoding="iso-8859-1"?>\xe9', "", '<?xml version="1.0" encoding="iso-8859-1"?>é'),
        (b"\xc3\xa9", "base64", "é"),
        (b"\xc3\xa9", "nonsense", "é"),
        (b"\xe9", "", "\ufffd"),
    ],
)
def test_charsets(body: bytes, charset: str, text: str) -> None:
    """Mark, header, page, XML declaration and UTF-8 decide in this order, and `markup` leaves UTF-8 as it is."""
    assert decode(body, charset) == text
    taken = markup(body, charset)
    assert (taken.decode("utf-8", "replace") if isinstance(taken, bytes) else taken) == text


@pytest.mark.parametrize(
    ("start", "html"),
    [
        (b"<!DOCTYPE html>", True),
        (b" \n\t<HTML lang=en>", True),
        (b"<p>", True),
        (b"<!-- x", True),
        (b"<h1 class=x>", True),
        (b"<body ", True),
        (b"<html", False),
        (b"<htmlx>", False),
        (b"<html/>", False),
        (b"\xef\xbb\xbf<html>", False),
        (b"text <html>", False),
        (b"<?xml version='1.0'?><html>", False),
        (b"{}", False),
        (b"", False),
        (b" " * 1_445 + b"<p>", False),
    ],
)
def test_sniffing(start: bytes, html: bool) -> None:
    """A body without a type is HTML when the MIME Sniffing Standard's table says so."""
    assert sniff(start) == ("html" if html else None)
    assert looks_like_html(start) is html


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        ("a 1x,b 2x", ["a", "b"]),
        ("a, b 100w , c", ["a", "b", "c"]),
        (" ,, a,b 1x", ["a,b"]),
        ("data:image/png;base64,AA 1x, b", ["data:image/png;base64,AA", "b"]),
        ("a (x, y) 1x, b", ["a", "b"]),
        ("", []),
    ],
)
def test_srcset(value: str, expected: list[str]) -> None:
    """Candidates are told apart by the HTML Standard's rules."""
    assert list(srcset(value)) == expected


def test_a_page_with_too_many_links_is_cut() -> None:
    """Of a page with more links than are taken, the first ones are, wherever they stand."""
    for text, cut in [
        ("<a href=x>" * MAX_LINKS, False),
        ("<a href=x>" * (MAX_LINKS + 1), True),
        (f'<img srcset="{"x 1x, " * (MAX_LINKS + 5)}">', True),
        (f'<p style="{"a: url(x);" * (MAX_LINKS + 5)}">', True),
        (f"<style>{'a { b: url(x) }' * (MAX_LINKS + 5)}</style>", True),
    ]:
        parsed = parse(text)
        assert (len(parsed.links), parsed.cut) == (MAX_LINKS, cut)


HARMLESS = {
    "unclosed items": "<ul>" + "<li><a href=x>x</a>" * 6_000,
    "unclosed paragraphs": "<p>x" * 9_000,
    "unclosed cells": "<table>" + "<tr><td>x<td>y" * 3_000,
    "unclosed terms": "<dl>" + "<dt>x<dd>y" * 4_000,
    "code": "<p><code class='x y'>x</code> and <em class='z'>y</em></p>" * 2_000,
    "highlighted code": "<pre>" + "<span class='k'>x</span>\n" * 9_000 + "</pre>",
    "icons": "<svg><path d='M0 0'/><path d='M1 1'/></svg>" * 2_000,
    "a long text": "x > y " * 100_000,
    "a long script": "<script>" + "if (a < b) { c('</div>') }" * 10_000 + "</script>",
    "a long attribute": f"<p title='{'x' * 100_000}'>",
    "markup in attributes": '<p title="a > b">x</p>' * 5_000,
}
HOSTILE = {
    "nesting": "<div>" * 20_000,
    "nesting behind stray ends": "<div>" * 15_000 + "</x>" * 15_000,
    "nesting with ends in comments": "<div><!--</div>-->" * 15_000,
    "nesting with ends in attributes": "<div a='</div>'>" * 15_000,
    "nesting with ends in scripts": "<div><script></div></script>" * 15_000,
    "nesting with ends in SVG styles": "<svg><style><div></style></svg>" * 15_000,
    "nesting with ends in CDATA": "<div><svg><![CDATA[</svg></div>]]></svg>" * 15_000,
    "nesting behind a wall": "<div><object></div>" * 15_000,
    "formatting opened again": "".join(f"<p><b id={n}>x" for n in range(1_000)),
    "formatting opened again, upper case": "".join(f"<P><TT ID={n}>x" for n in range(1_000)),
    "attributes": "<p " + " ".join(f"a{n}" for n in range(20_000)) + ">",
    "attributes behind hidden ends": "<p " + " ".join(f'a{n}=">" b{n} c{n} d{n}' for n in range(8_000)) + ">",
    "attributes of many html elements": "".join(f"<html a{n}>" for n in range(20_000)),
    "attributes of many body elements": "".join(f"<body a{n}>" for n in range(20_000)),
    "many elements": "<b>x</b>" * 100_000,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_valid_pages_are_no_suspects(name: str) -> None:
    """Large pages as they are found are parsed where others are."""
    assert not depth_suspect(HARMLESS[name].encode())


@pytest.mark.parametrize("name", HOSTILE)
def test_pages_that_stall_the_parser_are_suspects(name: str) -> None:
    """What takes the parser a square of its size is told beforehand, however it is hidden."""
    assert depth_suspect(HOSTILE[name].encode())


@pytest.mark.parametrize(
    "text",
    [
        "<span>" * 12_000 + "</x>" * 40_000,
        "<object>" * 12_000 + "<p></b>" * 20_000,
        "<span>" * 12_000 + "<script><b</script>" * 20_000,
        "<a b='" * 50_000,
        '<a b="' * 50_000 + "='",
        "<b x<b x" * 25_000,
        "<p " + "=" * 1_000_000,
        "<p " + "a " * 1_000_000,
        "=\t" * 1_000_000,
        "<!-" * 50_000 + "-" * 1_000_000,
        "</x>" * 2_000_000,
        "x" * 10_000_000,
    ],
)
def test_suspicion_costs_little(text: str) -> None:
    """To look at a page takes no longer than to start a process for it, whatever it holds."""
    body = text.encode()
    started = time.process_time()
    depth_suspect(body)
    assert fault(body) in {"too_deep", "unparsable"}
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ('<base href="/b/">', "/b/x"),
        ('<base href="/b/"><base href="/c/">', "/b/x"),
        ('<base href="deep/er">', "/deep/x"),
        ('<base target="_top">', "/x"),
        ('<base href="javascript:x">', "/x"),
        ('<base href="http://[::1/">', "/x"),
    ],
)
async def test_links_resolve_against_the_base(audit: Audit, base: str, target: str) -> None:
    """The first base with an address resolves the links, itself resolved against the page."""
    assert results(await audit({"/": f'{base}<a href="x">t</a>'})) == {target: "broken:http_404"}


async def test_a_fragment_alone_resolves_against_the_base(audit: Audit) -> None:
    """With a base, #x is a place on the base's page."""
    found = await audit({"/": '<base href="/b/"><a href="#here">t</a><a href="#there">t</a>', "/b/": '<p id="here">'})
    assert results(found) == {"/b/#there": "broken:missing_fragment"}


@pytest.mark.parametrize("href", ["http://[::1/x", "http://h:99999/", "http://a b/", "http://%zz/", "https://"])
async def test_bad_addresses_are_broken_as_written(audit: Audit, href: str) -> None:
    """What is no address is broken, and shown as it stands in the page."""
    [finding] = (await audit({"/": page(href)})).findings()
    assert (finding.reason, finding.href, finding.target) == ("bad_url", href, href)


async def test_user_names_and_passwords_are_neither_sent_nor_shown(audit: Audit) -> None:
    """A link that carries credentials is checked without them."""
    site = await audit._serve({})
    found = await audit({"/": page(f"http://me:secret@127.0.0.1:{site.port}/x")}, allow=(f"127.0.0.1:{site.port}",))
    [finding] = found.findings()
    assert finding.reason == "http_404"
    assert "secret" not in repr(finding)
    assert "authorization" not in site.seen[0].headers


async def test_each_link_is_named_on_every_page_and_fetched_once(audit: Audit) -> None:
    """The same broken link is one finding for each page; repeated on a page it counts as links only."""
    found = await audit({"/": page("/a", "/gone", "gone"), "/a": page("/gone")})
    assert [finding.page.removeprefix(audit.site.url) for finding in found.findings()] == ["/", "/a"]
    assert found.links == 4
    assert audit.site.requests["/gone"] == 2  # once in the crawl, once to confirm


async def test_different_spellings_are_different_addresses(audit: Audit) -> None:
    """Slashes at the end, index.html and queries are part of an address; the path's encoding is kept."""
    await audit({"/": page("/d", "/d/", "/?", "/?#x", "/d?a", "/d?a=", "/%C3%A9", "/é", "/%c3%a9", "/a%20b", "/a b")})
    probes = {path for path in audit.site.requests if re.fullmatch("/[0-9a-f]{24}", path)}
    assert set(audit.site.requests) - probes - {"/robots.txt", "/sitemap.xml", "/"} == {
        "/d",
        "/d/",
        "/d?a",
        "/d?a=",
        "/%C3%A9",
        "/%c3%a9",
        "/a%20b",
    }
