import pytest

from unit.links.httpsite import Audit, Reply, Request, page, results


@pytest.mark.parametrize("status", [200, 203, 204, 206])
async def test_success_is_ok(audit: Audit, status: int) -> None:
    """Every success is a success."""
    found = await audit({"/": page("/a"), "/a": Reply("", status)})
    assert results(found) == {}


@pytest.mark.parametrize("status", [400, 404, 410, 418, 451, 500, 501])
async def test_failures_are_broken(audit: Audit, status: int) -> None:
    """Errors that are no refusal are broken, with their status, once they were seen twice."""
    found = await audit({"/": page("/a"), "/a": Reply("", status)})
    assert results(found) == {"/a": f"broken:http_{status}"}
    assert audit.site.requests["/a"] >= 2


@pytest.mark.parametrize("status", [401, 403, 999])
async def test_refusals_are_unverified(audit: Audit, status: int) -> None:
    """A host that refuses an auditor says nothing about the page."""
    found = await audit({"/": page("/a"), "/a": Reply("", status)})
    assert results(found) == {"/a": f"unverified:blocked_{status}"}


async def test_a_bot_challenge_is_unverified(audit: Audit) -> None:
    """A challenge page is named as one, whatever status it comes with."""
    challenge = Reply("", 503, headers={"Cf-Mitigated": "challenge"})
    assert results(await audit({"/": page("/a"), "/a": challenge})) == {"/a": "unverified:cf_challenge"}


async def test_an_impatient_host_is_waited_for(audit: Audit) -> None:
    """A 429 with Retry-After is asked again after that time, and then it is ok."""

    def busy(request: Request) -> Reply:
        return Reply("", 429, headers={"Retry-After": "1"}) if request.number == 1 else Reply(page())

    found = await audit({"/": page("/a"), "/a": busy})
    assert results(found) == {}
    assert audit.site.requests["/a"] == 2


@pytest.mark.parametrize("later", ["3600", "60m", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_a_host_that_wants_too_long_a_wait_is_unverified(audit: Audit, later: str) -> None:
    """Nobody waits for an hour: the link is unverified after one request."""
    routes = {"/": page("/a", "/b")}
    slow = Reply("", 429, headers={"Retry-After": later})
    full = Reply("", 503, headers={"Retry-After": later})
    found = await audit(routes | {"/a": slow, "/b": full})
    assert results(found) == {"/a": "unverified:blocked_429", "/b": "unverified:rate_limited"}
    assert audit.site.requests["/a"] == 1


async def test_one_failure_that_passes_is_not_broken(audit: Audit) -> None:
    """A 503 and a connection that is reset, once each, are flaky; a kept connection that was closed is nothing at all."""

    def once(request: Request) -> Reply:
        return Reply("", 503) if request.number == 1 else Reply(page())

    def reset(request: Request) -> Reply | bytes:
        return b"" if request.number == 1 else Reply(page())

    found = results(await audit({"/": page("/a", "/b"), "/a": once, "/b": reset}))
    assert found in ({"/a": "flaky:http_503"}, {"/a": "flaky:http_503", "/b": "flaky:reset"})


async def test_what_fails_and_passes_at_the_end_is_flaky_and_crawled(audit: Audit) -> None:
    """A page that is back by the second pass is crawled after all, and its links are flaky."""

    def shaky(request: Request) -> Reply:
        return Reply("", 404) if request.number == 1 else Reply(page("/gone"))

    found = await audit({"/": page("/a"), "/a": shaky})
    assert results(found) == {"/a": "flaky:http_404", "/gone": "broken:http_404"}
    assert len(found.pages) == 2


async def test_get_is_the_only_method(audit: Audit) -> None:
    """Servers that answer HEAD wrongly do not matter, since HEAD is never sent."""
    await audit({"/": page("/a", "/b.png"), "/b.png": Reply(b"x", type="image/png")})
    assert audit.site.methods == {"GET"}


async def test_the_auditor_says_who_it_is(audit: Audit) -> None:
    """The user agent is honest."""
    await audit({"/": page()})
    assert {request.headers["user-agent"] for request in audit.site.seen} == {"Gapless/0.1 (link audit)"}
