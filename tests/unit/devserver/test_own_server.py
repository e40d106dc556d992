"""The server that is ours: one per data folder, detached, and with everything still there after any end."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from gapless import devserver
from gapless.config import Settings
from gapless.contract import attributes
from gapless.devserver import access, process
from gapless.devserver.namespace import RETENTION
from gapless.errors import ConfigurationError, NotReachable

Make = Callable[..., Settings]

ENSURE = """
import asyncio, json, os
from dataclasses import asdict
from gapless import devserver
from gapless.config import Settings
print(json.dumps(asdict(asyncio.run(devserver.ensure(Settings.load())))), flush=True)
os._exit(0)
"""


async def test_the_first_starts_and_the_second_finds(up: Settings) -> None:
    """A server that is up is taken by whoever comes next, and said to be."""
    server = await devserver.ensure(up)

    assert server.origin == "already up"
    assert server.ours
    assert server == devserver.status(up)


async def test_the_page_of_a_run_is_served(up: Settings) -> None:
    """The UI answers at the address that a run is said to be shown at."""
    url = (await devserver.ensure(up)).run_url("audit/docs.example.com")

    assert url is not None
    assert url.endswith("/namespaces/default/workflows/audit%2Fdocs.example.com")
    with closing(await asyncio.to_thread(urlopen, url, timeout=10)) as page:
        assert page.status == 200


async def test_it_listens_on_loopback_only(up: Settings) -> None:
    """Neither port is bound to an address that other machines can reach."""
    server = await devserver.ensure(up)

    assert server.address.startswith("127.0.0.1:")
    assert server.ui is not None
    for port in (server.address, server.ui):
        with closing(socket.socket()) as other:  # 127.0.0.2 is free only if the port is not bound to all addresses
            other.bind(("127.0.0.2", int(port.rpartition(":")[2])))


async def test_runs_carry_our_search_attributes(up: Settings) -> None:
    """Every attribute is registered: a run can be started with it and found by it."""
    client = await devserver.connect(up, await devserver.ensure(up))
    pairs = [SearchAttributePair(key, "x1") for key in attributes.ALL]
    await client.start_workflow(
        "Nobody", id="found", task_queue="nobody", search_attributes=TypedSearchAttributes(pairs)
    )

    query = " and ".join(f"{key.name} = 'x1'" for key in attributes.ALL)
    async with asyncio.timeout(10):
        while not (found := [run.id async for run in client.list_workflows(query)]):
            await asyncio.sleep(0.05)
    assert found == ["found"]


async def test_two_commands_at_once_end_up_with_one_server(make: Make) -> None:
    """Of two processes that need a server at the same time one starts it and both use it."""
    settings = make()
    environment = os.environ | {
        "GAPLESS_DATA_DIR": str(settings.data_dir),
        "GAPLESS_TEMPORAL_CLI": str(settings.temporal_cli),
    }
    commands = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", ENSURE, env=environment, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    first, second = [json.loads((await command.communicate())[0]) for command in commands]

    assert first["address"] == second["address"]
    assert sorted(server["origin"] == "already up" for server in (first, second)) == [False, True]
    assert devserver.status(settings) is not None, "it outlives the commands"


async def test_runs_and_ports_survive_a_kill(make: Make, kill: Callable[[Settings], None]) -> None:
    """After SIGKILL the same data folder is served again, at the same address, with the same runs."""
    settings = make()
    server = await devserver.ensure(settings)
    client = await devserver.connect(settings, server)
    started = await client.start_workflow("Nobody", id="kept", task_queue="nobody")

    kill(settings)
    assert devserver.status(settings) is None
    again = await devserver.ensure(settings)

    assert (again.address, again.ui) == (server.address, server.ui)
    described = await (await devserver.connect(settings, again)).get_workflow_handle("kept").describe()
    assert described.run_id == started.first_execution_run_id


async def test_runs_are_kept_for_thirty_days(make: Make, kill: Callable[[Settings], None]) -> None:
    """The retention is set on the first start and is in the database from then on."""
    settings = make()
    await devserver.start(settings)
    kill(settings)

    files = devserver.Files.of(settings)
    server = process.describe(process.spawn(files, _cli(settings)), "spawned alone")
    client = await access._answering(files, server)

    assert await _retention(client) == RETENTION == 30 * 86400


async def test_stop_ends_it_and_start_goes_on(make: Make) -> None:
    """Stop waits for the end of the process, so that a start right after it finds the database free."""
    settings = make()
    await devserver.start(settings)

    assert devserver.stop(settings)
    assert not devserver.Files.of(settings).alive()
    assert devserver.status(settings) is None
    assert not devserver.stop(settings), "there is nothing left to stop"
    assert (await devserver.start(settings)).origin != "already up"


async def _taken(port: int) -> socket.socket:
    """Listen on a port, as soon as no outgoing connection of this machine happens to use it."""
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            await asyncio.sleep(0.1)


async def test_a_port_taken_meanwhile_is_left_alone(make: Make, kill: Callable[[Settings], None]) -> None:
    """A server whose old port belongs to somebody else now comes up on another one."""
    settings = make()
    old = (await devserver.start(settings)).address
    kill(settings)

    with closing(await _taken(int(old.rpartition(":")[2]))):
        new = await devserver.start(settings)

        assert new.address != old
        await devserver.connect(settings, new)


async def test_a_port_lost_in_the_last_moment_costs_a_second_attempt(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that looked free and is taken when the server comes to listen: it is started again on others."""
    settings = make()
    files = devserver.Files.of(settings)
    with closing(socket.create_server(("127.0.0.1", 0))) as theirs:
        taken = theirs.getsockname()[1]
        for ports in ({"grpc": taken, "ui": process._any_port()}, {"grpc": process._any_port(), "ui": taken}):
            files.state.write_text(json.dumps(ports))
            with monkeypatch.context() as patched:
                patched.setattr(process, "_free", lambda port: True)
                server = await devserver.start(settings)

            assert str(taken) not in f"{server.address} {server.ui}"
            assert devserver.stop(settings)


async def test_a_wrapper_is_ended_with_what_it_wraps(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `temporal` on PATH may be a script around the real one: stop ends both, and neither knows our keys."""
    monkeypatch.setenv("GEMINI_API_KEY", "secret-key")
    settings = make()
    wrapper = tmp_path / "temporal"
    wrapper.write_text(f'#!/bin/sh\nenv >{tmp_path}/environment\n{_cli(settings)} "$@"\nexit $?\n')
    wrapper.chmod(0o700)
    settings = make("wrapped", temporal_cli=wrapper)
    await devserver.start(settings)

    assert devserver.stop(settings)
    assert "secret-key" not in (tmp_path / "environment").read_text()


async def test_a_program_that_fails_is_quoted(make: Make, tmp_path: Path) -> None:
    """The error names the log and shows how it ends."""
    broken = tmp_path / "temporal"
    broken.write_text("#!/bin/sh\necho 'unknown command: server' >&2\nexit 1\n")
    broken.chmod(0o700)
    settings = make(temporal_cli=broken)

    with pytest.raises(NotReachable, match=r"(?s)temporal\.log says:.*unknown command: server"):
        await devserver.start(settings)
    assert devserver.status(settings) is None


async def test_a_server_that_hangs_on_sigterm_is_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process cannot end by itself; stop uses SIGKILL when patience is over."""
    monkeypatch.setattr(process, "PATIENCE", 0.2)
    settings = make()
    await devserver.start(settings)
    os.kill(int(devserver.Files.of(settings).pid.read_text()), signal.SIGSTOP)

    assert devserver.stop(settings)
    assert devserver.status(settings) is None


async def test_a_pid_of_somebody_else_is_never_taken_for_ours(make: Make, kill: Callable[[Settings], None]) -> None:
    """After a crash the pid may belong to another process: it is neither reported as a server nor ended."""
    settings = make()
    await devserver.start(settings)
    kill(settings)
    devserver.Files.of(settings).pid.write_text(str(os.getpid()))

    assert devserver.status(settings) is None
    assert not devserver.stop(settings)


def _cli(settings: Settings) -> Path:
    assert settings.temporal_cli is not None
    return settings.temporal_cli


async def _retention(client: Client) -> int:
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    return described.config.workflow_execution_retention_ttl.seconds


async def test_a_folder_that_cannot_be_written_is_named(make: Make, tmp_path: Path) -> None:
    """A data folder that is a file is an error of configuration that says which setting to change."""
    (tmp_path / "file").write_text("")
    settings = make().model_copy(update={"data_dir": tmp_path / "file"})

    with pytest.raises(ConfigurationError, match="GAPLESS_DATA_DIR"):
        await devserver.start(settings)
