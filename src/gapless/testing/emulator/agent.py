"""The managed agent of the stand-in: it really audits links, with means of its own.

It shares no code with the auditor whose verdict it is subject to. It can be told to keep broken links to
itself and to make some up, always the same ones for the same site.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import ada_url
import aiohttp
import yarl
from selectolax.lexbor import LexborHTMLParser

from gapless.testing.emulator.advice import advise
from gapless.testing.emulator.answers import Answer

_CONNECTIONS = 4
_MAX_PAGES = 5_000
_MAX_BYTES = 16 * 1024 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=20)
_ADDRESS = re.compile(r"https?://[^\s<>\"'`\])]+")
_LINKS = "a[href], area[href], link[href], [src]"
_HINTS = frozenset({"preconnect", "dns-prefetch"})


@dataclass
class _Page:
    links: set[tuple[str, str]]
    """The href as written, and its absolute target."""
    anchors: set[str]


@dataclass
class _Site:
    """A crawl of one origin."""

    origin: str
    session: aiohttp.ClientSession
    pages: dict[str, _Page] = field(default_factory=dict)
    found: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    """What became of each URL: why it is broken, if it is, and where it led."""
    bytes_read: int = 0

    async def crawl(self, start: str, progress: Callable[[int], None]) -> None:
        """Fetch what can be reached inside the origin, one wave after the other."""
        slots, wave = asyncio.Semaphore(_CONNECTIONS), {start}
        while wave and len(self.pages) < _MAX_PAGES:
            await asyncio.gather(*(self._visit(url, slots) for url in sorted(wave)))
            progress(len(self.pages))
            targets = {target for page in self.pages.values() for _, target in page.links}
            wave = {target.partition("#")[0] for target in targets} - self.found.keys()

    async def _visit(self, url: str, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                async with self.session.get(yarl.URL(url, encoded=True)) as response:
                    final = str(response.url).partition("#")[0]
                    self.found[url] = (str(response.status) if response.status >= 400 else None, final)
                    if response.status < 400 and "html" in response.content_type and _within(final, self.origin):
                        await self._read(final, response)
            except TimeoutError:
                self.found[url] = ("timeout", url)
            except aiohttp.ClientError as error:
                self.found[url] = (type(error).__name__, url)

    async def _read(self, url: str, response: aiohttp.ClientResponse) -> None:
        if url in self.pages:
            return
        body = bytearray()
        async for chunk in response.content.iter_chunked(65_536):
            body += chunk
            if len(body) > _MAX_BYTES:
                break
        self.bytes_read += len(body)
        self.pages[url] = await asyncio.to_thread(_parse, url, bytes(body), self.origin)

    def broken(self) -> list[dict[str, str]]:
        """Return the links that lead nowhere, sorted by page and target."""
        return [
            {"page": url, "href": href, "target": target, "reason": reason}
            for url, page in sorted(self.pages.items())
            for href, target in sorted(page.links, key=lambda link: link[::-1])
            if (reason := self._reason(target)) is not None
        ]

    def _reason(self, target: str) -> str | None:
        address, _, fragment = target.partition("#")
        reason, final = self.found.get(address, (None, address))
        page = self.pages.get(final)
        fragment = fragment.partition(":~:")[0]
        if reason is not None or page is None or fragment.lower() in {"", "top"}:
            return reason
        return None if {fragment, unquote(fragment)} & page.anchors else "missing_fragment"

    def inventions(self, number: int) -> list[dict[str, str]]:
        """Make up links that no page has; every second one leads to a page that works, where there is one."""
        pages, made = sorted(self.pages), []
        for n in range(number if pages else 0):
            page = pages[n * 7 % len(pages)]
            hrefs = {href for href, _ in self.pages[page].links}
            linked = {target.partition("#")[0] for _, target in self.pages[page].links}
            target = next((q for q in pages[n:] if q not in linked and _path(q) not in hrefs), None)
            if n % 2 == 0 or target is None:
                target = f"{self.origin}/guide/upgrading-{n + 1}.html"
            made.append({"page": page, "href": _path(target), "target": target, "reason": "404"})
        return made


def _parse(url: str, body: bytes, origin: str) -> _Page:
    tree = LexborHTMLParser(body)
    base_node = tree.css_first("base[href]")
    base = _join(url, (base_node.attributes["href"] or "") if base_node else "") or url
    links = set()
    for node in tree.css(_LINKS):
        values = node.attributes
        href = values.get("src" if "src" in values else "href") or ""
        if set((values.get("rel") or "").lower().split()) & _HINTS:
            continue
        target = _join(base, href)
        if target is not None and _within(target, origin):
            links.add((href, target))
    anchors = {node.attributes.get("id") or "" for node in tree.css("[id]")}
    return _Page(links, anchors | {node.attributes.get("name") or "" for node in tree.css("a[name]")})


def _join(base: str, href: str) -> str | None:
    try:
        return ada_url.URL(href, base=base).href
    except ValueError:
        return None


def _within(url: str, origin: str) -> bool:
    return url.startswith(origin + "/")


def _path(url: str) -> str:
    parts = ada_url.URL(url)
    return parts.pathname + parts.search + parts.hash


def _report(site: _Site, broken: list[dict[str, str]]) -> str:
    lines = [f"# Broken Link Audit — {urlsplit(site.origin).netloc}"]
    page = None
    for link in broken:
        if link["page"] != page:
            page = link["page"]
            lines.append(f"## {_path(page)}")
        lines.append(f"- [{link['reason']}] {_path(link['target'])}")
    targets = len({link["target"] for link in broken})
    lines.append(f"Total broken: {targets} across {len(site.pages)} pages crawled.")
    return "\n".join(lines) + "\n"


async def _audit(start: str, answer: Answer, save: Callable[[], None], miss: int, invent: int) -> None:
    url = ada_url.URL(start)

    def progress(pages: int) -> None:
        answer.call("read_url_content", {"Url": url.href}, f"{pages} pages crawled")
        save()

    answer.think(f"Crawl {url.origin} from {url.pathname}, then check every link and fragment inside it.")
    save()
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        site = _Site(url.origin, session)
        await site.crawl(url.href.partition("#")[0], progress)
    broken = site.broken()
    missed = set(sorted({link["target"] for link in broken})[:miss])
    kept = [link for link in broken if link["target"] not in missed] + site.inventions(invent)
    kept.sort(key=lambda link: (link["page"], link["target"]))
    answer.tokens_read = site.bytes_read // 32  # markup is no text
    report = _report(site, kept)
    document = {"site": start, "pages_crawled": len(site.pages), "broken": kept}
    answer.write("link-audit.md", report)
    answer.write("link-audit.json", json.dumps(document, indent=1))
    answer.say(report)


async def work(prompt: str, answer: Answer, save: Callable[[], None], *, miss: int, invent: int) -> None:
    """Do what the prompt asks for: advice, a link audit if it names an address and links, else a short answer."""
    if (advice := advise(prompt, invent)) is not None:
        answer.say(advice)
        return
    address = _ADDRESS.search(prompt)
    if address is not None and "link" in prompt.lower():
        await _audit(address[0].rstrip(".,;:!?*_"), answer, save, miss, invent)
        return
    answer.think("There is nothing to audit here.")
    text = f"The task was taken note of: {next(iter(prompt.splitlines()), '')[:200]}"
    answer.write("answer.md", text + "\n")
    answer.say(text)
