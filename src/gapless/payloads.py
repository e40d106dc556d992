"""How values travel through Temporal: as pydantic models, encrypted where there is a key, large ones by reference."""

import dataclasses
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    ExternalStorage,
    PayloadCodec,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from gapless.artifacts import ArtifactStore
from gapless.encryption import KeyRing

_ENCRYPTED = b"binary/encrypted"
"""Encoding and metadata are those of Temporal's samples: a codec server that is written after them can read ours."""


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


class EncryptionCodec(PayloadCodec):
    """Encrypts payloads whole; what somebody else wrote, or we without a key, is read as it is.

    Without a key it encrypts nothing, and is there to say which one is missing.
    """

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt under the first key."""
        return [self._encrypted(payload) for payload in payloads] if self.keys else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt what is encrypted.

        Raises:
            KeyMissing, Altered: a payload cannot be read.
        """
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        metadata = {"encoding": _ENCRYPTED, "encryption-key-id": self.keys.id.encode()}
        return Payload(metadata=metadata, data=self.keys.encrypt(payload.SerializeToString()))

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != _ENCRYPTED:
            return payload
        key_id = payload.metadata.get("encryption-key-id", b"").decode(errors="replace")
        return Payload.FromString(self.keys.decrypt(payload.data, key_id))


def data_converter(store: ArtifactStore) -> DataConverter:
    """Return the one converter that clients and workers share; it encrypts with the keys of the store."""
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=EncryptionCodec(store.keys),
        # Messages and stack traces are no payloads by themselves.
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes if store.keys else DefaultFailureConverter,
        external_storage=ExternalStorage(drivers=[ArtifactDriver(store)]),
    )


def encrypts(converter: DataConverter) -> bool:
    """Say whether what this converter writes is encrypted."""
    codec = converter.payload_codec
    return isinstance(codec, EncryptionCodec) and bool(codec.keys)
