"""What a tool found, against what is broken."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from links.sites import Site

_QUERY = re.compile(r"\?utm=\d")


@dataclass(frozen=True, slots=True)
class Score:
    """Of what is broken, how much was found, and how much is missing; and what was named that is not broken.

    Once for each target with each page it stands on, and once for each target, whatever page was named with it.
    """

    pairs_found: int
    pairs_missing: int
    pairs_extra: int
    targets_found: int
    targets_missing: int
    targets_extra: int


def score(site: Site, named: Iterable[tuple[str, str]]) -> Score:
    """Compare pages and targets that a tool named with the site's truth.

    A page that is reached under another query is the same page here: a crawler that looks at both names what is broken
    on it twice, and is right.
    """
    truth = site.pairs()
    pairs = {(_QUERY.sub("", page), _QUERY.sub("", target)) for page, target in named}
    targets, true_targets = ({target for _, target in each} for each in (pairs, truth))
    return Score(
        len(pairs & truth),
        len(truth - pairs),
        len(pairs - truth),
        len(targets & true_targets),
        len(true_targets - targets),
        len(targets - true_targets),
    )
