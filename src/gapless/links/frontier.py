"""Which addresses are visited, level by level, and which are not, and why."""

import re
from collections import Counter
from collections.abc import Collection, Iterable

from protego import Protego

from gapless.links import urls
from gapless.links.client import AGENT
from gapless.links.scope import Scope

MAX_URL = 2_000
MAX_REPEATS = 4
MAX_VARIANTS = 1_000
MAX_CRAWL_DELAY = 5.0
FORBIDDEN, TRAP = "robots_disallowed", "crawler_trap"
"""Why an address is not visited."""

_FORBIDS = re.compile(r"^\s*disallow\s*:[ \t]*[^\s#]", re.IGNORECASE | re.MULTILINE)


class Robots:
    """What a site's robots.txt says (RFC 9309): all is allowed when there is none, nothing when it fails."""

    def __init__(self, status: int | None, text: str | None, error: str | None = None) -> None:
        self.failed = status is None or status == 429 or status >= 500
        self.cause = error or f"HTTP {status}"
        self._rules = Protego.parse(text or "")
        self._forbids = _FORBIDS.search(text or "") is not None

    @property
    def crawl_delay(self) -> float:
        """Seconds between two requests that the site asks for, as far as an audit goes along."""
        return min(float(self._rules.crawl_delay(AGENT) or 0), MAX_CRAWL_DELAY)

    @property
    def sitemaps(self) -> list[str]:
        """Addresses of sitemaps that it names."""
        return list(self._rules.sitemaps)

    def allows(self, url: str) -> bool:
        """Say whether the address may be visited."""
        if self.failed or not self._forbids:  # a look at the rules costs more than all else that is done for an address
            return not self.failed
        return bool(self._rules.can_fetch(url, AGENT))


class Frontier:
    """Gives each address of the site once, level by level, and holds traps off.

    What it gives depends on what was offered, not on the order of it.

    Attributes:
        skipped: addresses that are not visited, with the reason id.
        full: whether addresses were left out because there are too many.
    """

    def __init__(self, scope: Scope, robots: Robots | None) -> None:
        self._robots = robots
        self._limit = max(100_000, 20 * scope.max_pages)
        self._seen: set[str] = set()
        self._offered: list[str] = []
        self._variants: Counter[str] = Counter()
        self._given = 0
        self._passed: Iterable[str] = ()
        self.skipped: dict[str, str] = {}
        self.full = False

    @property
    def offered(self) -> int:
        """How many distinct addresses were offered so far."""
        return len(self._seen)

    def offer(self, url: str) -> None:
        """Take an address without fragment for the next level, unless it was offered before."""
        if url not in self._seen:
            self._seen.add(url)
            self._offered.append(url)

    def pass_over(self, visited: Collection[str], skipped: dict[str, str]) -> None:
        """Go on behind levels that came to this, whatever was offered before."""
        self._seen.update(visited, skipped)
        self._offered = []
        self._passed = visited
        self._given += len(visited)
        self.skipped |= skipped

    def level(self) -> list[str]:
        """Return what was offered since the last level and may be visited, sorted."""
        if not self._offered:
            return []
        passed, self._passed = self._passed, ()
        for url in passed:
            self._is_trap(url)  # which counts
        offered, self._offered = sorted(self._offered), []
        found = [url for url in offered if self._may_visit(url)]
        room = max(0, self._limit - self._given)
        self.full = self.full or len(found) > room
        self._given += min(len(found), room)
        return found[:room]

    def _may_visit(self, url: str) -> bool:
        if self._robots is not None and not self._robots.allows(url):
            self.skipped[url] = FORBIDDEN
        elif self._is_trap(url):
            self.skipped[url] = TRAP
        else:
            return True
        return False

    def _is_trap(self, url: str) -> bool:
        if len(url) > MAX_URL or (url.count("/") > MAX_REPEATS + 2 and _repeats(urls.path(url))):
            return True
        page, mark, _ = url.partition("?")
        if not mark:
            return False
        self._variants[page] += 1
        return self._variants[page] > MAX_VARIANTS


def _repeats(path: str) -> bool:
    segments = [segment for segment in path.split("/") if segment]
    for size in (1, 2, 3):
        for start in range(len(segments) - size * MAX_REPEATS + 1):
            unit = segments[start : start + size]
            if segments[start : start + size * MAX_REPEATS] == unit * MAX_REPEATS:
                return True
    return False
