"""Equal shares of the memory that an audit has for what links lead to.

A page's first targets, TARGETS_OF_A_PAGE bytes of those that no page of a level above has, are its own: no other page
takes them away. What pages bring beyond that must fit into TARGETS bytes for the whole site. When the pages of one
visit, which is a level of the site or a part of it, bring more, each of them keeps its first targets only, up to a
share that is the same for all: SHARE, halved as often as it takes. The shares of later visits are never larger.

What is cut is the same in whatever order pages arrive, and whoever reads them: which targets a page keeps depends on
the page and the share alone, and to be cut twice is to be cut to the smaller share. So pages are cut on the way, as
soon as those that have arrived are too much: all of them would be, too. The last word is said when the visit is over.
"""

from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate

from gapless.links.record import SHARE, Numbers, Record

TARGETS, TARGETS_OF_A_PAGE, TARGET = 16_000_000, 8_000, 100
"""Bytes of distinct targets that all pages may bring beyond their own, those that are a page's own, and what a target
costs besides its characters. A share is never halved when it is no more than a page's own targets."""
TOGETHER = 1_000
"""Records whose targets are looked at together, as long as they are not too much."""


def fitting(names: Sequence[str], links: Sequence[int], share: int) -> int:
    """Return how many of a page's targets, from the first on, fit into a share."""
    return bisect(list(accumulate(len(names[number]) + TARGET for number in links)), share)


class Shares:
    """Bounds what an audit keeps of the targets of links.

    Args:
        numbers: of the targets; those that no page keeps lose theirs.

    Attributes:
        share: bytes of targets that a page may bring now.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.share = SHARE
        self._numbers = numbers
        self._room = TARGETS
        self._known: set[int] = set()
        self.begin()

    def begin(self) -> None:
        """Begin with a visit, the one before being settled."""
        self._records: list[Record] = []
        self._first = self._seen = len(self._numbers.names)
        self._arrived = 0
        self._clear()

    def free(self, links: Iterable[int]) -> set[int]:
        """Take targets that no page brings, and return those that are new."""
        new = set(links) - self._known
        self._known |= new
        return new

    def take(self, records: Iterable[Record]) -> None:
        """Take what the visit brings.

        Args:
            records: of pages that were cut to what the share is, or was; and first of all, those that an earlier
                attempt took in this visit, which came to its shares as this one does.
        """
        taken = [record for record in records if record.links or record.cut]
        self._records += taken
        self.share = min([self.share, *[record.cut for record in taken if record.cut]])
        if self.share < SHARE or self.overflow():
            self._shrink()
        elif len(self._records) - self._added >= TOGETHER:
            self._add()

    def overflow(self) -> bool:
        """Say whether the names that are new since the beginning may be too much, whatever was taken of them."""
        arrived = range(self._seen, len(self._numbers.names))
        self._seen = arrived.stop
        self._arrived += self._size(arrived)
        return self._arrived > self._room

    def settle(self) -> set[int]:
        """End the visit: cut what is too much of all that was taken, and return the targets that are new."""
        self._shrink()
        self._room -= max(0, self._bytes - TARGETS_OF_A_PAGE * len(self._records))
        self._known |= self._new
        new = self._new
        self.begin()
        return new

    def _clear(self) -> None:
        self._added = self._counted = 0
        self._swept = self._first
        self._new: set[int] = set()
        self._bytes = 0
        self._beyond: set[int] = set()

    def _size(self, numbers: Iterable[int]) -> int:
        names = self._numbers.names
        return sum([len(names[number]) + TARGET for number in numbers])

    def _shrink(self) -> None:
        """Make the shares smaller until what was taken fits."""
        self._add()
        while self._bytes > self._room and self._brought() > self._room:  # the latter is never more, and costs more
            self.share //= 2
            self._clear()
            self._add()

    def _add(self) -> None:
        """Find out which targets are new on the records that came last, and cut these to what the share is."""
        records, self._added = self._records[self._added :], len(self._records)
        if self.share < SHARE:
            for record in records:
                self._fit(record)
        new = set().union(*[record.links for record in records]) - self._known - self._new
        self._new |= new
        self._bytes += self._size(new)
        if self.share < SHARE:
            arrived = range(self._swept, len(self._numbers.names))
            self._swept = arrived.stop
            self._numbers.drop(set(arrived) - self._new)

    def _brought(self) -> int:
        """Return the bytes of new targets that pages bring beyond their own."""
        names, new, beyond = self._numbers.names, self._new, self._beyond
        for record in self._records[self._counted :]:
            own = 0
            for number in record.links:
                if number in new:
                    own += len(names[number]) + TARGET
                    if own > TARGETS_OF_A_PAGE:
                        beyond.add(number)
        self._counted = len(self._records)
        return self._size(beyond)

    def _fit(self, record: Record) -> None:
        count = fitting(self._numbers.names, record.links, self.share)
        if count < len(record.links):
            record.links = record.links[:count]
            record.cut = self.share
        elif 0 < record.cut < SHARE:
            record.cut = self.share
