"""Which server is taken: the cluster named outside, ours, and the ways to the binary."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from gapless import devserver
from gapless.config import Settings
from gapless.contract import attributes
from gapless.errors import ConfigurationError, NotReachable

Make = Callable[..., Settings]


async def test_temporal_address_wins_over_our_running_server(
    up: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster named in the environment is used, with its namespace, and is not ours to stop."""
    settings = make()
    own = await devserver.ensure(settings)
    foreign = (await devserver.ensure(up)).address
    monkeypatch.setenv("TEMPORAL_ADDRESS", foreign)

    server = await devserver.ensure(settings)

    assert (server.address, server.origin, server.ours) == (foreign, "from TEMPORAL_ADDRESS", False)
    assert server.run_url("x") is None
    assert own.address != foreign
    assert await devserver.start(settings) == devserver.status(settings), "start means our own server all the same"


async def test_a_profile_names_a_cluster(up: Settings, make: Make, tmp_path: Path) -> None:
    """The default profile of temporal.toml counts like the variable."""
    address = (await devserver.ensure(up)).address
    (tmp_path / "temporal.toml").write_text(f'[profile.default]\naddress = "{address}"\n')

    settings = make()
    server = await devserver.ensure(settings)

    assert (server.address, server.origin) == (address, "from a temporal.toml profile")
    assert devserver.status(settings) is None, "nothing was started"


async def test_a_profile_that_does_not_exist_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong TEMPORAL_PROFILE is an error of configuration, not a reason to start something else."""
    monkeypatch.setenv("TEMPORAL_PROFILE", "staging")

    with pytest.raises(ConfigurationError, match="staging"):
        await devserver.ensure(make())


async def test_a_cluster_that_does_not_answer_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named cluster that is down is an error with its address; no local server takes its place."""
    address = f"127.0.0.1:{_free_port()}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    settings = make()

    with pytest.raises(NotReachable, match=rf"{address} \(from TEMPORAL_ADDRESS\)"):
        await devserver.ensure(settings)
    assert devserver.status(settings) is None


async def test_a_namespace_that_does_not_exist_is_named(
    up: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong TEMPORAL_NAMESPACE is found before anything is started in it."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", (await devserver.ensure(up)).address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nobodys")

    with pytest.raises(NotReachable, match="no namespace nobodys"):
        await devserver.ensure(make())


async def test_a_cluster_without_our_attributes_gets_them(
    program: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attributes are registered on a foreign cluster that allows it, without a word."""
    said: list[str] = []
    async with _bare_server(program) as client:
        monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
        await devserver.ensure(make(), say=said.append)
        registered = await _attributes(client)

    assert {key.name for key in attributes.ALL} <= registered
    assert said == []


async def test_a_cluster_that_refuses_attributes_gets_a_command(
    program: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they cannot be registered (here: no keyword is left) the command for an operator is said."""
    said: list[str] = []
    taken = [argument for n in range(10) for argument in ("--search-attribute", f"Taken{n}=Keyword")]
    async with _bare_server(program, *taken) as client:
        monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
        server = await devserver.ensure(make(), say=said.append)

    names = " ".join(f"--name {key.name}" for key in attributes.ALL)
    assert said[-1] == f"temporal operator search-attribute create --namespace default --type Keyword {names}"
    assert not server.ours


async def test_the_setting_comes_before_path_and_path_before_the_cache(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The binary is the one that is named, else the one on PATH, else the cached one."""
    found = {name: tmp_path / name / "temporal" for name in ("named", "path", "cache/temporal-cli/v1.5.1")}
    for path in found.values():
        path.parent.mkdir(parents=True)
        path.symlink_to(program)
    named, on_path, cached = found.values()
    cache = tmp_path / "cache"

    monkeypatch.setenv("PATH", str(on_path.parent))
    assert await devserver.binary(Settings.load(cache_dir=cache, temporal_cli=named), print) == named
    assert await devserver.binary(Settings.load(cache_dir=cache), print) == on_path
    monkeypatch.setenv("PATH", "")
    assert await devserver.binary(Settings.load(cache_dir=cache), print) == cached


async def test_a_setting_that_names_nothing_is_an_error(make: Make, tmp_path: Path) -> None:
    """A program named by setting is not replaced by another one."""
    with pytest.raises(ConfigurationError, match=r"GAPLESS_TEMPORAL_CLI names .*nowhere"):
        await devserver.start(make(temporal_cli=tmp_path / "nowhere"))


async def test_without_any_way_the_error_says_what_can_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster, no binary, no network and no Go: one message names the four ways out."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{_free_port()}")  # no way out of this machine

    with pytest.raises(NotReachable) as caught:
        await devserver.ensure(Settings.load(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache"))

    message = str(caught.value)
    for way in ("Install the Temporal CLI", "GAPLESS_TEMPORAL_CLI", "TEMPORAL_ADDRESS", "install Go 1.25"):
        assert way in message
    assert "no Go on PATH" in message


async def test_a_cancelled_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during the build ends Go and removes its caches."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{_free_port()}")
    if go := shutil.which("go"):
        (tmp_path / "go").symlink_to(go)
    monkeypatch.setenv("PATH", str(tmp_path))
    cache = tmp_path / "cache"
    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:  # takes connections and never answers
        proxy.setblocking(False)
        monkeypatch.setenv("GOPROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        building = asyncio.ensure_future(devserver.binary(Settings.load(cache_dir=cache), print))
        asked = asyncio.ensure_future(asyncio.get_running_loop().sock_accept(proxy))
        await asyncio.wait([building, asked], return_when=asyncio.FIRST_COMPLETED)
        building.cancel()
        with pytest.raises((asyncio.CancelledError, NotReachable)):
            await building
        if not asked.cancel():
            asked.result()[0].close()

    assert [path.name for path in (cache / "temporal-cli" / "v1.5.1").iterdir()] == ["lock"]


@asynccontextmanager
async def _bare_server(program: Path, *arguments: str) -> AsyncIterator[Client]:
    """A server as somebody else would start it."""
    port = _free_port()
    command = [str(program), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            async with asyncio.timeout(30):
                while True:
                    try:
                        yield await Client.connect(f"127.0.0.1:{port}")
                        break
                    except RuntimeError:
                        await asyncio.sleep(0.05)
        finally:
            process.kill()


async def _attributes(client: Client) -> set[str]:
    listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
    return set(listed.custom_attributes)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
