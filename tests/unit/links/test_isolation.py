import re
import time
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

import pytest

from gapless.links.isolate import Isolated
from gapless.links.isolated import MEMORY
from gapless.links.parse import MAX_LINKS, Parsed, depth_suspect, parse
from gapless.links.suspicion import marks

DEEP = b"<div>" * 400_000
BOMB = "".join(f"<p><b id={n}>x" for n in range(2_500)).encode()  # 36 KB that become 1.4 GB
LARGE = b"".join(b'<p id="s%d"><a href="/%d">x</a></p>\n' % (n, n) for n in range(200_000))


def parse_isolated(body: bytes, *, links: bool, seconds: float = 10.0) -> Parsed | str:
    """Parse a page in a process of its own, and wait for it."""
    isolated = Isolated(body, links=links, seconds=seconds)
    try:
        with DefaultSelector() as selector:
            selector.register(isolated, EVENT_READ)
            while (parsed := isolated.advance()) is None:
                selector.select(max(0.0, isolated.deadline - time.monotonic()) + 0.01)
    finally:
        isolated.kill()
    return parsed


def test_what_a_page_holds_is_the_same_in_a_process_of_its_own() -> None:
    """Base, links, kinds and ids come back as they are here, with signs beyond ASCII and beyond Unicode."""
    body = '<base href=b><a href="é\ud800?\U0001f600" id=ü>x</a><img src=y>'.encode("utf-8", "replace")
    for links in (True, False):
        found = parse_isolated(body, links=links)
        assert found == parse(body, links=links)
    parsed = parse_isolated(body, links=True)
    assert not isinstance(parsed, str)
    assert parsed.links[0][0] is parse(body).links[0][0]  # kinds are compared by identity


@pytest.mark.parametrize(("body", "error"), [(DEEP, "too_deep"), (BOMB, "unparsable")])
def test_pages_beyond_the_limits_are_given_up(body: bytes, error: str) -> None:
    """Nesting costs its time and no more; what costs memory costs little of it."""
    started = time.monotonic()
    assert depth_suspect(body)
    assert parse_isolated(body, links=True, seconds=1.0) == error
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("body", [BOMB, LARGE])
def test_the_process_stays_within_its_memory(body: bytes) -> None:
    """No page makes the process larger than its limit and what the interpreter maps."""
    isolated = Isolated(body, links=True)
    largest = 0
    try:
        while isolated.advance() is None:
            status = Path(f"/proc/{isolated._process.pid}/status").read_text()
            if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                largest = max(largest, 1024 * int(found[1]))
            time.sleep(0.002)
    finally:
        isolated.kill()
    assert 0 < largest < MEMORY + 15_000_000


def test_a_page_too_large_for_the_memory_gives_its_first_links_and_all_ids() -> None:
    """200,000 links are cut as on any page with too many, and no id is missing."""
    parsed = parse_isolated(LARGE, links=True)
    assert not isinstance(parsed, str)
    assert parsed.cut
    assert [href for _, href in parsed.links] == [f"/{n}" for n in range(MAX_LINKS)]
    assert parsed.ids.split("\0") == [f"s{n}" for n in range(200_000)]
    ids = parse_isolated(LARGE, links=False)
    assert not isinstance(ids, str)
    assert ids.ids == parsed.ids


def test_ids_read_without_a_tree_are_those_of_the_tree() -> None:
    """Comments, scripts, quotes and duplicates are read as the parser reads them."""
    body = (
        "<p id=a><a name='b'>x</a><a name=c id=\"d\" id=no>x</a><!-- <p id=no> --><script>'<p id=no>'</script>"
        "<textarea><p id=no></textarea><p title='<p id=no>' ID = 'e&amp;\u00e9'><p id><p id=''><p x\"id=f><svg><g id=g />"
    ).encode()
    assert sorted(marks(body)) == sorted(parse(body).ids.split("\0")) == ["a", "b", "c", "d", "e&é", "g"]


def test_a_selectors_loop_goes_on_while_pages_are_parsed() -> None:
    """Nothing waits in `advance`; the deadline ends what takes too long, and `kill` what nobody wants any more."""
    pages = {
        "deep": Isolated(DEEP, links=True, seconds=1.0),
        "wide": Isolated(b"<ul>" + b"<li><a href=x>x" * 6_000, links=True),
        "unwanted": Isolated(DEEP, links=True),
    }
    found: dict[str, Parsed | str] = {}
    longest = 0.0
    with DefaultSelector() as selector:
        for name, page in pages.items():
            selector.register(page, EVENT_READ, name)
        while {"deep", "wide"} - found.keys():
            ready = [key.data for key, _ in selector.select(0.02)]
            for name in {*ready, *pages} - found.keys():
                started = time.monotonic()
                result = pages[name].advance()
                longest = max(longest, time.monotonic() - started)
                if result is not None:
                    found[name] = result
                    selector.unregister(pages[name])
    assert found["deep"] == "too_deep"
    wide = found["wide"]
    assert not isinstance(wide, str)
    assert len(wide.links) == 6_000
    processes = [page._process for page in pages.values()]
    for page in pages.values():
        page.kill()
        page.kill()
    assert all(process.returncode is not None for process in processes)
    assert longest < 0.9  # the deep one takes its whole second


def test_the_process_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What strangers wrote is read in a process that knows no secret."""
    monkeypatch.setenv("GAPLESS_TEST_SECRET", "secret")
    isolated = Isolated(DEEP, links=True)
    try:
        process = Path(f"/proc/{isolated._process.pid}")
        while b"PYTHONPATH" not in process.joinpath("environ").read_bytes():  # the kernel fills it in a little later
            time.sleep(0.001)
        assert b"secret" not in process.joinpath("environ").read_bytes()
        assert {"0", "1", "2"} == {file.name for file in process.joinpath("fd").iterdir() if int(file.name) < 3}
    finally:
        isolated.kill()


def test_deep_pages_are_read_as_long_as_they_do_not_stall() -> None:
    """Suspicion isolates and never refuses: 12,000 levels are slow and still right."""
    body = b"<div>" * 12_000 + b"<a href='/gone'>x</a>"
    assert depth_suspect(body)
    parsed = parse_isolated(body, links=True)
    assert not isinstance(parsed, str)
    assert parsed.links == [("navigate", "/gone")]
