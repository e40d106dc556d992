import pytest

from gapless.links.contacts import mail_or_tel_fault


@pytest.mark.parametrize(
    "href",
    [
        "mailto:a@example.org",
        "MAILTO:a.b+c@sub.example.org",
        "mailto:a@example.org?subject=Hello%20there&cc=b@example.org",
        "mailto:a@example.org,b@example.org",
        "mailto:?to=a@example.org",
        "mailto:?subject=x",
        "mailto:%22a%20b%22@example.org",
        "mailto:a%40example.org",
        "mailto:jörg@bücher.example",
        "mailto:a@[192.0.2.1]",
        "mailto:root@localhost",
        "tel:+1-201-555-0123",
        "tel:+49%2030%20123456",
        "TEL:(020) 7946.0958",
        "tel:7042;phone-context=example.com",
        "tel:+12015550123;ext=99",
        "tel:*100#",
        "https://example.org/",
        "page.html",
        "",
    ],
)
def test_what_is_right(href: str) -> None:
    """Mail boxes by RFC 6068 and numbers by RFC 3966 are fine, and so is every other link."""
    assert mail_or_tel_fault(href) is None


@pytest.mark.parametrize(
    ("href", "fault"),
    [
        ("mailto:", "bad_mailto"),
        ("mailto:example.org", "bad_mailto"),
        ("mailto:a@", "bad_mailto"),
        ("mailto:@example.org", "bad_mailto"),
        ("mailto:a b@example.org", "bad_mailto"),
        ("mailto:a@b@example.org", "bad_mailto"),
        ("mailto:a..b@example.org", "bad_mailto"),
        ("mailto:a@example..org", "bad_mailto"),
        ("mailto:a@-example.org", "bad_mailto"),
        ("mailto:a@example.org,", "bad_mailto"),
        ("mailto:a@example.org;b@example.org", "bad_mailto"),
        ("mailto:a@example.org?cc=b", "bad_mailto"),
        (f"mailto:{'a' * 65}@example.org", "bad_mailto"),
        (f"mailto:a@{'b' * 64}.org", "bad_mailto"),
        ("mailto:%ff@example.org", "bad_mailto"),
        ("tel:", "bad_tel"),
        ("tel:+", "bad_tel"),
        ("tel:call us", "bad_tel"),
        ("tel:+1234567890123456", "bad_tel"),
        ("tel:+1*2", "bad_tel"),
        ("tel://+1201", "bad_tel"),
    ],
)
def test_what_is_wrong(href: str, fault: str) -> None:
    """What no program could write to or call is a fault."""
    assert mail_or_tel_fault(href) == fault


def test_long_addresses_cost_little() -> None:
    """Length is judged before form."""
    assert mail_or_tel_fault("mailto:" + "a." * 500_000 + "@b") == "bad_mailto"
    assert mail_or_tel_fault("tel:" + "1-" * 500_000) == "bad_tel"
