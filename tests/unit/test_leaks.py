"""The scan itself: it finds a text in every disguise, and fails when there is one."""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import leaks

TEXT = "a_text-for~this.test"


@pytest.mark.parametrize(
    "written",
    [
        TEXT.encode(),
        json.dumps({"prompt": TEXT}).encode(),
        b"\\_".join(TEXT.encode().split(b"_")).replace(b"~", b"\\~"),
        f"..{TEXT}..".encode("utf-16"),
        *(base64.b64encode(b"x" * before + TEXT.encode() + b"y") for before in range(3)),
        base64.urlsafe_b64encode(f"ÿ{TEXT}ÿ".encode("utf-16-le")),
        TEXT.encode().hex().encode(),
    ],
)
def test_every_form_is_found(tmp_path: Path, written: bytes) -> None:
    """As it is, escaped, and encoded."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"before " + written + b" after")
    (tmp_path / "other").write_bytes(b"nothing")
    assert leaks.find(TEXT, tmp_path) == [tmp_path / "sub" / "file"]


def test_a_value_that_a_page_cuts_through_is_found(tmp_path: Path) -> None:
    """A database is also read row by row."""
    path = tmp_path / "temporal.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE node (id INTEGER, data BLOB)")
        rows = [(number, bytes(5000) + TEXT.encode() + bytes(number)) for number in range(0, 4096, 16)]
        database.executemany("INSERT INTO node VALUES (?, ?)", rows)
    whole = path.read_bytes().count(TEXT.encode())
    assert whole < len(rows)
    assert b"".join(leaks._tables(path)).count(TEXT.encode()) == len(rows)


@pytest.mark.parametrize("secret", [leaks.KEY, leaks.ENCRYPTION_KEY, leaks.SENSITIVE])
def test_a_leak_fails(tmp_path: Path, secret: str) -> None:
    """The error names the file."""
    leaks.assert_none(tmp_path)
    (tmp_path / "log").write_text(f"there it is: {secret}")
    with pytest.raises(AssertionError, match=r"is in .*/log as"):
        leaks.assert_none(tmp_path)
    (tmp_path / "log").unlink()  # the session's own scan comes later
