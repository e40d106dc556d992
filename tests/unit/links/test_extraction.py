import pytest

from gapless.links.parse import TABLE, parse, srcset
from unit.links.httpsite import Audit, page, results

# One element for each row of the table, with its link as /gone.
ELEMENTS = [
    '<a href="/gone">x</a>',
    '<svg><a xlink:href="/gone">x</a></svg>',
    '<map><area href="/gone"></map>',
    '<audio src="/gone"></audio>',
    '<blockquote cite="/gone">x</blockquote>',
    '</head><body background="/gone">',
    '<del cite="/gone">x</del>',
    '<embed src="/gone">',
    '<form action="/gone"></form>',
    '<iframe src="/gone"></iframe>',
    '<iframe longdesc="/gone"></iframe>',
    '<svg><image href="/gone" /></svg>',
    '<svg><image xlink:href="/gone" /></svg>',
    '<img src="/gone">',
    '<img srcset="/ok 1x, /gone 2x">',
    '<img longdesc="/gone">',
    '<input type="image" src="/gone">',
    '<ins cite="/gone">x</ins>',
    '<link rel="stylesheet" href="/gone">',
    '<link rel="preload" imagesrcset="/gone 1x">',
    '<meta http-equiv="Refresh" content="5; url=/gone">',
    '<meta property="og:image" content="/gone">',
    '<meta name="twitter:image" content="/gone">',
    '<object data="/gone"></object>',
    '<q cite="/gone">x</q>',
    '<script src="/gone"></script>',
    '<picture><source srcset="/gone"></picture>',
    '<video><source src="/gone"></video>',
    '<video><track src="/gone"></video>',
    '<svg><use href="/gone#icon" /></svg>',
    '<svg><use xlink:href="/gone" /></svg>',
    '<video poster="/gone"></video>',
    '<video src="/gone"></video>',
    '<noscript><a href="/gone">x</a></noscript>',
    '<details><pre><code><a href="/gone">x</a></code></pre></details>',
    '<a rel="nofollow" href="/gone">x</a>',
    '<A HREF=/gone HREF="/ok">x</A>',
    '<a href="  /go\nne\t ">x</a>',
    '<a href="/&#103;one">x</a>',
    '<a href="\\gone">x</a>',
    '<a href="x/./../gone">x</a>',
]

NO_LINKS = [
    '<!-- <a href="/gone">x</a> -->',
    "<script>'<a href=\"/gone\">x</a>'</script>",
    '<textarea><a href="/gone">x</a></textarea>',
    '<template><a href="/gone">x</a></template>',
    "<style>/* <a href='/gone'> */</style>",
    "<p>http://127.0.0.1/gone</p>",
    '<link rel="preconnect" href="/gone">',
    '<link rel="DNS-prefetch" href="/gone">',
    '<form method="POST" action="/gone"></form>',
    '<input src="/gone">',
    '<img src="">',
    '<meta name="description" content="/gone">',
    '<a href="mailto:a@b.c">x</a><a href="tel:1">x</a><a href="javascript:x()">x</a>',
    '<img src="data:image/png;base64,AAAA"><a href="blob:x">x</a><a href="irc://h/x">x</a>',
    '<a name="/gone">x</a>',
    '<a href="">x</a><a href>x</a>',
]


@pytest.mark.parametrize("element", ELEMENTS)
async def test_links_are_taken_from(audit: Audit, element: str) -> None:
    """Each place of the table is one where a broken link is found."""
    found = await audit({"/": f"<!doctype html><head>{element}", "/ok": "x"})
    assert results(found) == {"/gone": "broken:http_404"}


@pytest.mark.parametrize("element", NO_LINKS)
async def test_links_are_not_taken_from(audit: Audit, element: str) -> None:
    """What a browser would not follow is no link."""
    found = await audit({"/": f"<!doctype html>{element}"})
    assert results(found) == {}
    assert set(audit.site.requests) == {"/", "/robots.txt"}


def test_every_row_of_the_table_is_tried() -> None:
    """The elements above cover the table but for frames, which modern pages cannot hold."""
    text = "".join(ELEMENTS)
    assert [row for row in TABLE if f"<{row[0]}" not in text or row[1] not in text] == [("frame", "src", "resource")]


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
async def test_base(audit: Audit, base: str, target: str) -> None:
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
    assert set(audit.site.requests) - {"/robots.txt", "/"} == {
        "/d",
        "/d/",
        "/d?a",
        "/d?a=",
        "/%C3%A9",
        "/%c3%a9",
        "/a%20b",
    }


async def test_a_page_with_too_many_links_is_cut_and_said(audit: Audit) -> None:
    """Of a page with more links than are taken, the first ones are checked, and a warning says so."""
    found = await audit({"/": page(*(f"#{n}" for n in range(20_001)))})
    assert found.links == 20_000
    assert results(found)["/"] == "warning:too_many_links"


def test_link_text_is_short_and_on_one_line() -> None:
    """White space collapses, pictures speak by their alternative text, and long texts are cut."""
    parsed = parse(f'<a href=1> a \n <b>b</b></a><a href=2>{"x" * 500}</a><img src=3 alt=" an  image ">')
    assert [text for _, _, text in parsed.links] == ["a b", "x" * 120, "an image"]
