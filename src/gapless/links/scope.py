"""What an audit covers, and how far it has got."""

import re
from dataclasses import dataclass
from functools import cached_property

import ada_url

from gapless.links import urls
from gapless.links.record import INVALID


@dataclass(frozen=True)
class Scope:
    """What to audit and how gently.

    Attributes:
        start: http or https address of the first page; its origin is the site.
        max_pages: pages to crawl at most.
        external: whether links to other hosts are checked.
        robots: whether the site's robots.txt is obeyed.
        connections: simultaneous connections to the site; other hosts get two each.
        timeout: seconds for one request in total, waiting for its turn excluded.
        max_bytes: bytes of one body at most, after inflation.
        prefix: path that pages must start with; other addresses of the site are checked, not crawled.
        sitemaps: whether pages that sitemaps name are crawled, too.
        include: regular expressions; when there are any, only links whose target one of them is found in are covered.
        exclude: regular expressions; links whose target one of them is found in are not covered.
        public: address that the site has elsewhere, as https://docs.example.com: links there mean the site. Empty when
            it is audited where it is.
        contacts: whether the syntax of mailto and tel links is checked.
        allow: other hosts, written host:port, that may be visited although they are on private addresses.

    Raises:
        ValueError: when a value cannot be meant, in one line that says why.
    """

    start: str
    max_pages: int = 10_000
    external: bool = True
    robots: bool = True
    connections: int = 8
    timeout: float = 20.0
    max_bytes: int = 20_000_000
    prefix: str = "/"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    public: str = ""
    sitemaps: bool = True
    contacts: bool = False
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _start(self.start))
        object.__setattr__(self, "allow", tuple(map(_authority, self.allow)))
        object.__setattr__(self, "include", tuple(map(_pattern, self.include)))
        object.__setattr__(self, "exclude", tuple(map(_pattern, self.exclude)))
        object.__setattr__(self, "public", urls.origin(_start(self.public)) if self.public else "")
        if not self.prefix.startswith("/"):
            raise ValueError(f"The prefix {self.prefix!r} is not a path; it must start with a slash.")
        for name in ("max_pages", "connections", "timeout", "max_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than zero, not {getattr(self, name)}.")

    @cached_property
    def site(self) -> str:
        """The origin: scheme, host and port, without a slash at the end."""
        return urls.origin(self.start)

    @cached_property
    def root(self) -> str:
        """What every address of the site begins with."""
        return self.site + "/"

    @cached_property
    def host(self) -> str:
        """Host of the site, with its port when it is not the scheme's own."""
        return urls.authority(self.start)

    @cached_property
    def trusted(self) -> frozenset[tuple[str, int]]:
        """Host and port of what may be visited wherever it leads: the site and what the caller allows."""
        allowed = (urls.host_port(f"http://{host}") for host in self.allow)
        return frozenset({urls.host_port(self.start), *allowed})

    def on_site(self, url: str) -> bool:
        """Say whether the address belongs to the site."""
        return url.startswith(self.root)

    def home(self, target: str) -> str:
        """Return where a target is on the site that is audited, if it is an address of the public one."""
        if self.public and target.startswith(self.public) and target[len(self.public) :][:1] in {"", "/", "?", "#"}:
            return self.site + target.removeprefix(self.public)
        return target

    def shown(self, url: str) -> str:
        """Return an address of the site as people know it: the public one, if there is one."""
        if self.public and (url == self.site or self.on_site(url)):
            return self.public + url.removeprefix(self.site)
        return url

    def covers(self, target: str) -> bool:
        """Say whether a link to this target is checked."""
        if not self.external and not target.startswith(INVALID) and not self.on_site(target):
            return False
        if self.exclude and any(re.search(pattern, target) for pattern in self.exclude):
            return False
        return not self.include or any(re.search(pattern, target) for pattern in self.include)

    def inside(self, url: str) -> bool:
        """Say whether links are taken from a page at this address."""
        return self.on_site(url) and (self.prefix == "/" or urls.path(url).startswith(self.prefix))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an audit has got.

    Attributes:
        pages: pages crawled.
        links: links found on them, those that the audit covers.
        failures: addresses that failed, so far as is known.
        phase: "crawling", "checking other hosts", "confirming" or "locating".
    """

    pages: int
    links: int
    failures: int
    phase: str


def _start(text: str) -> str:
    try:
        url = ada_url.URL(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a web address; write it as https://host/path.") from None
    if not urls.is_web(url.href):
        raise ValueError(f"{text!r} is not an http or https address; write it as https://host/path.")
    if url.username or url.password:
        raise ValueError("The start address must not carry a user name or a password.")
    return urls.split_fragment(url.href)[0]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}.") from None
    return text


def _authority(host: str) -> str:
    try:
        return urls.authority(ada_url.URL(f"http://{host}").href)
    except ValueError:
        raise ValueError(f"{host!r} is not a host; write it as host:port.") from None
