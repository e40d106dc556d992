"""The page for browsers, begun while the crawl is still being packed: then nobody waits for it later."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, NamedTuple

from temporalio.exceptions import ApplicationError

from gapless.errors import GaplessError
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.history import History
from gapless.links.report.page import html
from gapless.links.report.review import Review, review
from gapless.links.report.settings import ReportSettings
from gapless.links.report.suggestions import Advice


class Page(NamedTuple):
    """A page.

    Attributes:
        judged: what the report comes to.
        text: the page itself.
        history: that of `judged` as bytes.
    """

    judged: Review
    text: bytes
    history: bytes


class Matter(NamedTuple):
    """All that a page is made of.

    Attributes:
        report: of an audit.
        flaky: what failed and then worked.
        settings: the site's rules.
        today: the day of the audit.
        history: what was known before it.
        agent: the agent's part.
        advised: the advice's part.
    """

    report: Report
    flaky: Sequence[ReportFinding]
    settings: ReportSettings
    today: date
    history: History
    agent: Mapping[str, Any] | None = None
    advised: Advice | None = None

    async def page(self) -> Page:
        """Make it, in a thread, so that heartbeats keep coming."""
        return await asyncio.to_thread(self._page)

    def _page(self) -> Page:
        judged = review(
            self.report, self.settings, today=self.today, history=self.history, flaky=self.flaky, agent=self.agent
        )
        page = html(self.report, judged.history, self.agent, judged=judged, advised=self.advised)
        return Page(judged, page.encode(), judged.history.to_bytes())


class Ahead:
    """The one page that was begun last, by the digest of its report; nothing depends on it being here."""

    def __init__(self) -> None:
        self._digest = ""
        self._begun: asyncio.Task[tuple[Matter, Page] | None] | None = None

    def begin(self, digest: str, gather: Callable[[], Awaitable[Matter]]) -> None:
        """Begin a page of what is to be gathered; what fails here fails again where it is told."""

        async def made() -> tuple[Matter, Page] | None:
            with suppress(GaplessError, ApplicationError):
                gathered = await gather()
                return gathered, await gathered.page()
            return None

        self.drop()
        self._digest, self._begun = digest, asyncio.create_task(made())

    async def page(self, digest: str, matter: Matter) -> Page:
        """Return a page: the one that was begun if it is of the very same, else it is made now."""
        if self._begun is not None and digest == self._digest:
            begun, self._begun = self._begun, None
            if (made := await begun) is not None and made[0] == matter:
                return made[1]
        return await matter.page()

    def drop(self) -> None:
        """Forget it."""
        if self._begun is not None:
            self._begun.cancel()
            self._begun = None
