import gzip
import time
import tracemalloc

import pytest

from gapless.links.sitemaps import MAX_URLS, Sitemap, feed_links, read

SET = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>'
URL = "<url><loc>{}</loc></url>"


def sitemap(*urls: str) -> bytes:
    return ('<?xml version="1.0" encoding="UTF-8"?>' + SET.format("".join(map(URL.format, urls)))).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (sitemap("http://h/a", " http://h/b?x=1&amp;y=2\n"), Sitemap(["http://h/a", "http://h/b?x=1&y=2"], [], None)),
        (sitemap("<![CDATA[http://h/?a&b]]>"), Sitemap(["http://h/?a&b"], [], None)),
        (sitemap(), Sitemap([], [], None)),
        (sitemap("", " "), Sitemap([], [], None)),
        (b"\xef\xbb\xbf" + sitemap("http://h/é"), Sitemap(["http://h/é"], [], None)),
        (sitemap("x").decode().replace("UTF-8", "UTF-16").encode("utf-16"), Sitemap(["x"], [], None)),
        (
            b"<sitemapindex><sitemap><loc>http://h/1.xml</loc><lastmod>2026</lastmod></sitemap></sitemapindex>",
            Sitemap([], ["http://h/1.xml"], None),
        ),
        (
            SET.format(
                '<url><loc>a</loc><i:image xmlns:i="i"><i:loc>no</i:loc></i:image><lastmod>no</lastmod></url>'
            ).encode(),
            Sitemap(["a"], [], None),
        ),
        (
            b'<s:urlset xmlns:s="http://www.sitemaps.org/schemas/sitemap/0.9"><s:url><s:loc>a</s:loc></s:url></s:urlset>',
            Sitemap(["a"], [], None),
        ),
        (b"<rss><channel><item><link>http://h/a</link></item></channel></rss>", Sitemap(["http://h/a"], [], None)),
        (b'<feed><entry><link href="http://h/a"/></entry></feed>', Sitemap(["http://h/a"], [], None)),
        (b"http://h/a\r\nhttps://h/b\n\n", Sitemap(["http://h/a", "https://h/b"], [], None)),
        (b"\xef\xbb\xbf\nhttp://h/a\nwords\nhttp://h/b", Sitemap(["http://h/a", "http://h/b"], [], None)),
        (gzip.compress(sitemap("a"), mtime=0), Sitemap(["a"], [], None)),
        (
            gzip.compress(b"http://h/a\n", mtime=0) + gzip.compress(b"http://h/b\n", mtime=0),
            Sitemap(["http://h/a", "http://h/b"], [], None),
        ),
        (b"", Sitemap([], [], "not_a_sitemap")),
        (b"Not found", Sitemap([], [], "not_a_sitemap")),
        (b"{}", Sitemap([], [], "not_a_sitemap")),
        (b"\0\1\2" * 9_000, Sitemap([], [], "not_a_sitemap")),
        (b"<!doctype html><p>Not found", Sitemap([], [], "not_a_sitemap")),
        (b"<html><body/></html>", Sitemap([], [], "not_a_sitemap")),
        (sitemap("a", "b")[:-30], Sitemap(["a"], [], "not_well_formed")),
        (sitemap("a", "b & c"), Sitemap(["a"], [], "not_well_formed")),
        (gzip.compress(sitemap("a"), mtime=0)[:-4], Sitemap(["a"], [], "bad_gzip")),
        (gzip.compress(sitemap("a"), mtime=0)[:10] + b"xxxx", Sitemap([], [], "bad_gzip")),
        (b"<urlset>" + b"<a>" * 100, Sitemap([], [], "too_deep")),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + sitemap("&a;")[38:], Sitemap([], [], "entities")),
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset/>', Sitemap([], [], "entities")),
        (b'<!DOCTYPE x [<!ENTITY % a SYSTEM "http://h/">%a;]><urlset/>', Sitemap([], [], "entities")),
        (b'<!DOCTYPE urlset SYSTEM "http://h/x.dtd">' + sitemap("a")[38:], Sitemap(["a"], [], None)),
    ],
)
def test_sitemaps(body: bytes, expected: Sitemap) -> None:
    """What is listed is read, up to what is wrong."""
    assert read(body) == expected


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_too_many_urls_are_cut_and_said(pack: type[bytes]) -> None:
    """50,000 addresses are the most that a sitemap may list."""
    full = read(pack(sitemap(*map(str, range(MAX_URLS)))))
    assert (len(full.pages), full.fault) == (MAX_URLS, None)
    more = read(pack(sitemap(*map(str, range(MAX_URLS + 1)))))
    assert more == Sitemap(full.pages, [], "too_many_urls")
    lines = read(pack("\n".join(f"http://h/{n}" for n in range(MAX_URLS + 9)).encode()))
    assert (len(lines.pages), lines.pages[-1], lines.fault) == (MAX_URLS, f"http://h/{MAX_URLS - 1}", "too_many_urls")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(sitemap("a") + b" " * 200_000_000, 9, mtime=0),
        gzip.compress(b"http://h/a\n" + b"x" * 200_000_000, 9, mtime=0),
        b"".join(gzip.compress(b" " * 30_000_000, mtime=0) for _ in range(4)),
        b"<urlset><url><loc>" + b"x" * 20_000_000,
        b"<urlset " + b" ".join(b"a%d=''" % n for n in range(200_000)),
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><urlset><url><loc>&l11;</loc></url></urlset>'.encode(),
    ],
    ids=["gzip of spaces", "gzip of a line", "gzip in parts", "a long text", "many attributes", "a billion laughs"],
)
def test_bombs_cost_little(body: bytes) -> None:
    """No sitemap takes long or much memory, and each has its fault."""
    started = time.process_time()
    assert read(body).fault is not None
    assert time.process_time() - started < 4
    tracemalloc.start()
    read(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80_000_000


def test_rss() -> None:
    """Links of channel, items, media and sources are taken; guids when they are addresses."""
    body = b"""<?xml version="1.0"?><rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel>
    <title>x</title><link>http://h/</link><description>http://no/</description>
    <atom:link rel="self" href="http://h/feed"/><atom:link rel="hub" href="http://no/"/>
    <image><url>http://h/i.png</url><link>http://h/i</link></image>
    <item><title>http://no/</title><link> http://h/1 </link><comments>http://h/1#c</comments>
    <guid isPermaLink="false">http://no/</guid><enclosure url="/e.mp3" length="1" type="audio/mpeg"/></item>
    <item><guid>http://h/2</guid><source url="http://o/feed">x</source><link/></item>
    <item><guid>tag:h,2026:3</guid><link>relative</link></item></channel></rss>"""
    assert feed_links(body) == [
        *("http://h/", "http://h/feed", "http://h/i.png", "http://h/i", "http://h/1", "http://h/1#c", "/e.mp3"),
        *("http://h/2", "http://o/feed", "relative"),
    ]


def test_rss_1() -> None:
    """The RDF of RSS 1.0 is read too."""
    body = b'<rdf:RDF xmlns:rdf="r"><channel><link>http://h/</link></channel><item><link>http://h/1</link></item></rdf:RDF>'
    assert feed_links(body) == ["http://h/", "http://h/1"]


def test_atom_with_bases() -> None:
    """xml:base counts for what is inside of it, each resolved against the one around it."""
    body = b"""<feed xmlns="http://www.w3.org/2005/Atom"><link href="as-written"/><icon>/i.png</icon><logo/>
    <author><uri>http://h/me</uri></author>
    <entry xml:base="http://h/d/"><link rel="alternate" href="a"/><link rel="edit" href="no"/>
    <content type="text" src="b"/><div xml:base="e/"><link href="c"/></div><link href="/f"/></entry>
    <entry xml:base="deep/"><link href="g"/><link href="http://[bad"/></entry><id>http://no/</id></feed>"""
    assert feed_links(body) == [
        *("as-written", "/i.png", "http://h/me", "http://h/d/a", "http://h/d/b", "http://h/d/e/c", "http://h/f"),
        *("deep/g", "http://[bad"),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"x", b"<rss>", b"<rss><channel><link>http://h/</link>", gzip.compress(b"<rss", mtime=0)]
)
def test_broken_feeds_give_what_they_have(body: bytes) -> None:
    """A feed that ends too soon gives what stands before."""
    assert feed_links(body) == (["http://h/"] if b"http" in body else [])
