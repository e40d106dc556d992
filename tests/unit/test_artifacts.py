"""The artifact store: what is lost is told from what cannot be read just now."""

from pathlib import Path

import pytest

from gapless.artifacts import ArtifactLost, ArtifactStore, StoreUnavailable


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
