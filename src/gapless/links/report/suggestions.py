"""Where broken links should lead, as an advisor said and the auditor found to work."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from gapless.links import escape

LISTED = 20


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An address that works, for one that does not.

    Attributes:
        target: the broken address, as findings have it.
        suggestion: where it should lead instead.
        why: what the advisor says about it; nobody checked that.
        pages: pages that the advisor named and that do link to the target.
    """

    target: str
    suggestion: str
    why: str
    pages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A suggestion outside the audit's scope; it was never fetched.

    Attributes:
        target: the broken address, as findings have it.
        suggestion: what the advisor said.
    """

    target: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What an advisor's answer was worth; there is at most one suggestion for each broken target.

    Attributes:
        advisor: the model or the agent that was asked.
        state: how its work ended: "succeeded", "incomplete", "failed" or another state of an interaction.
        note: why there is none, in one line, or None.
        asked: broken targets that it was asked about.
        works: suggestions that lead somewhere.
        broken: suggestions that lead nowhere themselves.
        unverified: suggestions of which nobody can tell.
        not_checked: suggestions outside the audit's scope.
        unusable: entries of the answer about what is not broken, about nothing, or repeated.
        wrong_pages: pages that were named and do not link to the target.
        suggestions: those that work.
        unchecked: those that were not checked.
    """

    advisor: str = ""
    state: str = "succeeded"
    note: str | None = None
    asked: int = 0
    works: int = 0
    broken: int = 0
    unverified: int = 0
    not_checked: int = 0
    unusable: int = 0
    wrong_pages: int = 0
    suggestions: tuple[Suggestion, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()

    @property
    def suggested(self) -> int:
        """Broken targets with a suggestion."""
        return self.works + self.broken + self.unverified + self.not_checked

    @property
    def by_target(self) -> dict[str, str]:
        """What works instead of each target."""
        return {each.target: each.suggestion for each in self.suggestions}

    def summary(self) -> str:
        """Return in one line what it was worth."""
        if self.state != "succeeded" and not self.suggested:
            return self.note or f"no suggestion that can be read; it ended as {self.state}"
        parts = [f"{self.works} of {self.suggested} suggestions work"]
        parts += [f"{self.not_checked} not checked"] if self.not_checked else []
        parts += [f"{self.wrong_pages} wrong pages named"] if self.wrong_pages else []
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it with plain values only, as it stands under `advice` in report.json."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "suggestions": [
                {"target": each.target, "suggestion": each.suggestion, "why": each.why, "pages": list(each.pages)}
                for each in self.suggestions
            ],
            "unchecked": [{"target": each.target, "suggestion": each.suggestion} for each in self.unchecked],
        }


def read_advice(part: Mapping[str, Any] | None) -> Advice | None:
    """Read what `Advice.to_dict` wrote; None where nobody was asked."""
    if part is None:
        return None
    known = {field.name: part[field.name] for field in fields(Advice) if field.name in part}
    known["suggestions"] = tuple(
        Suggestion(row["target"], row["suggestion"], row["why"], tuple(row["pages"]))
        for row in part.get("suggestions", ())
    )
    known["unchecked"] = tuple(Unchecked(row["target"], row["suggestion"]) for row in part.get("unchecked", ()))
    return Advice(**known)


def advice_markdown(advice: Advice | None, site: str) -> str:
    """Write the advice's part of a report, empty where nobody was asked.

    Args:
        advice: what it was worth.
        site: origin of the site; addresses on it are shown as paths.
    """
    return "" if advice is None else "\n" + "\n".join(_lines(advice, site)) + "\n"


def _lines(advice: Advice, site: str) -> Iterator[str]:
    yield "## Advice"
    yield f"Advice: {escape.prose(advice.summary())}."
    if advice.unchecked:
        yield ""
        yield f"### Outside the audit, not checked: {len(advice.unchecked)}"
        for each in advice.unchecked[:LISTED]:
            yield f"- {escape.url(each.target, site)}: {escape.code(each.suggestion)}"
        if len(advice.unchecked) > LISTED:
            yield f"… {len(advice.unchecked) - LISTED} more, all in report.json"
