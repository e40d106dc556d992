"""What a crawl knows of the links that an agent may mean, however it spells them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from gapless.links import check, urls
from gapless.links.claims import Claim
from gapless.links.record import INVALID, Record
from gapless.links.result import Crawl

_ABOUT_FRAGMENT = re.compile(r"fragment|anchor|#|\bids?\b|heading|section", re.IGNORECASE)
_INDEX = re.compile(r"/+(?:index\.html?)?$", re.IGNORECASE)
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_NEEDLESS = frozenset("-._~!'()*,:;@[]|`<>\"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Known:
    """What the crawl knows of the links that an agent may mean."""

    def __init__(self, crawl: Crawl) -> None:
        self.crawl = crawl
        self.broken = {found.target: found.reason for found in crawl.findings() if found.result == check.BROKEN}
        self._on_page: dict[str, _Links] = {}

    def meant(self, claim: Claim) -> tuple[str, bool]:
        """Return the target that a claim is about, and whether it stands where the claim says."""
        page = self._page(claim.page) if claim.page else None
        here = self._links(page) if page else None
        wanted = [claim.target]
        if page and claim.href:
            wanted += _join(_base(page), claim.href)
        if claim.page is None or here is not None:
            found = (here or self._everywhere).find(wanted, claim)
            if found is not None:
                return found, True
        return self._everywhere.find(wanted[:1], claim) or claim.target, False

    def is_bad(self, target: str) -> bool:
        """Say whether the crawl saw this link and found that it is no address."""
        return target.startswith(INVALID) or self.broken.get(target) == "bad_url"

    def unread(self, address: str | None) -> str | None:
        """Return why the crawl cannot know what stands on a page, or None when it can."""
        page = self._page(address) if address else None
        if page is not None or address is None:
            cut = page.cut if page else any(each.cut for each in self.crawl.pages.values())
            partly = address is None and not self.crawl.complete
            return "too_many_links" if cut else "page_not_crawled" if partly else None
        if address in self.crawl.skipped:
            return self.crawl.skipped[address]
        end = check.travel(address, self.crawl.records).end
        result, reason = check.standing(end) if end is not None else (check.OK, "")
        if result != check.OK:
            return reason if result == check.UNVERIFIED else None
        scope, at = self.crawl.scope, end.final if end is not None else address
        beyond = scope.on_site(at) and not scope.inside(at)
        return "page_not_crawled" if beyond or not self.crawl.complete else None

    @cached_property
    def _everywhere(self) -> "_Links":
        return _Links({each for record in self.crawl.records.values() for each in self.crawl.targets(record)}, self)

    @cached_property
    def _spelled(self) -> dict[str, Record]:
        """What was read, by what is left of the addresses that lead there when their spelling is ignored."""
        records = {_bare(url): read for url in self.crawl.records if (read := self._read(url))}
        return records | {_bare(url): page for url, page in self.crawl.pages.items()}

    def _read(self, url: str) -> Record | None:
        """Return what links were taken from at an address or where it redirects to: a page, a stylesheet, or None."""
        end = check.travel(url, self.crawl.records).end
        return end if end and (end.links or end.final in self.crawl.pages) else None

    def _page(self, address: str) -> Record | None:
        found = self.crawl.pages.get(address) or self._read(address)  # an agent may name a page by an older address
        return found or self._spelled.get(_bare(address))

    def _links(self, page: Record) -> "_Links":
        if page.final not in self._on_page:
            self._on_page[page.final] = _Links(set(self.crawl.targets(page)), self)
        return self._on_page[page.final]


class _Links:
    """Links of one page, or of all, to be found by other spellings of their targets."""

    def __init__(self, targets: set[str], known: Known) -> None:
        self._targets = targets
        self._known = known

    def find(self, wanted: Iterable[str], claim: Claim) -> str | None:
        """Return the target that is meant by the first of the addresses that means one."""
        for address in wanted:
            document, fragment = urls.split_fragment(address)
            about_fragment = bool(_ABOUT_FRAGMENT.search(claim.reason))
            if about_fragment and not fragment and (sibling := self._missing_fragment(document, claim)):
                return sibling
            for each in (address, INVALID + address):
                if each in self._targets:
                    return each
            found = self._best(self._spelled.get(_bare(address))) or self._best(self._led.get(_bare(address)))
            if found is None:
                found = self._document(document, fragment, claim)
            if found is not None:
                return found
        return None

    def _document(self, document: str, fragment: str | None, claim: Claim) -> str | None:
        """Return a link to another place of the same document, where the claim fits it, or to the document."""
        siblings = self._siblings.get(_bare(document), [])
        gone = [each for each in siblings if self._known.broken.get(each, "missing_fragment") != "missing_fragment"]
        if gone or fragment:
            return self._best(gone)
        if not claim.reason and (sibling := self._missing_fragment(document, claim)):
            return sibling
        return urls.split_fragment(siblings[0])[0] if siblings else None

    def _missing_fragment(self, document: str, claim: Claim) -> str | None:
        siblings = self._siblings.get(_bare(document), [])
        broken = [each for each in siblings if self._known.broken.get(each) == "missing_fragment"]
        named = [each for each in broken if (urls.split_fragment(each)[1] or "") in f"{claim.href} {claim.reason}"]
        return self._best(named or broken)

    def _best(self, targets: Sequence[str] | None) -> str | None:
        """Return the first of equal spellings, those first that are broken."""
        return min(targets, key=lambda each: (each not in self._known.broken, each)) if targets else None

    @cached_property
    def _spelled(self) -> dict[str, list[str]]:
        return _grouped((_bare(target), target) for target in self._targets)

    @cached_property
    def _siblings(self) -> dict[str, list[str]]:
        grouped = _grouped((_bare(urls.split_fragment(target)[0]), target) for target in self._targets)
        return {document: sorted(targets) for document, targets in grouped.items()}

    @cached_property
    def _led(self) -> dict[str, list[str]]:
        """Targets by where their redirects lead."""
        return _grouped((_bare(place), target) for target in self._targets for place in self._way(target))

    def _way(self, target: str) -> Iterator[str]:
        journey = check.travel(target, self._known.crawl.records)
        if len(journey.hops) > 1 or urls.split_fragment(target)[0] != journey.at:
            end = f"#{journey.fragment}" if journey.fragment else ""
            yield journey.at + end
            yield from (hop.url + end for hop in journey.hops)


def _base(page: Record) -> str:
    """Return what links on a page are resolved against."""
    return next(filter(urls.is_web, _join(page.final, page.base or "")), page.final)


def _join(base: str, href: str) -> list[str]:
    try:
        return [urls.join(base, href)]
    except ValueError:
        return [href]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def _bare(address: str) -> str:
    """Return what is left of an address when its spelling is ignored.

    That is its scheme, the slash or `index.html` at the end of its path, and what is percent-encoded needlessly.
    """
    document, fragment = urls.split_fragment(address)
    path, mark, query = document.partition("?")
    path = _INDEX.sub("", path.removeprefix("https:").removeprefix("http:"))
    bare = _ENCODED.sub(_respelled, path + (mark + query if query else ""))
    return f"{bare}#{urls.decoded(fragment)}" if fragment else bare


def _respelled(encoded: re.Match[str]) -> str:
    mark = chr(int(encoded[1], 16))
    return mark if mark in _NEEDLESS else encoded[0].upper()
