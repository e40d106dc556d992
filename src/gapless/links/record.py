"""What an audit remembers of an address: enough to judge every link to it, never the body."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

INVALID = "!"
"""Begins the name of a link that is no valid address; the link as written follows. No address begins like that."""
TOO_MANY_REQUESTS = 429
MAX_ADDRESS = 16_384
"""Characters of an address that is kept; longer ones are left out, and their page is called cut."""
SHARE = 4_000_000
"""Bytes of targets that are kept of a page at most; see `shares`."""
TOO_MANY_IDS = "\0"
"""Stands for the ids of a page that has more of them than are kept."""


class Hop(NamedTuple):
    """One answer on the way of a redirect; the status is None where none arrived."""

    url: str
    status: int | None


class Place(NamedTuple):
    """Where a link stands in a page's source; line and column begin at 1, the column counts characters."""

    target: str
    href: str
    text: str
    line: int | None
    column: int | None


class Numbers(dict[str, int]):
    """Gives each name a number when it is first asked for; names are targets of links, fragment included.

    Attributes:
        names: by number; empty ones were dropped.
        dropped: whether any was.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        super().__init__(zip(names, count()))
        self.names = list(names)
        self.dropped = False

    def __missing__(self, name: str) -> int:
        """Return a new number for a new name."""
        number = self[name] = len(self.names)
        self.names.append(name)
        return number

    def place(self, name: str) -> int:
        """Use the next number up, for a name that may have one, and return the number of the name."""
        number = self.setdefault(name, len(self.names))
        self.names.append(name if number == len(self.names) else "")
        return number

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget names; whoever asks for one again gets another number."""
        for number in numbers:
            self.pop(self.names[number], None)
            self.names[number] = ""
        self.dropped = True


@dataclass(slots=True)
class Record:
    """What one address came to.

    Attributes:
        url: the address, without fragment.
        attempts: requests that it took, second passes over failures included.
        status: HTTP status of the last answer, or None when none arrived.
        error: reason id when the status does not say it all, or None.
        chain: answers before the last, when a cookie had to be carried from one to the next.
        final: address that gave the last answer.
        location: where the last answer redirects to, absolute, or None.
        kind: what links were taken from: "html", "css", "svg", "feed", "sitemap", or "".
        ids: ids of the page joined by NUL, or None when they were not read.
        base: href of the page's base element, or None.
        links: numbers of the distinct targets in document order.
        link_count: links on the page that the audit covers, repeated ones included.
        cut: bytes of targets to which the page was cut, 0 when all its links were taken; SHARE when it alone is why.
        recovered: reason of the failure that a later request did not see again, or None.
        etag: validator for the next audit, empty when there is none.
        modified: Last-Modified, the same.
        digest: of the body, by which pages that are the same are known; empty when it was not read.
    """

    url: str
    attempts: int = 1
    status: int | None = None
    error: str | None = None
    chain: tuple[Hop, ...] = ()
    final: str = ""
    location: str | None = None
    kind: str = ""
    ids: str | None = None
    base: str | None = None
    links: "array[int]" = field(default_factory=lambda: array("I"))
    link_count: int = 0
    cut: int = 0
    recovered: str | None = None
    etag: str = ""
    modified: str = ""
    digest: str = ""

    @property
    def is_page(self) -> bool:
        """Whether it is an HTML page that was read."""
        return self.kind == "html" and self.ids is not None

    @property
    def is_refused(self) -> bool:
        """Whether the host did not answer because it was asked too much."""
        return self.status == TOO_MANY_REQUESTS or self.error == "rate_limited"
