"""Patterns that people write: stars in rules, named parts in paths, and the versions of versioned documentation."""

import re
from functools import lru_cache
from urllib.parse import quote, unquote

_NAME = re.compile(r"\{([a-z_]+)\}")
# What a version of documentation is called: those that stand for all others, and those that are not out yet.
_FIRST = ("stable", "latest", "current")
_LAST = ("main", "master", "trunk", "next", "dev", "devel", "develop", "edge", "nightly")
_VERSION = rf"v?\d+(?:\.\w+)*|{'|'.join(_FIRST + _LAST)}"


def covers(pattern: str, text: str) -> bool:
    """Say whether a pattern, in which a star stands for anything, fits all of the text; in linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in rest:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


@lru_cache(maxsize=1_000)
def compiled(pattern: str, *, whole: bool = True) -> re.Pattern[str]:
    """Compile a path with parts like {version}; {path} takes slashes too, any other name one segment.

    Raises:
        ValueError: when a brace is left over or a name is used twice, in one line.
    """
    pieces = _NAME.split(pattern)
    names = pieces[1::2]
    if len(set(names)) < len(names):
        raise ValueError(f"{pattern!r} names a part twice")
    if any(mark in piece for piece in pieces[::2] for mark in "{}"):
        raise ValueError(f"{pattern!r} has a brace that belongs to no {{name}}")
    parts = {"path": ".+", "version": _VERSION}
    written = [
        f"(?P<{piece}>{parts.get(piece, '[^/]+')})" if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    ]
    return re.compile("".join(written) + (r"\Z" if whole else ""))


def names(pattern: str) -> set[str]:
    """Return the names of the parts in a pattern."""
    return set(_NAME.findall(pattern))


def filled(template: str, values: dict[str, str]) -> str:
    """Put values in the place of the names."""
    return _NAME.sub(lambda name: values[name[1]], template)


def repository_path(pattern: str, template: str, page: str) -> str | None:
    """Return the file in the repository that a page is made from, or None when the pattern does not fit.

    A page's path is not ours: one that would leave the repository or hide a character fits nothing.
    """
    found = compiled(pattern).match(page)
    if found is None:
        return None
    path = unquote(filled(template, found.groupdict()))
    safe = path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(path.split("/"))
    return path if safe else None


def in_url(path: str) -> str:
    """Write a path of a repository as part of an address."""
    return quote(path, safe="/")


def split_version(prefixes: tuple[str, ...], path: str) -> tuple[str, str]:
    """Split a path of the site into its version and what is the same in all versions.

    Returns:
        The prefix as it stands in the path, for example "/1.4/", and the path with "/*/" in its place;
        "" and the path when no prefix fits.
    """
    for prefix in prefixes:
        if found := compiled(prefix, whole=False).match(path):
            return found[0], "/*/" + path[found.end() :]
    return "", path


def rank(version: str) -> tuple[int, tuple[int, ...], str]:
    """Order versions as readers want them: stable, latest, the highest number, and last what is to come."""
    segments = {part.lower() for part in version.split("/")}
    order = (*_FIRST, "", *_LAST)
    named = min((order.index(part) for part in segments if part and part in order), default=order.index(""))
    numbers = tuple(-int(number) for number in re.findall(r"\d{1,9}", version))
    return named, (*numbers, 1), version
