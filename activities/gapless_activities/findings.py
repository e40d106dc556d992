"""What a crawl comes to, in the artifact store: the auditor's part of both reports, from which all else is made."""

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

from gapless import links
from gapless.artifacts import ArtifactStore
from gapless.contract.link_audit import Findings
from gapless.links.report.document import Report, ReportFinding, documents, read, read_findings
from gapless.links.report.markdown import markdown
from gapless.links.report.review import review


class Found(NamedTuple):
    """A report, and beside it what failed and then worked."""

    report: Report
    flaky: Sequence[ReportFinding]


async def keep(store: ArtifactStore, report: bytes, flaky: bytes) -> Findings:
    """Store a report as JSON and as Markdown, and what was flaky.

    Args:
        store: where they are put.
        report: of report.json, without an agent's part.
        flaky: findings as JSON.

    Raises:
        StoreUnavailable: the next attempt goes on.
    """
    stored, kept, text = await asyncio.gather(
        store.put("report.json", report),
        store.put("flaky.json", flaky),
        asyncio.to_thread(_markdown, report, flaky),  # a thread, so that heartbeats keep coming
    )
    return Findings(report_json=stored, report_markdown=await store.put("report.md", text), flaky=kept)


async def keep_those_of(store: ArtifactStore, crawl: links.Crawl) -> Findings:
    """Store what a crawl comes to; errors as of `keep`."""
    return await keep(store, *await asyncio.to_thread(documents, crawl))


async def load(store: ArtifactStore, findings: Findings) -> Found:
    """Read what was stored.

    Raises:
        ArtifactLost: it is gone.
        StoreUnavailable: nobody knows; ask again.
    """
    report, flaky = await store.get(findings.report_json.digest), await store.get(findings.flaky.digest)
    return await asyncio.to_thread(_read, report, flaky)


def _read(report: bytes, flaky: bytes) -> Found:
    return Found(read(report).report, read_findings(json.loads(flaky)))


def _markdown(report: bytes, flaky: bytes) -> bytes:
    found = _read(report, flaky)
    return markdown(found.report, review(found.report, flaky=found.flaky)).encode()
