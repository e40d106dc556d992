"""A content-addressed store: what is put is named by its SHA-256 and never changes.

Beside it stand small objects by name, each replaced as a whole: they say which content is the newest of its kind, or
what was found out lately.
Losing one costs time, never a result.

A local folder by default; S3, GCS or Azure by URL (`s3://bucket/prefix`, `gs://…`, `az://…`), with the
credentials that those clients find by themselves. With a key, what is stored is encrypted.
"""

import hashlib
import re
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError as StoreError
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from gapless.config import Settings
from gapless.contract.interaction import Artifact
from gapless.encryption import Altered, KeyRing
from gapless.errors import ConfigurationError, GaplessError

_MARK = b"gapless-encrypted "
"""Starts an encrypted artifact; the key's id of eight characters and a line feed follow."""
_HEAD = len(_MARK) + 9
_NAME = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")


class ArtifactLost(GaplessError):
    """An artifact is not in the store, or is not what its name says. Nothing was changed."""


class StoreUnavailable(GaplessError):
    """The store does not answer, or refuses to. Nothing was changed, and the same call may succeed later."""


class ArtifactStore:
    """Bytes by the digest that they have when they are not encrypted.

    Raises:
        ConfigurationError: the URL names no store that can be opened.
    """

    def __init__(self, url: str, keys: KeyRing | None = None) -> None:
        self._store = open_store(url)
        self.keys = keys or KeyRing()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Open the store that the settings name, with the keys that they hold."""
        return cls(settings.artifacts_url, settings.keys)

    async def put(self, name: str, data: bytes) -> Artifact:
        """Store bytes; putting the same bytes again changes nothing. `name` is kept with the digest only.

        Raises:
            StoreUnavailable: they may not be there; put them again.
        """
        digest = hashlib.sha256(data).hexdigest()
        try:
            await obstore.put_async(self._store, _path(digest), self._sealed(data))
        except (OSError, StoreError) as error:
            raise _unavailable(f"artifact {digest[:12]}… cannot be stored", error) from None
        return Artifact(name=name, digest=digest, size=len(data))

    async def get(self, digest: str) -> bytes:
        """Return the bytes, checked against their name.

        Raises:
            ArtifactLost: they are not there, or were altered.
            KeyMissing: they are encrypted under a key that is not here.
            StoreUnavailable: nobody knows; ask again.
        """
        try:
            answer = await obstore.get_async(self._store, _path(digest))
            stored = bytes(await answer.bytes_async())
        except (FileNotFoundError, NotFoundError):
            raise ArtifactLost(
                f"artifact {digest[:12]}… is not in the store; do all workers and this process share one store "
                "(GAPLESS_ARTIFACTS)?"
            ) from None
        except (OSError, StoreError) as error:
            raise _unavailable(f"artifact {digest[:12]}… cannot be read", error) from None
        if (data := self._opened(stored, digest)) is None:
            raise ArtifactLost(f"artifact {digest[:12]}… was altered: its content no longer matches its name")
        return data

    async def put_named(self, name: str, data: bytes) -> None:
        """Make these bytes what the name stands for; whoever reads meanwhile gets the old ones or these, whole.

        Args:
            name: lower-case letters, digits, dashes and slashes.
            data: little, such as a digest.

        Raises:
            StoreUnavailable: the name may still stand for what it stood for before.
        """
        try:
            await obstore.put_async(self._store, _named(name), self._sealed(data))
        except (OSError, StoreError) as error:
            raise _unavailable(f"{name} cannot be stored", error) from None

    async def get_named(self, name: str) -> bytes | None:
        """Return what the name stands for, or None when that is nothing, or was altered.

        Raises:
            KeyMissing: it is encrypted under a key that is not here.
            StoreUnavailable: nobody knows; ask again.
        """
        try:
            answer = await obstore.get_async(self._store, _named(name))
            stored = bytes(await answer.bytes_async())
        except (FileNotFoundError, NotFoundError):
            return None
        except (OSError, StoreError) as error:
            raise _unavailable(f"{name} cannot be read", error) from None
        try:
            return self._decrypted(stored) if stored.startswith(_MARK) else stored
        except Altered:
            return None

    def _sealed(self, data: bytes) -> bytes:
        return _MARK + self.keys.id.encode() + b"\n" + self.keys.encrypt(data) if self.keys else data

    def _opened(self, stored: bytes, digest: str) -> bytes | None:
        """Return the bytes that have this digest, be they stored as they are or encrypted; None when neither has."""
        if hashlib.sha256(stored).hexdigest() == digest:
            return stored
        if not stored.startswith(_MARK):
            return None
        try:
            data = self._decrypted(stored)
        except Altered:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def _decrypted(self, stored: bytes) -> bytes:
        return self.keys.decrypt(stored[_HEAD:], stored[len(_MARK) : _HEAD - 1].decode(errors="replace"))


def _unavailable(what: str, error: Exception) -> StoreUnavailable:
    # The error's own text may hold what a store's URL is signed with.
    return StoreUnavailable(f"{what} just now ({type(error).__name__}); nothing else was changed, try again later")


def _path(digest: str) -> str:
    return f"sha256/{digest[:2]}/{digest}"


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an object")
    return f"named/{name}"


def open_store(url: str) -> ObjectStore:
    """Open a folder or a bucket.

    Raises:
        ConfigurationError: the URL names no store that can be opened.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme in {"", "file"}:
            return LocalStore(Path(unquote(parts.path)), mkdir=True)
        return from_url(url)
    except (StoreError, ValueError, OSError) as error:
        raise ConfigurationError(f"artifact store {url!r} cannot be opened: {error}") from None
