"""What an agent says is broken, read out of whatever it wrote."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gapless.links import urls
from gapless.links.escape import visible

FILE_NAME = "link-audit.json"
MAX_BYTES = 5_000_000
MAX_CLAIMS = 20_000
MAX_FIELD = 2_000
MAX_STARTS = 200

_HEADING = re.compile(r"#{1,6}\s+(.*)")
_ITEM = re.compile(r"[-*]\s+\[([^\]]{1,80})\]\s+(\S+)")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


class Claim(NamedTuple):
    """One link that an agent calls broken.

    Attributes:
        page: address of the page it is said to stand on, or None when the agent names none.
        href: the link as written, or None.
        target: the address it is said to mean, absolute, fragment included.
        reason: what the agent says is wrong, as it says it.
    """

    page: str | None
    href: str | None
    target: str
    reason: str


def parse_claims(text: str, *, site: str, files: Mapping[str, bytes]) -> tuple[list[Claim], list[str]]:
    """Read an agent's claims: its JSON file, else JSON in its text, else a report in Markdown.

    Nothing that an agent writes raises; what cannot be used is named among the problems.

    Args:
        text: the agent's answer.
        site: any address of the audited site, against which paths are resolved.
        files: what the agent left behind, by path.

    Returns:
        The distinct claims in order, and the problems, one line each.
    """
    problems: list[str] = []
    document = _from_files(files, problems)
    if document is None:
        if len(text) > MAX_BYTES:
            problems.append(f"the answer is longer than {MAX_BYTES} characters; the rest was not read")
            text = text[:MAX_BYTES]
        document = _from_text(text)
    rows = _rows(document, problems) if document is not None else _from_markdown(text)
    claims: dict[Claim, None] = {}
    for row in rows:
        if len(claims) >= MAX_CLAIMS:
            problems.append(f"more than {MAX_CLAIMS} claims; the rest was not read")
            break
        claim = _claim(row, urls.origin(site) + "/")
        if claim is None:
            problems.append(f"not a claim: {visible(str(row), 100)}")
        else:
            claims[claim] = None
    if not claims and not problems and document is None:
        problems.append("the answer holds no report that can be read")
    return list(claims), problems[:100]


def _from_files(files: Mapping[str, bytes], problems: list[str]) -> Any:
    for path in sorted(files):
        if path.rsplit("/", 1)[-1] != FILE_NAME:
            continue
        if len(files[path]) > MAX_BYTES:
            problems.append(f"{FILE_NAME} is larger than {MAX_BYTES} bytes")
            continue
        document = _json(files[path].decode("utf-8", "replace"))
        if document is not None:
            return document
        problems.append(f"{FILE_NAME} is not a JSON object")
    return None


def _from_text(text: str) -> Any:
    decoder = json.JSONDecoder()
    at = -1
    for _ in range(MAX_STARTS):
        at = text.find("{", at + 1)
        if at < 0:
            break
        try:
            document, _end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict) and "broken" in document:
            return document
    return None


def _json(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _rows(document: dict[str, Any], problems: list[str]) -> Iterator[Any]:
    broken = document.get("broken")
    if not isinstance(broken, list):
        problems.append('"broken" is not a list')
        return
    yield from broken


def _from_markdown(text: str) -> Iterator[dict[str, Any]]:
    page: str | None = None
    listed = True
    for raw in text.splitlines():
        line = raw.strip()
        if heading := _HEADING.match(line):
            title = _ESCAPED.sub(r"\1", heading[1]).strip().strip("`")
            page = title if title.startswith(("/", *urls.WEB)) else None
            listed = page is not None or title.startswith(("On ", "Broken"))
        elif listed and (item := _ITEM.match(line)):
            target = _ESCAPED.sub(r"\1", item[2]).strip("`").rstrip(",")
            yield {"page": page, "href": None, "target": target, "reason": item[1]}


def _claim(row: Any, site: str) -> Claim | None:
    if not isinstance(row, dict):
        return None
    page, href, target, reason = (_field(row, name) for name in ("page", "href", "target", "reason"))
    try:
        page = urls.split_fragment(urls.join(site, page))[0] if page else None
        resolved = urls.join(page if page and urls.is_web(page) else site, target or href or "")
    except ValueError:
        if not target and not href:
            return None
        resolved = target or href or ""
    if not (target or href):
        return None
    return Claim(page, href, resolved, reason or "")


def _field(row: dict[str, Any], name: str) -> str | None:
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    # Half a surrogate pair is valid JSON and no valid text.
    return value.strip()[:MAX_FIELD].encode("utf-8", "replace").decode() or None
