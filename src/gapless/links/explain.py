"""Why a link is called what it is called: rule, requests, answers on the way, and every page that it stands on."""

from typing import Any, NamedTuple

from gapless.links import check, escape, urls
from gapless.links.check import Outcome
from gapless.links.record import INVALID, Hop, Place
from gapless.links.report import reasons
from gapless.links.result import Crawl


class Parent(NamedTuple):
    """A page that a link stands on; see Place for line, column, text and href, which are known of what is not ok."""

    page: str
    place: Place | None


class Explanation(NamedTuple):
    """What an audit knows of a target.

    Attributes:
        target: the address, fragment included.
        outcome: what a link to it comes to, or None when the audit did not go there.
        parents: the pages that link to it, sorted.
    """

    target: str
    outcome: Outcome | None
    parents: list[Parent]

    def to_dict(self) -> dict[str, Any]:
        """Return it with plain values only."""
        outcome = self.outcome
        return {
            "target": self.target.removeprefix(INVALID),
            "result": outcome.result if outcome else None,
            "reason": outcome.reason if outcome else None,
            "rule": _rule(outcome),
            "attempts": outcome.attempts if outcome else 0,
            "chain": [list(hop) for hop in outcome.chain] if outcome else [],
            "parents": [{"page": page} | (place._asdict() if place else {}) for page, place in self.parents],
        }


def explain(crawl: Crawl, link: str) -> list[Explanation]:
    """Say what a crawl knows of a link.

    Args:
        crawl: the finished crawl.
        link: an address or a path of the site, fragment included; or a link as written that is no valid address.

    Returns:
        One explanation for each target that fits: an address without a fragment also fits those with one. They are
        empty of parents when no page links there; the list is empty when nothing is known of it.
    """
    parents: dict[str, list[Parent]] = {}
    wanted = _wanted(crawl, link)
    for page, record in crawl.sources.items():
        for target in crawl.targets(record):
            if target == wanted or ("#" not in wanted and target.partition("#")[0] == wanted):
                parents.setdefault(target, []).append(Parent(page, crawl.places.get(page, {}).get(target)))
    if wanted not in parents and (wanted in crawl.records or wanted in crawl.skipped):
        parents[wanted] = []
    return [Explanation(target, crawl.outcome(target), sorted(parents[target])) for target in sorted(parents)]


def explanation_markdown(crawl: Crawl, explained: Explanation) -> str:
    """Write an explanation as Markdown."""
    site, outcome = crawl.scope.site, explained.outcome
    target = explained.target
    name = escape.url(crawl.scope.shown(target), crawl.scope.shown(site))
    if target.startswith(INVALID):
        name = escape.code(target.removeprefix(INVALID))
    lines = [f"## {name}", _rule(outcome)]
    if outcome is not None and outcome.attempts:
        lines.append(f"Asked for {outcome.attempts} time{'s' * (outcome.attempts != 1)}.")
    chain = outcome.chain if outcome else ()
    lines += [f"{number}. {_hop(crawl, hop)}" for number, hop in enumerate(chain, 1)]
    number = len(explained.parents)
    lines.append(f"{number} page{'s' * (number != 1)} link{'s' * (number == 1)} to it{':' if number else '.'}")
    lines += [_parent(crawl, parent) for parent in explained.parents]
    return "\n".join(lines) + "\n"


def _wanted(crawl: Crawl, link: str) -> str:
    try:
        return crawl.scope.home(urls.join(crawl.scope.site + "/", link))
    except ValueError:
        return INVALID + link


def _rule(outcome: Outcome | None) -> str:
    if outcome is None:
        return "The audit did not go there."
    if outcome.result == check.OK:
        return f"ok: it answers {outcome.status or 200}, and what the link names is there."
    return f"{outcome.result}, {outcome.reason}: {reasons.meaning(outcome.reason)} {reasons.advice(outcome.reason)}"


def _hop(crawl: Crawl, hop: Hop) -> str:
    shown = escape.url(crawl.scope.shown(hop.url), crawl.scope.shown(crawl.scope.site))
    return f"{shown} answers {hop.status or 'nothing'}"


def _parent(crawl: Crawl, parent: Parent) -> str:
    page = escape.url(crawl.scope.shown(parent.page), crawl.scope.shown(crawl.scope.site))
    if parent.place is None:
        return f"- {page}"
    at = f" at {parent.place.line}:{parent.place.column}" if parent.place.line else ""
    words = f" {escape.code(parent.place.text)}" if parent.place.text else ""
    return f"- {page}{at}{words}, written {escape.code(parent.place.href)}"
