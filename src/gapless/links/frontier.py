"""Which addresses are visited, in which order, and which are not, and why."""

from collections import Counter

from protego import Protego

from gapless.links import urls
from gapless.links.fetch import AGENT, Fetcher
from gapless.links.scope import Scope

MAX_URL = 2_000
MAX_REPEATS = 4
MAX_VARIANTS = 1_000
MAX_CRAWL_DELAY = 5.0
ROBOTS_HOPS = 5


class Robots:
    """What a site's robots.txt allows (RFC 9309): all when there is none, nothing when it fails."""

    def __init__(self, status: int | None, text: str | None, error: str | None = None) -> None:
        self.failed = status is None or status == 429 or status >= 500
        self.cause = error or f"HTTP {status}"
        self._rules = Protego.parse(text or "")

    @property
    def crawl_delay(self) -> float:
        """Seconds between two requests that the site asks for, as far as an audit goes along."""
        return min(float(self._rules.crawl_delay(AGENT) or 0), MAX_CRAWL_DELAY)

    def allows(self, url: str) -> bool:
        """Say whether the address may be visited."""
        return not self.failed and bool(self._rules.can_fetch(url, AGENT))


class Frontier:
    """Queues each address of the site once, when it is first seen, and holds traps off.

    Attributes:
        queue: addresses in the order in which they are visited; it only grows.
        skipped: addresses that are not visited, with the reason id.
        full: whether addresses were left out because there are too many.
    """

    def __init__(self, scope: Scope, robots: Robots | None) -> None:
        self._robots = robots
        self._limit = max(100_000, 20 * scope.max_pages)
        self._seen: set[str] = set()
        self._variants: Counter[str] = Counter()
        self.queue: list[str] = []
        self.skipped: dict[str, str] = {}
        self.full = False

    def offer(self, url: str) -> None:
        """Queue an address without fragment, unless it was seen, is a trap, or robots.txt forbids it."""
        if url in self._seen or self.full:
            return
        self._seen.add(url)
        if self._robots is not None and not self._robots.allows(url):
            self.skipped[url] = "robots_disallowed"
        elif self._is_trap(url):
            self.skipped[url] = "crawler_trap"
        elif len(self.queue) >= self._limit:
            self.full = True
        else:
            self.queue.append(url)

    def _is_trap(self, url: str) -> bool:
        if len(url) > MAX_URL or _repeats(urls.path(url)):
            return True
        page, mark, _ = url.partition("?")
        self._variants[page] += bool(mark)
        return self._variants[page] > MAX_VARIANTS


async def read_robots(fetcher: Fetcher, scope: Scope) -> Robots:
    """Fetch the site's robots.txt, over redirects, and read its rules."""
    url = f"{scope.site}/robots.txt"
    for _ in range(ROBOTS_HOPS):
        answer = await fetcher.get(url, read=True, whole=True)
        if answer.location is None:
            break
        try:
            url = urls.split_fragment(urls.join(url, answer.location))[0]
        except ValueError:
            break
        if not urls.is_web(url):
            break
    status = None if answer.error and answer.error != "too_large" else answer.status
    return Robots(status, answer.text if status is not None and status < 300 else None, answer.error)


def _repeats(path: str) -> bool:
    segments = [segment for segment in path.split("/") if segment]
    for size in (1, 2, 3):
        for start in range(len(segments) - size * MAX_REPEATS + 1):
            unit = segments[start : start + size]
            if segments[start : start + size * MAX_REPEATS] == unit * MAX_REPEATS:
                return True
    return False
