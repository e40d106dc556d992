"""Tables, lists, headings and links of HTML, written as those of Markdown."""

import re

MAX_NESTED = 40

_TABLE_OR_LIST = re.compile(r"<(?:t[rdh]|li|a|h[1-6]|br|p|ul|ol)\b", re.IGNORECASE)
_TAG = re.compile(
    r"<(/?)(a|t[rdh]|li|ul|ol|h[1-6]|p|div|br|t(?:able|head|body)|b|strong|em|i|code|span|small|u|html|body|pre)\b([^<>]{0,3000}+)>\s?"
)
_HREF = re.compile(r"""\bhref\s{0,9}=\s{0,9}(?:"([^"]{0,2000})"|'([^']{0,2000})'|([^\s"'>]{1,2000}))""", re.IGNORECASE)


def without_html(text: str) -> str:
    """Write tables, lists, headings and links of HTML as those of Markdown."""
    if not _TABLE_OR_LIST.search(text):
        return text
    nested = 0
    parts: list[str] = []
    at = 0
    label = -1
    for tag in _TAG.finditer(text):
        parts.append(text[at : tag.start()])
        at = tag.end()
        closing, name = bool(tag[1]), tag[2].lower()
        if name in {"ul", "ol"}:
            nested = min(max(0, nested + (-1 if closing else 1)), MAX_NESTED)
        if name == "a" and closing:
            del parts[label + 1 if label >= 0 else len(parts) :]
            label = -1
        elif name == "a" and (href := _HREF.search(tag[3])):
            parts.append(f" [link]({next(filter(None, href.groups()), '')})")
            label = len(parts) - 1
        else:
            parts.append(_as_markdown(name, closing, nested))
    return "".join([*parts, text[at:]])


def _as_markdown(name: str, closing: bool, nested: int) -> str:
    if name in {"td", "th"}:
        return " | " if closing else ""
    if name == "br":
        return " , "
    if name in {"b", "strong", "em", "i", "span", "small", "u", "code"}:
        return ""
    if closing or (name not in {"tr", "li"} and name[0] != "h"):
        return "\n"
    if name == "li":
        return "\n" + "  " * nested + "- "
    return "\n| " if name == "tr" else "\n" + "#" * int(name[1:] or 1) + " " if name[1:].isdigit() else "\n"
