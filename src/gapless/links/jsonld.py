"""Addresses in JSON-LD, the structured data that search engines read."""

import json
import re
from collections.abc import Iterator

MAX_LENGTH = 500_000
"""Characters of one block that is read."""

FIELDS = frozenset(
    re.findall(
        r"\w+",
        """archivedAt codeRepository contentUrl discussionUrl documentation downloadUrl embedUrl hasMap hasMenu image
        installUrl isBasedOn isBasedOnUrl item license logo mainEntityOfPage map maps menu paymentUrl photo
        primaryImageOfPage publishingPrinciples relatedLink replyToUrl sameAs schedulingUrl screenshot serviceUrl
        significantLink significantLinks termsOfService thumbnail thumbnailUrl trackingUrl url""",
    )
)
"""Properties of schema.org whose values are, or may be, addresses. `@id` and `@context` only name something."""

_ADDRESS = re.compile(r"(?:https?:)?//|\.{0,2}/", re.IGNORECASE)


def addresses(text: str) -> list[str]:
    """Return the addresses in a block of JSON-LD, in the order they stand in; none when it is no JSON.

    A value is taken when it is a string under one of FIELDS, or in a list under it, that begins as an address does:
    `"license": "MIT"` is none. URL templates (`{search_term}`) are not addresses.
    """
    if len(text) > MAX_LENGTH:
        return []
    try:
        return list(_addresses(json.loads(text, strict=False)))
    except (ValueError, RecursionError):
        return []


def _addresses(value: object, *, wanted: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        if wanted and "{" not in value and _ADDRESS.match(value.strip()):
            yield value
    elif isinstance(value, list):
        for each in value:
            yield from _addresses(each, wanted=wanted)
    elif isinstance(value, dict):
        for field, each in value.items():
            yield from _addresses(each, wanted=field in FIELDS)
