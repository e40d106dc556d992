"""Audits whose workers die at a given moment, and what they tell in the end all the same."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import WorkerProcess, until
from faults.moments import SEED, Asked, Moment
from faults.runs import audit, large
from gapless import AuditOutcome, Gapless, Settings
from gapless.artifacts import ArtifactStore
from gapless.contract.link_audit import Advice
from gapless.links.report.document import read_report
from gapless.links.report.junit import junit
from gapless.links.report.sarif import sarif
from unit.links.httpsite import Site

SMALL, SEALED = 96, 16
"""Pages of a site, and records after which a segment is sealed there."""
PUBLIC = "https://docs.example.com"


def seals_sooner(folder: Path, **limits: float) -> dict[str, str]:
    """Return the environment of a worker whose crawls seal sooner, as on a larger site.

    The engine imports `sitecustomize` before all else, since it inherits the worker's path.
    """
    lines = [f"segments.{name} = {limit}" for name, limit in limits.items()]
    (folder / "sitecustomize.py").write_text("\n".join(("from gapless.links import segments", *lines, "")))
    return {"PYTHONPATH": str(folder)}


@dataclass(frozen=True)
class Told:
    """What an audit told in the end: the files of its report by name, what the auditor asked for, and its advice."""

    files: dict[str, bytes]
    asked: Asked
    advice: Advice | None


class Mortals:
    """Audits whose workers die, each with a site, a store and a queue of its own, so that all can go on at once."""

    def __init__(self, gapless: Gapless, settings: Settings, queue: str, folder: Path) -> None:
        self.pages = SMALL
        self._gapless, self._settings, self._queue, self._folder = gapless, settings, queue, folder
        self._audits = 0
        self.workers: list[WorkerProcess] = []
        self._seals = seals_sooner(folder, RECORDS=SEALED)

    async def audit(self, moment: Moment | None = None, agent: str | None = None, advisor: str | None = None) -> Told:
        """Audit a site, and kill the worker at this moment."""
        self._audits += 1
        name, asked = f"{self._queue}-{self._audits}", Asked()
        async with Site(large(self.pages)) as site:
            worker = self._start(name, moment.stall if moment else "")

            def asks(_: str) -> float:
                if asked.count(site.seen[-1]) == (moment.request if moment else 0) > 0:
                    worker.kill()
                return 0.0

            site.delay = asks
            asks_for = {"public": PUBLIC, "agent": agent, "advisor": advisor}
            run = await self._gapless.start(audit(site.url).model_copy(update=asks_for), id=name, queue=name)
            if moment is not None:
                try:
                    await until(lambda: worker.process.poll() is not None or worker.says("stalled "))
                except AssertionError:
                    pytest.fail(f"{moment} was not reached; again with GAPLESS_TEST_SEED={SEED}")
                worker.kill()
                self._start(name)
            outcome = await run.result()
            return Told(await self._files(name, outcome, site.url), asked, outcome.advice)

    def _start(self, name: str, stall: str = "") -> WorkerProcess:
        log = self._folder / f"worker-{len(self.workers)}.log"
        place = {"GAPLESS_ARTIFACTS": self._store(name), "TEST_ASK_AGAIN": "5", **self._seals}
        self.workers.append(WorkerProcess(self._settings, name, log, stall, **place))
        return self.workers[-1]

    def _store(self, name: str) -> str:
        return (self._folder / name).as_uri()

    async def _files(self, name: str, outcome: AuditOutcome, url: str) -> dict[str, bytes]:
        """Return the report in its forms; sites differ in their port, which only an agent's claims show."""
        store = ArtifactStore(self._store(name), self._settings.keys)
        body = await store.get(outcome.report_json.digest)
        report = read_report(json.loads(body))
        assert report.complete
        files = {
            "report.md": await store.get(outcome.report_markdown.digest),
            "report.json": body,
            "report.sarif": sarif(report).encode(),
            "junit.xml": junit(report).encode(),
        }
        return {name: data.replace(url.encode(), PUBLIC.encode()) for name, data in files.items()}
