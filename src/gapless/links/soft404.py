"""Pages that say 200 and mean 404, told by what the site answers for an address that cannot exist.

Two signals are needed, one of them strong, since a phrase alone flags every page about the status 404:

- strong: the page is the probe's answer but for the address in it; or has its title and its first heading;
- weak: title or heading says that something was not found; or the text is as long as the probe's, within a tenth.
"""

import re
from hashlib import sha256
from html import unescape
from typing import NamedTuple
from urllib.parse import quote

_TITLE = re.compile(rb"<title[^>]{0,500}>([^<]{0,1000})", re.IGNORECASE)
_HEADING = re.compile(rb"<h1(?:\s[^>]{0,2000})?>(.{0,2000}?)</h1", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(rb"<[^>]{0,2000}>")
_PHRASE = re.compile(
    r"\b404\b|not (?:be )?found|no longer (?:exists|available)|does(?: not|n.t) exist|nicht gefunden|introuvable"
    r"|no encontrad[ao]|non trovat[ao]|não encontrad[ao]|niet gevonden|не найден|見つかりません|找不到",
    re.IGNORECASE,
)
_LENGTH = 0.1


class Look(NamedTuple):
    """What a page looks like, its own address left out.

    Attributes:
        title: of the document, white space collapsed.
        heading: text of the first h1.
        length: bytes.
        digest: SHA-256 of the body without the page's address.
    """

    title: str
    heading: str
    length: int
    digest: str


def path(host: str) -> str:
    """Return a path that no site has, the same for a host each time, so that reports do not differ."""
    return f"/{sha256(f'gapless {host}'.encode()).hexdigest()[:24]}"


def look(body: bytes, url: str) -> Look:
    """Return what a page at an address looks like."""
    own = "/" + url.split("/", 3)[3]
    for text in {own, own[1:], quote(own, safe=""), quote(own[1:], safe="")}:
        if len(text) > 1:
            body = body.replace(text.encode(), b"")
    heading = _HEADING.search(body)
    title = _TITLE.search(body)
    return Look(
        _text(title[1]) if title else "",
        _text(_TAG.sub(b" ", heading[1])) if heading else "",
        len(body),
        sha256(body).hexdigest(),
    )


def is_soft_404(page: Look, probe: Look) -> bool:
    """Say whether a page is what the site says of addresses that do not exist."""
    if page.digest == probe.digest:
        return True
    if not page.title or (page.title, page.heading) != (probe.title, probe.heading):
        return False
    alike = abs(page.length - probe.length) <= _LENGTH * probe.length
    return alike or _PHRASE.search(f"{page.title} {page.heading}") is not None


def _text(found: bytes) -> str:
    return " ".join(unescape(found.decode("utf-8", "replace")).split())
