from gapless.links.isolate import parse_isolated
from gapless.links.parse import parse

DEEP = b"<div>" * 400_000
BOMB = "".join(f"<p><b id={n}>x" for n in range(2_500)).encode()  # 36 KB that become 1.4 GB
LARGE = b"".join(b'<p id="s%d"><a href="/%d">x</a></p>\n' % (n, n) for n in range(200_000))


def test_what_a_page_holds_is_the_same_in_a_process_of_its_own() -> None:
    """Base, links, kinds and ids come back as they are here, with signs beyond ASCII and beyond Unicode."""
    body = '<base href=b><a href="é\ud800?\U0001f600" id=ü>x</a><img src=y>'.encode("utf-8", "replace")
    for links in (True, False):
        found = parse_isolated(body, links=links)
        assert found == parse(body, links=links)
    parsed = parse_isolated(body, links=True)
    assert not isinstance(parsed, str)
    assert parsed.links[0][0] is parse(body).links[0][0]  # kinds are compared by identity
