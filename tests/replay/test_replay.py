"""Recorded histories still lead where they led: a change of a workflow must not strand the runs that are open."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from gapless.artifacts import ArtifactStore
from gapless.payloads import data_converter
from gapless_workers.worker import RUNNER
from gapless_workflows.host_lane import HostLaneWorkflow
from gapless_workflows.interaction import InteractionWorkflow
from gapless_workflows.link_audit import LinkAuditWorkflow
from gapless_workflows.revision import RevisionWorkflow

HISTORIES = sorted(Path(__file__).parent.glob("*.json"))
OURS = re.compile(r'File "/|/home/|/Users/|/tmp/|AIza|api[_-]key', re.IGNORECASE)
"""What would name a machine or a key."""

each = pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)


@pytest.fixture
def replayer(tmp_path: Path) -> Replayer:
    """Return a replayer of the product's workflows, in their sandbox, with their converter."""
    return Replayer(
        workflows=[InteractionWorkflow, LinkAuditWorkflow, HostLaneWorkflow, RevisionWorkflow],
        workflow_runner=RUNNER,
        data_converter=data_converter(ArtifactStore(tmp_path.as_uri())),
    )


def history(text: str, name: str) -> WorkflowHistory:
    """Read a history."""
    return WorkflowHistory.from_json(name, text)


def test_every_kind_of_run_was_recorded() -> None:
    """There are histories of all workflows, ended well, cancelled, held and late."""
    assert {path.stem for path in HISTORIES} >= {
        "interaction-succeeded",
        "interaction-held-adopted",
        "interaction-held-resubmitted",
        "interaction-refused",
        "interaction-cancelled",
        "interaction-deadline",
        "audit",
        "audit-with-agent",
        "audit-cancelled",
        "interaction-2-succeeded",
        "interaction-2-final-at-once",
        "interaction-2-fetched",
        "interaction-2-held-adopted",
        "interaction-2-resubmitted",
        "interaction-2-refused",
        "interaction-2-cancelled",
        "interaction-2-deadline",
        "audit-2-with-agent",
        "audit-3",
        "audit-3-with-agent",
        "audit-3-cancelled",
        "audit-3-with-revision",
        "audit-3-with-advice",
        "audit-3-with-kept-advice",
        "audit-4",
        "audit-4-elsewhere",
        "audit-4-elsewhere-cancelled",
        "audit-4-with-agent",
        "audit-5",
        "audit-5-cancelled",
        "audit-5-elsewhere",
        "audit-5-elsewhere-cancelled",
        "audit-5-with-agent",
        "audit-5-with-advice",
        "audit-5-with-kept-advice",
        "audit-5-with-all",
        "audit-6",
        "audit-6-elsewhere",
        "audit-6-with-revision",
        "audit-6-ended-by-release-before",
        "lane-away",
        "lane-away-left",
        "lane-looks",
        "lane-turns",
        "lane-rest",
        "lane-left",
        "revision",
    }


@each
async def test_a_recorded_run_is_replayed(replayer: Replayer, path: Path) -> None:
    """The workflow decides today what it decided then."""
    result = await replayer.replay_workflow(history(path.read_text(), path.stem))
    assert result.replay_failure is None


@each
async def test_a_run_that_was_open_goes_on(replayer: Replayer, path: Path) -> None:
    """A run that a new worker takes over anywhere on its way is replayed up to there."""
    events = json.loads(path.read_text())["events"]
    ends = [n for n, event in enumerate(events, 1) if event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_STARTED"]
    for end in ends:
        await replayer.replay_workflow(history(json.dumps({"events": events[:end]}), path.stem))


@pytest.mark.parametrize(
    ("name", "activity"),
    [
        ("interaction-succeeded", "fetch"),
        ("interaction-2-succeeded", "poll"),
        ("audit-with-agent", "judge"),
        ("audit", "report"),
        ("audit-3-with-agent", "judge_in_lane"),
        ("audit-3-cancelled", "leave_lane"),
        ("audit-3-with-advice", "advice_due"),
        ("audit-3-with-kept-advice", "advise_in_lane"),
        ("audit-4-elsewhere", "look_elsewhere"),
        ("audit-5-with-all", "report_in_lane"),
        ("audit-5-with-kept-advice", "report_in_lane"),
        ("lane-away", "look_elsewhere"),
        ("lane-looks", "serve"),
        ("lane-turns", "serve"),
        ("revision", "recheck"),
    ],
)
async def test_another_decision_is_noticed(replayer: Replayer, name: str, activity: str) -> None:
    """A history in which something else was scheduled does not pass."""
    text = (Path(__file__).parent / f"{name}.json").read_text()
    other = text.replace(f'"name": "{activity}"', '"name": "something-else"')
    assert other != text
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(history(other, name))


@each
def test_a_history_names_neither_machine_nor_key(path: Path) -> None:
    """What is committed holds no folder, host, process or key, payloads included."""
    text = path.read_text()
    assert not OURS.search(text)
    assert set(re.findall(r'"identity": "([^"]*)"', text)) <= {"worker@host"}
    for payload in _payloads(json.loads(text)):
        assert not OURS.search(payload)


def _payloads(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(data := value.get("data"), str):
            yield base64.b64decode(data).decode()
        for item in value.values():
            yield from _payloads(item)
    elif isinstance(value, list):
        for item in value:
            yield from _payloads(item)
