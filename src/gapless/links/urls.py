"""Web addresses by the WHATWG URL Standard, as ada parses them."""

import re
from collections.abc import Callable
from urllib.parse import unquote

import ada_url

from gapless.links.record import INVALID, MAX_ADDRESS

WEB = ("http://", "https://")
DIRECTORIES, LINKS = 16, 4_000
"""Directories whose links are remembered, and links of each."""

_SAFE_FRAGMENT = re.compile(r"#[\w.~!$'()*+,;=:@/?%&-]*", re.ASCII)
REMEMBERED = 1_000
"""Characters of a link, and of a directory, up to which what it resolves to is remembered."""

_PLAIN = re.compile(
    r"(?:/|((?:\.\./)*))(?:[a-z0-9_~-][a-z0-9_~.-]*/)*(?:[a-z0-9_~-][a-z0-9_~.-]*)?(?:\?[a-z0-9_~.=&+;,/-]+)?(?:#[a-z0-9_~.=&+;,/!-]*)?",
    re.ASCII | re.IGNORECASE,
)
"""Links that need no parser: path segments of plain characters that begin with no dot, but for steps up; no host."""
_SAME_SCHEME = re.compile(r"[a-z\t\n\r]+:(?!//)", re.ASCII | re.IGNORECASE)
_USERINFO = re.compile(r"//[^/?#\s]*@")


def is_web(url: str) -> bool:
    """Say whether the address is an http or https one."""
    return url.startswith(WEB)


def split_fragment(url: str) -> tuple[str, str | None]:
    """Split an absolute address into the document and its fragment, None when there is none."""
    document, mark, fragment = url.partition("#")
    return document, fragment if mark else None


def authority(url: str) -> str:
    """Return what stands between the scheme and the path of a web address."""
    return url.split("/", 3)[2]


def origin(url: str) -> str:
    """Return scheme, host and port of a web address, as a prefix of it without the slash."""
    return "/".join(url.split("/", 3)[:3])


def host_port(url: str) -> tuple[str, int]:
    """Return host and port of a web address, IPv6 addresses without brackets."""
    parsed = ada_url.URL(url)
    return parsed.hostname.strip("[]"), int(parsed.port or (443 if parsed.protocol == "https:" else 80))


def path(url: str) -> str:
    """Return the path of a web address, with its leading slash and without query and fragment."""
    return "/" + re.split(r"[?#]", url.split("/", 3)[3], maxsplit=1)[0]


def without_userinfo(url: str) -> str:
    """Remove user name and password from an address or from a link as written."""
    return _USERINFO.sub("//", url, count=1)


def join(base: str, href: str) -> str:
    """Resolve a link against its base. Raises ValueError on a bad one.

    User name and password are dropped, and so is a query without content, which clients do not send.
    """
    url: str = ada_url.join_url(base, href)
    if not is_web(url):
        return url
    if "@" in authority(url):
        url = without_userinfo(url)
    document, mark, fragment = url.partition("#")
    return document[:-1] + mark + fragment if document.endswith("?") else url


def decoded(fragment: str) -> str:
    """Percent-decode a fragment as UTF-8; a plus is a plus."""
    return unquote(fragment, encoding="utf-8", errors="replace")


class Resolver:
    """Resolves the links of one document after another, remembering what those of its directory resolved to."""

    def __init__(self) -> None:
        self._directories: dict[str, dict[str, str | None]] = {}

    def of(self, page: str, base: str | None = None) -> Callable[[str, bool], str | None]:
        """Return what resolves the links of a document.

        Args:
            page: its address.
            base: href of its base element, or None.

        Returns:
            A function of a link as written, and of whether a reader goes there. It returns the target: an absolute
            http or https address without user name and password, with its fragment when a reader goes there; INVALID
            and the link as written when that is no valid address; None when it leads to nothing that can be fetched.
        """
        document = split_fragment(_base(page, base))[0]
        directory = document.partition("?")[0]
        directory = directory[: directory.rfind("/") + 1]
        known = self._known(directory)
        site = origin(document)
        above = _above(site, directory) if len(directory) <= REMEMBERED else None

        def resolve(href: str, navigates: bool) -> str | None:
            target = known.get(href, "")
            if target == "":
                if not href or href[0] <= " " or href[0] in "#?":
                    target = _in_document(document, href)
                elif _SAME_SCHEME.match(href):  # "http:#x" names the document, and "http:x" what stands beside it
                    target = _target(document, href)
                elif above is None:
                    target = _target(directory, href)
                else:
                    target = _plain(href, site, above) or _target(directory, href)
                    if len(href) <= REMEMBERED:
                        known[href] = target
            if navigates or target is None:
                return target
            return None if href[:1] == "#" else target.partition("#")[0] if target[0] != INVALID else target

        return resolve

    def _known(self, directory: str) -> dict[str, str | None]:
        known = self._directories.get(directory)
        if known is None:
            if len(self._directories) >= DIRECTORIES:
                self._directories.pop(next(iter(self._directories)))
            known = self._directories[directory] = {}
        elif len(known) > LINKS:
            known.clear()
        return known


def _plain(href: str, site: str, above: list[str]) -> str | None:
    """Return what a link means as ada has it, at a fifth of the cost, or None when it is not of the plain ones."""
    plain = _PLAIN.fullmatch(href, len(site) if href.startswith(site + "/") else 0)
    if plain is None or plain.start():
        return href if plain else None
    if href[0] == "/":
        return site + href
    up = plain.end(1) // 3
    return above[min(up, len(above) - 1)] + href[3 * up :]


def _above(site: str, directory: str) -> list[str]:
    """Return a directory and those above it, up to the site's root."""
    found = [directory]
    while len(found[-1]) > len(site) + 1:
        found.append(found[-1][: found[-1].rfind("/", 0, -1) + 1])
    return found


def _base(page: str, href: str | None) -> str:
    if not href:
        return page
    try:
        base = join(page, href)
    except ValueError:
        return page
    if len(base) > MAX_ADDRESS:  # so is what stands beside it: it is not kept
        base = base[:MAX_ADDRESS] + "/"
    return base if is_web(base) else page


def _in_document(document: str, href: str) -> str | None:
    if not href:
        return document
    return document + href if _SAFE_FRAGMENT.fullmatch(href) else _target(document, href)


def _target(base: str, href: str) -> str | None:
    try:
        target = join(base, href)
    except ValueError:
        return INVALID + without_userinfo(href).strip()
    return target if is_web(target) else None
