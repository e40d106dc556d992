"""The scan of everything that a run leaves behind, for what must never be there: keys, and what is marked sensitive."""

import base64
import hashlib
import json
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from gapless import Gapless, InteractionRequest
from gapless.text import cell

KEY = "test-key-that-must-not-leak"
ENCRYPTION_KEY = base64.urlsafe_b64encode(hashlib.sha256(b"for tests only").digest()).decode()
SENSITIVE = "rumpelstilzchen"
"""Stands in every prompt of the suite that is marked sensitive."""
CONTROL = "snowwhitemaybeseen"
"""Is written to everything that is scanned: a scan that does not find it is blind."""

_SECRETS = {"the provider's key": KEY, "the encryption key": ENCRYPTION_KEY, "a sensitive prompt": SENSITIVE}


def disguises(secret: str) -> set[bytes]:
    """Return the forms in which a text may stand somewhere: as it is, escaped, in other encodings."""
    plain = secret.encode()
    texts = {plain, json.dumps(secret)[1:-1].encode(), cell(secret).encode()}
    texts |= {secret.encode("utf-16-le"), secret.encode("utf-16-be")}
    based = {piece for text in (plain, secret.encode("utf-16-le")) for piece in _base64(text)}
    return texts | based | {plain.hex().encode()} | _raw_key(secret)


def _base64(text: bytes) -> Iterator[bytes]:
    """Yield what is left of the text in base64 wherever it starts, without the characters that its neighbours change."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + text)
        inner = whole[(before * 8 + 5) // 6 : (before + len(text)) * 8 // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def _raw_key(secret: str) -> set[bytes]:
    return {base64.urlsafe_b64decode(secret)} if secret == ENCRYPTION_KEY else set()


def find(text: str, *folders: Path) -> list[Path]:
    """Return the files in which the text stands in any form."""
    forms = disguises(text)
    return [path for path in _files(folders) if any(form in piece for piece in _pieces(path) for form in forms)]


def assert_none(*folders: Path) -> None:
    """Fail when a secret stands in any file of these folders: databases, logs, artifacts."""
    wanted = [(name, form) for name, secret in _SECRETS.items() for form in disguises(secret)]
    leaks = {
        f"{name} is in {path} as {form!r}"
        for path in _files(folders)
        for piece in _pieces(path)
        for name, form in wanted
        if form in piece
    }
    assert not leaks, "\n".join(sorted(leaks))


async def plant(gapless: Gapless) -> None:
    """Leave the control wherever the scan looks: in a history, an artifact and this process's log."""
    await gapless.start(InteractionRequest(model="control", input=CONTROL), id="control", queue="control")
    await gapless.artifacts.put("control", CONTROL.encode())
    logging.getLogger("control").debug(CONTROL)


def assert_not_blind(folder: Path, *, log: Path) -> None:
    """Fail when the scan misses what was planted in the folder of a server that has ended."""
    seen = find(CONTROL, folder)
    kinds = {path.name if path.suffix else path.parent.parent.name for path in seen}
    assert kinds >= {"temporal.db", "sha256", log.name}, seen


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files to look into: all but the emulator's own, who has to know prompts to answer them."""
    for path in (path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("emulator"):
            yield path


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and a database's values too, since its pages may cut through one."""
    content = path.read_bytes()
    yield content
    if content.startswith(b"SQLite format 3\0"):
        yield from _tables(path)


def _tables(path: Path) -> Iterator[bytes]:
    """Yield each table's values, read from a copy: what a killed server left has to be rolled back first."""
    with TemporaryDirectory() as folder, closing(sqlite3.connect(shutil.copy(path, folder))) as database:
        for rest in path.parent.glob(f"{path.name}-*"):
            shutil.copy(rest, folder)
        database.text_factory = bytes
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f'SELECT * FROM "{table.decode()}"')
            yield b"\0".join(value for row in rows for value in row if isinstance(value, bytes))
