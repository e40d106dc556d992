"""Named values, as in a JSON object, a table's row or lines of labels, and the claims that they make."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from gapless.links import urls
from gapless.links.reading.addresses import addresses
from gapless.links.reading.words import listing_of, sign_of

MAX_FIELD = 2_000
MAX_LIST = 1_000

_PAGE = """page pages pageurl pageuri pagepath onpage onpages source sources sourcepage sourcepages sourceurl sourcefile
    foundon foundonpage foundonpages foundin referencedon referencedby linkedfrom on in from fromurl parent parentpage
    parenturl referrer referrers referer referers document file where location occurrences"""
_TARGET = """target targets targeturl resolved resolvedurl resolvedto absolute absoluteurl fullurl brokenurl brokenurls
    brokenlink brokenlinks brokentarget brokenhref deadlink deadlinks deadurl destination dest to tourl linkurl
    linktarget linkedurl pointsto leadsto"""
_REASON = """reason error problem issue failure why cause | status statuscode httpstatus httpcode code result state
    verdict response | message detail details description note notes type kind category"""
_ROLES = dict.fromkeys(_PAGE.split(), "page")
_ROLES |= dict.fromkeys(_TARGET.split(), "target")
_ROLES |= dict.fromkeys(("href", "rawhref", "link", "src", "raw", "written", "aswritten", "linkhref"), "href")
_ROLES |= dict.fromkeys(("url", "uri", "address", "path"), "url")
_ROLES |= dict.fromkeys(("fragment", "anchor", "hash", "missingfragment", "missinganchor"), "fragment")
_ROLES |= {name: f"reason{rank}" for rank, names in enumerate(_REASON.split("|")) for name in names.split()}
_NOTHING = frozenset({"-", "\u2013", "\u2014", "/"})
LINKS = ("target", "href", "url")


class Said(NamedTuple):
    """A claim in the agent's own words: its addresses are not resolved yet."""

    page: str | None
    href: str | None
    target: str | None
    reason: str


Row = Said | str
"""A claim, or the text of what stands where one should be."""


def role_of(name: str) -> str | None:
    """Return what a name stands for: page, target, href, url, fragment, or reason with its rank; None for others."""
    return _ROLES.get(re.sub(r"[\W_]+", "", name[:60]).lower())


class Fields(NamedTuple):
    """What the named values of one record say; `sign` as in `sign_of`."""

    pages: list[str]
    targets: list[str]
    hrefs: list[str]
    urls: list[str]
    fragment: str
    reason: str
    sign: bool | None

    def claims(self, page: str | None) -> Iterator[Said]:
        """Return one claim for each page and link."""
        pages, targets = self.pages, self.targets
        if pages or not (targets or self.hrefs):
            targets = targets or self.urls
        else:
            pages = self.urls  # the address of a record with a link in it is the page's
        href = self.hrefs[0] if len(self.hrefs) == 1 and len(targets) <= 1 else None
        links: list[tuple[str | None, str | None]] = [(href, self._whole(each)) for each in targets]
        links = links or [(each, None) for each in self.hrefs]
        where: Sequence[str | None] = pages or [page]
        for on, (written, target) in product(where, links):
            yield Said(on, written, target, self.reason)

    def _whole(self, target: str) -> str:
        return target if "#" in target or not self.fragment else f"{target}#{self.fragment}"


def fields_of(items: Iterable[tuple[str, Any]], *, exact: bool) -> Fields:
    """Read named values; `exact` says that an address is a value of its own, not a part of some text."""
    values: dict[str, list[str]] = {}
    sign: bool | None = None
    for name, value in items:
        role = role_of(name)
        if isinstance(value, bool):
            said = listing_of(name)
            sign = sign if said is None else said == value
        elif role is not None and role.startswith("reason"):
            values.setdefault(role, [scalar(value)])
        elif role is not None and (texts := _texts(value, role, exact=exact)):
            values.setdefault(role, texts)
    reasons = [values[role][0] for role in ("reason0", "reason1", "reason2") if values.get(role, [""])[0]]
    for reason in reasons:
        sign = sign_of(reason)[0] if sign is None else sign
    fragments = [each for each in values.get("fragment", []) if " " not in each]
    return Fields(
        pages=values.get("page", []),
        targets=values.get("target", []),
        hrefs=values.get("href", []),
        urls=values.get("url", []),
        fragment=fragments[0].removeprefix("#") if fragments else "",
        reason=reasons[0] if reasons else "",
        sign=sign,
    )


def scalar(value: Any) -> str:
    """Return a single value as text, empty for anything else."""
    if isinstance(value, str):
        return value.strip().strip("*_`")[:MAX_FIELD]
    return str(value)[:MAX_FIELD] if isinstance(value, int | float) else ""


def _texts(value: Any, role: str, *, exact: bool) -> list[str]:
    if isinstance(value, dict):
        value = next((each for name, each in value.items() if role_of(name) in {"page", *LINKS}), None)
    values = value if isinstance(value, list) else [value]
    texts = [text for each in values[:MAX_LIST] if isinstance(each, str) for text in parts(each, role, exact=exact)]
    return list(dict.fromkeys(texts))[:MAX_LIST]


def parts(text: str, role: str, *, exact: bool) -> list[str]:
    """Return the addresses that a value names; `exact` says that the value is one and no more."""
    text = text.strip()
    if role == "fragment":
        return [text] if text.startswith("#") or not exact or " " not in text else []
    found = addresses(text)
    if exact and not (found and found[0].start == 0 and found[0].end == len(text) and text[0] in "[`<"):
        whole = role != "page" or " " not in text or text.startswith(("/", *urls.WEB))
        return [text] if text and whole else [each.address for each in found[:1]]
    plain = text.strip("*_`'\"")
    return [each.address for each in found] or (
        [plain] if plain and " " not in plain and plain not in _NOTHING else _root(plain)
    )


def _root(text: str) -> list[str]:
    return ["/"] if text == "/" else []
