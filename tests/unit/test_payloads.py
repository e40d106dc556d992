"""Payloads: what is encrypted comes back, is nowhere in clear, and says what is missing when it cannot be read."""

import base64
import os
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from gapless import InteractionRequest
from gapless.artifacts import ArtifactStore
from gapless.encryption import Altered, KeyMissing, KeyRing
from gapless.payloads import data_converter, encrypts

REQUEST = InteractionRequest(model="a-model", input="A word that is easily found.")


def new_key() -> str:
    """Make a key as the documentation says."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


OLD, NEW = new_key(), new_key()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the artifact store's folder."""
    return tmp_path / "artifacts"


def converter(folder: Path, *keys: str) -> DataConverter:
    """Return a process's converter."""
    return data_converter(ArtifactStore(folder.as_uri(), KeyRing(",".join(keys))))


async def test_what_is_encrypted_comes_back(folder: Path) -> None:
    """Nothing of the value or its type stands in the payload, and equal values do not look equal."""
    one, other = await converter(folder, NEW).encode([REQUEST, REQUEST])
    assert one.metadata["encoding"] == b"binary/encrypted"
    assert one != other
    assert not [word for word in (b"easily", b"json", b"a-model") if word in one.SerializeToString()]
    assert await converter(folder, NEW).decode([one], [InteractionRequest]) == [REQUEST]


async def test_keys_are_changed_one_by_one(folder: Path) -> None:
    """The first key encrypts, all decrypt; base64 of either alphabet names the same key."""
    old, both = converter(folder, OLD), converter(folder, NEW, OLD)
    assert await both.decode(await old.encode([REQUEST]), [InteractionRequest]) == [REQUEST]
    standard = NEW.replace("-", "+").replace("_", "/")
    assert await converter(folder, standard).decode(await both.encode([REQUEST]), [InteractionRequest]) == [REQUEST]
    with pytest.raises(KeyMissing, match=f"{KeyRing(NEW).id}.*the keys here are {KeyRing(OLD).id}"):
        await old.decode(await both.encode([REQUEST]))


async def test_without_a_key_ciphertext_is_an_error(folder: Path) -> None:
    """A process without a key writes in clear, and says which key it lacks to read the rest."""
    plain = await converter(folder).encode([REQUEST])
    assert plain == await pydantic_data_converter.encode([REQUEST])
    assert (encrypts(converter(folder)), encrypts(converter(folder, NEW))) == (False, True)
    assert not encrypts(pydantic_data_converter)
    with pytest.raises(KeyMissing, match=f"{KeyRing(NEW).id}.*no key is set here: add it to GAPLESS_ENCRYPTION_KEY"):
        await converter(folder).decode(await converter(folder, NEW).encode([REQUEST]))


async def test_what_was_written_before_is_read_as_it_is(folder: Path) -> None:
    """Runs that started without a key go on with one."""
    plain = await converter(folder).encode([REQUEST])
    assert await converter(folder, NEW).decode(plain, [InteractionRequest]) == [REQUEST]
    foreign = Payload(metadata={"encoding": b"binary/foreign"}, data=b"as it is")
    codec = converter(folder, NEW).payload_codec
    assert await codec.decode([foreign]) == [foreign]


@pytest.mark.parametrize("cut", [0, 5, 12, 20, -1])
async def test_tampering_is_noticed(folder: Path, cut: int) -> None:
    """A payload that was cut or changed is not believed."""
    [payload] = await converter(folder, NEW).encode([REQUEST])
    flipped = bytes([*payload.data[:-1], payload.data[-1] ^ 1])
    for data in (payload.data[:cut], flipped):
        payload.data = data
        with pytest.raises(Altered, match="altered"):
            await converter(folder, NEW).decode([payload])


async def test_failures_are_encrypted(folder: Path) -> None:
    """Message, stack trace and details are ciphertext, causes included; the type stays readable."""
    failure = Failure()
    with pytest.raises(ApplicationError) as caught:
        raise ApplicationError("the message says rumour", {"said": "rumour"}, type="Rejected") from ValueError(
            "a rumour"
        )
    await converter(folder, NEW).encode_failure(caught.value, failure)
    raw = failure.SerializeToString()
    assert not [word for word in (b"rumour", b"test_payloads") if word in raw]
    assert failure.application_failure_info.type == "Rejected"
    told = await converter(folder, NEW).decode_failure(failure)
    assert isinstance(told, ApplicationError)
    assert (told.message, told.details) == ("the message says rumour", ({"said": "rumour"},))
    assert str(told.cause) == "ValueError: a rumour"


async def test_large_payloads_are_ciphertext_in_the_store(folder: Path) -> None:
    """What outgrows history is no clearer in the artifact store."""
    large = REQUEST.model_copy(update={"input": "rumour " * 100_000})
    stored = await converter(folder, NEW).encode([large])
    assert len(stored[0].SerializeToString()) < 1000
    [file] = [path for path in folder.rglob("*") if path.is_file()]
    assert b"rumour" not in file.read_bytes()
    assert await converter(folder, NEW).decode(stored, [InteractionRequest]) == [large]
