"""What sentences and loose cells claim: each address is judged by the words around it."""

import re
from collections.abc import Iterator, Sequence

from gapless.links.reading.addresses import addresses
from gapless.links.reading.fields import Said
from gapless.links.reading.words import is_claim, sign_of

_SENTENCE = re.compile(
    r"(?:(?<=[.!?。])|(?<=[.!?]\)))\s+"
    r"(?!(?:It|This|That|Which|Both|The (?:link|url|target|address)|is|are|and|but|or|returns?|gives?|does|leads?)\b)"
    r"|(?<=。)"
)
NAMES_PAGE = re.compile(
    r"(?:\b(?:on|in|from|inside|within|page|source|under)\b|在|页面)[\s:(\"'*_\[]*+(?:(?:the|this|that|page|pages|file|document|at|url|address|your|its)\s+){0,4}[\W_]*+$",
    re.IGNORECASE,
)
_NAMES_REPAIR = re.compile(
    r"(?:\binstead|should\s+(?:be|point|link|read|go|lead)|\breplac\w*|\bchang\w*|\bupdat\w*|\buse\b|\btry\b|\bcorrect"
    r"|\bfix(?:ed)?\s*(?:is|to|with|by|:)|\bredirect\w*|\bmoved|\brenamed|\bsuggest\w*|\bexpect\w*|\bsee\b|e\.g\."
    r"|\bproper|\bvalid|\bworking|\bnow\b)[^.]{0,25}$",
    re.IGNORECASE,
)
_NAMES_SITE = re.compile(r"\b(?:audit|crawl|scann?|start)\w*\s*(?:\w+\s+){0,3}[\W_]*$", re.IGNORECASE)
_LEADS_TO = re.compile(
    r"(?<!should )(?<!must )(?<!to )\b(?:link|point|refer|lead)(?:s|ed|ing)?\s+to\b|→|->|=>|⇒|»", re.IGNORECASE
)
_ATTACHED = re.compile(r"\S[^,;]{0,60}[:=\u2013\u2014-][\s\"'(*\[]*$")


def statements(text: str, page: str | None, *, listed: bool | None) -> Iterator[Said]:
    """Return what sentences claim, judging each address by the words around it."""
    for sentence in _SENTENCE.split(text):
        found = addresses(sentence)
        if not found:
            continue
        ends = [0, *(each.end for each in found)]
        starts = [*(each.start for each in found), len(sentence)]
        between = [sentence[end:start] for end, start in zip(ends, starts, strict=True)]
        overall = sign_of(" ".join(part[:200] for part in between[:50]))
        led = False
        for place, each in enumerate(found):
            before, after = between[place][-80:], between[place + 1][:80]
            if NAMES_PAGE.search(before) or (_LEADS_TO.search(after) and place + 1 < len(found)):
                page, led = each.address, True
            elif not _NAMES_REPAIR.search(before) and not _NAMES_SITE.search(before):
                sign, words = _said_of(before, after, overall)
                if is_claim(sign, listed):
                    behind = not led and place + 1 < len(found) and NAMES_PAGE.search(between[place + 1])
                    yield Said(found[place + 1].address if behind else page, None, each.address, words)


def _said_of(before: str, after: str, overall: tuple[bool | None, str]) -> tuple[bool | None, str]:
    near = (before, after) if _ATTACHED.search(before) else (re.split(r"[;,]\s", after, maxsplit=1)[0], after, before)
    return next((sign for sign in map(sign_of, near) if sign[0] is not None), overall)


def guess(cells: Sequence[str], page: str | None, *, listed: bool | None) -> Iterator[Said]:
    """Return what a row of a table without known columns claims: page and link, in this order, and a status."""
    found = [each[0].address for cell in cells if (each := addresses(cell))]
    sign, words = sign_of(" ".join(cell[:200] for cell in cells if not addresses(cell)))
    if found and is_claim(sign, listed):
        yield Said(found[0] if len(found) > 1 else page, None, found[min(1, len(found) - 1)], words)
