import pytest

from unit.links.httpsite import Audit, Reply, Request, Serve, page, redirect, results


async def test_a_redirect_is_followed_and_its_page_crawled(audit: Audit) -> None:
    """A page behind a redirect, with a relative Location, counts once and its links are checked."""
    found = await audit(
        {"/": page("a/old"), "/a/old": redirect("new?x=1"), "/a/new?x=1": page("gone")},
    )
    assert results(found) == {"/a/gone": "broken:http_404"}
    assert sorted(found.pages) == [audit.site.url + "/", audit.site.url + "/a/new?x=1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_redirect_status_is_followed(audit: Audit, status: int) -> None:
    """The five redirect statuses lead on; only the permanent ones are worth a warning."""
    found = await audit({"/": page("/old"), "/old": redirect("/new", status), "/new": page()})
    expected = {"/old": "warning:permanent_redirect"} if status in {301, 308} else {}
    assert results(found) == expected


async def test_loops_are_found_by_where_they_were(audit: Audit) -> None:
    """A loop of two and a redirect to itself are broken after one request for each address, and one to confirm."""
    found = await audit(
        {"/": page("/a", "/self"), "/a": redirect("/b"), "/b": redirect("/a"), "/self": redirect("/self")}
    )
    assert results(found) == {"/a": "broken:redirect_loop", "/self": "broken:redirect_loop"}
    assert audit.site.requests["/a"] == 1


async def test_a_chain_is_followed_for_ten_hops(audit: Audit) -> None:
    """Ten redirects are followed; the eleventh is too many."""
    routes = {f"/r{n}": redirect(f"/r{n + 1}") for n in range(1, 30)}
    found = await audit({"/": page("/r1", "/r20", "/r19"), "/r30": page(), **routes})
    assert results(found) == {"/r1": "broken:too_many_redirects", "/r19": "broken:too_many_redirects"}


async def test_a_chain_that_ends_in_404_is_broken_with_its_chain(audit: Audit) -> None:
    """The finding shows every hop and the last status."""
    found = await audit({"/": page("/old"), "/old": redirect("/gone", 301)})
    [finding] = found.findings()
    assert (finding.reason, finding.status) == ("redirect_to_broken", 404)
    assert [hop.status for hop in finding.chain] == [301, 404]


async def test_a_redirect_without_location_is_broken(audit: Audit) -> None:
    """A redirect that does not say where to is broken."""
    found = await audit({"/": page("/a"), "/a": redirect(None)})
    assert results(found) == {"/a": "broken:no_location"}


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1/", "ftp://h/x", "javascript:alert(1)"])
async def test_a_redirect_to_what_is_no_web_address_is_broken(audit: Audit, location: str) -> None:
    """Redirects lead to http and https addresses, or nowhere."""
    found = await audit({"/": page("/a"), "/a": redirect(location)})
    assert results(found) == {"/a": "broken:bad_url"}


async def test_the_fragment_of_a_location_replaces_the_link_s_own(audit: Audit) -> None:
    """The link's fragment is kept over a redirect unless the redirect names another."""
    found = await audit(
        {
            "/": page("/keeps#here", "/keeps#nowhere", "/replaces#here"),
            "/keeps": redirect("/p"),
            "/replaces": redirect("/p#missing"),
            "/p": page(extra='<p id="here">'),
        },
    )
    assert results(found) == {
        "/keeps#nowhere": "broken:missing_fragment",
        "/replaces#here": "broken:missing_fragment",
    }


async def test_a_cookie_set_on_the_way_is_carried_within_the_chain_only(audit: Audit) -> None:
    """A redirect to itself that needs its cookie ends well, and other links see no cookie."""

    def door(request: Request) -> Reply:
        if "seen=yes" in request.headers.get("cookie", ""):
            return Reply(page("/inside-gone"))
        return redirect("/door", Set_Cookie="seen=yes; Path=/")

    def plain(request: Request) -> Reply:
        return Reply("", 200 if "cookie" not in request.headers else 500)

    found = await audit({"/": page("/door", "/plain"), "/door": door, "/plain": plain})
    assert results(found) == {"/inside-gone": "broken:http_404"}


async def test_a_cookie_loop_is_found(audit: Audit) -> None:
    """A redirect that goes on with the same cookie is a loop; one with ever new cookies is too long."""

    def same(request: Request) -> Reply:
        return redirect("/same", Set_Cookie="a=b")

    def ever(request: Request) -> Reply:
        return redirect("/ever", Set_Cookie=f"a={request.number}")

    found = await audit({"/": page("/same", "/ever"), "/same": same, "/ever": ever})
    assert results(found) == {"/same": "broken:redirect_loop", "/ever": "broken:too_many_redirects"}


async def test_no_links_are_taken_from_an_error_page(audit: Audit) -> None:
    """What a 404 page links to is nobody's link."""
    found = await audit({"/": page("/gone"), "/gone": Reply(page("/from-error"), 404)})
    assert results(found) == {"/gone": "broken:http_404"}
    assert "/from-error" not in audit.site.requests


async def test_a_start_page_that_is_elsewhere_is_said(audit: Audit, serve: Serve) -> None:
    """A start page that redirects to another site ends the audit with that site's address."""
    other = await serve({"/": page()})
    found = await audit({"/": redirect(other.url + "/")}, external=False)
    assert not found.complete
    assert f"redirects to {other.url}/" in (found.incomplete_reason or "")
    assert other.requests.total() == 0
