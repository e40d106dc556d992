"""Settings: where they come from, in which order, and that keys stay out of sight."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gapless.config import Settings, child_environment, secret_values
from gapless.errors import ConfigurationError

KEY = "a-key-that-nobody-may-see"
NAMES = ("log_level", "artifacts", "gemini_base_url", "poll_max_interval")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no variable of ours set."""
    monkeypatch.chdir(tmp_path)
    keys = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GAPLESS_GEMINI_API_KEY", "GAPLESS_ENCRYPTION_KEY")
    for name in (*keys, "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def values(**flags: Any) -> tuple[Any, ...]:
    """Return what the settings are."""
    settings = Settings.load(**flags)
    return tuple(getattr(settings, name) for name in NAMES)


def test_precedence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag goes before the environment, that before gapless.toml, and that before the default."""
    assert values() == ("info", None, None, 30.0)
    (folder / "gapless.toml").write_text(
        'log_level = "warning"\nartifacts = "/file"\ngemini_base_url = "http://file"\npoll_max_interval = 3'
    )
    assert values() == ("warning", "/file", "http://file", 3.0)
    monkeypatch.setenv("GAPLESS_LOG_LEVEL", "error")
    monkeypatch.setenv("GAPLESS_ARTIFACTS", "/variable")
    monkeypatch.setenv("GAPLESS_POLL_MAX_INTERVAL", "4")
    for name in ("GOOGLE_GEMINI_BASE_URL", "GAPLESS_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, f"http://{name}")
        assert values() == ("error", "/variable", f"http://{name}", 4.0)
    flags = {"log_level": "debug", "artifacts": "/flag", "gemini_base_url": "http://flag", "poll_max_interval": 5}
    assert values(**flags) == ("debug", "/flag", "http://flag", 5.0)
    assert values(**dict.fromkeys(flags)) == values()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI systems set empty variables for secrets that are not there."""
    monkeypatch.setenv("GEMINI_API_KEY", "")
    monkeypatch.setenv("GAPLESS_LOG_LEVEL", "")
    assert (Settings.load().gemini_api_key, Settings.load().log_level) == (None, "info")


def test_data_goes_where_the_user_keeps_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and cache follow the XDG variables; artifacts are in the data folder unless a store is named."""
    monkeypatch.delenv("GAPLESS_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    settings = Settings.load()
    assert settings.data_dir == folder / "data" / "gapless"
    assert settings.artifacts_url == (folder / "data" / "gapless" / "artifacts").as_uri()
    assert Settings.load(artifacts="s3://bucket/runs").artifacts_url == "s3://bucket/runs"


@pytest.mark.parametrize("name", ["GAPLESS_GEMINI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither the settings' text nor an error about another setting holds the key."""
    monkeypatch.setenv(name, KEY)
    settings = Settings.load()
    assert settings.gemini_api_key.get_secret_value() == KEY
    assert secret_values() == [KEY]
    assert KEY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    monkeypatch.setenv("GAPLESS_SUBMIT_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError) as error:
        Settings.load()
    assert KEY not in str(error.value)


@pytest.mark.parametrize("name", ["gemini_api_key", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GAPLESS_GEMINI_API_KEY"])
def test_a_key_in_the_file_is_an_error(folder: Path, name: str) -> None:
    """gapless.toml is committed, so that a key in it is refused, and not repeated."""
    (folder / "gapless.toml").write_text(f'{name} = "{KEY}"')
    with pytest.raises(ConfigurationError, match=r"gapless\.toml holds an API key") as error:
        Settings.load()
    assert KEY not in str(error.value)


@pytest.mark.parametrize("name", ["encryption_key", "GAPLESS_ENCRYPTION_KEY"])
def test_an_encryption_key_in_the_file_is_an_error(folder: Path, name: str) -> None:
    """It would be committed with it."""
    (folder / "gapless.toml").write_text(f'{name} = "{KEY}"')
    with pytest.raises(ConfigurationError, match=r"gapless\.toml holds an encryption key") as error:
        Settings.load()
    assert KEY not in str(error.value)


def test_an_encryption_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several is a secret of its own, and no program that is not ours gets any."""
    keys = [base64.urlsafe_b64encode(os.urandom(32)).decode() for _ in range(2)]
    assert not Settings.load().keys
    monkeypatch.setenv("GAPLESS_ENCRYPTION_KEY", f" {keys[0]}, {keys[1]}\n")
    settings = Settings.load()
    assert settings.keys
    assert secret_values() == keys
    shown = f"{settings!r} {settings.model_dump_json()} {child_environment()}"
    assert not [key for key in keys if key in shown]


@pytest.mark.parametrize("wrong", [KEY, ",,,", "AAAA", "ä" * 43, KEY * 3])
def test_a_wrong_encryption_key_is_an_error(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """It is refused at once, without being repeated, and the command that the error names makes a right one."""
    good = base64.urlsafe_b64encode(os.urandom(32)).decode()
    for value in (wrong, f"{good},{wrong}"):
        monkeypatch.setenv("GAPLESS_ENCRYPTION_KEY", value)
        with pytest.raises(ConfigurationError, match="encryption_key: a key is 32 random bytes") as error:
            Settings.load()
        assert value not in str(error.value)
    command = str(error.value).partition("python3 -c ")[2].split('"')[1]
    made = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout
    monkeypatch.setenv("GAPLESS_ENCRYPTION_KEY", made)
    assert Settings.load().keys


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("broken", "gapless.toml cannot be read"),
        ("nosuch = 1", "there is no setting nosuch"),
        ('submit_timeout = "soon"', "submit_timeout"),
        ("submit_timeout = 0", "greater than 0"),
        ('jobs = "all"', "jobs"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, text: str, words: str) -> None:
    """An error is one line that names the setting, and where it may come from."""
    (folder / "gapless.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=words) as error:
        Settings.load()
    assert "\n" not in str(error.value)
    assert "gapless.toml" in str(error.value)
