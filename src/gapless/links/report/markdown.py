"""The report in Markdown: by page, in the form the job is known by."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice

from gapless.links import check, escape, urls
from gapless.links.report.changes import Gone
from gapless.links.report.document import Report, ReportFinding, flaky, report_of
from gapless.links.report.groups import Group, by_target, fold
from gapless.links.report.reasons import label
from gapless.links.report.review import Review, review
from gapless.links.result import Crawl

EXAMPLES = 3
NOTHING: Mapping[str, str] = {}


def report_markdown(crawl: Crawl, *, limit: int | None = None, instead: Mapping[str, str] = NOTHING) -> str:
    """Write the report of a finished crawl as Markdown, grouped by page.

    Args:
        crawl: the finished crawl.
        limit: lines to show of each long list, for a terminal; None for all.
        instead: where broken targets should lead, see `suggestions`.
    """
    document = report_of(crawl)
    return markdown(document, review(document, flaky=flaky(crawl)), limit=limit, instead=instead)


def markdown(
    document: Report,
    judged: Review | None = None,
    *,
    limit: int | None = None,
    instead: Mapping[str, str] = NOTHING,
) -> str:
    """Write a report as Markdown, grouped by page.

    Args:
        document: the report.
        judged: what it comes to under rules and history; without it all that is broken counts.
        limit: lines to show of each long list, for a terminal; None for all.
        instead: where broken targets should lead, see `suggestions`.
    """
    return "\n".join(_Markdown(document, judged or review(document), limit, instead).lines()) + "\n"


class _Markdown:
    def __init__(self, document: Report, judged: Review, limit: int | None, instead: Mapping[str, str]) -> None:
        self._report = document
        self._review = judged
        self._limit = limit
        self._instead = instead
        self._new = {document.key(found) for found in judged.changes.new} if judged.changes else set()
        self._url = cache(lambda address: escape.url(document.path(address)))

    def lines(self) -> Iterator[str]:
        judged = self._review
        yield f"# Broken Link Audit — {escape.url(self._report.host)}"
        folded, single = fold(judged.broken, self._report, judged.settings)
        yield from self._folded(folded)
        yield from self._pages(single)
        yield ""  # a line right below a list would belong to its last item
        yield from self._sum()
        if judged.changes and judged.changes.fixed:
            yield from self._gone("Fixed", judged.changes.fixed)
        yield from self._others()
        yield from self._rules()

    def _sum(self) -> Iterator[str]:
        judged, pages = self._review, self._report.pages
        if judged.incomplete:
            yield f"Incomplete: {escape.prose(judged.incomplete)}."
        yield f"Total broken: {judged.total_broken} across {_plural(pages, 'page')} crawled."
        if judged.changes and not judged.ill:
            yield f"Since the last audit: {judged.changes.counts(self._report).words()}."
        groups = {
            f"not yet for {judged.settings.nights} nights": judged.waiting,
            "in the baseline": judged.known,
            "warnings on their pages": judged.lowered,
            "ignored": judged.ignored,
        }
        counted = [f"{len(group)} {what}" for what, group in groups.items() if group]
        if counted:
            yield f"Not counted: {', '.join(counted)}."

    def _folded(self, folded: list[Group]) -> Iterator[str]:
        by_size: dict[int, list[Group]] = defaultdict(list)
        for group in folded:
            by_size[len(group.pages)].append(group)
        for size, groups in by_size.items():
            everywhere = size == self._report.pages
            yield f"## On all {size} pages" if everywhere else f"## On {size} pages"
            lines = (self._line(group) + ("" if everywhere else f", on {self._examples(group)}") for group in groups)
            yield from self._limited(lines, [group.found for group in groups])

    def _pages(self, single: list[Group]) -> Iterator[str]:
        pages: dict[str, list[Group]] = defaultdict(list)
        for group in single:
            pages[group.found.page].append(group)
        # Pages with something worse than a missing fragment come first.
        order = sorted(pages, key=lambda page: (all(map(_is_fragment, pages[page])), page))
        shown = order if self._limit is None else order[: self._limit]
        for page in shown:
            yield f"## {self._url(page)}"
            here = pages[page]
            yield from self._limited(map(self._line, here), [group.found for group in here])
        left = [group.found for page in order[len(shown) :] for group in pages[page]]
        if left:
            yield f"… {_counted(left)} on {len(order) - len(shown)} more pages, the rest in report.md"

    def _others(self) -> Iterator[str]:
        found = self._report.findings
        yield from self._section("Unverified", (each for each in found if each.result == check.UNVERIFIED))
        yield from self._section("Recovered", self._review.flaky)
        warnings = [each for each in found if each.result == check.WARNING]
        yield from self._section("Warnings", [*self._review.lowered, *warnings])

    def _section(self, title: str, findings: Iterable[ReportFinding]) -> Iterator[str]:
        groups = by_target(findings)
        if groups:
            yield f"## {title}: {len(groups)}"
            lines = (f"{self._line(group, place=False)}, on {self._examples(group)}" for group in groups)
            yield from self._limited(lines, [group.found for group in groups])

    def _gone(self, title: str, links: Sequence[Gone]) -> Iterator[str]:
        yield f"## {title}: {len(links)}"
        lines = [f"- [{label(each.reason)}] {self._url(each.target)}, on {self._url(each.page)}" for each in links]
        shown = lines if self._limit is None else lines[: self._limit]
        yield from shown
        if len(shown) < len(lines):
            yield f"… {len(lines) - len(shown)} more here, the rest in report.md"

    def _rules(self) -> Iterator[str]:
        judged = self._review
        if judged.ignored:
            why = Counter(reason for _, reason in judged.ignored)
            yield f"## Ignored: {len(judged.ignored)}"
            yield from (f"- {escape.code(reason)}: {number}" for reason, number in sorted(why.items()))
        if judged.expired:
            yield f"## Expired rules: {len(judged.expired)}"
            for rule in judged.expired:
                yield f"- {escape.code(rule.reason)} expired on {rule.expires}: {escape.code(rule.target)}"

    def _limited(self, lines: Iterator[str], findings: Sequence[ReportFinding]) -> Iterator[str]:
        yield from islice(lines, self._limit)
        if self._limit is not None and len(findings) > self._limit:
            yield f"… {_counted(findings[self._limit :])} more here, the rest in report.md"

    def _line(self, group: Group, *, place: bool = True) -> str:
        found = group.found
        target = escape.code(found.target) if found.reason == "bad_url" else self._url(found.target)
        parts = [f"- [{_label(found.reason)}] {target}"]
        if found.chain and found.chain[-1][0] != urls.split_fragment(found.target)[0]:
            parts.append(f" → {self._url(found.chain[-1][0])}")
        if found.text:
            parts.append(f" {escape.code(found.text)}")
        if found.href and not found.target.endswith(found.href.lstrip("./")):
            parts.append(f" written {escape.code(found.href)}")
        if place and found.line is not None and len(group.pages) <= max(1, len(group.versions)):
            parts.append(f" at {found.line}:{found.column or 1}")
        if group.versions:
            parts.append(f", also in {', '.join(map(escape.url, group.versions[1:]))}")
        if found.result == check.BROKEN and found.target in self._instead:
            parts.append(f", perhaps now {self._url(self._instead[found.target])}")
        return "".join(parts) + self._age(found)

    def _age(self, found: ReportFinding) -> str:
        if found.result != check.BROKEN:
            return ""
        key = self._report.key(found)
        if key in self._new:
            return ", new"
        known = self._review.links.get(key)
        if known is None or known.nights < 2:
            return ""
        return f", since {known.first_seen}"

    def _examples(self, group: Group) -> str:
        pages = [self._url(page) for page in group.pages[:EXAMPLES]]
        rest = len(group.pages) - len(pages)
        return ", ".join(pages) + (f" and {rest} more pages" if rest else "")


@cache
def _label(reason: str) -> str:
    return escape.prose(label(reason))


def _is_fragment(group: Group) -> bool:
    return group.found.reason == "missing_fragment"


def _counted(findings: Iterable[ReportFinding]) -> str:
    counts = Counter(label(found.reason) for found in findings)
    return ", ".join(f"{number} [{name}]" for name, number in sorted(counts.items()))


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
