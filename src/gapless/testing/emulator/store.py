"""The emulator's state, in one SQLite database that survives the process."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
    UNIQUE (kind, id));
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS file (
    environment TEXT NOT NULL, path TEXT NOT NULL, data BLOB NOT NULL, created REAL NOT NULL,
    modified REAL NOT NULL, PRIMARY KEY (environment, path)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Entry:
    """A file of an environment, without its bytes; times are Unix seconds."""

    path: str
    size: int
    created: float
    modified: float


class Store:
    """Documents by kind and id, counters, and files by environment and path; in memory without a path."""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # safe against kill -9, not against a power cut
        self._db.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes within all or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def put(self, kind: str, key: str, body: dict[str, Any]) -> None:
        """Insert or replace a document; it keeps its place in `all`."""
        self._db.execute(
            "INSERT INTO document (kind, id, body) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, key, json.dumps(body)),
        )

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return a document, or None."""
        query = "SELECT body FROM document WHERE kind = ? AND id = ?"
        row = self._db.execute(query, (kind, key)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def all(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and body of every document of a kind, oldest first."""
        query = "SELECT id, body FROM document WHERE kind = ? ORDER BY seq"
        for key, body in self._db.execute(query, (kind,)).fetchall():
            yield key, json.loads(body)

    def remove(self, kind: str, key: str) -> None:
        """Remove a document, if it is there."""
        self._db.execute("DELETE FROM document WHERE kind = ? AND id = ?", (kind, key))

    def count(self, name: str, step: int = 1) -> int:
        """Add to a counter and return its new value."""
        query = (
            "INSERT INTO counter VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value"
        )
        return int(self._db.execute(query, (name, step)).fetchone()[0])

    def counters(self, prefix: str) -> dict[str, int]:
        """Return the counters whose name starts with `prefix`, without it."""
        query = "SELECT substr(name, ?), value FROM counter WHERE substr(name, 1, ?) = ? ORDER BY name"
        return dict(self._db.execute(query, (len(prefix) + 1, len(prefix), prefix)).fetchall())

    def write(self, environment: str, path: str, data: bytes, now: float) -> None:
        """Write a file."""
        self._db.execute(
            "INSERT INTO file VALUES (?, ?, ?, ?, ?) ON CONFLICT (environment, path) "
            "DO UPDATE SET data = excluded.data, modified = excluded.modified",
            (environment, path, data, now, now),
        )

    def read(self, environment: str, path: str) -> bytes | None:
        """Return a file's bytes, or None."""
        query = "SELECT data FROM file WHERE environment = ? AND path = ?"
        row = self._db.execute(query, (environment, path)).fetchone()
        return None if row is None else bytes(row[0])

    def entries(self, environment: str) -> list[Entry]:
        """Return an environment's files, sorted by path."""
        query = "SELECT path, length(data), created, modified FROM file WHERE environment = ? ORDER BY path"
        return [Entry(*row) for row in self._db.execute(query, (environment,))]

    def remove_files(self, environment: str) -> None:
        """Remove all of an environment's files."""
        self._db.execute("DELETE FROM file WHERE environment = ?", (environment,))

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            for table in ("document", "counter", "file"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the three names above

    def close(self) -> None:
        """Close the database."""
        self._db.close()
