"""The peers, each installed once into `.cache/links/`."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import say

CACHE = Path(__file__).parents[2] / ".cache" / "links"
LINKINATOR = "7.6.1"
"""The last version for Node 20."""
NODE = 20


def python_peers() -> Path:
    """Return the folder with the programs of lychee, LinkChecker and Scrapy.

    Raises:
        SystemExit: they cannot be installed.
    """
    requirements = Path(__file__).parent / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = CACHE / f"python-{sys.version_info.major}.{sys.version_info.minor}-{digest[:12]}"
    done = folder / ".installed"
    if not done.exists():
        say("Installing lychee, LinkChecker and Scrapy in .cache (once, about a minute)")
        _run(sys.executable, "-m", "venv", "--clear", folder)
        quiet = ("--quiet", "--disable-pip-version-check")
        _run(folder / "bin" / "python", "-m", "pip", "install", *quiet, "--require-hashes", "-r", requirements)
        done.touch()
    return folder / "bin"


def version(package: str) -> str:
    """Return the version that is required of a package, by the name that its author wrote."""
    lines = (Path(__file__).parent / "requirements.in").read_text().splitlines()
    return dict(line.split("==") for line in lines)[package]


def linkinator() -> Path | None:
    """Return the program linkinator, or None when there is no Node that runs it.

    Raises:
        SystemExit: it cannot be installed.
    """
    npm = shutil.which("npm")
    if npm is None or _node_version() < NODE:
        return None
    folder = CACHE / f"linkinator-{LINKINATOR}"
    program = folder / "node_modules" / ".bin" / "linkinator"
    if not program.exists():
        say("Installing linkinator in .cache (once)")
        folder.mkdir(parents=True, exist_ok=True)
        quiet = ("--no-package-lock", "--omit-lockfile-registry-resolved", "--no-save", "--no-audit", "--no-fund")
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".npm-") as cache:
            _run(
                *(npm, "install", *quiet, "--loglevel", "error", "--prefix", folder, "--cache", cache),
                f"linkinator@{LINKINATOR}",
            )
    return program


def _node_version() -> int:
    node = shutil.which("node")
    if node is None:
        return 0
    answer = subprocess.run([node, "--version"], check=True, capture_output=True, text=True)
    return int(answer.stdout.lstrip("v").partition(".")[0])


def _run(*command: str | Path) -> None:
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode != 0:
        raise SystemExit(f"{os.fspath(command[0])} could not install a peer; see above")
