"""How values travel through Temporal: as pydantic models, and by reference when they are large."""

import dataclasses
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from gapless.artifacts import ArtifactStore


class ArtifactDriver(StorageDriver):
    """Temporal's external storage on the artifact store: the net under payloads that outgrow history."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def name(self) -> str:
        """Return the name that stands in histories; it must never change."""
        return "gapless-artifacts"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Store each payload by its digest."""
        kept = [await self._store.put("payload", payload.SerializeToString()) for payload in payloads]
        return [StorageDriverClaim({"sha256": artifact.digest}) for artifact in kept]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read each payload, checked against its digest."""
        return [Payload.FromString(await self._store.get(claim.claim_data["sha256"])) for claim in claims]


def data_converter(store: ArtifactStore) -> DataConverter:
    """Return the one converter that clients and workers share."""
    return dataclasses.replace(
        pydantic_data_converter, external_storage=ExternalStorage(drivers=[ArtifactDriver(store)])
    )
