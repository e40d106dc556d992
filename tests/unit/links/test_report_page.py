from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gapless.links.report.history import History, Known, Run
from gapless.links.report.page import html
from gapless.links.report.review import review
from gapless.links.report.settings import ReportSettings
from unit.links.browser import Browser, program
from unit.links.reports import NASTY, TODAY, everywhere, finding, report

needs_browser = pytest.mark.skipif(program() is None, reason="no Chromium on this machine")

FOCUS = """(() => { const at = document.activeElement;
return at.id || at.dataset?.result || at.dataset?.group || at.tagName.toLowerCase() + ":" + at.textContent.slice(0, 30); })()"""
ROWS = "[...document.querySelectorAll('.row > summary')].map((row) => row.textContent)"
HEADS = "[...document.querySelectorAll('.group h2')].map((head) => head.textContent)"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Start a browser for the tests of this file."""
    async with Browser() as started:
        yield started


def sample() -> str:
    """Make a page with each kind of finding, a history and an agent."""
    found = report(
        *everywhere(range(15)),
        finding("/guide/engine", "/reference/gone", text="the engine", line=12, column=5, attempts=3),
        finding("/guide/engine", "/reference/core#x", "missing_fragment", text="x", line=40, column=1),
        finding("/guide/pool", "/reference/gone", text="gone", line=7, column=9),
        finding("/guide/pool", "https://gone.example.net/", "dns"),
        finding("/guide/pool", "https://social.example.org/us", "blocked_403", "unverified"),
        finding("/guide/pool", "/old", "permanent_redirect", "warning", chain=(("/old", 301), ("/new", 200))),
        pages=100,
    )
    day = TODAY - timedelta(days=1)
    known = [Known(*found.key(each), each.reason, day, day, 1) for each in found.broken if "dns" not in each.reason]
    gone = Known("/guide/pool", "/repaired", "http_404", day, day, 1)
    runs = tuple(Run(TODAY - timedelta(days=n), 100, 5 + n, n, 1, precision=0.9, recall=0.8) for n in range(9, 0, -1))
    settings = ReportSettings.read({"sources": {"/guide/{path}": "docs/{path}.md"}, "edit_url": "https://h/e/{path}"})
    agent = {"agent": "a1", "state": "succeeded", "note": None, "verdict": {"precision": 1.0, "recall": None}}
    judged = review(found, settings, today=TODAY, history=History((*known, gone), runs), agent=agent)
    return html(found, agent=agent, judged=judged)


async def shown(browser: Browser, tmp_path: Path, text: str, state: str = "") -> None:
    """Open a page, and see to it that nothing went wrong on the way."""
    (tmp_path / "report.html").write_text(text, "utf-8")
    await browser.open(tmp_path / "report.html", state)


def complaints(browser: Browser) -> list[dict[str, Any]]:
    """Return what the browser had to say against the page, and what the page asked others for."""
    bad = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    asked = [
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    ]
    outside = [{"outside": url} for url in asked if not url.startswith(("file:", "data:"))]
    return [event for event in browser.events if event["method"] in bad] + outside


@needs_browser
async def test_search_and_filters_narrow_the_list(browser: Browser, tmp_path: Path) -> None:
    """Words, results and reasons each leave what fits; nothing is asked of the network."""
    await shown(browser, tmp_path, sample())
    assert await browser.run(HEADS) == ["On many pages", "/guide/engine", "/guide/pool"]
    assert await browser.run("document.getElementById('count').textContent") == "5 of 8 entries, 2 pages"

    await browser.run("document.getElementById('search').focus()")
    await browser.write("ENGINE gone")
    assert await browser.run(HEADS) == ["/guide/engine"]
    assert await browser.run(ROWS) == ["404/reference/gone“the engine”since 2026-11-2412:5"]
    await browser.press("Escape")
    assert len(await browser.run(ROWS)) == 5

    await browser.run("reasons.value = 'missing_fragment', reasons.dispatchEvent(new Event('change'))")
    assert await browser.run(ROWS) == ["missing fragment/reference/core#x“x”since 2026-11-2440:1"]
    await browser.run("document.querySelector('[data-result=unverified]').click()")
    assert await browser.run(ROWS) == ["blocked 403https://social.example.org/us"]
    await browser.run("document.querySelector('[data-result=fixed]').click()")
    assert await browser.run(ROWS) == ["404/repaired"]
    await browser.run("document.querySelector('[data-result=fixed]').click()")
    assert len(await browser.run(ROWS)) == 8
    await browser.run("document.getElementById('fresh').click()")
    assert await browser.run(ROWS) == ["dnshttps://gone.example.net/new"]
    assert complaints(browser) == []


@needs_browser
async def test_the_view_is_in_the_address(browser: Browser, tmp_path: Path) -> None:
    """What was chosen stands in the fragment, and an address with a fragment shows the same."""
    await shown(browser, tmp_path, sample(), "group=target&q=gone")
    heads = ["/_static/gone.css", "/reference/gone", "https://gone.example.net/"]
    assert await browser.run(HEADS) == heads
    await browser.run("document.querySelector('[data-group=page]').click()")
    assert await browser.run("location.hash") == "#q=gone"
    await shown(browser, tmp_path, sample(), "group=x&result=y&theme=z&reason=constructor")
    assert await browser.run("document.documentElement.dataset.theme ?? 'none'") == "none"
    assert complaints(browser) == []


@needs_browser
async def test_a_keyboard_is_enough(browser: Browser, tmp_path: Path) -> None:
    """Tab goes from top to bottom, slash to the search, and Enter opens a link's details."""
    await shown(browser, tmp_path, sample())
    order = []
    for _ in range(20):
        await browser.press("Tab")
        order.append(await browser.run(FOCUS))
    assert order == [
        "a:Skip to the links",
        "theme",
        "broken",
        "unverified",
        "warning",
        "fixed",
        "summary:As a table",
        "summary:As a table",
        "search",
        "reason",
        "page",
        "target",
        "fresh",
        "summary:404/_static/gone.css15 pagessi",
        "a:Edit",
        "a:Open",
        "summary:404/reference/gone“the engine”",
        "summary:missing fragment/reference/cor",
        "a:Edit",
        "a:Open",
    ]
    await browser.press("/")
    assert await browser.run(FOCUS) == "search"
    await browser.run("document.querySelectorAll('.row > summary')[1].focus()")
    await browser.press("Enter")
    await browser.until("document.querySelector('.row[open] .more') !== null")
    details = await browser.run("document.querySelector('.row[open] .more').textContent")
    assert "There is no such page (404 Not Found)." in details
    assert "line 12, column 5" in details
    assert "docs/engine.md" in details
    assert complaints(browser) == []


@needs_browser
async def test_skipping_to_the_links_keeps_the_view(browser: Browser, tmp_path: Path) -> None:
    """The first Tab and Enter lead to the list, as it is."""
    await shown(browser, tmp_path, sample(), "q=engine")
    await browser.press("Tab")
    await browser.press("Enter")
    assert await browser.run(FOCUS) == "list"
    assert await browser.run("location.hash") == "#q=engine"
    await browser.press("Tab")
    assert (await browser.run(FOCUS)).startswith("a:Edit")


@needs_browser
async def test_what_a_page_says_stays_text(browser: Browser, tmp_path: Path) -> None:
    """Hostile text, addresses, agents and reasons are shown, and nothing of them runs."""
    nasty = [
        finding("/p", "/x", text=NASTY, href=NASTY),
        finding(f"/p?{NASTY}", NASTY, "bad_url"),
        finding("/q", f"javascript:window.pwned=1//{NASTY}", f"http_{NASTY}"),
    ]
    found = report(*nasty, incomplete_reason=NASTY)
    agent = {"agent": NASTY, "state": NASTY, "note": NASTY, "verdict": None}
    await shown(browser, tmp_path, html(found, agent=agent))
    await browser.run("for (const row of document.querySelectorAll('.row')) row.open = true")
    await browser.until("document.querySelectorAll('.more').length === 3")
    assert await browser.run("window.pwned") is None
    assert await browser.run("document.querySelectorAll('img, script').length") == 2  # the data and the script
    links = await browser.run("[...document.querySelectorAll('a')].map((link) => link.protocol)")
    assert set(links) <= {"https:", "file:"}
    text = await browser.run("document.body.textContent")
    assert not set(text) & set("\x1b\x07\u202e\u202c\u200b\ufffe")
    assert complaints(browser) == []


@needs_browser
async def test_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    """The page follows the system, until the switch says otherwise."""
    await shown(browser, tmp_path, sample())
    colour = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        await browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen[scheme] = await browser.run(colour)
    assert seen == {"light": "rgb(251, 250, 248)", "dark": "rgb(21, 23, 26)"}
    await browser.run("document.getElementById('theme').click()")
    assert await browser.run(colour) == seen["light"]
    await browser.run("document.getElementById('theme').click()")
    await browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    assert await browser.run(colour) == seen["dark"]


@needs_browser
async def test_five_thousand_findings_are_quick(browser: Browser, tmp_path: Path) -> None:
    """A search among 5,000 links answers at once, and no more is drawn than can be seen."""
    many = [finding(f"/guide/{n % 900}/{n}", f"/reference/{n}", text="to it") for n in range(5_000)]
    await shown(browser, tmp_path, html(report(*many, pages=4_000)))
    spent = await browser.run(
        "(() => { const from = performance.now(); search.value = 'reference/49'; "
        "search.dispatchEvent(new Event('input')); document.body.offsetHeight; return performance.now() - from; })()"
    )
    assert spent < 1_000  # milliseconds; some 30 on an idle machine
    assert await browser.run("document.getElementById('count').textContent") == "111 of 5000 entries, 111 pages"
    assert await browser.run("document.querySelectorAll('.row').length") < 5_000
    assert complaints(browser) == []


def test_the_page_needs_nothing_else() -> None:
    """No address is loaded by the page, and its policy forbids it."""
    page = sample()
    assert "default-src 'none'" in page
    assert not any(mark in page for mark in ("<img", "<iframe", "@import", "url(", 'src="', '<link rel="style'))
    assert html(report()) == html(report())
