"""What is made ahead, or copied, is what would have been made."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from pathlib import Path

import pytest

from gapless.artifacts import ArtifactStore
from gapless.contract.link_audit import Findings
from gapless.links import Scope, crawl
from gapless.links.report.basis import basis
from gapless.links.report.history import History
from gapless.links.report.review import review
from gapless.links.report.settings import IgnoreRule, ReportSettings
from gapless_activities import findings
from gapless_activities.pages import Ahead, Matter
from gapless_cli.link_report import Form, LinkReport
from unit.links.httpsite import Reply, Site, page

RULES = ReportSettings(ignore=(IgnoreRule("known", target="/old"),))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """Keep artifacts in a folder."""
    return ArtifactStore((tmp_path / "store").as_uri())


@pytest.fixture
async def kept(store: ArtifactStore) -> AsyncIterator[Findings]:
    """Audit a site with two broken links."""
    async with Site({"/robots.txt": Reply("", 404), "/": page("/old", "/new#part"), "/new": page()}) as site:
        yield await findings.keep_those_of(store, await crawl(Scope(site.url)))


def _today() -> date:
    return datetime.now().astimezone().date()


async def _matter(store: ArtifactStore, kept: Findings, settings: ReportSettings, history: History) -> Matter:
    found = await findings.load(store, kept)
    return Matter(found.report, found.flaky, settings, _today(), history)


async def test_a_page_that_was_begun_is_the_one_that_would_be_made(store: ArtifactStore, kept: Findings) -> None:
    """It is taken once, and only by who would make it of the same."""
    ahead, matter = Ahead(), await _matter(store, kept, ReportSettings(), History())
    for _ in range(2):
        ahead.begin("digest", partial(_matter, store, kept, ReportSettings(), History()))
        assert await ahead.page("digest", matter) == await matter.page()
    ahead.begin("digest", partial(_matter, store, kept, RULES, History()))
    assert await ahead.page("another digest", matter) == await matter.page()
    assert await ahead.page("digest", matter) == await matter.page()
    ahead.begin(
        "digest", partial(_matter, store, kept.model_copy(update={"flaky": kept.report_json}), RULES, History())
    )
    with pytest.raises(ValueError, match="findings"):  # what is no store's fault is told
        await ahead.page("digest", matter)
    lost = kept.flaky.model_copy(update={"digest": "0" * 64})
    ahead.begin("digest", partial(_matter, store, kept.model_copy(update={"flaky": lost}), RULES, History()))
    assert await ahead.page("digest", matter) == await matter.page()
    ahead.begin("digest", partial(_matter, store, kept, RULES, History()))
    ahead.drop()
    await asyncio.sleep(0)
    assert await ahead.page("digest", matter) == await matter.page()


async def test_what_is_copied_is_what_would_be_written(store: ArtifactStore, kept: Findings, tmp_path: Path) -> None:
    """The command copies the worker's Markdown and page where its own would be the same, to the byte."""
    matter = await _matter(store, kept, ReportSettings(), History())
    made = await matter.page()
    digests = kept.report_json.digest, kept.flaky.digest
    theirs = basis(*digests, made.judged, matter.today, made.history)
    again = await matter._replace(history=made.judged.history).page()
    assert basis(*digests, again.judged, matter.today, again.history) == theirs
    body, text = await store.get(kept.report_json.digest), await store.get(kept.report_markdown.digest)
    mine = LinkReport(body, replace(matter.settings, fail_on="new"))
    assert mine.is_plain
    assert mine.basis(*digests) == theirs
    mine.write(tmp_path, [Form.MD, Form.HTML])
    assert (tmp_path / "report.md").read_bytes() == text
    assert (tmp_path / "report.html").read_bytes() == made.text
    mine.write(tmp_path, [Form.MD], {Form.MD: b"copied"})
    assert (tmp_path / "report.md").read_bytes() == b"copied"


async def test_rules_and_history_make_another_report(store: ArtifactStore, kept: Findings, tmp_path: Path) -> None:
    """Whatever changes what is written is part of what the page was made of."""
    digests = kept.report_json.digest, kept.flaky.digest
    body = await store.get(kept.report_json.digest)
    matter = await _matter(store, kept, ReportSettings(), History())
    known = review(matter.report, today=date(2026, 1, 1)).history
    plain, ruled, later = LinkReport(body, ReportSettings()), LinkReport(body, RULES), LinkReport(body, RULES, known)
    advised = LinkReport(json.dumps(json.loads(body) | {"agent": {"agent": "a", "state": "failed"}}).encode(), RULES)
    assert plain.is_plain
    assert not any(each.is_plain for each in (ruled, later, advised))
    assert len({each.basis(*digests) for each in (plain, ruled, later)}) == 3
    (tmp_path / "baseline.json").write_text("[]")
    assert LinkReport(body, ReportSettings(baseline=str(tmp_path / "baseline.json"))).basis(*digests) is None
