import time
import tomllib
from datetime import date
from typing import Any

import pytest

from gapless.links.report import patterns
from gapless.links.report.settings import IgnoreRule, ReportSettings

TABLE = """
fold_share = 0.2
versions = ["/{version}/"]
edit_url = "https://github.com/o/r/edit/main/{path}"
nights = 2
fail_on = "new"
baseline = "links.json"
[severity]
"/1.0/" = "ignore"
[sources]
"/" = "docs/index.md"
"/{version}/{path}/" = "versions/{version}/{path}.md"
"/{path}.html" = "docs/{path}.rst"
[[ignore]]
target = "https://old.example.com/*"
reason = "they move next year"
expires = 2027-01-31
"""


def test_a_table_of_gapless_toml_is_read() -> None:
    """Every key has its place, and what is left out keeps its default."""
    settings = ReportSettings.read(tomllib.loads(TABLE))
    assert settings.ignore == (
        IgnoreRule("they move next year", target="https://old.example.com/*", expires=date(2027, 1, 31)),
    )
    assert (settings.fold_share, settings.fold_pages, settings.nights, settings.fail_on) == (0.2, 10, 2, "new")
    assert ReportSettings.read({}) == ReportSettings()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"fold_shar": 1}, "links.fold_shar is not a setting; did you mean fold_share? (known: allow, baseline, "),
        ({"max_page": 1}, "links.max_page is not a setting; did you mean max_pages? (known: "),
        ({"fold_share": 2}, "links.fold_share must be a number from 0 to 1, not 2"),
        ({"fold_pages": True}, "links.fold_pages must be a whole number from 1, not True"),
        ({"nights": 0}, "links.nights must be a whole number from 1, not 0"),
        ({"fail_on": "all"}, 'links.fail_on must be "any" or "new" or "never", not \'all\''),
        ({"fail_on": ["any"]}, 'links.fail_on must be "any" or "new" or "never", not [\'any\']'),
        (
            {"severity": {"/1.0/": "low"}},
            'links.severity."/1.0/" must be "error" or "warning" or "ignore", not \'low\'',
        ),
        ({"versions": "/{version}/"}, 'links.versions must be a list of path prefixes, such as ["/{version}/"]'),
        ({"versions": ["/1.0"]}, "links.versions[0] must be a path that ends with \"/\", not '/1.0'"),
        ({"versions": ["/{version/"]}, "links.versions[0]: '/{version/' has a brace that belongs to no {name}"),
        ({"sources": {"/{path}": "/etc/{path}"}}, "must be a path inside the repository"),
        ({"sources": {"/{path}": "docs/{page}"}}, "must be a path inside the repository"),
        ({"sources": {"{path}": "x"}}, "links.sources must be a path that starts with \"/\", not '{path}'"),
        ({"edit_url": "javascript:{path}"}, "links.edit_url must be an address with {path} in it"),
        ({"ignore": {"target": "/x"}}, "links.ignore must be a list of tables"),
        ({"ignore": [{"target": "/x"}]}, "links.ignore[0] has no reason; say why these links are ignored"),
        ({"ignore": [{"target": "/x", "reason": " "}]}, "links.ignore[0].reason must be text, not ' '"),
        ({"ignore": [{"reason": "all"}]}, "links.ignore[0] would ignore everything; give a target, a page or a kind"),
        ({"ignore": [{"page": "/x", "reason": "y", "expires": "soon"}]}, "links.ignore[0].expires must be a day"),
        ({"ignore": [{"page": "/x", "reason": "y", "until": "soon"}]}, "links.ignore[0].until is not a setting"),
    ],
)
def test_bad_settings_say_what_they_must_be(table: dict[str, Any], message: str) -> None:
    """The message names the key, what belongs there and what is there."""
    with pytest.raises(ValueError) as caught:
        ReportSettings.read(table)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("/", "docs/index.md"),
        ("/1.4/guide/setup/", "versions/1.4/guide/setup.md"),
        ("/latest/guide/", "versions/latest/guide.md"),
        ("/guide/setup/", None),
        ("/api/core.html", "docs/api/core.rst"),
        ("/api/core.html?theme=dark", "docs/api/core.rst"),
        ("/caf%C3%A9.html", "docs/café.rst"),
        ("/a%2F..%2F..%2Fetc.html", None),
        ("/..%2Fx.html", None),
        ("/a%5Cb.html", None),
        ("/a%0A::error::x.html", None),
        ("/a%E2%80%AEb.html", None),
    ],
)
def test_a_page_has_a_source(page: str, file: str | None) -> None:
    """The first rule that fits names the file; a path that leaves the repository or hides something fits none."""
    assert ReportSettings.read(tomllib.loads(TABLE)).source(page) == file


def test_an_edit_link_is_an_address() -> None:
    """What a path may hold and an address may not is encoded."""
    settings = ReportSettings.read(tomllib.loads(TABLE))
    assert settings.edit_link("/caf%C3%A9 x.html") == "https://github.com/o/r/edit/main/docs/caf%C3%A9%20x.rst"
    assert settings.edit_link("/other") is None


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("/a", "/a", True),
        ("/a", "/ab", False),
        ("/a*", "/abc", True),
        ("*b*d*", "abcde", True),
        ("*d*b*", "abcde", False),
        ("ab*ba", "aba", False),
        ("a?[b]*", "a?[b]c", True),
        ("*", "", True),
    ],
)
def test_a_star_stands_for_anything(pattern: str, text: str, fits: bool) -> None:
    """Everything else stands for itself."""
    assert patterns.covers(pattern, text) is fits


def test_patterns_take_linear_time() -> None:
    """No address makes a rule slow."""
    begin = time.perf_counter()
    assert not patterns.covers("*a" * 30 + "b", "a" * 20_000)
    assert time.perf_counter() - begin < 1


def test_versions_are_ranked_as_readers_want_them() -> None:
    """The stable and the latest one come first, then the highest number."""
    versions = ["/1.4/", "/dev/", "/1.10/", "/latest/", "/2/", "/stable/", "/1.4.1/"]
    assert sorted(versions, key=patterns.rank) == [
        "/stable/",
        "/latest/",
        "/2/",
        "/1.10/",
        "/1.4.1/",
        "/1.4/",
        "/dev/",
    ]
    assert patterns.split_version(("/{version}/",), "/guide/1.4/x") == ("", "/guide/1.4/x")
    assert patterns.split_version(("/{version}/",), "/v1.4-rc/") == ("", "/v1.4-rc/")
    assert patterns.split_version(("/en/{version}/",), "/en/v1.4.rc1/x") == ("/en/v1.4.rc1/", "/*/x")
