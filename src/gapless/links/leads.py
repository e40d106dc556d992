"""Where links lead, noted as pages are read: to go over all links again would cost more when the crawl is over."""

from collections.abc import Iterable

from gapless.links.record import INVALID
from gapless.links.scope import Scope


class Leads:
    """Where the links of what was read lead.

    Args:
        scope: of the audit.

    Attributes:
        documents: addresses without fragments.
        elsewhere: targets on other hosts.
    """

    def __init__(self, scope: Scope) -> None:
        self.documents: set[str] = set()
        self.elsewhere: list[str] = []
        self._root = scope.root

    def add(self, targets: Iterable[str]) -> list[str]:
        """Take targets that no link led to so far; return the site's addresses among what is new of them."""
        found = []
        for target in targets:
            document = target.partition("#")[0]
            if target.startswith(self._root):
                if document not in self.documents:
                    found.append(document)
            elif target.startswith(INVALID):
                continue
            else:
                self.elsewhere.append(target)
            self.documents.add(document)
        return found
