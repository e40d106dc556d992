"""The artifact store: what is lost is told from what cannot be read just now, and a key hides everything."""

import base64
import os
from pathlib import Path

import pytest

from gapless.artifacts import ArtifactLost, ArtifactStore, StoreUnavailable
from gapless.encryption import KeyMissing, KeyRing

KEYS, OTHER = (KeyRing(base64.urlsafe_b64encode(os.urandom(32)).decode()) for _ in range(2))


async def test_what_was_put_is_got(tmp_path: Path) -> None:
    """Bytes come back by their digest, and putting them twice makes no difference."""
    store = ArtifactStore(tmp_path.as_uri())
    first, second = await store.put("a.txt", b"bytes"), await store.put("a.txt", b"bytes")
    assert first == second
    assert await store.get(first.digest) == b"bytes"


async def test_lost(tmp_path: Path) -> None:
    """An artifact that is not there, and one that was altered, are lost."""
    store = ArtifactStore(tmp_path.as_uri())
    artifact = await store.put("a.txt", b"bytes")
    path = next(path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"other")
    with pytest.raises(ArtifactLost, match="altered"):
        await store.get(artifact.digest)
    path.unlink()
    with pytest.raises(ArtifactLost, match="not in the store"):
        await store.get(artifact.digest)


async def test_with_a_key_bytes_are_encrypted(tmp_path: Path) -> None:
    """The name is that of the plain bytes, and who lacks the key is told which."""
    store = ArtifactStore(tmp_path.as_uri(), KEYS)
    artifact = await store.put("a.txt", b"bytes")
    assert artifact == await ArtifactStore((tmp_path / "plain").as_uri()).put("a.txt", b"bytes")
    assert b"bytes" not in file(tmp_path, artifact.digest).read_bytes()
    assert await store.get(artifact.digest) == b"bytes"
    with pytest.raises(KeyMissing, match=f"{KEYS.id}.*no key is set here"):
        await ArtifactStore(tmp_path.as_uri()).get(artifact.digest)
    with pytest.raises(KeyMissing, match=f"{KEYS.id}.*{OTHER.id}"):
        await ArtifactStore(tmp_path.as_uri(), OTHER).get(artifact.digest)


async def test_what_was_stored_without_a_key_is_read_as_it_is(tmp_path: Path) -> None:
    """Even when it looks encrypted; putting it once more encrypts it."""
    plain, store = ArtifactStore(tmp_path.as_uri()), ArtifactStore(tmp_path.as_uri(), KEYS)
    encrypted = file(tmp_path, (await store.put("a.txt", b"bytes")).digest).read_bytes()
    for data in (b"other bytes", encrypted, b"gapless-encrypted "):
        artifact = await plain.put("a.txt", data)
        assert await store.get(artifact.digest) == data
        await store.put("a.txt", data)
        assert file(tmp_path, artifact.digest).read_bytes() != data
        assert await store.get(artifact.digest) == data


async def test_altered_ciphertext_is_lost(tmp_path: Path) -> None:
    """Cut, changed, or another's that opens with the same key."""
    store = ArtifactStore(tmp_path.as_uri(), KEYS)
    artifact, other = await store.put("a.txt", b"bytes"), await store.put("b.txt", b"other bytes")
    path = file(tmp_path, artifact.digest)
    stored = path.read_bytes()
    swapped = file(tmp_path, other.digest).read_bytes()
    for data in (stored[:-1], stored[:30], stored[:-1] + bytes([stored[-1] ^ 1]), swapped):
        path.write_bytes(data)
        with pytest.raises(ArtifactLost, match="altered"):
            await store.get(artifact.digest)


def file(folder: Path, digest: str) -> Path:
    """Return where an artifact is."""
    return next(folder.glob(f"sha256/*/{digest}"))


async def test_unavailable(tmp_path: Path) -> None:
    """A store that cannot be read or written says so, and has everything when it is back."""
    store = ArtifactStore((tmp_path / "store").as_uri())
    artifact = await store.put("a.txt", b"bytes")
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").touch()
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await store.get(artifact.digest)
    with pytest.raises(StoreUnavailable, match="cannot be stored"):
        await store.put("a.txt", b"bytes")
    (tmp_path / "store").unlink()
    (tmp_path / "away").rename(tmp_path / "store")
    assert await store.get(artifact.digest) == b"bytes"


@pytest.mark.parametrize("keys", [None, KEYS])
async def test_a_name_stands_for_what_was_put_last(tmp_path: Path, keys: KeyRing | None) -> None:
    """A name is replaced as a whole; one that nobody put, or that was altered, stands for nothing."""
    store = ArtifactStore(tmp_path.as_uri(), keys)
    assert await store.get_named("last-crawl/abc") is None
    for data in (b"first", b"second"):
        await store.put_named("last-crawl/abc", data)
        assert await store.get_named("last-crawl/abc") == data
    path = next(path for path in tmp_path.rglob("*") if path.is_file())
    assert (b"second" in path.read_bytes()) is (keys is None)
    if keys is not None:
        path.write_bytes(path.read_bytes()[:-1])
        assert await store.get_named("last-crawl/abc") is None


async def test_a_name_under_a_key_that_is_not_here(tmp_path: Path) -> None:
    """It is told from one that stands for nothing."""
    await ArtifactStore(tmp_path.as_uri(), KEYS).put_named("last-crawl/abc", b"any")
    with pytest.raises(KeyMissing):
        await ArtifactStore(tmp_path.as_uri(), OTHER).get_named("last-crawl/abc")


async def test_a_name_stays_in_its_place(tmp_path: Path) -> None:
    """A name leads nowhere else."""
    for name in ("../sha256/aa", "/etc", "a//b", ""):
        with pytest.raises(ValueError, match="no name"):
            await ArtifactStore(tmp_path.as_uri()).put_named(name, b"any")
