"""Text of pages and agents made harmless for whatever shows it: terminals, Markdown, HTML, XML, a build's log."""

import html
import json
import re
import unicodedata
from typing import Any
from urllib.parse import quote

MAX_SHOWN = 300

# Controls, bidirectional overrides, invisible and private characters, and what else a terminal may act on.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_IN_URL = {ord(mark): f"%{ord(mark):02X}" for mark in '<>[]`|@*\\"'}
_ENTITY = re.compile(r"&(?=#|\w+;)")
_ACTIVE = re.compile(r"#(?=\d)|(?<=\S)_(?=[\W_]|$)")  # a reference; an underscore that may end emphasis
_FENCE = re.compile(r"`+")
_PLAIN_URL = re.compile(r"[A-Za-z0-9/.:?=~%+,;!$()-]+(?:#[A-Za-z][A-Za-z0-9/.:?=~%+,;!$()-]*)?")
"""Most addresses: none of their characters means anything in Markdown."""
LONGEST_URL = 2_000
# Build runners take orders from their log: "##[error]" anywhere in a line, "##vso[…]", "##teamcity[…]". Source:
# github.com/actions/runner, src/Runner.Common/ActionCommand.cs, TryParse (prefix "##["), read 2026-11.
_ORDER = re.compile(r"##(?=\w*\[)")

_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")
_URI = "/:?@!$&'()*+,;=%-._~"


def visible(text: str, limit: int = MAX_SHOWN) -> str:
    r"""Put text on one line, of a bounded length, with characters nobody sees written as \xNN or \uNNNN."""
    if text.isprintable() and len(text) <= limit and " " not in text and "##" not in text:
        return text
    line = " ".join(text[: 4 * limit].split())
    if not line.isprintable():  # or else nothing is hidden in it
        line = "".join(_spelled(mark) if unicodedata.category(mark) in _HIDDEN else mark for mark in line)
    shown = _ORDER.sub("# #", line) if "##" in line else line
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def url(address: str, site: str = "") -> str:
    """Write an address for Markdown, as a path when it is on the site: no mark up, no mention, no reference."""
    if site and address.startswith(site + "/"):
        address = address[len(site) :]
    if len(address) <= LONGEST_URL and _PLAIN_URL.fullmatch(address):
        return address
    text = _ENTITY.sub("&amp;", visible(address, LONGEST_URL).translate(_IN_URL).replace(" ", "%20"))
    return _ACTIVE.sub(r"\\\g<0>", text)


def prose(text: str) -> str:
    """Write a sentence that may hold an address for Markdown."""
    return url(text).replace("%20", " ").replace("\\#", "# ")


def code(text: str, limit: int = MAX_SHOWN) -> str:
    """Write text as a code span, in which Markdown, HTML and mentions mean nothing."""
    shown = visible(text, limit) or " "
    if "`" not in shown:
        return f"`{shown}`"
    fence = "`" * (1 + max(len(run) for run in _FENCE.findall(shown)))
    return f"{fence} {shown} {fence}"


def markup(text: str, limit: int = MAX_SHOWN) -> str:
    """Write text for HTML or XML, between tags or in a quoted attribute; no character is left that XML 1.0 forbids."""
    return html.escape(visible(text, limit))


def script_data(value: Any) -> str:
    """Write plain values as JSON that can stand in a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def command_data(text: str, limit: int = MAX_SHOWN) -> str:
    """Write text as the message of a GitHub workflow command. Source: @actions/core, command.ts, escapeData."""
    return visible(text, limit).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str, limit: int = MAX_SHOWN) -> str:
    """Write text as a property of a GitHub workflow command. Source: @actions/core, command.ts, escapeProperty."""
    return command_data(text, limit).replace(":", "%3A").replace(",", "%2C")


def uri(address: str) -> str:
    """Write an address as RFC 3986 has it; WHATWG addresses may hold other characters, and brackets in other places."""
    document, mark, fragment = _STRAY.sub("%25", address).partition("#")
    start, slashes, rest = document.partition("//")
    host, slash, path = rest.partition("/")
    parts = [quote(start, safe=_URI), slashes, quote(host, safe=_URI + "[]"), slash, quote(path, safe=_URI), mark]
    return "".join(parts) + quote(fragment, safe=_URI)


def _spelled(mark: str) -> str:
    number = ord(mark)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
