"""What a namespace must have before runs start in it."""

import asyncio
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from gapless.contract import attributes
from gapless.devserver.process import type_name
from gapless.devserver.server import Say

RETENTION = 30 * 24 * 3600
"""How long our own server keeps runs that have ended, in seconds."""

_PROPAGATION = 15.0
"""How long a cluster may take to accept an attribute it has just been given, in seconds."""

Key = SearchAttributeKey[Any]


async def exists(client: Client) -> bool:
    """Tell whether the server knows the namespace; where that is not to be asked, it is taken to be there."""
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        return error.status != RPCStatusCode.NOT_FOUND
    return True


async def keep_runs(client: Client) -> None:
    """Give the namespace our retention; the dev server's own is a day."""
    name = client.namespace
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    if described.config.workflow_execution_retention_ttl.seconds != RETENTION:
        config = NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=RETENTION))
        await client.workflow_service.update_namespace(UpdateNamespaceRequest(namespace=name, config=config))


async def register_attributes(client: Client, *, say: Say) -> None:
    """Register our search attributes; where that is not allowed, say which command an operator has to run."""
    try:
        missing = await _missing(client)
    except RPCError as error:
        say(f"cannot see the search attributes of {client.namespace} ({error.message}); if they are missing, run")
        _say_commands(client, list(attributes.ALL), say)
        return
    if missing:
        await _add(client, missing, say)


async def _missing(client: Client) -> list[Key]:
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return [key for key in attributes.ALL if key.name not in listed.custom_attributes]


async def _add(client: Client, missing: list[Key], say: Say) -> None:
    types = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in missing}
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if still := await _missing(client):  # else another command was faster
            say(
                f"search attributes cannot be registered in {client.namespace} ({error.message}); before the first run:"
            )
            _say_commands(client, still, say)
            return
    await _usable(client, missing)


async def _usable(client: Client, keys: list[Key]) -> None:
    """Wait until the cluster knows the attributes; it may take the time of a cache refresh."""
    query = " or ".join(f"{key.name} is not null" for key in keys)
    deadline = asyncio.get_running_loop().time() + _PROPAGATION
    while asyncio.get_running_loop().time() < deadline:
        try:
            await client.count_workflows(query)
        except RPCError:
            await asyncio.sleep(0.1)
        else:
            return


def _say_commands(client: Client, keys: list[Key], say: Say) -> None:
    where = f"--namespace {client.namespace}"
    if is_cloud(client.service_client.config.target_host):
        pairs = " ".join(f"--search-attribute {key.name}={type_name(key)}" for key in keys)
        say(f"tcld namespace search-attributes add {where} {pairs}")
        return
    for kind in sorted({type_name(key) for key in keys}):
        names = " ".join(f"--name {key.name}" for key in keys if type_name(key) == kind)
        say(f"temporal operator search-attribute create {where} --type {kind} {names}")


def is_cloud(address: str) -> bool:
    """Tell whether an address is Temporal Cloud's."""
    host = address.rpartition(":")[0]
    return host.endswith((".tmprl.cloud", ".api.temporal.io"))
