"""Text of pages and agents made harmless for Markdown and terminals."""

import re
import unicodedata

MAX_SHOWN = 300

# Controls, bidirectional overrides, invisible and private characters, and what else a terminal may act on.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_IN_URL = {ord(mark): f"%{ord(mark):02X}" for mark in '<>[]`|@*\\"'}
_ENTITY = re.compile(r"&(?=#|\w+;)")
_ACTIVE = re.compile(r"#(?=\d)|(?<=\S)_(?=[\W_]|$)")  # a reference; an underscore that may end emphasis
_FENCE = re.compile(r"`+")


def visible(text: str, limit: int = MAX_SHOWN) -> str:
    r"""Put text on one line, of a bounded length, with characters nobody sees written as \xNN or \uNNNN."""
    line = " ".join(text[: 4 * limit].split())
    shown = "".join(_spelled(mark) if unicodedata.category(mark) in _HIDDEN else mark for mark in line)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def url(address: str, site: str = "") -> str:
    """Write an address for Markdown, as a path when it is on the site: no mark up, no mention, no reference."""
    if site and address.startswith(site + "/"):
        address = address[len(site) :]
    text = _ENTITY.sub("&amp;", visible(address, 2_000).translate(_IN_URL).replace(" ", "%20"))
    return _ACTIVE.sub(r"\\\g<0>", text)


def code(text: str, limit: int = MAX_SHOWN) -> str:
    """Write text as a code span, in which Markdown, HTML and mentions mean nothing."""
    shown = visible(text, limit) or " "
    fence = "`" * (1 + max((len(run) for run in _FENCE.findall(shown)), default=0))
    pad = " " if "`" in shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _spelled(mark: str) -> str:
    number = ord(mark)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
