import json

import pytest

from gapless.links import Claim, Scope, Verdict, crawl, judge, parse_claims, soft404, verdict_markdown, verdict_summary
from unit.links.httpsite import Audit, Reply, Request, Route, Serve, page, redirect, results

ROUTES: dict[str, Route] = {
    "/": page("/a", "/gone", "/no", "#here", "#there", extra='<p id="here">'),
    "/a": page("/gone", "/lost", "/works"),
    "/works": page(),
    "/no": Reply("", 403),
}


def claim(site: str, target: str, where: str | None = "/", href: str | None = None) -> Claim:
    return Claim(where and site + where, href, site + target, "404")


async def test_every_claim_gets_its_verdict(audit: Audit) -> None:
    """Broken is confirmed, working is a false alarm, blocked is unverifiable, and what is not named is missed."""
    found = await audit(ROUTES)
    site = audit.site.url
    before = audit.site.requests.copy()
    claims = [claim(site, "/gone"), claim(site, "/works", "/a"), claim(site, "/no"), claim(site, "/#there")]
    verdict = await judge(found, claims, found.scope)
    assert [(each.target, each.reason) for each in verdict.confirmed] == [
        (site + "/#there", "missing_fragment"),
        (site + "/gone", "http_404"),
    ]
    assert [(each.target, each.reason) for each in verdict.false_alarms] == [(site + "/works", "works")]
    assert [(each.target, each.reason) for each in verdict.unverifiable] == [(site + "/no", "blocked_403")]
    assert [(each.target, each.page) for each in verdict.missed] == [(site + "/lost", site + "/a")]
    assert (verdict.precision, verdict.recall) == (2 / 3, 2 / 3)
    assert audit.site.requests - before == {"/": 1, "/gone": 1, "/works": 1, "/no": 1}


async def test_a_link_that_does_not_stand_on_the_page_is_a_false_alarm(audit: Audit) -> None:
    """An invented link is one whatever it answers; the page as written and the href as written both count."""
    found = await audit(ROUTES)
    site = audit.site.url
    claims = [claim(site, "/invented"), claim(site, "/lost", "/"), claim(site, "/gone", "/no-such-page")]
    verdict = await judge(found, claims, found.scope)
    assert {each.reason for each in verdict.false_alarms} == {"not_on_page"}
    assert len(verdict.false_alarms) == 3
    assert verdict.precision == 0.0


async def test_a_target_is_counted_once(audit: Audit) -> None:
    """Several claims about one target, with or without a page, are one; one right page is enough."""
    found = await audit(ROUTES)
    site = audit.site.url
    claims = [
        claim(site, "/gone", "/"),
        claim(site, "/gone", "/a"),
        claim(site, "/gone", None),
        claim(site, "/gone", "/x"),
    ]
    verdict = await judge(found, claims, found.scope)
    assert len(verdict.confirmed) == 1
    assert verdict.precision == 1.0


async def test_the_site_is_asked_again(audit: Audit) -> None:
    """The verdict is about the site as it is now, not as the crawl saw it."""
    found = await audit(dict(ROUTES))
    site = audit.site.url
    audit.site.routes = {**ROUTES, "/gone": page()}
    verdict = await judge(found, [claim(site, "/gone")], found.scope)
    assert [each.reason for each in verdict.false_alarms] == ["works"]


async def test_claims_about_other_hosts_are_not_fetched(audit: Audit, serve: Serve) -> None:
    """With other hosts left out, claims about them are listed and nothing more; private ones are never visited."""
    other = await serve({})
    routes = {**ROUTES, "/": page(other.url + "/x")}
    claims = [Claim(None, None, other.url + "/x", "404")]
    found = await audit(routes, external=False)
    verdict = await judge(found, claims, found.scope)
    assert [each.target for each in verdict.out_of_scope] == [other.url + "/x"]
    found = await audit(routes)
    verdict = await judge(found, claims, found.scope)
    assert [each.reason for each in verdict.unverifiable] == ["private_address"]
    assert other.connections == 0


async def test_pages_that_were_not_crawled_prove_nothing(audit: Audit) -> None:
    """An incomplete crawl cannot say that a link is invented."""
    found = await audit({"/": page("/a", "/b"), "/a": page(), "/b": page("/c")}, max_pages=1)
    verdict = await judge(found, [claim(audit.site.url, "/c", "/b")], found.scope)
    assert [each.reason for each in verdict.unverifiable] == ["page_not_crawled"]


async def test_without_claims_there_is_no_rate(audit: Audit) -> None:
    """A share of nothing is not a number."""
    found = await audit({"/": page()})
    verdict = await judge(found, [], Scope(audit.site.url))
    assert (verdict.precision, verdict.recall) == (None, None)
    assert verdict_summary(verdict) == "0 confirmed, 0 false alarms, 0 missed: precision n/a, recall n/a"


async def test_the_verdict_can_be_read_and_does_no_harm(audit: Audit) -> None:
    """What an agent claims is shown escaped, and the values are plain."""
    found = await audit(ROUTES)
    site = audit.site.url
    nasty = Claim(f"{site}/\x1b[31m", None, f"{site}/x`|<b>@team\u202e", "\x1b[2J")
    verdict = await judge(found, [nasty, claim(site, "/gone")], found.scope)
    text = verdict_markdown(verdict, site=site)
    assert not set(text) & set("\x1b\u202e`|<@")
    assert "1 confirmed, 1 false alarm, 2 missed: precision 0.50, recall 0.33" in text
    assert "- [404] /lost, on /a" in text
    assert json.loads(json.dumps(verdict.to_dict()))["recall"] == 1 / 3


def placed(verdict: Verdict, site: str) -> dict[str, tuple[str, str]]:
    """Return verdict and reason for each target, as a path."""
    groups = ("confirmed", "false_alarms", "unverifiable", "missed", "out_of_scope")
    return {
        each.target.removeprefix(site): (group, each.reason) for group in groups for each in getattr(verdict, group)
    }


SPELLED: dict[str, Route] = {
    "/": page("/docs/", "/gone/", "/caf%C3%A9", "/old", "/docs/#nope", "/x(1)", "/q?a=%2Fb"),
    "/docs/": page("/lost"),
    "/docs/index.html": redirect("/docs/", 301),
    "/old": redirect("/away", 302),
}


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/gone", "/gone/"),
        ("/gone/index.html", "/gone/"),
        ("/gone/index.htm#", "/gone/"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/x%281%29", "/x(1)"),
        ("/%78(1)", "/x(1)"),
        ("/away", "/old"),
        ("/away/", "/old"),
        ("/q?a=%2fb", "/q?a=%2Fb"),
    ],
)
async def test_another_spelling_of_a_link_is_that_link(audit: Audit, path: str, target: str) -> None:
    """A slash or an index more or less, other escapes, or where a redirect leads: the crawl knows which link it is."""
    found = await audit(SPELLED)
    site = audit.site.url
    before = audit.site.requests.copy()
    verdict = await judge(found, [claim(site, path)], found.scope)
    assert [each.target for each in verdict.confirmed] == [site + target]
    assert site + target not in {each.target for each in verdict.missed}
    assert (audit.site.requests - before).keys() <= {target, "/away"}


async def test_another_scheme_is_that_link(audit: Audit) -> None:
    """Addresses that differ in http and https only are one link, and the crawl's own is fetched."""
    found = await audit(SPELLED)
    site = audit.site.url
    verdict = await judge(found, [claim(site.replace("http:", "https:"), "/gone/")], found.scope)
    assert [each.target for each in verdict.confirmed] == [site + "/gone/"]


@pytest.mark.parametrize("where", ["/docs", "/docs/index.html", "/docs/?", "/docs/#top", "/%64ocs/"])
async def test_another_spelling_of_a_page_is_that_page(audit: Audit, where: str) -> None:
    """A page is found by other spellings and by addresses that redirect to it."""
    found = await audit(SPELLED)
    claims, _ = parse_claims(
        json.dumps({"broken": [{"page": where, "target": "/lost", "reason": "404"}]}), site=audit.site.url, files={}
    )
    verdict = await judge(found, claims, found.scope)
    assert [each.target for each in verdict.confirmed] == [audit.site.url + "/lost"]


async def test_a_spelling_that_means_something_else_does_not_match(audit: Audit) -> None:
    """An escaped slash is no slash, and another query another page."""
    found = await audit({"/": page("/a%2Fb", "/q?a=1")})
    site = audit.site.url
    verdict = await judge(found, [claim(site, "/a/b"), claim(site, "/q?a=2"), claim(site, "/Q?a=1")], found.scope)
    assert {reason for _, reason in placed(verdict, site).values()} >= {"not_on_page"}
    assert len(verdict.false_alarms) == 3
    assert len(verdict.missed) == 2


FRAGMENTS: dict[str, Route] = {
    "/": page("/a", "/a#x", "/a#y", "/a#here", "/lost#z", "/b#x"),
    "/a": page(extra='<p id="here">'),
    "/b": page(),
}


@pytest.mark.parametrize(
    ("target", "reason", "expected"),
    [
        ("/a", "missing_fragment", ("/a#x", "confirmed", "missing_fragment")),
        ("/a", "the anchor y is missing", ("/a#y", "confirmed", "missing_fragment")),
        ("/b", "", ("/b#x", "confirmed", "missing_fragment")),
        ("/b", "404", ("/b", "false_alarms", "works")),
        ("/a", "404", ("/a", "false_alarms", "works")),
        ("/lost", "404", ("/lost#z", "confirmed", "http_404")),
        ("/lost#other", "404", ("/lost#z", "confirmed", "http_404")),
        ("/a#other", "missing_fragment", ("/a#other", "false_alarms", "not_on_page")),
        ("/a#here", "missing_fragment", ("/a#here", "false_alarms", "works")),
    ],
)
async def test_a_fragment_that_is_left_out(
    audit: Audit, target: str, reason: str, expected: tuple[str, str, str]
) -> None:
    """A claim without its fragment means the broken link of that document, if its reason allows it."""
    found = await audit(FRAGMENTS)
    site = audit.site.url
    verdict = await judge(found, [Claim(site + "/", None, site + target, reason)], found.scope)
    judged = {path: place for path, place in placed(verdict, site).items() if place[0] != "missed"}
    assert judged == {expected[0]: expected[1:]}


async def test_an_href_is_resolved_as_its_page_does(audit: Audit) -> None:
    """What the agent copied counts, against the page's base, when the address that it made of it is wrong."""
    routes: dict[str, Route] = {"/docs/": '<base href="/v2/"><a href="gone.html">x</a><a href="http://[bad">y</a>'}
    found = await audit(routes, start="/docs/")
    site = audit.site.url
    claims = [
        Claim(site + "/docs/", "gone.html", site + "/docs/gone.html", "404"),
        Claim(site + "/docs/", "http://[bad", "http://[bad", "malformed"),
    ]
    verdict = await judge(found, claims, found.scope)
    assert placed(verdict, site) == {
        "/v2/gone.html": ("confirmed", "http_404"),
        "http://[bad": ("confirmed", "bad_url"),
    }
    assert (verdict.precision, verdict.recall) == (1.0, 1.0)


async def test_what_the_crawl_did_not_read_proves_nothing(audit: Audit) -> None:
    """A page that is forbidden, refused or beyond the prefix may have the link: that is unverifiable, and why."""
    robots = Reply("User-agent: *\nDisallow: /hidden\n", type="text/plain")
    routes: dict[str, Route] = {
        "/docs/": page("/hidden", "/refused", "/beyond", "/docs/x"),
        "/robots.txt": robots,
        "/refused": Reply("", 403),
        "/beyond": page("/y"),
    }
    found = await audit(routes, start="/docs/", prefix="/docs/")
    site = audit.site.url
    claims = [claim(site, f"/of{where}", where) for where in ("/hidden", "/refused", "/beyond", "/docs/x", "/docs/")]
    verdict = await judge(found, claims, found.scope)
    assert {path: place for path, place in placed(verdict, site).items() if path.startswith("/of")} == {
        "/of/hidden": ("unverifiable", "robots_disallowed"),
        "/of/refused": ("unverifiable", "blocked_403"),
        "/of/beyond": ("unverifiable", "page_not_crawled"),
        "/of/docs/x": ("false_alarms", "not_on_page"),
        "/of/docs/": ("false_alarms", "not_on_page"),
    }


async def test_every_false_alarm_and_miss_is_listed(audit: Audit) -> None:
    """The section names each of them with its reason, however many they are."""
    found = await audit({"/": page(*(f"/lost{number}" for number in range(60)))})
    site = audit.site.url
    verdict = await judge(found, [claim(site, f"/made{number}") for number in range(70)], found.scope)
    text = verdict_markdown(verdict, site=site)
    assert text.count("\n- [not on page] /made") == 70
    assert text.count("\n- [404] /lost") == 60
    assert "0 confirmed, 70 false alarms, 60 missed: precision 0.00, recall 0.00" in text


async def test_claims_lead_nowhere_new(audit: Audit, serve: Serve) -> None:
    """Whatever is claimed, only addresses that the crawl found on the site are asked for."""
    other = await serve({})
    found = await audit(ROUTES)
    site = audit.site.url
    before = audit.site.requests.copy()
    targets = [
        f"{site}/admin?delete=1",
        other.url + "/x",
        "file:///etc/passwd",
        "javascript:x",
        "//x",
        "http://[::1",
        "",
    ]
    claims = [Claim(where, target, target, "404") for target in targets for where in (None, site + "/", other.url)]
    verdict = await judge(found, claims, found.scope)
    assert audit.site.requests == before
    assert other.connections == 0
    assert {each.reason for each in verdict.false_alarms} == {"not_on_page"}
    assert verdict.confirmed == []


async def test_what_the_audit_left_out_is_left_out_again(audit: Audit) -> None:
    """A link to what robots.txt forbids is not fetched for a claim's sake, nor where a redirect leads there."""
    robots = Reply("User-agent: *\nDisallow: /hidden\n", type="text/plain")
    found = await audit({"/": page("/hidden", "/r"), "/r": redirect("/hidden"), "/robots.txt": robots})
    site = audit.site.url
    verdict = await judge(found, [claim(site, "/hidden"), claim(site, "/r")], found.scope)
    assert placed(verdict, site) == {
        "/hidden": ("unverifiable", "robots_disallowed"),
        "/r": ("unverifiable", "robots_disallowed"),
    }
    assert audit.site.requests["/hidden"] == 0


async def test_a_page_that_only_says_that_it_is_there(serve: Serve) -> None:
    """A soft 404 answers 200 again when it is asked again; the claim is right all the same."""
    missing = page(extra="<h1>Page not found</h1>").replace("<title>t", "<title>Not found")

    def anything(request: Request) -> Reply:
        return Reply(missing)

    routes: dict[str, Route] = {"/": page("/a", "/soft"), "/a": page(extra="<h1>a</h1>"), "/soft": anything}
    site = await serve({})
    routes[soft404.path(Scope(site.url).host)] = anything
    site.routes = routes
    found = await crawl(Scope(site.url))
    assert results(found) == {"/soft": "broken:soft_404"}
    verdict = await judge(found, [claim(site.url, "/soft"), claim(site.url, "/a")], found.scope)
    assert placed(verdict, site.url) == {"/soft": ("confirmed", "soft_404"), "/a": ("false_alarms", "works")}
