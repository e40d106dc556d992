"""Words that call a link broken or fine."""

import re
from functools import lru_cache
from itertools import islice

MAX_READ = 2_000

_COUNTED = r"(?:\ (?:pages|links|urls|files|ms|s|seconds|bytes|kb)\b)"
_SIGN = re.compile(
    rf"""
      (?P<counted>\b[1-9]\d*\ (?:\w+\ )?(?:broken|dead|missing)\b)
    | (?P<cannot>(?:\bnot|n['\u2019]t|\bnever|\bcannot|\bno\ longer|\bnowhere|\bfails?\ to)\ (?:\w+\ ){{0,2}}?
        (?:work|exist|load|resolv|found|find|reach|valid|ok\b|open|respond|availab|there|access|lead)\w*)
    | (?P<fine>(?:\bnot|n['\u2019]t|\bnever|\bno\ longer|\bno|\bzero|\b0)\ (?:\w+\ ){{0,2}}?
        (?:broken|dead|missing|affected|issue|problem|error|fail)\w*
      | (?<!\d)2\d\d(?!\d|{_COUNTED})
      | \b(?:ok|okay|works?|working|alive|valid|reachable|resolves?(?!\ to)|loads?|exists?|fine|healthy|passe[ds])\b
      | \bsuccess)
    | (?P<broken>(?<!\d)[45]\d\d(?!\d|{_COUNTED})|(?<!\d)999(?!\d)|broken|\bdead\b|missing|not[ _-]?found|\binvalid
      |\bunreachable|\bunavailable|time[ds]?[ _-]?out|\bdns\b|\brefused|\breset\b|\btls\b|\bssl\b|certificate|truncat
      |\bloop|too[ _-]many[ _-]redirects|bad[ _-]?url|malformed|\bgone\b|\berror|\bfail|nxdomain|\bnowhere\b
      |no[ _](?:such|location|matching)|dangling|失效|不存在|无法|壊|切れ)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LISTS = re.compile(r"\b(?:errors?|issues?|failures?|failed|findings?|claims?|problems?|defects?)\b", re.IGNORECASE)
_ASIDE = re.compile(
    r"unverif|recover|flaky|\bwarning|\bfix|suggest|recommend|next step|redirect(?!ed to broken| to broken| loop)"
    r"|skipp|exclud|out of scope|not checked|unchecked|ignored|appendix|remed|replace",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[_\W]+|(?<=[a-z])(?=[A-Z])")


@lru_cache(maxsize=4096)
def sign_of(text: str) -> tuple[bool | None, str]:
    """Say whether words call something broken (True) or fine (False), and by which words."""
    for match in islice(_SIGN.finditer(text[:MAX_READ]), 5):
        if match.lastgroup != "counted":
            return match.lastgroup != "fine", match[0]
    return None, ""


def is_claim(sign: bool | None, listed: bool | None) -> bool:
    """Say whether a link is called broken: by words of its own, else by what it is listed under."""
    return listed is not False and (listed is True if sign is None else sign)


def listing_of(title: str) -> bool | None:
    """Say whether what stands under a title or key is called broken (True), something else (False), or is open."""
    words = _WORDS.sub(" ", title[:300])
    if _ASIDE.search(words):
        return False
    sign = sign_of(re.sub(r"\b[1-9]\d* ", "", words))[0]
    return True if sign is None and _LISTS.search(words) else sign
