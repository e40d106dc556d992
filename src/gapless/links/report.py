"""The report: Markdown for people, JSON for machines. Equal sites give equal bytes."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gapless.links import check, escape, urls
from gapless.links.result import Crawl, Finding

MANY_PAGES = 10
EXAMPLES = 3

_OTHERS = ((check.UNVERIFIED, "Unverified"), (check.FLAKY, "Recovered"), (check.WARNING, "Warnings"))


def report_markdown(crawl: Crawl, *, limit: int | None = None) -> str:
    """Write the report as Markdown, grouped by page.

    Args:
        crawl: the finished crawl.
        limit: lines to show of each long list, for a terminal; None for all.
    """
    findings = crawl.findings()
    broken = [found for found in findings if found.result == check.BROKEN]
    lines = [f"# Broken Link Audit — {escape.url(crawl.scope.host)}"]
    folded, rest = _fold(broken)
    lines += _folded_sections(crawl, folded, limit)
    lines += _page_sections(crawl, rest, limit)
    lines.append("")  # a line right below a list would belong to its last item
    if crawl.incomplete_reason:
        lines.append(f"Incomplete: {escape.url(crawl.incomplete_reason).replace('%20', ' ')}.")
    total = len({found.target for found in broken})
    pages = len(crawl.pages)
    lines.append(f"Total broken: {total} across {pages} {'page' if pages == 1 else 'pages'} crawled.")
    for result, title in _OTHERS:
        lines += _other_section(crawl, title, [found for found in findings if found.result == result], limit)
    return "\n".join(lines) + "\n"


def report_json(crawl: Crawl) -> dict[str, Any]:
    """Return the report as plain values, one finding for each page and target that is not ok."""
    findings = crawl.findings()
    broken = [found for found in findings if found.result == check.BROKEN]
    return {
        "site": crawl.scope.site,
        "pages": len(crawl.pages),
        "links": crawl.links,
        "total_broken": len({found.target for found in broken}),
        "complete": crawl.complete,
        "incomplete_reason": crawl.incomplete_reason,
        "fingerprint": fingerprint(broken),
        "findings": [found.to_dict() for found in findings],
    }


def fingerprint(broken: Iterable[Finding]) -> str:
    """Return the SHA-256 of the sorted (page, target, reason); it changes when what is broken changes."""
    rows = sorted({(found.page, found.target, found.reason) for found in broken})
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _by_target(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    groups: dict[str, list[Finding]] = defaultdict(list)
    for found in findings:
        groups[found.target].append(found)
    return groups


def _fold(broken: Sequence[Finding]) -> tuple[list[list[Finding]], list[Finding]]:
    folded = [group for group in _by_target(broken).values() if len(group) >= MANY_PAGES]
    many = {group[0].target for group in folded}
    folded.sort(key=lambda group: (-len(group), group[0].target))
    return folded, [found for found in broken if found.target not in many]


def _folded_sections(crawl: Crawl, folded: list[list[Finding]], limit: int | None) -> Iterator[str]:
    by_size: dict[int, list[list[Finding]]] = defaultdict(list)
    for group in folded:
        by_size[len(group)].append(group)
    for size, groups in by_size.items():
        everywhere = size == len(crawl.pages)
        yield f"## On all {size} pages" if everywhere else f"## On {size} pages"
        lines = [_line(crawl, group[0]) + ("" if everywhere else f", on {_examples(crawl, group)}") for group in groups]
        yield from _limited(lines, [group[0] for group in groups], limit)


def _page_sections(crawl: Crawl, rest: Sequence[Finding], limit: int | None) -> Iterator[str]:
    pages: dict[str, list[Finding]] = defaultdict(list)
    for found in rest:
        pages[found.page].append(found)
    # Pages with something worse than a missing fragment come first.
    order = sorted(pages, key=lambda page: (all(map(_is_fragment, pages[page])), page))
    shown = order if limit is None else order[:limit]
    for page in shown:
        yield f"## {escape.url(page, crawl.scope.site)}"
        here = sorted(pages[page], key=lambda found: (_is_fragment(found), found.target))
        yield from _limited([_line(crawl, found) for found in here], here, limit)
    left = [found for page in order[len(shown) :] for found in pages[page]]
    if left:
        yield f"… {_counted(left)} on {len(order) - len(shown)} more pages, the rest in report.md"


def _other_section(crawl: Crawl, title: str, findings: Sequence[Finding], limit: int | None) -> Iterator[str]:
    groups = sorted(_by_target(findings).values(), key=lambda group: (-len(group), group[0].target))
    if groups:
        yield f"## {title}: {len(groups)}"
        lines = [f"{_line(crawl, group[0])}, on {_examples(crawl, group)}" for group in groups]
        yield from _limited(lines, [group[0] for group in groups], limit)


def _limited(lines: Sequence[str], findings: Sequence[Finding], limit: int | None) -> Iterator[str]:
    if limit is None or len(lines) <= limit:
        yield from lines
    else:
        yield from lines[:limit]
        yield f"… {_counted(findings[limit:])} more here, the rest in report.md"


def _line(crawl: Crawl, found: Finding) -> str:
    site = crawl.scope.site
    target = escape.code(found.target) if found.reason == "bad_url" else escape.url(found.target, site)
    parts = [f"- [{_label(found)}] {target}"]
    if found.chain and found.chain[-1].url != urls.split_fragment(found.target)[0]:
        parts.append(f" → {escape.url(found.chain[-1].url, site)}")
    if found.text:
        parts.append(f" {escape.code(found.text)}")
    if not found.target.endswith(found.href.lstrip("./")):
        parts.append(f" written {escape.code(found.href)}")
    return "".join(parts)


def _label(found: Finding) -> str:
    number = found.reason.removeprefix("http_")
    return number if number.isdigit() else found.reason.replace("_", " ")


def _is_fragment(found: Finding) -> bool:
    return found.reason == "missing_fragment"


def _examples(crawl: Crawl, group: Sequence[Finding]) -> str:
    pages = [escape.url(found.page, crawl.scope.site) for found in group[:EXAMPLES]]
    more = f" and {len(group) - EXAMPLES} more pages" if len(group) > EXAMPLES else ""
    return ", ".join(pages) + more


def _counted(findings: Iterable[Finding]) -> str:
    counts = Counter(_label(found) for found in findings)
    return ", ".join(f"{number} [{label}]" for label, number in sorted(counts.items()))
