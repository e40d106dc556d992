import json

from gapless.links import Claim, Scope, judge, verdict_markdown, verdict_summary
from unit.links.httpsite import Audit, Reply, Route, Serve, page

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
