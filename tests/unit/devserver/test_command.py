"""`gapless server`."""

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from gapless.config import Settings
from gapless_cli.server import NOT_RUNNING, app


def test_start_status_and_stop(make: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command says the same thing to machines and to people, and status tells by its exit code."""
    settings = make()
    monkeypatch.setenv("GAPLESS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("GAPLESS_TEMPORAL_CLI", str(settings.temporal_cli))
    run = CliRunner().invoke

    assert run(app, ["status", "--json"]).exit_code == NOT_RUNNING
    started = json.loads(run(app, ["start", "--json"]).stdout)
    shown = json.loads(run(app, ["status", "--json"]).stdout)

    assert started["running"]
    assert started["address"] == shown["address"]
    assert shown["ui"] in run(app, ["status"]).stdout
    assert json.loads(run(app, ["stop", "--json"]).stdout) == {"stopped": True}
    assert run(app, ["stop"]).stdout == "not running\n"
    assert run(app, ["status"]).exit_code == NOT_RUNNING
