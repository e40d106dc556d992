"""What a link audit comes to under a site's rules, and the files that say so."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from gapless.errors import ConfigurationError, GaplessError
from gapless.links.report.basis import basis
from gapless.links.report.document import Report, ReportFinding, read
from gapless.links.report.history import History, load_history, save_history
from gapless.links.report.markdown import markdown
from gapless.links.report.review import Review, read_baseline, review
from gapless.links.report.settings import ReportSettings
from gapless.links.report.suggestions import advice_markdown, read_advice

HISTORY = "history.json"


class Form(StrEnum):
    """A form of the report."""

    MD = "md"
    JSON = "json"
    HTML = "html"
    JUNIT = "junit"
    SARIF = "sarif"


NAMES = {
    Form.MD: "report.md",
    Form.JSON: "report.json",
    Form.HTML: "report.html",
    Form.JUNIT: "junit.xml",
    Form.SARIF: "report.sarif",
}

NOTHING: Mapping[Form, bytes] = {}


class LinkReport:
    """A report under rules.

    Args:
        body: of report.json.
        settings: the rules.
        history: what earlier audits found.
        flaky: links that failed and then worked.
    """

    def __init__(
        self,
        body: bytes,
        settings: ReportSettings,
        history: History | None = None,
        flaky: Sequence[ReportFinding] = (),
    ) -> None:
        written = read(body)
        self.report: Report = written.report
        self.agent: Mapping[str, Any] | None = written.agent
        self._advice = read_advice(written.advice)
        self._body = body
        self._settings = settings
        self._history = history or History()
        self._today = datetime.now().astimezone().date()
        self.review: Review = review(
            self.report,
            settings,
            today=self._today,
            history=history,
            baseline=_baseline(settings.baseline),
            flaky=flaky,
            agent=self.agent,
        )

    @property
    def document(self) -> dict[str, Any]:
        """What stands in report.json."""
        document: dict[str, Any] = json.loads(self._body)
        return document

    @property
    def is_plain(self) -> bool:
        """Whether the Markdown says nothing but what the audit found: no rules, no history, no agents."""
        rules = replace(self._settings, fail_on="any") != ReportSettings()
        return not (rules or self._history != History() or self.agent or self._advice)

    def basis(self, report: str, flaky: str) -> str | None:
        """Return what the page for browsers is made of, None with a baseline; arguments as of `basis.basis`."""
        if self._settings.baseline is not None:
            return None
        return basis(report, flaky, self.review, self._today, self._known)

    @cached_property
    def _known(self) -> bytes:
        return self.review.history.to_bytes()

    def markdown(self, limit: int | None = None) -> str:
        """Return the report as Markdown; with a limit, without the parts of agents and with long lists cut."""
        instead, site = self._advice.by_target if self._advice else {}, self.report.site
        text = markdown(self.report, self.review, limit=limit, instead=instead)
        if limit is not None:
            return text
        if self.agent:
            from gapless.links.verdict import agent_markdown  # most audits ask no agent

            text += agent_markdown(self.agent, site)
        return text + advice_markdown(self._advice, site)

    def annotations(self) -> str:
        """Return the lines that a code host's runner shows at the files they name."""
        from gapless.links.report.annotations import annotations  # few ask for them

        return annotations(self.report, self.review)

    def write(self, folder: Path, forms: Sequence[Form], made: Mapping[Form, bytes] = NOTHING) -> list[Path]:
        """Write the forms and the history, and return where the forms are.

        Args:
            folder: for all of them.
            forms: to write.
            made: those that are there already.

        Raises:
            GaplessError: they cannot be written; says what is kept.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for form in forms:
                (folder / NAMES[form]).write_bytes(made[form] if form in made else self._written(form))
            save_history(folder / HISTORY, self._known)
        except OSError as error:
            reason = f"the report could not be written to {folder} ({error.strerror})"
            raise GaplessError(f"{reason}; it is kept, gapless show prints it") from None
        return [folder / NAMES[form] for form in forms]

    def _written(self, form: Form) -> bytes:
        if form is Form.JSON:
            return self._body
        if form is Form.MD:
            return self.markdown().encode()
        if form is Form.HTML:
            from gapless.links.report.page import html  # the worker has made it for most

            page = html(self.report, self.review.history, self.agent, judged=self.review, advised=self._advice)
            return page.encode()
        if form is Form.JUNIT:
            from gapless.links.report.junit import junit

            return junit(self.report, self.review).encode()
        from gapless.links.report.sarif import sarif

        return sarif(self.report, self.review).encode()


def rules(table: Mapping[str, Any], **flags: Any) -> ReportSettings:
    """Read the table `links` of gapless.toml; flags that are None count as not given.

    Raises:
        ConfigurationError: a value cannot be meant, or a baseline cannot be read.
    """
    try:
        settings = ReportSettings.read(table)
    except ValueError as error:
        raise ConfigurationError(f"gapless.toml: {error}") from None
    settings = replace(settings, **{name: value for name, value in flags.items() if value is not None})
    _baseline(settings.baseline)
    return settings


def past(folder: Path) -> History:
    """Read what earlier audits into this folder found.

    Raises:
        ConfigurationError: there is a history that cannot be read.
    """
    try:
        return load_history(folder / HISTORY)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{folder / HISTORY} cannot be read ({error}); move it away to begin anew") from None


def _baseline(file: str | None) -> Any:
    if file is None:
        return frozenset()
    try:
        return read_baseline(json.loads(Path(file).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the baseline {file} cannot be read: {error}") from None
