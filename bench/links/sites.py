"""The benchmark's sites: generated HTML with broken links in it, and the list of what is broken.

The shares of each kind of link are those of the link checkers' comparison that this repeats; a link's kind is drawn at
random, so the counts vary with the seed and the shares do not.
"""

import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from common import say

SEED = 7
SECTION = 100
IMAGES = 20
IMAGE_BYTES = 2_048
MISSING_IMAGES = 37
MISSING_IMAGE_SHARE = 0.01
MISSING_IDS = 50
MISSING_PAGES = 1_000
ERRORS = 200
GONE = 200
SECTIONS_OF_A_PAGE = 5
VOCABULARY = """
account backup cache cluster config deploy element gateway handler index journal kernel latency manifest network
object package queue region schema session snapshot storage stream table token update version volume worker
"""
WORDS = tuple(VOCABULARY.split())

SHARES = {
    # broken
    "missing_page": 0.006,
    "status_500": 0.002,
    "missing_id": 0.004,
    "self_anchor": 0.001,
    "moved_to_404": 0.001,
    "loop": 0.0003,
    # healthy
    "moved": 0.0157,
    "id": 0.07,
    "query": 0.02,
    "mailto": 0.005,
    "tel": 0.003,
    "javascript": 0.002,
    "absolute": 0.01,
    "scheme_relative": 0.01,
    "dots": 0.01,
    "relative": 0.44,
}
"""Of all random links; what is left of 1 is root-relative."""
BROKEN = ("missing_page", "status_500", "missing_id", "self_anchor", "moved_to_404", "loop")
_KINDS = (*SHARES, "root_relative")
_CUMULATIVE = (*accumulate(SHARES.values()), 1.0)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a site is made of.

    Attributes:
        name: of the site.
        pages: without the home page and the indexes of its sections.
        links: random links of a page.
        paragraphs: of a page.
        words: of a paragraph.
        sidebar: links to pages of the page's own section, the same on each page of it.
    """

    name: str
    pages: int
    links: int = 18
    paragraphs: int = 8
    words: int = 60
    sidebar: int = 0

    @property
    def sections(self) -> int:
        """How many there are."""
        return self.pages // SECTION

    @property
    def max_pages(self) -> int:
        """A limit that no crawl reaches: the same page under another query is another page."""
        return 2 * self.pages

    @property
    def heavy(self) -> bool:
        """Whether its pages have a sidebar."""
        return self.sidebar > 0


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("l1000", 1_000),
        Profile("l10000", 10_000),
        Profile("h1000", 1_000, links=58, paragraphs=40, words=110, sidebar=90),
        Profile("l100000", 100_000),
    )
}


class Broken(NamedTuple):
    """One broken link where it stands: the page's address, the link as written, what it means, and its kind."""

    page: str
    href: str
    target: str
    kind: str


@dataclass(frozen=True, slots=True)
class Site:
    """A generated site.

    Attributes:
        profile: what it is made of.
        base: scheme, host and port that its absolute links name.
        folder: holds `www` (what is served), `truth.jsonl` and `urls.txt` (every page's address).
        broken: every broken link.
    """

    profile: Profile
    base: str
    folder: Path
    broken: list[Broken] = field(repr=False)

    @property
    def start(self) -> str:
        """Address of the home page."""
        return f"{self.base}/"

    @property
    def root(self) -> Path:
        """What is served."""
        return self.folder / "www"

    @property
    def urls(self) -> Path:
        """List of the pages' addresses, one in a line, for what cannot crawl."""
        return self.folder / "urls.txt"

    @property
    def page_count(self) -> int:
        """Pages, with the home page and the indexes."""
        return 1 + self.profile.sections + self.profile.pages

    def pairs(self) -> set[tuple[str, str]]:
        """Return each broken target with each page it stands on."""
        return {(link.page, link.target) for link in self.broken}


def site(profile: Profile, base: str, cache: Path) -> Site:
    """Return the site for this base; it is generated when the cache does not hold it, the large one in a minute."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + base.encode()).hexdigest()
    folder = cache / f"{profile.name}-{base.partition(':')[0]}-{digest[:12]}"
    if not folder.exists():
        say(f"Generating {profile.name} in .cache (once)")
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"{profile.name}-{base.partition(':')[0]}-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as new:
            _Generator(profile, base, Path(new) / "site").write()
            (Path(new) / "site").rename(folder)
    truth = (folder / "truth.jsonl").read_text().splitlines()
    return Site(profile, base, folder, [Broken(*json.loads(line)) for line in truth])


class _Generator:
    """Writes one site; every random choice comes from one generator with a fixed seed."""

    def __init__(self, profile: Profile, base: str, folder: Path) -> None:
        self._profile = profile
        self._base = base
        self._folder = folder
        self._root = folder / "www"
        self._random = random.Random(SEED)
        self._broken: list[Broken] = []
        self._pages: list[str] = []

    def write(self) -> None:
        """Write what is served, the truth and the list of pages."""
        for folder in ("assets", "img", *(_section(number) for number in range(self._profile.sections))):
            (self._root / folder).mkdir(parents=True)
        self._assets()
        self._home()
        for number in range(self._profile.sections):
            self._index(number)
        for number in range(self._profile.pages):
            self._page(number)
        self._lists()

    def _assets(self) -> None:
        (self._root / "assets" / "style.css").write_text("body { background: url(/img/00.png) }\n")
        (self._root / "assets" / "app.js").write_text('document.documentElement.className = "ready";\n')
        for number in range(IMAGES):
            data = b"\x89PNG\r\n\x1a\n" + self._random.randbytes(IMAGE_BYTES - 8)
            (self._root / "img" / f"{number:02}.png").write_bytes(data)
        (self._root / "robots.txt").write_text(f"User-agent: *\nAllow: /\n\nSitemap: {self._base}/sitemap.xml\n")

    def _home(self) -> None:
        links = (_a(f"/{_section(number)}/", f"Section {number}") for number in range(self._profile.sections))
        self._put("/", "index.html", "Home", "<ul>\n" + "".join(f"<li>{link}</li>\n" for link in links) + "</ul>\n")

    def _index(self, section: int) -> None:
        pages = range(section * SECTION, (section + 1) * SECTION)
        links = (_a(_file(number), f"Page {number}") for number in pages)
        body = f"<nav>{_a('/', 'Home')}</nav>\n<ul>\n" + "".join(f"<li>{link}</li>\n" for link in links) + "</ul>\n"
        path = f"/{_section(section)}/"
        self._put(path, path[1:] + "index.html", f"Section {section}", body)

    def _page(self, number: int) -> None:
        section, path = number // SECTION, _path(number)
        nav = f"<nav>{_a('/', 'Home')} {_a(f'/{_section(section)}/', f'Section {section}')}</nav>\n"
        self._put(path, path[1:], f"Page {number}", nav + self._sidebar(section) + self._text(path))

    def _sidebar(self, section: int) -> str:
        if not self._profile.heavy:
            return ""
        pages = range(section * SECTION, section * SECTION + self._profile.sidebar)
        return "<aside>\n" + "".join(f"{_a(_file(number), f'Page {number}')}\n" for number in pages) + "</aside>\n"

    def _text(self, path: str) -> str:
        """Return headings, paragraphs of random words, and the random links spread between them."""
        profile, parts = self._profile, []
        for number in range(profile.paragraphs):
            if (heading := _share(number, profile.paragraphs, SECTIONS_OF_A_PAGE)) is not None:
                parts.append(f'<h2 id="sec-{heading + 1}">{self._words(3)}</h2>\n')
            parts.append(f"<p>{self._words(profile.words)}</p>\n")
            first, last = (profile.links * (number + more) // profile.paragraphs for more in (0, 1))
            parts.extend(f"{self._link(path)}\n" for _ in range(first, last))
        return "".join(parts)

    def _words(self, count: int) -> str:
        return " ".join(self._random.choices(WORDS, k=count))

    def _link(self, path: str) -> str:
        (kind,) = self._random.choices(_KINDS, cum_weights=_CUMULATIVE)
        number = self._random.randrange(self._profile.pages)
        href = self._href(kind, path, number)
        if kind in BROKEN:
            self._note(path, href, path + href if kind == "self_anchor" else href, kind)
        return _a(href, WORDS[number % len(WORDS)])

    def _href(self, kind: str, page: str, number: int) -> str:
        """Return a link of this kind on a page, leading to the page with this number if to any."""
        path, draw = _path(number), self._random.randrange
        make: dict[str, Callable[[], str]] = {
            "missing_page": lambda: f"/{_section(number // SECTION)}/missing-{draw(MISSING_PAGES):03}.html",
            "status_500": lambda: f"/error/{draw(ERRORS):03}",
            "missing_id": lambda: f"{path}#missing-{draw(MISSING_IDS):02}",
            "self_anchor": lambda: f"#missing-{draw(MISSING_IDS):02}",
            "moved_to_404": lambda: f"/old/{draw(GONE):03}.html",
            "loop": lambda: "/loop/a",
            "moved": lambda: f"/moved{path}",
            "id": lambda: f"{path}#sec-{draw(SECTIONS_OF_A_PAGE + 1)}",
            "query": lambda: f"{path}?utm={draw(3)}",
            "mailto": lambda: f"mailto:page-{number}@example.com",
            "tel": lambda: f"tel:+1555{number:07}",
            "javascript": lambda: f"javascript:show({number})",
            "absolute": lambda: self._base + path,
            "scheme_relative": lambda: self._base.partition(":")[2] + path,
            "dots": lambda: f"/{_section(number // SECTION)}/./x/../{_file(number)}",
            "relative": lambda: _relative(page, number),
            "root_relative": lambda: path,
        }
        return make[kind]()

    def _image(self, path: str) -> str:
        if self._random.random() >= MISSING_IMAGE_SHARE:
            return f"/img/{self._random.randrange(IMAGES):02}.png"
        href = f"/img/missing-{self._random.randrange(MISSING_IMAGES):02}.png"
        self._note(path, href, href, "image")
        return href

    def _note(self, path: str, href: str, target: str, kind: str) -> None:
        self._broken.append(Broken(self._base + path, href, self._base + target, kind))

    def _put(self, path: str, file: str, title: str, body: str) -> None:
        self._pages.append(self._base + path)
        (self._root / file).write_text(
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<title>{title}</title>\n<link rel="stylesheet" href="/assets/style.css">\n'
            '<script src="/assets/app.js" defer></script>\n</head>\n<body>\n'
            f'<h1 id="sec-0">{title}</h1>\n<img src="{self._image(path)}" alt="">\n{body}</body>\n</html>\n'
        )

    def _lists(self) -> None:
        locations = "".join(f"<url><loc>{page}</loc></url>\n" for page in self._pages)
        namespace = "http://www.sitemaps.org/schemas/sitemap/0.9"
        (self._root / "sitemap.xml").write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{namespace}">\n{locations}</urlset>\n'
        )
        (self._folder / "urls.txt").write_text("".join(f"{page}\n" for page in self._pages))
        (self._folder / "truth.jsonl").write_text("".join(f"{line}\n" for line in self._truth()))

    def _truth(self) -> Iterator[str]:
        yield from (json.dumps(link) for link in self._broken)


def _section(number: int) -> str:
    return f"section-{number:02}"


def _file(number: int) -> str:
    return f"page-{number:04}.html"


def _path(number: int) -> str:
    return f"/{_section(number // SECTION)}/{_file(number)}"


def _relative(page: str, number: int) -> str:
    section = _section(number // SECTION)
    return _file(number) if page.startswith(f"/{section}/") else f"../{section}/{_file(number)}"


def _a(href: str, text: str) -> str:
    return f'<a href="{href}">{text}</a>'


def _share(number: int, total: int, parts: int) -> int | None:
    """Return which of so many parts begins at this number, evenly spread over the total; None when none does."""
    return next((part for part in range(parts) if part * total // parts == number), None)
