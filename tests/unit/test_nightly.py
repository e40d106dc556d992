from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest

from gapless.artifacts import ArtifactStore
from gapless.contract.link_audit import Changes
from gapless.links import Scope, crawl
from gapless.links.report.document import flaky, report_of
from gapless.links.report.settings import ReportSettings
from gapless_activities.nightly import past, tell
from gapless_activities.pages import Matter
from unit.links.httpsite import Reply, Route, Site, page

DAY = date(2026, 1, 1)
MORE = [f"/{number}" for number in range(20)]
BROKEN: dict[str, Route] = {
    "/robots.txt": Reply("", 404),
    "/": page("/old", "/new", *MORE),
    "/new": page(),
    **dict.fromkeys(MORE, page()),
}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """Keep artifacts in a folder."""
    return ArtifactStore(tmp_path.as_uri())


async def night(
    store: ArtifactStore, site: Site, routes: Mapping[str, Route], number: int
) -> tuple[Changes | None, str]:
    """Audit the site as it is in a night."""
    site.routes = routes
    seen = await crawl(Scope(site.url))
    known = await past(store, seen.scope)
    matter = Matter(report_of(seen), flaky(seen), ReportSettings(), DAY + timedelta(days=number), known)
    made = await matter.page()
    return await tell(store, seen.scope, matter.report, made), made.text.decode()


async def test_each_night_says_what_has_changed(store: ArtifactStore) -> None:
    """New, fixed and still broken are told from the night before, and a night that is repeated says the same."""
    async with Site(BROKEN) as site:
        first, _ = await night(store, site, BROKEN, 0)
        second, _ = await night(store, site, BROKEN | {"/new": Reply("", 404)}, 1)
        again, _ = await night(store, site, BROKEN | {"/new": Reply("", 404)}, 1)
        third, page_ = await night(store, site, BROKEN | {"/old": page()}, 2)
    assert first is None
    assert second == again == Changes(new=1, fixed=0, still_broken=1)
    assert third == Changes(new=0, fixed=2, still_broken=0)
    assert "2026-01-01" in page_


async def test_an_audit_that_is_ill_says_so_and_calls_nothing_fixed(store: ArtifactStore) -> None:
    """A night in which the site is away leaves what is known as it was."""
    async with Site(BROKEN) as site:
        await night(store, site, BROKEN, 0)
        away, _ = await night(store, site, BROKEN | {"/": Reply("", 503)}, 1)
        back, _ = await night(store, site, BROKEN, 2)
    assert (away.new, away.fixed, away.still_broken) == (0, 0, 0)
    assert "first page" in (away.ill or "")
    assert back == Changes(new=0, fixed=0, still_broken=1)


async def test_a_history_that_is_lost_is_begun_anew(store: ArtifactStore, tmp_path: Path) -> None:
    """What cannot be read costs the comparison, and no more."""
    async with Site(BROKEN) as site:
        await night(store, site, BROKEN, 0)
        for file in tmp_path.rglob("*"):
            if file.is_file():
                file.write_bytes(b"junk")
        changes, _ = await night(store, site, BROKEN, 1)
    assert changes is None
