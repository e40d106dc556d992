"""The site of the demo: documentation that nobody made for us.

The source package of SQLAlchemy 2.1.9 carries its built documentation in `doc/`. pip fetches it by name, version and
hash from wherever it is set up to look. It prepares the package's metadata on the way, which cannot be turned off.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from gapless.errors import NotReachable

NAME = "SQLAlchemy 2.1.9 documentation"
_VERSION = "2.1.9"
_REQUIREMENT = (
    f"sqlalchemy=={_VERSION} --hash=sha256:d700a8b2edfb26282a470333d6bc4a454c4acda4d201a3bea7b72fa76c217d28\n"
)


def demo_site(cache: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of the built documentation, fetched once.

    Raises:
        NotReachable: pip could not fetch the package.
    """
    site = cache / "demo" / f"sqlalchemy-{_VERSION}-doc"
    if not site.is_dir():
        say("fetching the source package that carries it, once, about 10 MB")
        site.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=site.parent) as folder:
            _unpack(_download(Path(folder)), Path(folder)).rename(site)
    return site


def _download(folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(_REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", "sqlalchemy", "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = next(folder.glob("*.tar.gz"), None)
    if done.returncode != 0 or found is None:
        raise NotReachable(f"pip could not fetch the demo's site (sqlalchemy {_VERSION}): {done.stderr.strip()[-500:]}")
    return found


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        root = f"sqlalchemy-{_VERSION}/doc"
        members = [member for member in tar if member.name.startswith(root + "/")]
        tar.extractall(folder, members=members, filter="data")
    shutil.rmtree(folder / root / "build", ignore_errors=True)  # the sources, which are no part of the site
    return folder / root
