"""Advice on what is broken: asked for when that has changed, kept by name, and checked against the site each time."""

import asyncio
import hashlib
import json
from dataclasses import asdict

import structlog
from pydantic import ValidationError
from temporalio import activity

from gapless import links
from gapless.artifacts import ArtifactLost, ArtifactStore
from gapless.config import Settings
from gapless.contract.advice import AdviceActivities, Answered, Found
from gapless.contract.interaction import Artifact, Digest, Model, Outcome, State
from gapless.contract.link_audit import Advice, Crawled, LinkAuditRequest
from gapless.contract.question import Question
from gapless.encryption import KeyMissing
from gapless.links.advice import checked, read_answer
from gapless.links.question import question
from gapless.links.report.document import report_of
from gapless.links.report.review import health
from gapless.links.report.settings import ReportSettings
from gapless_activities import nightly
from gapless_activities.beats import beating
from gapless_activities.crawling import scope_of

log = structlog.get_logger()

ANSWER = "advice-answer.json"


class Kept(Model):
    """An answer, with the fingerprint of what it is about, so that the same is not paid for twice."""

    fingerprint: Digest
    asked: int
    state: State
    text: str


class Advisors(AdviceActivities):
    """The activities over `gapless.links` and the artifact store."""

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._settings = settings
        self._store = store

    @activity.defn(name="advice_due")
    async def advice_due(self, found: Found) -> Question:
        """Compare what is broken with what the last answer is about."""
        return await beating(activity.heartbeat, self.due(found))

    async def due(self, found: Found) -> Question:
        """Return what to ask, or what is kept."""
        crawl = await self._crawl(found.crawled)
        report = await asyncio.to_thread(report_of, crawl)
        due = Question(fingerprint=report.fingerprint)
        today = activity.info().scheduled_time.date()
        last_good = (await nightly.past(self._store, crawl.scope)).last_good(today)
        try:
            rules = ReportSettings.read(self._settings.links)
        except ValueError as error:  # the report will say so, too
            return due.model_copy(update={"note": f"no advice: gapless.toml: {error}"[:1000]})
        if not report.broken or health(report, last_good, rules):
            return due
        kept = await self._last(found.request)
        if kept is not None and await self._is_about(kept, report.fingerprint):
            return due.model_copy(update={"kept": kept})
        asks = await asyncio.to_thread(question, crawl)
        if asks is None:
            return due
        return due.model_copy(update={"asked": asks.asked, "prompt": asks.text, "answer_schema": asks.schema})

    async def keep(self, answered: Answered) -> Answered:
        """Keep an answer under its scope's name, and return it as one that is kept.

        Raises:
            StoreUnavailable: it may be kept, or not; keep it again.
        """
        outcome, asks = answered.outcome, answered.question
        if outcome is None:
            return answered
        kept = Kept(fingerprint=asks.fingerprint, asked=asks.asked, state=outcome.state, text=await self._text(outcome))
        stored = await self._store.put(ANSWER, kept.model_dump_json().encode())
        await self._store.put_named(_name(answered.request), stored.digest.encode())
        return answered.model_copy(update={"outcome": None, "question": asks.model_copy(update={"kept": stored})})

    async def checked(self, answered: Answered) -> Advice:
        """Hold a kept answer against the site as it is now."""
        crawl, stored = await self._crawl(answered.crawled), answered.question.kept
        assert stored is not None  # see `keep`
        kept = await self._read(stored.digest)
        answer = await asyncio.to_thread(read_answer, kept.text, crawl)
        advisor = answered.request.advisor or ""
        found = await checked(crawl, answer, advisor=advisor, state=kept.state.value, asked=kept.asked)
        return Advice(
            advisor=advisor,
            state=kept.state,
            suggested=found.suggested,
            works=found.works,
            details=await self._store.put("advice.json", json.dumps(found.to_dict()).encode()),
            note=None if found.suggested or kept.state is State.SUCCEEDED else found.summary(),
        )

    async def _crawl(self, crawled: Crawled) -> links.Crawl:
        crawl = await asyncio.to_thread(links.Crawl.from_bytes, await self._store.get(crawled.crawl.digest))
        await asyncio.to_thread(crawl.findings)
        return crawl

    async def _text(self, outcome: Outcome) -> str:
        if (result := outcome.result) is None:
            return ""
        whole = result.whole_text
        return (await self._store.get(whole.digest)).decode() if whole else result.text

    async def _last(self, request: LinkAuditRequest) -> Artifact | None:
        """Return the last answer for a scope; None when it is lost, or under a key that is not here."""
        try:
            if (name := await self._store.get_named(_name(request))) is None:
                return None
            digest = name.decode()
            return Artifact(name=ANSWER, digest=digest, size=len(await self._store.get(digest)))
        except (ArtifactLost, KeyMissing, UnicodeDecodeError, ValidationError) as error:
            log.info("advice.answer_lost", reason=str(error))
            return None

    async def _is_about(self, kept: Artifact, fingerprint: str) -> bool:
        try:
            return (await self._read(kept.digest)).fingerprint == fingerprint
        except ValidationError:
            return False

    async def _read(self, digest: str) -> Kept:
        return Kept.model_validate_json(await self._store.get(digest))


def _name(request: LinkAuditRequest) -> str:
    """Return the name of a scope's last answer: another advisor's is another."""
    values = json.dumps([asdict(scope_of(request)), request.provider, request.advisor], sort_keys=True)
    return f"advice/{hashlib.sha256(values.encode()).hexdigest()}"
