"""nginx on loopback, which serves the sites over HTTP/1.1, plain and with TLS, from a folder of its own.

Its configuration is that of the link checkers' comparison that this repeats: 2 workers, 8,192 connections each,
sendfile, TCP_NODELAY, keep-alive for 65 s and 1,000,000 requests, open-file cache for 50,000 files with errors cached,
no access log, relative redirects, the decoys' locations, a `LinkChecker:` header, which lets the tool of that name go
faster than a few requests per second, and stub_status, whose count of requests is the server's own word.
"""

import os
import pwd
import resource
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common import say
from links.certificate import Certificate
from links.sites import Site
from links.tree import Tree
from processes import cpu_seconds

HOST = "127.0.0.1"
STATUS_PORT = 18_400
FIRST_PORT = 18_410
WORKERS = 2
CONNECTIONS = 8_192
CACHED_FILES = 50_000
OPEN_FILES = CACHED_FILES + CONNECTIONS + 1_000
START_SECONDS = 10.0
_STATUS = f"http://{HOST}:{STATUS_PORT}/"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Server:
    """The running nginx."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._tree = Tree(process.pid)
        self._own_requests = 0

    def cpu_seconds(self) -> float:
        """Return the CPU time that its processes have used so far, in user and kernel."""
        return sum(map(cpu_seconds, self._tree.pids()))

    def requests(self) -> int:
        """Return how many requests it has had so far, those for this count left out."""
        self._own_requests += 1
        with _DIRECT.open(_STATUS) as answer:
            counts = answer.read().decode().splitlines()[2]  # accepted, handled, requests
        return int(counts.split()[2]) - self._own_requests


def base(scheme: str, number: int) -> str:
    """Return scheme, host and port for a site with this number; the ports are fixed, so that a site can be kept."""
    return f"{scheme}://{HOST}:{FIRST_PORT + 2 * number + (scheme == 'https')}"


@contextmanager
def running(sites: Sequence[Site], certificate: Certificate, prefix: Path) -> Iterator[Server]:
    """Serve the sites, each at its base; as root, under the user nobody.

    Args:
        sites: what to serve.
        certificate: for those whose base is https.
        prefix: folder for the configuration, logs and temporary files of nginx.

    Raises:
        SystemExit: nginx is not there and cannot be installed, or does not start; the line says why.
    """
    program, user = _program(), _user()
    if _answers():
        raise SystemExit(f"port {STATUS_PORT} is taken, perhaps by another run of this benchmark")
    for folder in (prefix, prefix / "temporary"):
        folder.mkdir(parents=True, exist_ok=True)
        if user is not None:
            shutil.chown(folder, user)
    _check_readable([site.root for site in sites], user)
    errors = prefix / "error.log"
    errors.unlink(missing_ok=True)
    (prefix / "nginx.conf").write_text(_configuration(sites, certificate))
    command = (program, "-p", prefix, "-c", "nginx.conf", "-e", "error.log")
    process = subprocess.Popen(command, user=user, group=user and _group(user), extra_groups=user and [])
    try:
        _wait_until_up(process, errors)
        yield Server(process)
    finally:
        process.terminate()
        process.wait()


def _program() -> str:
    """Return nginx, which is installed from Debian when it is missing and may be installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    found = shutil.which("nginx", path=path)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Installing nginx-light")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "nginx-light")
        subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL)
        found = shutil.which("nginx", path=path)
    if found is None:
        raise SystemExit("nginx is missing; on Debian, run as root: apt-get install nginx-light")
    return found


def _user() -> str | None:
    """Return whom nginx runs as when not as oneself."""
    return "nobody" if os.geteuid() == 0 else None


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _check_readable(paths: Sequence[Path], user: str | None) -> None:
    """Say which folder keeps the user out; nginx would answer 403 to everything."""
    if user is None:
        return
    for folder in sorted({folder for path in paths for folder in (path, *path.parents)}):
        if not folder.stat().st_mode & 0o001:
            raise SystemExit(f"nginx runs as {user}, who may not enter {folder}: chmod o+x {folder}")


def _wait_until_up(process: subprocess.Popen[bytes], errors: Path) -> None:
    over = time.monotonic() + START_SECONDS
    while time.monotonic() < over and process.poll() is None:
        if _answers():
            return
        time.sleep(0.02)
    process.kill()
    raise SystemExit(f"nginx did not start:\n{errors.read_text() if errors.exists() else ''}")


def _answers() -> bool:
    try:
        _DIRECT.open(_STATUS).close()
    except OSError:
        return False
    return True


def _open_files() -> int:
    """Return how many files a worker may have open, after asking for what the open-file cache needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < OPEN_FILES:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, OPEN_FILES))
        except (OSError, ValueError):
            return hard
    return OPEN_FILES


def _configuration(sites: Sequence[Site], certificate: Certificate) -> str:
    open_files = _open_files()
    cached = min(CACHED_FILES, max(open_files - CONNECTIONS - 1_000, 1_000))
    temporary = "".join(
        f"  {name}_temp_path temporary;\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
pid nginx.pid;
error_log error.log crit;
worker_processes {WORKERS};
worker_rlimit_nofile {open_files};
events {{ worker_connections {CONNECTIONS}; }}
http {{
{temporary}  types {{
    text/html html; text/css css; text/javascript js; image/png png; text/xml xml; text/plain txt;
  }}
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 65;
  keepalive_requests 1000000;
  open_file_cache max={cached} inactive=1h;
  open_file_cache_valid 1h;
  open_file_cache_errors on;
  absolute_redirect off;
  ssl_certificate {certificate.certificate};
  ssl_certificate_key {certificate.key};
  ssl_session_cache shared:tls:10m;
  server {{
    listen {HOST}:{STATUS_PORT};
    location / {{ stub_status; }}
  }}
{"".join(map(_site, sites))}}}
"""


def _site(site: Site) -> str:
    scheme, _, authority = site.base.partition("://")
    return f"""  server {{
    listen {authority}{" ssl" if scheme == "https" else ""};
    root {site.root};
    add_header LinkChecker "welcome" always;
    location /moved/ {{ rewrite ^/moved(/.*)$ $1 permanent; }}
    location /old/ {{ rewrite ^/old(/.*)$ /gone$1 permanent; }}
    location /error/ {{ return 500; }}
    location = /loop/a {{ return 302 /loop/b; }}
    location = /loop/b {{ return 302 /loop/a; }}
  }}
"""
