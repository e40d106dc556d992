"""What has recovered since a report was written: a link that was broken once and is not any more is flaky."""

from collections.abc import Mapping
from typing import NamedTuple

from gapless import links
from gapless.links import check


class Recovery(NamedTuple):
    """What a target that was broken answers now.

    Attributes:
        status: last HTTP status, or None.
        attempts: requests for it in the crawl and since.
    """

    status: int | None
    attempts: int


def broken_elsewhere(crawl: links.Crawl) -> dict[str, links.Finding]:
    """Return what is broken on other hosts and may recover, by target: a link that is no address never does."""
    return {
        found.target: found
        for found in crawl.findings()
        if found.result == check.BROKEN and found.reason != "bad_url" and not crawl.scope.on_site(found.target)
    }


def recovered_by_now(
    broken: Mapping[str, links.Finding], now: Mapping[str, check.Outcome | None]
) -> dict[str, Recovery]:
    """Return which of the broken targets work now; one that nobody could verify does not count as working."""
    return {
        target: Recovery(outcome.status, was.attempts + outcome.attempts)
        for target, was in broken.items()
        if (outcome := now.get(target)) is not None and outcome.result not in {check.BROKEN, check.UNVERIFIED}
    }


def revise(crawl: links.Crawl, recovered: Mapping[str, Recovery]) -> None:
    """Make flaky what has recovered, in the findings that reports are written from; the reason stays what was wrong."""
    findings = crawl.findings()
    for number, found in enumerate(findings):
        if (recovery := recovered.get(found.target)) is not None:
            findings[number] = found._replace(
                result=check.FLAKY, status=recovery.status, attempts=recovery.attempts, chain=()
            )
