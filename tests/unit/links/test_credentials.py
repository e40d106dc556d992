import pytest

from gapless.links import Scope, crawl
from gapless.links.credentials import credentials, secrets
from gapless.links.pool import Pool
from unit.links.httpsite import Reply, Request, Serve, page, redirect

SECRET = "Bearer a-secret"


def test_fields_are_read_by_host() -> None:
    """Hosts are those of addresses, and the values are known to who blots them out."""
    text = f'{{"Docs.Example.com": {{"Authorization": "{SECRET}"}}, "http://localhost:8080": {{"Cookie": "a=b"}}}}'
    assert credentials(text) == {
        "https://docs.example.com": (f"Authorization: {SECRET}",),
        "http://localhost:8080": ("Cookie: a=b",),
    }
    assert secrets(text) == [SECRET, "a=b"]
    assert credentials(" ") == {}


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f'["{SECRET}"]',
        f'{{"h": "{SECRET}"}}',
        f'{{"h": {{"A b": "{SECRET}"}}}}',
        f'{{"h": {{"Host": "{SECRET}"}}}}',
        f'{{"h": {{"A": "{SECRET}\\r\\nB: c"}}}}',
        f'{{"a b": {{"A": "{SECRET}"}}}}',
    ],
)
def test_what_is_none_is_refused_without_a_word_of_it(text: str) -> None:
    """The error names the variable and never a value."""
    with pytest.raises(ValueError, match="GAPLESS_LINK_HEADERS") as refusal:
        credentials(text)
    assert SECRET not in str(refusal.value)


async def test_they_go_to_their_own_host_only(serve: Serve) -> None:
    """Neither a link nor a redirect takes them elsewhere, and they are in nothing that is kept."""
    other = await serve({"/": page(), "/in": page()})

    def guarded(request: Request) -> Reply:
        return (
            Reply(page("/out", f"{other.url}/in")) if request.headers.get("authorization") == SECRET else Reply("", 401)
        )

    site = await serve({"/robots.txt": Reply("", 404), "/": guarded, "/out": redirect(f"{other.url}/")})
    scope = Scope(site.url, allow=(f"127.0.0.1:{other.port}",))
    kept = {site.url: (f"Authorization: {SECRET}",)}
    async with Pool(scope, credentials=kept) as pool:
        found = await crawl(scope, pool=pool)
    assert [each.reason for each in found.findings()] == []
    assert other.requests.total() == 2
    assert not [request for request in other.seen if "authorization" in request.headers]
    assert SECRET.encode() not in found.to_bytes()
