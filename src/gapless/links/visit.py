"""From an address to its record: fetched, parsed, its links resolved."""

from dataclasses import replace
from http.cookies import SimpleCookie

import aiohttp
from yarl import URL

from gapless.links import urls
from gapless.links.fetch import Answer, Fetcher
from gapless.links.isolate import Parsers
from gapless.links.parse import Parsed
from gapless.links.record import Hop, Link, Record
from gapless.links.scope import Scope

MAX_HOPS = 10


class Visitor:
    """Makes records.

    Args:
        links: links seen so far; equal ones are shared, so that a sidebar is kept once.
    """

    def __init__(self, scope: Scope, fetcher: Fetcher, parsers: Parsers, links: dict[Link, Link]) -> None:
        self._scope = scope
        self._fetcher = fetcher
        self._parsers = parsers
        self._links = links
        self._resolver = urls.Resolver()

    async def visit(self, url: str, *, attempt: int = 1, ids: bool = True) -> Record:
        """Fetch an address and return its record.

        A redirect ends the record, since its target is an address with a record of its own, unless a
        cookie was set on the way that the target must see.

        Args:
            url: absolute, without fragment.
            attempt: written into the record.
            ids: whether ids are wanted of a page on another host; those of the site's pages always are.
        """
        chain: list[Hop] = []
        seen: set[tuple[str, str]] = set()
        jar: aiohttp.CookieJar | None = None
        at, cookie = url, ""
        while True:
            answer = await self._fetcher.get(at, cookie=cookie, read=ids or self._scope.on_site(at))
            seen.add((at, cookie))
            record = Record(url, attempt, answer.status, answer.error, tuple(chain), at, html=answer.html)
            if answer.location is None or answer.error:
                return await self._page(record, answer)
            try:
                location = _location(at, answer.location)
            except ValueError:
                return replace(record, error="bad_url")
            jar = _remember(jar, answer.cookies, at)
            following = urls.split_fragment(location)[0]
            cookie = _cookie(jar, following)
            if not cookie:
                return replace(record, location=location)
            if (following, cookie) in seen:
                return replace(record, error="redirect_loop")
            if len(chain) >= MAX_HOPS:
                return replace(record, error="too_many_redirects")
            chain.append(Hop(at, answer.status))
            at = following

    async def _page(self, record: Record, answer: Answer) -> Record:
        if answer.text is None:
            return replace(record, error=record.error or _status_error(answer))
        wanted = self._scope.inside(record.final)
        parsed = await self._parsers.parse(answer.text, links=wanted)
        if parsed is None:
            return replace(record, error="unparsable")
        links = self._resolve(record.final, parsed)
        distinct = {link.target: link for link in reversed(links)}
        return replace(
            record,
            ids=parsed.ids,
            links=tuple(reversed(distinct.values())),
            link_count=len(links),
            cut=parsed.cut,
        )

    def _resolve(self, page: str, parsed: Parsed) -> list[Link]:
        base = self._base(page, parsed.base)
        links: list[Link] = []
        for navigates, href, text in parsed.links:
            link = self._link(base, href, text, navigates=navigates)
            if link is not None and (not link.valid or self._scope.external or self._scope.on_site(link.target)):
                links.append(self._links.setdefault(link, link))
        return links

    def _base(self, page: str, href: str | None) -> str:
        try:
            base = self._resolver.resolve(page, href) if href else page
        except ValueError:
            return page
        return base if urls.is_web(base) else page

    def _link(self, base: str, href: str, text: str, *, navigates: bool) -> Link | None:
        try:
            target = self._resolver.resolve(base, href)
        except ValueError:
            return Link(urls.without_userinfo(href), urls.without_userinfo(href).strip(), text, valid=False)
        if not urls.is_web(target):
            return None
        if not navigates:
            target = urls.split_fragment(target)[0]
            if target == urls.split_fragment(base)[0] and href.lstrip().startswith("#"):
                return None
        return Link(urls.without_userinfo(href) if "@" in href else href, target, text)


def _location(at: str, header: str) -> str:
    # Header bytes that are not ASCII are UTF-8 on the web.
    text = header.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    location = urls.join(at, text)
    if not urls.is_web(location):
        raise ValueError(location)
    return location


def _status_error(answer: Answer) -> str | None:
    status = answer.status or 0
    if status == 503 and answer.retry_after is not None:
        return "rate_limited"
    if 301 <= status < 400:
        return "no_location"
    return None


def _remember(jar: aiohttp.CookieJar | None, cookies: SimpleCookie | None, at: str) -> aiohttp.CookieJar | None:
    if cookies:
        jar = jar or aiohttp.CookieJar(unsafe=True)
        jar.update_cookies(cookies, URL(at, encoded=True))
    return jar


def _cookie(jar: aiohttp.CookieJar | None, url: str) -> str:
    if jar is None:
        return ""
    cookies = jar.filter_cookies(URL(url, encoded=True))
    return "; ".join(f"{name}={morsel.coded_value}" for name, morsel in sorted(cookies.items()))
