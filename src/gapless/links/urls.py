"""Web addresses by the WHATWG URL Standard, as ada parses them."""

import re
from urllib.parse import unquote

import ada_url

WEB = ("http://", "https://")
CACHE = 200_000

_SAFE_FRAGMENT = re.compile(r"#[\w.~!$'()*+,;=:@/?%&-]*", re.ASCII)
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
    """Resolves links, remembering what each directory's links resolved to."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def resolve(self, base: str, href: str) -> str:
        """Resolve a link as written against the document's base. Raises ValueError on a bad one."""
        if not href or href[0] in "#? \t\n\r\f":
            return self._in_document(base, href)
        document = base.split("?", 1)[0].split("#", 1)[0]
        directory = document[: document.rfind("/") + 1]
        known = self._known.get((directory, href))
        if known is None:
            known = join(directory, href)
            if len(self._known) >= CACHE:
                self._known.clear()
            self._known[directory, href] = known
        return known

    @staticmethod
    def _in_document(base: str, href: str) -> str:
        if _SAFE_FRAGMENT.fullmatch(href):
            return base.partition("#")[0] + href
        return join(base, href)
