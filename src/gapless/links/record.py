"""What an audit remembers of an address: enough to judge every link to it, never the body."""

from dataclasses import dataclass
from typing import NamedTuple


class Link(NamedTuple):
    """A link on a page.

    Attributes:
        href: as written, without user name and password.
        target: resolved, with its fragment; the link as written when it is no valid address.
        text: what a reader sees of it, white space collapsed.
        valid: whether it resolves to an address at all.
    """

    href: str
    target: str
    text: str
    valid: bool = True


class Hop(NamedTuple):
    """One answer on the way of a redirect; the status is None where none arrived."""

    url: str
    status: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """What one address came to.

    Attributes:
        url: the address, without fragment.
        attempt: 1 for the crawl, 2 for the second pass over failures.
        status: HTTP status of the last answer, or None when none arrived.
        error: reason id when the status does not say it all, or None.
        chain: answers before the last, when a cookie had to be carried from one to the next.
        final: address that gave the last answer.
        location: where the last answer redirects to, absolute, or None.
        html: whether the last answer is an HTML page.
        ids: ids of the page joined by NUL, or None when they were not read.
        links: distinct targets in document order, each as it stands first.
        link_count: links on the page that the audit covers, repeated ones included.
        cut: whether the page holds more links than were taken.
        recovered: reason of the failure that the second pass did not see again, or None.
    """

    url: str
    attempt: int = 1
    status: int | None = None
    error: str | None = None
    chain: tuple[Hop, ...] = ()
    final: str = ""
    location: str | None = None
    html: bool = False
    ids: str | None = None
    links: tuple[Link, ...] = ()
    link_count: int = 0
    cut: bool = False
    recovered: str | None = None

    @property
    def is_page(self) -> bool:
        """Whether links were taken from it, or could have been."""
        return self.html and self.ids is not None
