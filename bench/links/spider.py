"""A Scrapy spider that checks every link of a site but its anchors, for the environment of the peers.

`python spider.py URL FILE` writes each broken link with each page it stands on, as JSON lines, when it is done.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit

import scrapy  # type: ignore[import-not-found] # installed in the peers' environment only
from scrapy.crawler import CrawlerProcess  # type: ignore[import-not-found]

LINKS = "a::attr(href), link::attr(href), img::attr(src), script::attr(src)"
SETTINGS = {
    "CONCURRENT_REQUESTS": 32,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 32,
    "DOWNLOAD_DELAY": 0,
    "HTTPERROR_ALLOW_ALL": True,
    "LOG_LEVEL": "ERROR",
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
}


class Links(scrapy.Spider):  # type: ignore[misc]
    """Follows each distinct address once, and remembers every page that links to it."""

    name = "links"

    def __init__(self, url: str, file: str) -> None:
        super().__init__()
        self.start_urls = [url]
        self._file = Path(file)
        self._host = urlsplit(url).netloc
        self._parents: dict[str, set[str]] = {}
        self._broken: set[str] = set()

    def parse(self, response: Any) -> Iterator[Any]:
        """Take the links from a page of the site."""
        if response.status >= 400:
            self._broken.add(_asked(response.request))
        elif isinstance(response, scrapy.http.HtmlResponse) and urlsplit(response.url).netloc == self._host:
            for href in response.css(LINKS).getall():
                yield from self._follow(response, urldefrag(response.urljoin(href)).url)

    def _follow(self, response: Any, url: str) -> Iterator[Any]:
        if not url.startswith(("http:", "https:")):
            return
        if (pages := self._parents.get(url)) is not None:
            pages.add(response.url)
            return
        self._parents[url] = {response.url}
        yield scrapy.Request(url, errback=self._failed)

    def _failed(self, failure: Any) -> None:
        self._broken.add(_asked(failure.request))

    def closed(self, reason: str) -> None:
        """Write what was found."""
        pairs = sorted((page, url) for url in self._broken for page in self._parents.get(url, ()))
        self._file.write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))


def _asked(request: Any) -> str:
    """Return the address as it stands on the page, before redirects."""
    return str(request.meta.get("redirect_urls", [request.url])[0])


if __name__ == "__main__":
    crawler = CrawlerProcess(SETTINGS)
    crawler.crawl(Links, url=sys.argv[1], file=sys.argv[2])
    crawler.start()
