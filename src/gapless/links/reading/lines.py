"""What a report claims line by line: Markdown, tables, CSV, labels with values, sentences."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from gapless.links.reading.addresses import UNSEEN, Found, addresses, gaps, trimmed, unmarked
from gapless.links.reading.fields import LINKS, Said, fields_of, parts, role_of, scalar
from gapless.links.reading.markup import without_html
from gapless.links.reading.sentences import NAMES_PAGE, guess, statements
from gapless.links.reading.words import is_claim, listing_of, sign_of

MAX_LINE = 10_000
MAX_LINES = 100_000

_HEADING = re.compile(r"(#{1,6})\s+(.*)|(?:\*\*|__)([^*]{1,300})(?:\*\*|__):?$")
_BULLET = re.compile(r"(?:[-*+•‣–]|\d{1,4}[.)])\s+(.*)")  # noqa: RUF001 - a dash that agents use as a bullet
_LABELLED = re.compile(r"\[([^\]\[]{1,80})\]\s+(`[^`]{1,2000}`|\S+)(.*)")
_ON = re.compile(r", on (\S+)")
_NAMED = re.compile(
    r"(?:^|(?<=[,;|(]\s)|(?<=[,;|(])|(?<=\s[\u2013\u2014-]\s))\W{0,4}"
    r"([A-Za-z][A-Za-z _-]{0,30}?)[*_`]{0,3}\s?[:\uff1a][*_`]{0,3}(?!//)\s*"
)
_QUOTED = re.compile(r"^(?:>\s*+)++")
_RULE = re.compile(r"[\s|:+=-]+")
_NO_CSV = re.compile(r"[|>#]|[-*+] ")
_FENCE = re.compile(r"(?:`{3,}|~{3,})\s*(\w*)")


class Lines:
    """Reads a report line by line; what a heading or an item above says holds for what is below it."""

    def __init__(self) -> None:
        self._page: str | None = None
        self._listed: bool | None = None
        self._aside = 0  # level of the heading under which nothing is called broken, 0 when there is none
        self._above: list[tuple[int, str]] = []  # items that name a page, with their indentation
        self._record: dict[str, str] = {}
        self._leads: str | None = None  # the page of labels that come after it
        self._around: str | None = None  # the page on which the record stands when it names none
        self._columns: list[str] = []
        self._delimiter: str | None = None

    def read(self, text: str) -> Iterator[Said]:
        """Return what the lines claim."""
        pieces = (
            line[at : at + MAX_LINE] for line in without_html(text).splitlines() for at in range(0, len(line), MAX_LINE)
        )
        lines = list(islice((line for line in pieces if line.strip(UNSEEN)), MAX_LINES))
        for line, following in pairwise([*lines, ""]):
            yield from self._line(line, following)
        yield from self._flush()

    def _line(self, raw: str, following: str) -> Iterator[Said]:
        line = _QUOTED.sub("", raw.strip(UNSEEN))
        if fence := _FENCE.match(line):
            self._delimiter = {"csv": ",", "tsv": "\t"}.get(fence[1].lower())
            self._columns = []
        elif heading := _HEADING.match(line):
            yield from self._flush()
            yield from self._heading(len(heading[1] or "#" * 6), heading[2] or heading[3] or "")
        elif (self._delimiter and not _NO_CSV.match(line)) or self._is_csv(line):
            yield from self._csv(line)
        elif not line.startswith("|") and (named := _named(_BULLET.sub(r"\1", line, count=1))):
            yield from self._take(named, raw)
        elif line.count("|") >= 2 or (line.count("|") and self._columns):
            yield from self._table(line)
        else:
            self._columns, self._delimiter = [], None
            yield from self._text(raw, line, following)

    def _heading(self, level: int, title: str) -> Iterator[Said]:
        self._columns, self._above, self._delimiter = [], [], None
        found = addresses(title)
        words = "".join(title[end:start] for end, start in gaps(found, len(title)))
        plain = title.strip().strip("`*_")
        self._leads = None
        if re.search(r"\b(?:audit|report)\b", words, re.IGNORECASE):
            self._page, found = None, []
        elif plain == "/" or (
            len(found) == 1 and (sign_of(words)[0] is None or NAMES_PAGE.search(title[: found[0].start]))
        ):
            self._page = found[0].address if found else "/"
            if self._aside and level <= self._aside:
                self._aside, self._listed = 0, True
            elif not self._aside:
                self._listed = True
            return
        elif found:
            yield from statements(title, self._page, listed=None if self._listed else self._listed)
            return
        else:
            self._page = None
        if not self._aside or level <= self._aside:
            said = listing_of(words)
            self._listed = True if re.match(r"on (?:all )?\d+ pages", plain, re.IGNORECASE) else said
            self._aside = level if said is False else 0

    # ---- tables and CSV ----

    def _table(self, line: str) -> Iterator[Said]:
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not _RULE.fullmatch(line):
            yield from self._cells(cells)

    def _is_csv(self, line: str) -> bool:
        for mark in ",;\t":
            names = line.split(mark)
            if (
                2 <= len(names) <= 20
                and sum(role_of(name) is not None for name in names) * 2 > len(names)
                and _is_header(names)
            ):
                self._delimiter = mark
                return True
        return False

    def _csv(self, line: str) -> Iterator[Said]:
        try:
            cells = next(csv.reader([line], delimiter=self._delimiter or ",", skipinitialspace=True), [])
        except csv.Error:
            return
        if len(cells) < 2 and self._columns:  # what comes after the table
            self._delimiter, self._columns = None, []
            yield from self._text(line, line, "")
        elif len(cells) > 1:
            yield from self._cells(cells)

    def _cells(self, cells: list[str]) -> Iterator[Said]:
        if _is_header(cells):
            self._columns = cells
        elif not self._columns:
            yield from guess(cells, self._page, listed=self._listed)
        else:
            fields = fields_of(zip(self._columns, cells, strict=False), exact=False)
            named = fields.pages or any(map(listing_of, self._columns))
            if is_claim(fields.sign, self._listed if self._listed is not None else bool(named) or None):
                yield from fields.claims(self._page)

    # ---- text ----

    def _text(self, raw: str, line: str, following: str) -> Iterator[Said]:
        depth = 2 * _indent(raw)
        bullet = _BULLET.match(line)
        text = bullet[1] if bullet else line
        page = self._page_at(depth)
        if bullet and (labelled := _LABELLED.match(text)) and labelled[1] not in " xX":
            yield from self._flush()
            yield from self._labelled(labelled, page)
            return
        found = addresses(text) or ([Found(0, 1, "/")] if text in {"/", "`/`", "/:"} else [])
        below = _BULLET.match(following.strip(UNSEEN)) is not None and _indent(following) * 2 > depth
        if len(found) == 1 and (below or text.rstrip("*_ ").endswith(":")):
            yield from self._parent(found[0].address, text, depth if bullet else depth - 1, following, page)
        elif found:
            yield from self._flush()
            alone = bullet or not _words(text, found) or self._listed is False
            yield from statements(text, page, listed=self._listed if alone else None)
        elif text.rstrip("*_ ").endswith(":") and not self._aside:
            self._listed = listing_of(text) if listing_of(text) is not None else self._listed
        elif self._record and (words := sign_of(text)[1]):
            self._record.setdefault("reason", words)

    def _page_at(self, depth: int) -> str | None:
        while self._above and self._above[-1][0] >= depth:
            self._above.pop()
        return self._above[-1][1] if self._above else self._page

    def _parent(self, address: str, text: str, depth: int, following: str, page: str | None) -> Iterator[Said]:
        """Take in an item with others below it: they are links on a page, or say more about a link."""
        yield from self._flush()
        label = _NAMED.match(_BULLET.sub(r"\1", following.strip(UNSEEN), count=1))
        role = role_of(label[1]) if label else None
        more = not addresses(following) and sign_of(following)[0]
        if (role and role not in LINKS) or (more and not text.rstrip().endswith(":")):
            self._record = {"target": address} | ({"page": page} if page else {})
            if words := sign_of(text)[1]:
                self._record["reason"] = words
        else:
            self._above.append((depth, address))

    def _labelled(self, item: re.Match[str], page: str | None) -> Iterator[Said]:
        label, target, rest = item[1], item[2], item[3]
        if self._listed is False or sign_of(label)[0] is False:
            return
        inner = addresses(target)
        on = _ON.search(rest)
        plain = inner[0].address if inner and inner[0].start == 0 else unmarked(trimmed(target.strip("`")))
        yield Said(page or (trimmed(on[1]) if on else None), None, plain, label)

    # ---- `Page: /a, Link: /b, Status: 404`, in one line or in several ----

    def _take(self, named: list[tuple[str, str]], raw: str) -> Iterator[Said]:
        depth = 2 * _indent(raw)
        page = self._page_at(depth)
        for kind, value in named:
            linked = not self._record.keys().isdisjoint(LINKS)
            again = kind in self._record or (kind == "page" and self._leads)
            if kind != "reason" and again and linked:
                yield from self._flush()
            if not self._record:
                self._leads = self._leads if kind != "page" else value
                if kind == "page":
                    self._above.append((depth - 1, value))
                self._around = self._leads or page
            self._record.setdefault(kind, value)

    def _flush(self) -> Iterator[Said]:
        fields = fields_of(self._record.items(), exact=True)
        self._record = {}
        if is_claim(fields.sign, self._listed if self._listed is not None else bool(fields.pages) or None):
            yield from fields.claims(self._around)


def _named(text: str) -> list[tuple[str, str]]:
    """Return the labels of a line with their values when it begins with one."""
    labels = [label for label in islice(_NAMED.finditer(text), 20) if role_of(label[1])]
    if not labels or labels[0].start(1) > 4:
        return []
    named = []
    for label, after in zip(labels, [*labels[1:], None], strict=True):
        value = text[label.end() : after.start() if after else len(text)].strip(" ,;|(*_—–")  # noqa: RUF001
        role = role_of(label[1]) or ""
        if role.startswith("reason"):
            named.append(("reason", scalar(value)))
        else:
            named += [(role, part) for part in parts(value, role, exact=False)[:1]]
    return named or [("reason", "")]


def _words(text: str, found: Sequence[Found]) -> bool:
    return any(re.search(r"\w", text[begin:end]) for begin, end in gaps(found, len(text)))


def _indent(line: str) -> int:
    return len(line[: len(line) - len(line.lstrip(UNSEEN))].expandtabs(4))


def _is_header(cells: Sequence[str]) -> bool:
    """Say whether the cells name columns, one of them that of the links."""
    return any(role_of(cell) in LINKS for cell in cells) and not any(map(addresses, cells))
