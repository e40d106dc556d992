"""robots.txt and sitemaps that are meant to hurt."""

import gzip
from functools import partial

from gapless.links import Scope
from links.hostile.attack import Attack, command_line
from links.hostile.test_bodies import always, bomb, compressed, drip, pour
from links.hostile.test_traps import Endless
from unit.links.httpsite import Reply, Route, Serve, page, redirect

XML = '<?xml version="1.0"?>'
LAUGHS = (
    XML
    + '<!DOCTYPE x [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{level + 1} "{f"&a{level};" * 10}">' for level in range(12))
)
SITEMAP = "Sitemap: {}/hostile.xml\n"


async def audited(attack: Attack, routes: dict[str, Route], limit: float = 10.0) -> None:
    """Audit good pages beside hostile files, which are named in robots.txt or are it."""
    await attack(routes, {}, links=[], limit=limit, ignoring=lambda target: len(target) > 2_000)


async def test_a_billion_laughs(attack: Attack) -> None:
    """Entities are not expanded, neither inside a document nor from outside."""
    body = LAUGHS + "]><urlset><url><loc>/&a12;</loc></url></urlset>"
    outside = XML + '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><urlset><url><loc>/&f;</loc></url></urlset>'
    quadratic = (
        XML + f'<!DOCTYPE x [<!ENTITY a "{"x" * 100_000}">]><urlset><url><loc>{"&a;" * 100_000}</loc></url></urlset>'
    )
    for text in (body, outside, quadratic):
        await audited(attack, {"/sitemap.xml": Reply(text, type="application/xml")})


async def test_sitemap_bombs(attack: Attack) -> None:
    """As Content-Encoding and as a gzip file."""
    await audited(attack, {"/sitemap.xml": compressed(bomb(1 << 30, 31), "gzip")})
    whole = gzip.compress(XML.encode() + b"<urlset>" + b"<url><loc>/fine</loc></url>" * 3_000_000 + b"</urlset>")
    await audited(attack, {"/sitemap.xml": Reply(whole, type="application/gzip")}, limit=15)


async def test_endless_sitemap_indexes(serve: Serve, attack: Attack) -> None:
    """Each index names two more; the audit reads a hundred and goes on to the pages."""

    def index(request: object) -> Reply:
        path = getattr(request, "path", "")
        return Reply(
            f"{XML}<sitemapindex><sitemap><loc>{path}a</loc></sitemap><sitemap><loc>{path}b</loc></sitemap></sitemapindex>"
        )

    known: dict[str, Route] = {"/robots.txt": "", "/": page("/missing"), "/missing": Reply("", 404)}
    site = await serve(
        Endless("/sitemap.xml", lambda request: absolute(index(request), request.headers["host"]), known)
    )
    run = await command_line(site.url + "/", "--max-pages", "300")
    attack.record(run)
    attack.check(run, 15)
    assert ("/", "/missing", "broken:http_404") in run.verdicts
    assert site.requests.total() < 500


def absolute(reply: Reply, host: str) -> Reply:
    """Write the addresses of a sitemap with the host."""
    assert isinstance(reply.body, str)
    return Reply(reply.body.replace("<loc>/", f"<loc>http://{host}/"), type="application/xml")


async def test_sitemaps_that_never_end(attack: Attack) -> None:
    """Endless, dripping, nested 100,000 deep, and with addresses of a megabyte."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n<urlset>"
    block = b"<url><loc>/fine</loc></url>" * 2_000
    await audited(attack, {"/sitemap.xml": always(partial(pour, head=head, block=block))})
    await audited(attack, {"/sitemap.xml": XML + "<urlset>" + "<url>" * 100_000})
    await audited(attack, {"/sitemap.xml": XML + f"<urlset><url><loc>/{'x' * 5_000_000}</loc></url></urlset>"})
    await attack({"/sitemap.xml": always(partial(drip, head=head))}, {}, links=[], timeout=0.7)


async def test_a_sitemap_that_leads_elsewhere(attack: Attack, serve: Serve) -> None:
    """Addresses of other hosts and of the private net are not crawled because a sitemap names them."""
    inside = await serve({"/": page()})
    loc = f"<url><loc>http://localhost:{inside.port}/</loc></url><url><loc>file:///etc/passwd</loc></url>"
    routes: dict[str, Route] = {
        "/sitemap.xml": f"{XML}<urlset>{loc}</urlset>",
        "/robots.txt": f"Sitemap: http://localhost:{inside.port}/\nSitemap: file:///etc/passwd\nSitemap: /sitemap.xml\n",
    }
    await attack(routes, {}, links=[], ignoring=lambda target: "localhost" in target)
    assert inside.connections == 0


async def test_robots_txt_that_never_ends(attack: Attack) -> None:
    """What is beyond half a megabyte does not count (RFC 9309, 2.5)."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nUser-agent: *\n"
    await audited(attack, {"/robots.txt": always(partial(pour, head=head, block=b"Disallow: /nothing\n" * 3_000))})
    await audited(attack, {"/robots.txt": compressed(bomb(1 << 28, 31), "gzip")})


async def test_robots_txt_with_patterns_that_could_stall(attack: Attack) -> None:
    """Stars in a row, 20,000 rules, and a line of half a megabyte."""
    stars = "User-agent: *\n" + f"Disallow: /{'*a' * 5_000}$\n" * 5 + f"Disallow: {'*' * 100_000}x\n"
    await audited(attack, {"/robots.txt": stars})
    await audited(
        attack, {"/robots.txt": "User-agent: *\n" + "".join(f"Disallow: /x*{n}*y$\n" for n in range(20_000))}, 15
    )
    await audited(attack, {"/robots.txt": "User-agent: *\nDisallow: /" + "y" * 490_000})
    await audited(
        attack, {"/robots.txt": "Sitemap: " + "z" * 300_000 + "\nCrawl-delay: 1e309\nRequest-rate: 1/0\n\0\xff"}
    )


async def test_robots_txt_that_redirects_for_ever(attack: Attack) -> None:
    """RFC 9309 follows five redirects; then it is as if there were none."""
    await audited(attack, {"/robots.txt": redirect("/robots.txt"), "/sitemap.xml": redirect("/sitemap.xml")})


async def test_robots_txt_that_drips(attack: Attack, serve: Serve) -> None:
    """A robots.txt that cannot be read in time forbids everything, and the audit says so."""
    site = await serve({"/robots.txt": always(partial(drip, head=b"HTTP/1.1 200 OK\r\n\r\n"))})
    from links.hostile.attack import engine

    run = await engine(Scope(site.url + "/", timeout=0.7))
    attack.record(run)
    attack.check(run, 8)
    assert not run.document["complete"]
    assert "timeout" in run.document["incomplete_reason"]
