"""Header fields that go to one host only, such as Authorization and Cookie."""

import json
import re
from collections.abc import Mapping

import ada_url

from gapless.links import urls

VARIABLE = "GAPLESS_LINK_HEADERS"
"""The environment's variable for them: they stand in no file, no history and no report."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "range", "te"})


def credentials(text: str) -> dict[str, tuple[str, ...]]:
    """Read header fields by host.

    Args:
        text: JSON such as `{"docs.example.com": {"Authorization": "Bearer …", "Cookie": "session=…"}}`, the host with
            its port where that is not the scheme's own; or nothing. They are sent under TLS only, but for a host that
            is written as `http://localhost:8000`.

    Returns:
        Lines `Name: value` by origin.

    Raises:
        ValueError: it is no such thing; the message holds none of the values.
    """
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not all(isinstance(fields, dict) for fields in document.values()):
        raise ValueError(f'{VARIABLE} is no JSON of the form {{"host": {{"Name": "value"}}}}')
    return {_origin(host): tuple(_lines(host, fields)) for host, fields in document.items()}


def secrets(text: str) -> list[str]:
    """Return the values, for those who must keep them out of what they write; none when the text cannot be read."""
    try:
        found = credentials(text)
    except ValueError:
        return []
    return [line.partition(": ")[2] for lines in found.values() for line in lines]


def _lines(host: str, fields: Mapping[str, object]) -> list[str]:
    lines = []
    for name, value in fields.items():
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            raise ValueError(f"{VARIABLE}: {name!r} of {host} is no header field that can be set")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise ValueError(f"{VARIABLE}: the value of {name} of {host} is no printable ASCII text")
        lines.append(f"{name}: {value.strip()}")
    return lines


def _origin(host: str) -> str:
    try:
        return urls.origin(ada_url.URL(host if "://" in host else f"https://{host}").href)
    except ValueError:
        raise ValueError(f"{VARIABLE}: {host!r} is not a host; write it as host or host:port") from None
