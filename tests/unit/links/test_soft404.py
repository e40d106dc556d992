import pytest

from gapless.links import Scope, crawl, soft404
from unit.links.httpsite import Audit, Reply, Route, page, results

GONE = "<title>Acme</title><h1>Page not found</h1><p>We looked for {path}, and it is not there.</p>"


class Anywhere(dict[str, Route]):
    """Routes of a site that answers every unknown address with 200."""

    def __init__(self, text: str, **routes: Route) -> None:
        super().__init__({f"/{name}" if name != "start" else "/": route for name, route in routes.items()})
        self._text = text

    def get(self, path: str, default: object = None) -> Route:
        if path in {"/robots.txt", "/sitemap.xml"}:
            return Reply("", 404)
        return super().get(path, lambda request: Reply(self._text.format(path=request.path)))


async def audited(audit: Audit, routes: Anywhere) -> dict[str, str]:
    await audit({})  # starts a site
    audit.site.routes = routes
    return results(await crawl(Scope(audit.site.url)))


async def test_a_page_like_the_probe_is_a_soft_404(audit: Audit) -> None:
    """What differs from the answer for a random address by its own address only is not there."""
    routes = Anywhere(GONE, start=page("/a", "/gone"), a=page(extra="<title>A</title>"))
    assert await audited(audit, routes) == {"/gone": "broken:soft_404"}


async def test_title_and_heading_and_a_phrase_are_enough(audit: Audit) -> None:
    """A page with the probe's title and heading, and other text in it, is one when it says so."""
    text = GONE + "<p>" + "x" * 2_000
    routes = Anywhere(GONE, start=page("/gone"), gone=text)
    assert await audited(audit, routes) == {"/gone": "broken:soft_404"}


@pytest.mark.parametrize(
    "text",
    [
        "<title>Acme</title><h1>Status 404: not found</h1><p>What the status means.",
        "<title>404 Not Found</title><h1>How to write a good one</h1>",
        "<h1>Page not found</h1>",
    ],
    ids=["same title", "phrase", "no title"],
)
async def test_one_signal_is_not_enough(audit: Audit, text: str) -> None:
    """Pages that speak of the status, or share one thing with the probe's answer, are pages."""
    routes = Anywhere(GONE, start=page("/a"), a=text)
    assert await audited(audit, routes) == {}


async def test_an_application_that_answers_everything_alike_is_left_alone(audit: Audit) -> None:
    """Where the start page is what every address gets, nothing can be told."""
    shell = "<title>App</title><div id=root></div><a href='/a'>a</a>"
    assert await audited(audit, Anywhere(shell)) == {}


async def test_the_probe_depends_on_the_host_alone(audit: Audit) -> None:
    """Each audit asks for the same address, which no page links to."""
    await audit({"/": page()})
    first = [request.path for request in audit.site.seen]
    assert soft404.path(f"127.0.0.1:{audit.site.port}") in first
    assert soft404.path("a.example") != soft404.path("b.example")
