import gzip
from typing import Any

import pytest

from gapless.links import Scope, crawl
from unit.links.httpsite import Audit, Reply, Serve, page, results

XML = "application/xml"
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><image href="/gone.png"/><a href="/p"><text>p</text></a></svg>'
FEED = '<rss version="2.0"><channel><link>{site}/</link><item><link>{site}/gone</link></item></channel></rss>'


def urlset(*addresses: str) -> str:
    """Write a sitemap."""
    urls = "".join(f"<url><loc>{address}</loc></url>" for address in addresses)
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'


@pytest.mark.parametrize(
    ("link", "source"),
    [
        (
            '<link rel="stylesheet" href="/a.css">',
            ("/a.css", "@import '/gone.css'; p{cursor:url(gone.png)}", "text/css"),
        ),
        ('<img src="/a.svg">', ("/a.svg", SVG, "image/svg+xml")),
    ],
    ids=["css", "svg"],
)
async def test_links_of_other_documents_are_checked(audit: Audit, link: str, source: tuple[str, str, str]) -> None:
    """Style sheets and drawings are read as pages are, and are no pages."""
    path, body, media = source
    found = await audit({"/": link, path: Reply(body, type=media), "/p": "x"})
    assert {each.target.rpartition("/")[2]: each.page for each in found.findings()} == dict.fromkeys(
        ["gone.css", "gone.png"] if path == "/a.css" else ["gone.png"], audit.site.url + path
    )
    assert all(each.line == 1 for each in found.findings())
    assert audit.site.url + path not in found.pages


async def test_links_of_feeds_are_checked(serve: Serve) -> None:
    """A feed that a page names is read."""
    site = await serve({"/robots.txt": Reply("", 404)})
    feed = Reply(FEED.format(site=site.url), type="application/rss+xml")
    site.routes = {"/": '<link rel="alternate" type="application/rss+xml" href="/feed">', "/feed": feed}
    found = await crawl(Scope(site.url))
    assert results(found) == {"/gone": "broken:http_404"}


async def test_pages_that_only_a_sitemap_names_are_crawled(serve: Serve) -> None:
    """Orphans are found by robots.txt's sitemaps, through an index and compression; what is not there is broken."""
    site = await serve({})
    index = f"<sitemapindex><sitemap><loc>{site.url}/two.xml.gz</loc></sitemap></sitemapindex>"
    site.routes = {
        "/robots.txt": Reply(f"Sitemap: {site.url}/map.xml", type="text/plain"),
        "/map.xml": Reply(index, type=XML),
        "/two.xml.gz": Reply(gzip.compress(urlset(f"{site.url}/orphan", f"{site.url}/gone").encode()), type="x/gzip"),
        "/": page(),
        "/orphan": page("/bad"),
    }
    found = await crawl(Scope(site.url))
    assert results(found) == {"/bad": "broken:http_404", "/gone": "broken:http_404"}
    assert {each.page.removeprefix(site.url) for each in found.findings()} == {"/orphan", "/two.xml.gz"}
    assert len(found.pages) == 2


async def test_a_sitemap_that_nobody_names_is_looked_for(serve: Serve) -> None:
    """The usual place is tried, and it is no fault when nothing is there."""
    site = await serve({"/": page(), "/robots.txt": Reply("", 404)})
    site.routes = {**site.routes, "/sitemap.xml": Reply(urlset(f"{site.url}/orphan"), type=XML), "/orphan": page()}
    assert len((await crawl(Scope(site.url))).pages) == 2
    assert len((await crawl(Scope(site.url, sitemaps=False))).pages) == 1


async def test_a_sitemap_that_is_named_and_not_there_is_broken(serve: Serve) -> None:
    """What robots.txt promises is checked."""
    site = await serve({})
    site.routes = {"/robots.txt": Reply(f"Sitemap: {site.url}/map.xml", type="text/plain"), "/": page()}
    assert results(await crawl(Scope(site.url))) == {"/map.xml": "broken:http_404"}


async def test_addresses_that_differ_in_their_query_only_are_one_page(audit: Audit) -> None:
    """The same body under the same path is one page, and what is wrong there is said once; other bodies are others."""
    text = page("/gone")
    found = await audit(
        {"/": page("/p?a", "/p", "/p?b", "/q?a", "/q?b"), "/p": text, "/p?a": text, "/p?b": text}
        | {"/q?a": page(), "/q?b": page("/gone")}
    )
    assert {address.removeprefix(audit.site.url) for address in found.pages} == {"/", "/p", "/q?a", "/q?b"}
    assert [each.page.removeprefix(audit.site.url) for each in found.findings()] == ["/p", "/q?b"]


async def test_where_a_link_stands_is_said(audit: Audit) -> None:
    """Line, column, text and the link as written are those of the first place on the page."""
    text = '<!doctype html>\n<p>é <a href="gone?a=1&amp;b=2"><b>The</b>\n one</a>\n<a href="/gone?a=1&b=2">again</a>'
    [finding] = (await audit({"/": text})).findings()
    assert (finding.line, finding.column, finding.text, finding.href) == (2, 6, "The one", "gone?a=1&b=2")


async def test_what_stands_everywhere_is_located_once(audit: Audit) -> None:
    """A broken link of a footer costs one more request, not one for each page."""
    paths = [f"/{n}" for n in range(30)]
    found = await audit({"/": page(*paths), **dict.fromkeys(paths, page("/gone", extra="x"))})
    assert len(found.findings()) == 30
    assert sum(each.line is not None for each in found.findings()) == 1


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({}, {"/a/gone", "/b/gone", "/c"}),
        ({"exclude": ("/b/", "c$")}, {"/a/gone"}),
        ({"include": ("/a/",)}, {"/a/gone"}),
        ({"include": ("/(a|b)/",), "exclude": ("b/gone",)}, {"/a/gone"}),
    ],
)
async def test_patterns_choose_what_is_checked(audit: Audit, options: dict[str, Any], wrong: set[str]) -> None:
    """Targets that are left out are neither visited nor counted."""
    found = await audit({"/": page("/a/gone", "/b/gone", "/c")}, **options)
    assert set(results(found)) == wrong
    assert not {"/a/gone", "/b/gone", "/c"} - wrong & set(audit.site.requests)
    assert found.links == len(wrong)


def test_a_pattern_that_is_none_is_refused() -> None:
    """The error names it."""
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression"):
        Scope("http://a", exclude=("(",))


async def test_a_site_can_be_audited_as_its_public_address(audit: Audit) -> None:
    """Absolute links to the public address mean the site that is audited, and no request goes there."""
    routes = {
        "/": page("https://docs.example.com/a#x", "https://docs.example.com", "https://docs.example.com.evil/"),
        "/a": page(),
    }
    found = await audit(routes, public="https://docs.example.com/", external=False)
    assert results(found) == {"/a#x": "broken:missing_fragment"}
    assert found.findings()[0].href == "https://docs.example.com/a#x"


async def test_the_syntax_of_contacts_is_checked_on_wish(audit: Audit) -> None:
    """Addresses that no mail or call can go to are broken, and those that are fine are none of the audit's business."""
    links = ("mailto:a@example.com", "mailto:nobody", "tel:+49-30-123", "tel:call me", "javascript:void(0)")
    assert results(await audit({"/": page(*links)})) == {}
    assert set(results(await audit({"/": page(*links)}, contacts=True))) == {"mailto:nobody", "tel:call me"}
