"""What the processes of an audit are given, and what they give back."""

from typing import Any, NamedTuple

PAGE, IDS, STATUS, TEXT, SITEMAP, PLACES, LOOK = range(7)
"""What a job wants: links and ids; ids; status; text; a sitemap's addresses; where links stand; how a page looks."""


class Job(NamedTuple):
    """One address to be visited.

    Attributes:
        number: comes back with the result.
        url: absolute, without fragment.
        want: one of PAGE, IDS, STATUS, TEXT, SITEMAP, PLACES.
        etag: validator of what is known, or empty.
        modified: the same.
        digest: of the body that is known, or empty: when it is the same again, it is not parsed again.
        targets: of PLACES: the links that are looked for.
        base: of PLACES: href of the page's base element.
        status: that the audited site is likely to answer, with the body that is known, or 0 when there is no telling.
        location: to which it is likely to redirect, or empty.
    """

    number: int
    url: str
    want: int
    etag: str = ""
    modified: str = ""
    digest: str = ""
    targets: tuple[str, ...] = ()
    base: str | None = None
    status: int = 0
    location: str = ""


class Result(NamedTuple):
    """What became of a job; see Record for the attributes of the same names.

    Attributes:
        number: of the job.
        wait: seconds that the host asks to be left alone, or None.
        same: whether the body is the one that is known, so that nothing was read out of it.
        names: targets that this process speaks of for the first time.
        first: its number of the first of them; it forgot those that had this number, and higher ones, before.
        links: its numbers of the distinct targets on the page, as the bytes of an array of C ints.
        more: text, addresses of pages and of sitemaps, or places, as the job wants them.
    """

    number: int
    status: int | None
    error: str | None
    chain: list[tuple[str, int | None]]
    final: str
    location: str | None
    wait: float | None
    kind: str
    same: bool
    ids: str | None
    base: str | None
    names: list[str]
    first: int
    links: bytes
    link_count: int
    cut: int
    etag: str
    modified: str
    digest: str
    more: Any
