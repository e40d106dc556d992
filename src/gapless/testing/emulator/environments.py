"""Environments: the sandboxes of agents, here no more than folders of files."""

import base64
import binascii
import io
import mimetypes
import tarfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

from gapless.testing.emulator.store import Entry, Store
from gapless.testing.emulator.wire import ApiError, timestamp

_INLINE_FILE_BYTES = 1024 * 1024
_INLINE_TOTAL_BYTES = 2 * 1024 * 1024


class Environments:
    """All environments, by id.

    Raises:
        ApiError: 404, no such environment or file; 400, a source that is not emulated or too large.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def create(self, body: dict[str, Any]) -> str:
        """Create an environment from `{sources?, network?, from_environment?}` and return its id."""
        origin = str(body.get("from_environment") or "").removeprefix("environments/")
        if origin and (body.get("sources") or body.get("env")):
            raise ApiError(400, "sources and env must be empty when from_environment is given")
        files = _inline_files(body.get("sources") or [])
        if origin:
            files = {entry.path: self.read(origin, entry.path) for entry in self.entries(origin)}
        now, key = self._clock(), str(uuid4())
        shown = {name: value for name, value in body.items() if name in {"network", "sources"}}
        self._store.put("environment", key, {"created": now, "updated": now, **shown})
        for path, data in files.items():
            self._store.write(key, path, data, now)
        return key

    def resolve(self, wanted: Any) -> str | None:
        """Return the id of the environment that a request asks for, making a new one for `remote`."""
        if wanted is None:
            return None
        if isinstance(wanted, dict):
            known = wanted.get("environment_id")
            return self.resolve(known) if known else self.create(wanted)
        if not isinstance(wanted, str):
            raise ApiError(400, "environment must be a string or an object")
        if wanted == "remote" or wanted.startswith("env_"):  # the API takes env_<uuid> for a new one, silently
            return self.create({})
        key = wanted.removeprefix("environments/")
        self.get(key)
        return key

    def get(self, key: str) -> dict[str, Any]:
        """Return an environment's resource; 64-bit integers are strings."""
        body = self._store.get("environment", key)
        if body is None:
            raise ApiError(404, f"Environment {key} not found")
        entries = self._store.entries(key)
        times = {name: timestamp(body.pop(name)) for name in ("created", "updated")}
        return {
            "id": key,
            "status": "active",
            **times,
            "last_accessed": times["updated"],
            "file_count": str(len(entries)),
            "size_bytes": str(sum(entry.size for entry in entries)),
            **body,
        }

    def all(self) -> list[dict[str, Any]]:
        """Return all environments, oldest first."""
        return [self.get(key) for key, _ in self._store.all("environment")]

    def delete(self, key: str) -> None:
        """Remove an environment and its files."""
        self.get(key)
        with self._store.transaction():
            self._store.remove("environment", key)
            self._store.remove_files(key)

    def write(self, key: str, path: str, data: bytes) -> None:
        """Write a file, if the environment is still there."""
        body = self._store.get("environment", key)
        if body is None:
            return
        now = self._clock()
        with self._store.transaction():
            self._store.write(key, _clean(path), data, now)
            self._store.put("environment", key, {**body, "updated": now})

    def read(self, key: str, path: str) -> bytes:
        """Return a file's bytes."""
        self.get(key)
        data = self._store.read(key, _clean(path))
        if data is None:
            raise ApiError(404, f"File {path} not found in environment {key}")
        return data

    def entries(self, key: str) -> list[Entry]:
        """Return all files, sorted by path."""
        self.get(key)
        return self._store.entries(key)

    def files(self, key: str, path: str, *, recursive: bool) -> list[dict[str, Any]]:
        """Return a file, or what is in a folder: all files below it, or the files and folders just in it."""
        folder = _clean(path)
        inside = folder + "/" if folder else ""
        entries = self.entries(key)
        found = [_file(entry) for entry in entries if entry.path == folder]
        below = [entry for entry in entries if entry.path.startswith(inside)]
        if found or (folder and not below):
            return found or _missing(path, key)
        if recursive:
            return [_file(entry) for entry in below]
        names = {inside + entry.path[len(inside) :].split("/")[0] for entry in below}
        here = {entry.path: entry for entry in below}
        return [_file(here[name]) if name in here else _folder(name) for name in sorted(names)]

    def tar(self, key: str) -> bytes:
        """Return the whole environment as a tar archive."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for entry in self.entries(key):
                info = tarfile.TarInfo(entry.path)
                info.size, info.mtime = entry.size, int(entry.modified)
                tar.addfile(info, io.BytesIO(self.read(key, entry.path)))
        return archive.getvalue()


def _missing(path: str, key: str) -> list[dict[str, Any]]:
    raise ApiError(404, f"File {path} not found in environment {key}")


def _clean(path: str) -> str:
    parts = [part for part in PurePosixPath(path).parts if part not in {"/", "."}]
    if ".." in parts:
        raise ApiError(400, "a path must not contain '..'")
    return "/".join(parts)


def _file(entry: Entry) -> dict[str, Any]:
    return {
        "name": PurePosixPath(entry.path).name,
        "path": entry.path,
        "type": "file",
        "size_bytes": str(entry.size),
        "mime_type": mimetypes.guess_type(entry.path)[0] or "application/octet-stream",
        "created": timestamp(entry.created),
        "modified": timestamp(entry.modified),
    }


def _folder(path: str) -> dict[str, Any]:
    return {"name": PurePosixPath(path).name, "path": path, "type": "directory", "size_bytes": "0"}


def _inline_files(sources: Any) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for source in sources:
        if not isinstance(source, dict) or source.get("type") != "inline":
            raise ApiError(400, "the emulator knows only inline sources")
        target, content = _clean(str(source.get("target", ""))), str(source.get("content", ""))
        if not target:
            raise ApiError(400, "a source's target must not be /")
        try:
            encoded = source.get("encoding") == "base64"
            files[target] = base64.b64decode(content, validate=True) if encoded else content.encode()
        except binascii.Error:
            raise ApiError(400, f"the source for {target} is not base64") from None
    sizes = [len(data) for data in files.values()]
    if max(sizes, default=0) > _INLINE_FILE_BYTES or sum(sizes) > _INLINE_TOTAL_BYTES:
        raise ApiError(400, "inline sources are limited to 1 MB per file and 2 MB in total")
    return files
