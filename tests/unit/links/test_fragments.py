import pytest

from unit.links.httpsite import Audit, Reply, page, results

TARGET = """<p id="a"><p id="é"><p id="a b"><p id="50%"><p id="x+y"><a name="named"></a><p name="no-anchor">
<svg id="SVG"></svg><!-- <p id="comment"> --><template><p id="template"></p></template><p id="user-content-read-me">
<p id=""><p id="%C3%BC">"""


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "top",
        "TOP",
        "a",
        "é",
        "%C3%A9",
        "a b",
        "a%20b",
        "50%",
        "50%25",
        "x+y",
        "named",
        "SVG",
        "read-me",
        ":~:text=x",
        "a:~:text=y",
        "L10",
        "L10-L20",
        "L3C1-L4C2",
        "%C3%BC",
    ],
)
async def test_fragments_that_are_there(audit: Audit, fragment: str) -> None:
    """Ids and names of anchors are compared as written, then percent-decoded; some fragments need no id."""
    assert results(await audit({"/": page(f"/p#{fragment}", f"/p#{fragment}"), "/p": TARGET})) == {}


@pytest.mark.parametrize("fragment", ["A", "no-anchor", "comment", "template", "x y", "b:~:text=y", "svg", "L", "é2"])
async def test_fragments_that_are_missing(audit: Audit, fragment: str) -> None:
    """Case counts, names count on anchors only, comments and templates are not on the page."""
    found = await audit({"/": page(f"/p#{fragment}"), "/p": TARGET})
    assert list(results(found).values()) == ["broken:missing_fragment"]


@pytest.mark.parametrize("fragment", ["!/route", "/route", "!x"])
async def test_routes_of_scripts_are_unverified(audit: Audit, fragment: str) -> None:
    """What only a script can know is not called broken."""
    found = await audit({"/": page(f"#{fragment}")})
    assert results(found) == {f"/#{fragment}": "unverified:js_anchor"}


async def test_fragments_of_what_is_no_html_are_not_looked_for(audit: Audit) -> None:
    """A fragment on a document of another kind means something else."""
    pdf = Reply(b"%PDF", type="application/pdf")
    assert results(await audit({"/": page("/a.pdf#page=2"), "/a.pdf": pdf})) == {}


async def test_an_id_at_the_end_of_a_large_page_is_found(audit: Audit) -> None:
    """Pages are read whole."""
    found = await audit({"/": page("/p#end"), "/p": "<p>" + "word " * 400_000 + '<p id="end">'})
    assert results(found) == {}


async def test_a_page_links_to_itself(audit: Audit) -> None:
    """Fragments on the page itself are checked without another request."""
    found = await audit({"/": page("#here", "#gone", extra='<p id="here">')})
    assert results(found) == {"/#gone": "broken:missing_fragment"}
    assert audit.site.requests["/"] == 2  # the second time to see where the link stands
