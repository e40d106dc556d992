"""Where links stand in a page that is as plain as most are: a quarter of what `locate` costs, and the same answer."""

import re
from collections.abc import Callable
from html import unescape

from gapless.links import urls
from gapless.links.locate import clean
from gapless.links.record import Place

_ATTRIBUTES = r"(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+"
_HIDDEN = re.compile(
    rf"<(?:(?P<name>script|style|textarea|title|xmp|iframe|noembed|noframes)(?=[\s/>]){_ATTRIBUTES}>"
    r"(?P<content>(?:[^<]++|<(?!!--|/(?P=name)[\s>]))*+)</(?P=name)\s*>"
    r"|!--(?!-?>)(?:[^-<]++|-(?!-)|<(?!!--))*+-->)",
    re.IGNORECASE,
)
"""Comments, and elements that hold text only, where neither holds the beginning of a comment."""
_OPENED = re.compile(r"<(?:script|style|textarea|title|xmp|iframe|noembed|noframes)[\s/>]", re.IGNORECASE)
_UNUSUAL = re.compile(r"<(?:!\[|!--|/?(?:plaintext|template|svg|math|base)[\s/>])", re.IGNORECASE)
_TAG = re.compile(rf"<(/?[a-z][^\s/>]*+)({_ATTRIBUTES})>", re.IGNORECASE)
_TAG_BEGINS = re.compile(r"<[a-z/]", re.IGNORECASE)
_LINKING = frozenset({"a", "link", "img", "script", "area", "iframe", "source"})
_HREF = re.compile(r"(?<![^\s\"'])(?:href|src)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'=<>`]+))", re.IGNORECASE)
_CERTAIN = re.compile(r"[a-z0-9_~.=,/?#-]*[a-z0-9_~=-]", re.ASCII)
"""What no parser changes: a target ends as such a link does, after its last slash."""
_END = re.compile(r"<(?:/a\s*>|a[\s/>])", re.IGNORECASE)
_MARKUP = re.compile(r"</?(?:b|i|em|strong|code|span|tt|small|kbd|var|samp|cite|sub|sup|abbr|q|u|s)(?:\s[^<>\"']*)?>")


def glance(text: str, broken: Callable[[str], str | None], wanted: frozenset[str]) -> list[Place] | None:
    """Find the first place of each target in a plain page.

    Args:
        text: of the page.
        broken: maps an href as written to the target that is looked for, or to None.
        wanted: the targets that are looked for.

    Returns:
        One place for each target, or None when the page is not plain enough, or not all of them stand in plain sight:
        then `locate.places` finds them.
    """
    plain, hidden = _HIDDEN.subn(_blank, text)
    opened = len(_OPENED.findall(plain)) + text.count("<!--")
    if opened != hidden or _UNUSUAL.search(plain) or "\r" in text:
        return None
    found: dict[str, Place] = {}
    ends = tuple(wanted)
    tags = list(_TAG.finditer(plain))
    if len(tags) != len(_TAG_BEGINS.findall(plain)):
        return None
    for tag in tags:
        href = _HREF.search(tag[2]) if tag[1].lower() in _LINKING else None
        if href is None:
            continue
        value = href[1] or href[2] or href[3] or ""
        if _CERTAIN.fullmatch(value) and not any(end.endswith(value.rpartition("/")[2]) for end in ends):
            continue
        target = broken(unescape(value) if "&" in value else value)
        if target is None or target in found:
            continue
        words = _words(plain, tag)
        if words is None:
            return None
        line = text.count("\n", 0, tag.start()) + 1
        column = tag.start() - text.rfind("\n", 0, tag.start())
        shown = urls.without_userinfo(unescape(value)) if "&" in value or "@" in value else value
        found[target] = Place(target, shown, words, line, column)
        if len(found) == len(wanted):
            return list(found.values())
    return None


def _words(plain: str, tag: re.Match[str]) -> str | None:
    """Return the text of a link, or None where more than text tells what a reader sees."""
    if tag[1] not in {"a", "A"}:
        return None if "alt" in tag[2] or "title" in tag[2] or "aria" in tag[2] else ""
    end = _END.search(plain, tag.end())
    inner = _MARKUP.sub("", plain[tag.end() : end.start() if end else len(plain)])
    words = clean(unescape(inner))
    return None if "<" in inner or not words else words


def _blank(hidden: re.Match[str]) -> str:
    start = hidden.start("content") - hidden.start() if hidden["name"] else 0
    return hidden[0][:start] + " " * (len(hidden[0]) - start)
