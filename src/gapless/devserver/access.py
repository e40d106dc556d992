"""Finds or starts a server, and connects to it."""

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from gapless.config import Settings
from gapless.devserver import binary, foreign, locks, namespace, process
from gapless.devserver.process import Files, Ports
from gapless.devserver.server import Say, Server
from gapless.errors import NotReachable

_READY_LIMIT = 30.0
_CONNECT_LIMIT = 10.0
_ATTEMPT_LIMIT = 3.0
_POLL = 0.05
_PORTS = Path(tempfile.gettempdir()) / f"gapless-ports-{os.getuid()}"

_log: Say = logging.getLogger(__name__).info


async def ensure(settings: Settings, *, say: Say = _log) -> Server:
    """Find a Temporal server, or start ours, and register our search attributes there.

    Args:
        settings: data and cache folder, and the `temporal` binary if one is named.
        say: receives a line about whatever takes long or needs an operator.

    Raises:
        NotReachable: the cluster named outside does not answer, or there is no way to get a server.
        ConfigurationError: a setting or the Temporal client configuration does not fit.
    """
    server = foreign.configured()
    if server is None:
        return await start(settings, say)
    client = await connect(settings, server)
    if not await namespace.exists(client):
        raise NotReachable(
            f"Temporal at {server.address} ({server.origin}) has no namespace {server.namespace}; "
            "create it or name another"
        )
    await namespace.register_attributes(client, say=say)
    return server


async def start(settings: Settings, say: Say = _log) -> Server:
    """Find or start the server of this data folder, whatever the environment names.

    It is detached, keeps runs for 30 days and outlives the caller; two callers at once end up with one server.

    Raises:
        NotReachable: no binary can be had, or the server does not come up.
        ConfigurationError: the setting names no program.
    """
    server = process.status(settings)
    if server is None:
        program = await binary.find(settings, say)
        server = await _found_or_launched(settings, program, say)
    client = await _answering(Files.of(settings), server)
    await namespace.keep_runs(client)
    await namespace.register_attributes(client, say=say)
    return server


async def connect(settings: Settings, server: Server, **client_kwargs: Any) -> Client:
    """Connect to a server that `ensure` or `start` returned.

    Args:
        settings: the settings it came from.
        server: where to.
        client_kwargs: for `Client.connect`, such as the data converter.

    Raises:
        NotReachable: no answer, or a refusal.
    """
    arguments: dict[str, Any] = {} if server.ours else {**foreign.connect_config()}
    arguments |= {"target_host": server.address, "namespace": server.namespace}
    try:
        return await asyncio.wait_for(Client.connect(**arguments, **client_kwargs), _CONNECT_LIMIT)
    except (RuntimeError, RPCError, TimeoutError) as error:
        # The native client's own words are a dump of its error, which says no more than this.
        cause = "no connection" if "tonic::" in str(error) else str(error) or f"no answer within {_CONNECT_LIMIT:.0f} s"
        advice = "`gapless server start` starts it again" if server.ours else "check the address and the credentials"
        raise NotReachable(f"Temporal at {server.address} ({server.origin}): {cause}; {advice}") from None


async def _found_or_launched(settings: Settings, program: binary.Program, say: Say) -> Server:
    files = Files.of(settings)
    async with locks.exclusive(files.lock, say=say, doing="starting the Temporal server"):
        ports = files.ports()
        if ports is not None and files.alive():
            return process.describe(ports, "already up")
        # Two data folders of one user must not choose the same ports.
        async with locks.exclusive(_PORTS, say=say, doing="starting a Temporal server"):
            return process.describe(await _launch(files, program), program.origin)


async def _launch(files: Files, program: binary.Program) -> Ports:
    """Start the server; once more when a stranger took a port in the meantime."""
    ports = process.spawn(files, program.path)
    try:
        await _answering(files, process.describe(ports, program.origin))
    except NotReachable:
        if files.alive() or "address already in use" not in files.log_tail():
            raise
        ports = process.spawn(files, program.path, elsewhere=True)
        await _answering(files, process.describe(ports, program.origin))
    return ports


async def _answering(files: Files, server: Server) -> Client:
    """Wait until our server answers, and return a client."""
    deadline = asyncio.get_running_loop().time() + _READY_LIMIT
    problem = ""
    while asyncio.get_running_loop().time() < deadline:
        if not files.alive():
            raise NotReachable(f"the Temporal server ended while starting; {files.log} says:\n{files.log_tail()}")
        try:
            client = await asyncio.wait_for(Client.connect(server.address, namespace=server.namespace), _ATTEMPT_LIMIT)
            await client.count_workflows()
        except (RuntimeError, RPCError, TimeoutError) as error:
            problem = str(error)
            await asyncio.sleep(_POLL)
        else:
            return client
    raise NotReachable(
        f"our Temporal server at {server.address} runs but does not answer ({problem}); "
        f"`gapless server stop` ends it, its log is {files.log}:\n{files.log_tail()}"
    )
