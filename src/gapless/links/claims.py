"""What an agent says is broken, read out of whatever it wrote.

The first of these that holds a report counts: its files named link-audit.json, its text, its other files. In each,
JSON is looked for first (fenced, commented, cut off or as JSON Lines, too), then lines: Markdown, tables, CSV,
labels with values, sentences. An address named as working, as a repair or as the page it stands on is no claim.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from gapless.links import urls
from gapless.links.escape import visible
from gapless.links.reading.addresses import UNSEEN
from gapless.links.reading.documents import documents
from gapless.links.reading.fields import MAX_FIELD, Row, Said
from gapless.links.reading.lines import Lines
from gapless.links.reading.objects import is_report, walk

FILE_NAME = "link-audit.json"
MAX_BYTES = 5_000_000
MAX_CLAIMS = 20_000
MAX_ROWS = 50_000
MAX_FAILED = 1_000
MAX_PROBLEMS = 100
MAX_OTHER_FILES = 20

_HALF_WIDTH = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_READABLE = (".json", ".jsonl", ".ndjson", ".md", ".txt", ".csv", ".tsv", ".html")


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
    """Read an agent's claims.

    Nothing that an agent writes raises, and the time is proportional to its length; what cannot be used is named
    among the problems.

    Args:
        text: the agent's answer.
        site: any address of the audited site, against which paths are resolved.
        files: what the agent left behind, by path.

    Returns:
        The distinct claims in order, and the problems, one line each.
    """
    problems: list[str] = []
    for name, said in _sources(text, files, problems):
        rows = _read(said)
        if rows is not None:
            return _resolved(rows, site, problems), problems[:MAX_PROBLEMS]
        if name == FILE_NAME:
            problems.append(f"{FILE_NAME} holds no report that can be read")
    problems.append("the answer holds no report that can be read")
    return [], problems[:MAX_PROBLEMS]


def _sources(text: str, files: Mapping[str, bytes], problems: list[str]) -> Iterator[tuple[str, str]]:
    names = {path: path.rsplit("/", 1)[-1] for path in sorted(files)}
    for path in (path for path, name in names.items() if name == FILE_NAME):
        if len(files[path]) > MAX_BYTES:
            problems.append(f"{FILE_NAME} is larger than {MAX_BYTES} bytes")
        else:
            yield FILE_NAME, files[path].decode("utf-8-sig", "replace")
    if len(text) > MAX_BYTES:
        problems.append(f"the answer is longer than {MAX_BYTES} characters; the rest was not read")
    yield "", text[:MAX_BYTES]
    others = [path for path, name in names.items() if name != FILE_NAME and name.lower().endswith(_READABLE)]
    for path in others[:MAX_OTHER_FILES]:
        if len(files[path]) <= MAX_BYTES:
            yield names[path], files[path].decode("utf-8-sig", "replace")


def _read(text: str) -> list[Row] | None:
    """Return what a text claims, or None when it is no report."""
    rows: list[Row] = []
    outside: list[str] = []
    report, end, failed = False, 0, 0
    for document, begin, after in documents(text):
        read = list(islice(walk(document, None), MAX_ROWS + 1 - len(rows)))
        claimed = any(isinstance(row, Said) for row in read)
        failed += not claimed
        if failed > MAX_FAILED:
            break
        report = report or is_report(document)
        rows += read if claimed or report else []
        if claimed or (document and isinstance(document, dict)):
            outside.append(text[end:begin])
            end = after
    if not report:  # objects by the way are no whole report: the lines around them may say more
        rows += islice(Lines().read("".join([*outside, text[end:]])), MAX_ROWS + 1 - len(rows))
    return rows if report or rows else None


def _resolved(rows: Sequence[Row], site: str, problems: list[str]) -> list[Claim]:
    claims: dict[Claim, None] = {}
    home = urls.origin(site) + "/"
    more = len(rows) > MAX_ROWS
    for row in rows[:MAX_ROWS]:
        claim = _claim(row, home) if isinstance(row, Said) else None
        if claim is None:
            problems.append(f"not a claim: {visible(str(row), 100)}")
        elif claim in claims or len(claims) < MAX_CLAIMS:
            claims[claim] = None
        else:
            more = True
            break
    if more:
        problems.insert(0, f"more than {MAX_CLAIMS} claims, or {MAX_ROWS} with repetitions; the rest was not read")
    return list(claims)


def _claim(said: Said, home: str) -> Claim | None:
    page, href, target = _clean(said.page), _clean(said.href), _clean(said.target)
    if not (target or href):
        return None
    page = urls.split_fragment(_joined(home, page, home))[0] if page else None
    base = page if page and urls.is_web(page) else home
    return Claim(page, href, _joined(base, target or href or "", home), _clean(said.reason) or "")


def _joined(base: str, address: str, home: str) -> str:
    if address.startswith(urls.authority(home) + "/"):  # the site's host without its scheme
        address = home.split("/", 1)[0] + "//" + address
    try:
        return urls.join(base, address)
    except ValueError:
        return address


def _clean(text: str | None) -> str | None:
    """Return one field of a claim: of a bounded length, and valid text, which half a surrogate pair is not."""
    if text is None:
        return None
    text = text[: 4 * MAX_FIELD].strip(UNSEEN)[:MAX_FIELD]
    if text[:1] in {"ｈ", "／", "．"} or text[:7].lower().startswith(("http：", "https：")):  # noqa: RUF001
        text = text.translate(_HALF_WIDTH)
    return text.encode("utf-8", "replace").decode() or None
