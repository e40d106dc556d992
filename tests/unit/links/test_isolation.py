import asyncio

from gapless.links.isolate import Parsers
from unit.links.httpsite import Audit, page, results


async def test_a_page_that_stalls_the_parser_is_given_up(audit: Audit) -> None:
    """Nesting that would keep the parser busy for long is ended by the time limit, and other pages go on."""
    async with Parsers(time_limit=0.5) as parsers:
        deep, wide = await asyncio.gather(
            parsers.parse("<div>" * 400_000, links=True),
            parsers.parse("<p><a href=x>t</a></p>" * 5_000, links=True),
        )
        assert deep is None
        assert wide is not None
        assert len(wide.links) == 5_000
        again = await parsers.parse("<p id=x>" * 5_000, links=False)
        assert again is not None
        assert again.ids.startswith("x\0x")


async def test_valid_unclosed_elements_are_no_reason_to_refuse(audit: Audit) -> None:
    """Suspicion isolates and never refuses: thousands of unclosed list items are read."""
    found = await audit({"/": page("/a"), "/a": "<ul>" + "<li><a href='/gone'>x</a>" * 6_000})
    assert results(found) == {"/gone": "broken:http_404"}


async def test_deep_pages_are_read_as_long_as_they_do_not_stall(audit: Audit) -> None:
    """A page nested five thousand deep is slow and still right."""
    found = await audit({"/": page("/a"), "/a": "<div>" * 5_000 + "<a href='/gone'>x</a>"})
    assert results(found) == {"/gone": "broken:http_404"}
