"""The published schema of report.json; `python tests/unit/links/test_report_schema.py` writes it."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gapless.links.report.document import Report, ReportFinding, read_report
from gapless.links.report.suggestions import Advice, Suggestion, Unchecked
from unit.links.reports import NASTY, everywhere, finding, report, validate

PATH = Path(__file__).parents[3] / "docs" / "schema" / "link-report.schema.json"


def schema() -> dict[str, Any]:
    """Make the schema from the document's own type, with its docstrings as descriptions."""
    made = TypeAdapter(Report).json_schema()
    _describe(made, Report)
    _describe(made["$defs"]["ReportFinding"], ReportFinding)
    # The parts of an agent and of an advisor are added to the document when one was asked.
    advice = TypeAdapter(Advice).json_schema(ref_template="#/$defs/{model}")
    made["$defs"] |= advice.pop("$defs")
    _describe(advice, Advice)
    for kind in (Suggestion, Unchecked):
        _describe(made["$defs"][kind.__name__], kind)
    made["properties"]["advice"] = advice
    made["properties"]["agent"] = {"type": "object", "title": "Agent", "description": "What an agent was worth."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "Link audit report"}


def _describe(made: dict[str, Any], kind: type) -> None:
    text, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:")
    made["description"] = text.strip()
    made["additionalProperties"] = False
    made["required"] = sorted(made["properties"])
    for name, words in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        value = made["properties"][name]
        value["description"] = " ".join(words.split())
        value.pop("default", None)


def written() -> str:
    return json.dumps(schema(), indent=2) + "\n"


def test_the_published_schema_is_that_of_the_code() -> None:
    """When this fails, run this file: it writes the schema anew."""
    assert PATH.read_text("utf-8") == written()


def test_every_attribute_is_described() -> None:
    """A reader of the schema is told what each value is."""
    for part in (schema(), schema()["properties"]["advice"], *schema()["$defs"].values()):
        assert all(value.get("description") for value in part["properties"].values())


@pytest.mark.parametrize(
    "found",
    [
        report(),
        report(*everywhere(range(20)), finding("/a", "/b", "dns", text=NASTY, line=1, column=2)),
        report(finding("/a", "/b", "x", chain=(("/b", 301), ("/c", None))), incomplete_reason="stopped"),
    ],
)
def test_a_report_fits_its_schema_and_is_read_again(found: Report) -> None:
    """What is written has exactly the described keys, and reading it gives the same report."""
    document = json.loads(json.dumps(found.to_dict()))
    validate(document)
    assert set(document) == set(schema()["required"])
    assert read_report(document | {"agent": {}, "later": 1}) == found


def test_advice_fits_its_schema() -> None:
    """Its part has exactly the described keys."""
    advice = Advice(
        "m", works=1, suggestions=(Suggestion("/a", "/b", "c", ("/d",)),), unchecked=(Unchecked("/e", "x"),)
    )
    document = json.loads(json.dumps(advice.to_dict()))
    TypeAdapter(Advice).validate_json(json.dumps(document), strict=True, extra="forbid")
    described = schema()["properties"]["advice"]
    assert set(document) == set(described["required"]) == set(described["properties"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pages": "3"}, "report.pages must not be '3'"),
        ({"pages": True}, "report.pages must not be True"),
        ({"version": 2}, "this report has version 2, not 1"),
        ({"findings": None}, "report.findings must not be None"),
        ({"findings": ["x"]}, "a finding must be an object, not 'x'"),
        ({"findings": [{"page": "/"}]}, "finding.href is missing"),
    ],
)
def test_what_is_no_report_is_refused(change: dict[str, Any], message: str) -> None:
    """The message names the key; it is the same that the schema refuses."""
    document = report().to_dict() | change
    with pytest.raises(ValueError) as caught:
        read_report(document)
    assert str(caught.value) == message
    with pytest.raises(ValidationError):
        validate(document)


def test_a_finding_is_checked() -> None:
    """Results, hops and the rest must be what they are said to be."""
    good = finding("/a", "/b").to_dict()
    for change in ({"result": "bad"}, {"chain": [["/x"]]}, {"chain": [[1, 2]]}, {"status": "404"}, {"reason": None}):
        with pytest.raises(ValueError):
            read_report(report().to_dict() | {"findings": [good | change]})


if __name__ == "__main__":
    PATH.write_text(written(), "utf-8")
