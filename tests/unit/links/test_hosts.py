from gapless.links import Scope, crawl
from unit.links.httpsite import Reply, Serve, page, results


async def test_a_host_that_refuses_its_start_page_refuses_us(serve: Serve) -> None:
    """A host that answers its start page as it answers the link says nothing about the link; 404 is an answer."""
    wall = await serve({"/": Reply("", 400), "/a": Reply("", 400)})
    open_ = await serve({"/": page(), "/a": Reply("", 400)})
    bare = await serve({})
    site = await serve({"/robots.txt": Reply("", 404), "/": page(f"{wall.url}/a", f"{open_.url}/a", f"{bare.url}/a")})
    allow = tuple(f"127.0.0.1:{other.port}" for other in (wall, open_, bare))
    found = results(await crawl(Scope(site.url, allow=allow)))
    assert found == {
        f"{wall.url}/a": "unverified:blocked_400",
        f"{open_.url}/a": "broken:http_400",
        f"{bare.url}/a": "broken:http_404",
    }
    assert wall.requests["/"] == 1
