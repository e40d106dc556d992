"""What an advisor's answer is worth: it is read leniently, and each suggestion is looked up or fetched.

An answer may repeat what a page told the advisor. A suggestion is fetched only where the audit may go anyway, and shown
only when it works.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gapless.links import check, soft404, urls
from gapless.links.crawl import missing, recheck
from gapless.links.frontier import MAX_URL
from gapless.links.reading.documents import documents
from gapless.links.record import INVALID
from gapless.links.report.document import Report, report_of
from gapless.links.report.suggestions import Advice, Suggestion, Unchecked
from gapless.links.result import Crawl

MAX_ANSWER = 1_000_000
MAX_ROWS = 1_000
MAX_WHY = 300
MAX_NAMED = 20
"""Pages that may be named for one suggestion."""

WORKS, NOT_CHECKED = "works", "not_checked"
"""What becomes of a suggestion, beside "broken" and "unverified"."""


class Said(NamedTuple):
    """What an advisor says of one broken target; addresses are absolute, or marked as none, as in records."""

    target: str
    address: str
    why: str
    pages: tuple[str, ...]


class Answer(NamedTuple):
    """What was read out of an answer: one entry for each target, and how many others there were."""

    said: list[Said]
    unusable: int


def read_answer(text: str, crawl: Crawl) -> Answer:
    """Read an advisor's answer. Nothing that it writes raises.

    Args:
        text: the answer, with JSON somewhere in it.
        crawl: the audit; only what it found broken can be advised on.
    """
    report = report_of(crawl)
    broken = {found.target for found in report.broken}
    said: dict[str, Said] = {}
    unusable = 0
    for number, row in enumerate(_rows(text[:MAX_ANSWER])):
        if number >= MAX_ROWS:
            break
        one = _said(row, report, broken)
        if one is None or one.target not in broken or one.target in said:
            unusable += 1
        else:
            said[one.target] = one
    return Answer([said[target] for target in sorted(said)], unusable)


def _rows(text: str) -> Iterator[Mapping[str, Any]]:
    for document, _, _ in documents(text):
        yield from _objects(document, 0)


def _objects(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield the objects that have a target and a suggestion, wherever they stand."""
    if isinstance(value, dict):
        if "target" in value and "suggestion" in value:
            yield value
            return
        value = list(value.values())
    if isinstance(value, list) and depth < 5:
        for each in value:
            yield from _objects(each, depth + 1)


def _said(row: Mapping[str, Any], report: Report, broken: set[str]) -> Said | None:
    target, address, why = (_text(row.get(name)) for name in ("target", "suggestion", "why"))
    pages = row.get("linked_from")
    named = [_text(page) for page in pages[:MAX_NAMED]] if isinstance(pages, list) else []
    if not target or not address or len(address) > MAX_URL:
        return None
    if target not in broken:
        target = _joined(report, target)
    return Said(target, _joined(report, address), why[:MAX_WHY], tuple(_joined(report, page) for page in named if page))


def _text(value: Any) -> str:
    """Return a bounded line of valid text, which half a surrogate pair is not."""
    line = " ".join(value[: 4 * MAX_URL].split()) if isinstance(value, str) else ""
    return line[: MAX_URL + 1].encode("utf-8", "replace").decode()


def _joined(report: Report, address: str) -> str:
    try:
        return urls.join(f"{report.site}/", address)
    except ValueError:
        return INVALID + address


async def checked(crawl: Crawl, answer: Answer, *, advisor: str, state: str = "succeeded", asked: int = 0) -> Advice:
    """Hold an answer against the crawl, and fetch what the crawl does not know, as far as the audit may.

    Args:
        crawl: the audit's own crawl.
        answer: what the advisor said.
        advisor: its name.
        state: how its work ended.
        asked: broken targets that it was asked about.
    """
    # Seconds of work on a large site: in a thread, so that the caller's heartbeats keep coming.
    results, wanted = await asyncio.to_thread(_known, crawl, answer.said)
    fresh = await _fetch(crawl, set(wanted.values())) if wanted else {}
    for target, address in wanted.items():
        results[target] = fresh[address]
    counted = await asyncio.to_thread(_advice, crawl, answer, results)
    return replace(counted, advisor=advisor, state=state, asked=asked)


def _known(crawl: Crawl, said: Iterable[Said]) -> tuple[dict[str, str], dict[str, str]]:
    """Return by target what can be said of its suggestion without a request, and what address is to be fetched."""
    scope, results, wanted = crawl.scope, dict[str, str](), dict[str, str]()
    hosts = {urls.authority(target) for target in crawl.targets_used() if urls.is_web(target)}
    for each in said:
        address = scope.home(each.address)
        if not urls.is_web(address):
            results[each.target] = check.BROKEN
            continue
        outcome = crawl.outcome(address)
        unread = missing([address], crawl.records, lambda _: True)
        if outcome is not None and not (unread and outcome.result == check.OK):
            results[each.target] = _standing(outcome)
        elif (document := urls.split_fragment(address)[0]) in crawl.skipped:
            results[each.target] = check.UNVERIFIED
        elif scope.covers(address) and (scope.on_site(address) or urls.authority(document) in hosts):
            wanted[each.target] = address
        else:
            results[each.target] = NOT_CHECKED
    return results, wanted


async def _fetch(crawl: Crawl, addresses: set[str]) -> dict[str, str]:
    """Ask for addresses that no page names, and for one on each host that nobody has: where that is there, so is all.

    A site's robots.txt is asked first, and no credentials are sent: an advisor is not the site's owner.
    """
    probes = {url: urls.origin(url) + soft404.path(urls.authority(url)) for url in addresses}
    outcomes = await recheck(crawl.scope, addresses | set(probes.values()), robots=True)
    found = {url: _standing(outcome) for url, outcome in outcomes.items()}
    anything = {url for url, probe in probes.items() if found[url] == found[probe] == WORKS}
    return {url: check.UNVERIFIED if url in anything else found[url] for url in addresses}


def _standing(outcome: check.Outcome | None) -> str:
    if outcome is None:
        return check.UNVERIFIED
    return outcome.result if outcome.result in {check.BROKEN, check.UNVERIFIED} else WORKS


def _advice(crawl: Crawl, answer: Answer, results: Mapping[str, str]) -> Advice:
    report = report_of(crawl)
    parents: dict[str, set[str]] = defaultdict(set)
    for found in report.broken:
        parents[found.target].add(found.page)
    counts = Counter(results.values())
    return Advice(
        works=counts[WORKS],
        broken=counts[check.BROKEN],
        unverified=counts[check.UNVERIFIED],
        not_checked=counts[NOT_CHECKED],
        unusable=answer.unusable,
        wrong_pages=sum(page not in parents[each.target] for each in answer.said for page in set(each.pages)),
        suggestions=tuple(
            Suggestion(each.target, each.address, each.why, _right(each.pages, parents[each.target]))
            for each in answer.said
            if results[each.target] == WORKS
        ),
        unchecked=tuple(
            Unchecked(each.target, each.address) for each in answer.said if results[each.target] == NOT_CHECKED
        ),
    )


def _right(pages: Sequence[str], parents: set[str]) -> tuple[str, ...]:
    return tuple(sorted(set(pages) & parents))
