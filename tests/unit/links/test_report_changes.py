import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gapless.links.report.changes import Gone, changes
from gapless.links.report.digest import digest
from gapless.links.report.document import Report, ReportFinding
from gapless.links.report.history import History, Run, load_history, read_history, save_history
from gapless.links.report.markdown import markdown
from gapless.links.report.review import Review, health, read_baseline, review
from gapless.links.report.settings import ReportSettings
from unit.links.reports import TODAY, everywhere, finding, report

A, B, C = finding("/a", "/x"), finding("/b", "/y", "http_500"), finding("/c", "/z", "dns")


def keys(findings: tuple[ReportFinding, ...]) -> list[str]:
    return [found.href for found in findings]


def nights(*reports: Report, settings: ReportSettings | None = None, **others: Any) -> list[Review]:
    """Review reports of one night after the other."""
    history, reviews = History(), []
    for number, each in enumerate(reports):
        day = TODAY + timedelta(days=number)
        reviews.append(review(each, settings, today=day, history=history, **others))
        history = reviews[-1].history
    return reviews


def test_changes_are_new_fixed_and_still_broken() -> None:
    """Links are compared by page and target."""
    found = changes(report(A, C), report(A, B))
    assert (keys(found.new), found.fixed, keys(found.still)) == (["/z"], (Gone("/b", "/y", "http_500"),), ["/x"])
    assert keys(changes(report(A), None).new) == ["/x"]


def test_another_reason_is_still_broken() -> None:
    """A link that fails in another way is neither fixed nor new."""
    found = changes(report(finding("/a", "/x", "timeout")), report(A))
    assert (found.new, found.fixed, keys(found.still)) == ((), (), ["/x"])


def test_what_cannot_be_told_is_not_fixed() -> None:
    """A link that is only unverified now, or not seen by an incomplete audit, stays open."""
    blocked = finding("/a", "/x", "blocked_403", "unverified")
    assert changes(report(blocked), report(A)).unknown == (Gone("/a", "/x", "http_404"),)
    cut = report(incomplete_reason="stopped at 1 pages")
    assert changes(cut, report(A)).unknown == (Gone("/a", "/x", "http_404"),)
    moved = finding("/a", "/x", "permanent_redirect", "warning")
    assert changes(report(moved), report(A)).fixed == (Gone("/a", "/x", "http_404"),)


def test_what_cannot_be_told_is_forgotten_in_time() -> None:
    """A link of which nothing is known for 30 days leaves the history."""
    reviews = nights(report(A), *[report(finding("/a", "/x", "blocked_403", "unverified"))] * 31)
    assert [len(each.history.links) for each in reviews[-3:]] == [1, 1, 0]


def test_a_site_may_be_served_elsewhere() -> None:
    """The same links on another address of the site are the same links."""
    found = changes(report(A, site="http://127.0.0.1:8791"), report(A))
    assert (found.new, keys(found.still)) == ((), ["/x"])


def test_changes_are_counted_in_targets() -> None:
    """New and still broken make up the total, however many pages a link stands on."""
    found = changes(report(*everywhere(range(50)), A), report(*everywhere(range(49)), B))
    assert found.counts(report()) == (2, 1, 0, 0)
    judged = review(report(*everywhere(range(50)), A), previous=report(*everywhere(range(50)), B))
    assert (
        "Total broken: 2 across 20 pages crawled.\nSince the last audit: 1 new, 1 fixed, 1 still broken."
        in markdown(report(*everywhere(range(50)), A), judged)
    )


def test_the_history_counts_nights() -> None:
    """Each night a link is broken counts; one that comes back begins anew."""
    first, second, third, fourth = nights(report(A), report(A, B), report(B), report(A, B))
    assert first.changes is None
    assert [(known.key, known.nights) for known in second.history.links] == [(("/a", "/x"), 2), (("/b", "/y"), 1)]
    assert third.changes is not None
    assert third.changes.fixed == (Gone("/a", "/x", "http_404"),)
    assert {known.target: (known.nights, known.first_seen) for known in fourth.history.links} == {
        "/x": (1, TODAY + timedelta(days=3)),
        "/y": (3, TODAY + timedelta(days=1)),
    }
    assert [(run.broken, run.new, run.fixed) for run in fourth.history.runs] == [
        (1, 1, 0),
        (2, 1, 0),
        (1, 0, 1),
        (2, 1, 0),
    ]


def test_a_history_may_begin_with_an_earlier_report() -> None:
    """The first night is compared with the report there is, and the history goes on from there."""
    first = review(report(A), today=TODAY, history=History(), previous=report(A, B))
    assert first.changes is not None
    assert (keys(first.changes.still), len(first.changes.fixed), first.new) == (["/x"], 1, ())
    assert [(known.target, known.nights) for known in first.history.links] == [("/x", 1)]
    second = review(report(A), today=TODAY + timedelta(days=1), history=first.history)
    assert [(known.target, known.nights) for known in second.history.links] == [("/x", 2)]


def test_an_audit_that_is_repeated_counts_once() -> None:
    """The same audit on the same day gives the same review and history, even when it is fed its own."""
    _, second = nights(report(A), report(B))
    day = TODAY + timedelta(days=1)
    again = review(report(B), today=day, history=second.history)
    assert (again.history, again.changes, again.exit_code) == (second.history, second.changes, second.exit_code)
    other = review(report(A), today=day, history=second.history)
    assert other.changes is not None
    assert (other.changes.new, keys(other.changes.still)) == ((), ["/x"])


def test_a_link_must_be_broken_for_some_nights() -> None:
    """It waits until it counts, is new on the night that it first counts, and stays broken in the report."""
    settings = ReportSettings(nights=3, fail_on="new")
    reviews = nights(*[report(A)] * 4, settings=settings)
    assert [len(each.waiting) for each in reviews] == [1, 1, 0, 0]
    assert [each.exit_code for each in reviews] == [0, 0, 1, 0]
    assert "Not counted: 1 not yet for 3 nights." in markdown(report(A), reviews[0])


@pytest.mark.parametrize(("fail_on", "codes"), [("any", [1, 1, 1, 0]), ("new", [1, 0, 1, 0]), ("never", [0] * 4)])
def test_what_makes_an_audit_fail(fail_on: Any, codes: list[int]) -> None:
    """Any broken link, only new ones, or nothing."""
    reviews = nights(report(A), report(A), report(A, B), report(), settings=ReportSettings(fail_on=fail_on))
    assert [each.exit_code for each in reviews] == codes


@pytest.mark.parametrize(
    ("ill", "why"),
    [
        ({"pages": 79}, "only 79 pages, where the last good audit saw 100"),
        ({"start_reason": "http_503"}, "the first page could not be read (http_503)"),
        ({"refused": 21, "addresses": 200, "pages": 100}, "the site refused 21 of 200 requests"),
    ],
)
def test_an_ill_audit_wakes_nobody(ill: dict[str, Any], why: str) -> None:
    """Nothing is fixed, new or counted by it; the next good audit goes on from the last good one."""
    sick = report(B, **{"pages": 100} | ill)
    reviews = nights(report(A, pages=100), sick, report(A, pages=100))
    assert reviews[1].ill == why
    assert reviews[1].exit_code == 3
    assert reviews[1].changes is not None
    assert (reviews[1].changes.new, reviews[1].changes.fixed) == ((), ())
    assert reviews[1].history.links == reviews[0].history.links
    assert [run.incomplete for run in reviews[2].history.runs] == [None, why, None]
    assert reviews[2].changes is not None
    assert (reviews[2].changes.new, keys(reviews[2].changes.still)) == ((), ["/x"])
    assert "Nothing is called new or fixed." in digest(sick, reviews[1])
    assert f"Incomplete: {why}." in markdown(sick, reviews[1])
    assert "Since the last audit" not in markdown(sick, reviews[1])


def test_health_has_limits() -> None:
    """A fifth fewer pages and a tenth of refusals are still taken for the site's own doing."""
    assert health(report(pages=80), report(pages=100)) is None
    assert health(report(refused=20, pages=100), None) is None
    assert health(report(refused=10), None) is None
    assert health(report(pages=10), report(pages=100), ReportSettings(page_drop=1.0)) is None


def test_a_cut_audit_still_reports_what_is_broken() -> None:
    """At a limit what was found is true, only what was not seen is unknown."""
    cut = report(A, incomplete_reason="stopped at 20 pages")
    reviews = nights(report(B), cut)
    assert reviews[1].exit_code == 1
    assert reviews[1].changes is not None
    assert (keys(reviews[1].changes.new), reviews[1].changes.fixed) == (["/x"], ())
    assert [known.target for known in reviews[1].history.links] == ["/x", "/y"]
    assert "Since the last audit: 1 new, 0 fixed, 0 still broken, 1 unknown." in markdown(cut, reviews[1])
    assert review(report(incomplete_reason="stopped at 20 pages")).exit_code == 3


def test_ignored_links_do_not_count_until_the_rule_expires() -> None:
    """A rule leaves out what it covers, up to its last day; then the links are new, and the rule is named."""
    rule = {"target": "/x*", "reason": "rewritten soon", "expires": date(2026, 11, 26)}
    settings = ReportSettings.read({"ignore": [rule], "fail_on": "new"})
    reviews = nights(*[report(A)] * 4, settings=settings)
    assert [each.exit_code for each in reviews] == [0, 0, 1, 0]
    assert [len(each.expired) for each in reviews] == [0, 0, 1, 1]
    assert "Total broken: 0" in markdown(report(A), reviews[0])
    assert "- `rewritten soon`: 1" in markdown(report(A), reviews[0])
    assert "- `rewritten soon` expired on 2026-11-26: `/x*`" in markdown(report(A), reviews[2])


def test_what_begins_to_be_ignored_is_not_fixed() -> None:
    """A rule hides a link, it does not mend it."""
    before = review(report(A), today=TODAY, history=History()).history
    settings = ReportSettings.read({"ignore": [{"page": "/a", "reason": "known"}]})
    judged = review(report(A), settings, today=TODAY + timedelta(days=1), history=before)
    assert judged.changes is not None
    assert (judged.changes.fixed, judged.changes.unknown) == ((), ())


def test_severity_by_prefix() -> None:
    """The longest prefix of a page decides whether its broken links are errors, warnings or nothing."""
    settings = ReportSettings.read({"severity": {"/1.0/": "ignore", "/1.0/new/": "error", "/1.4/": "warning"}})
    pages = ("/1.0/a", "/1.0/new/a", "/1.4/a", "/2.0/a")
    judged = review(report(*(finding(page, "/x") for page in pages)), settings)
    assert [found.page[24:] for found in judged.errors] == ["/1.0/new/a", "/2.0/a"]
    assert [found.page[24:] for found in judged.lowered] == ["/1.4/a"]
    assert [found.page[24:] for found, _ in judged.ignored] == ["/1.0/a"]


@pytest.mark.parametrize(
    "baseline",
    [report(A).to_dict(), report(A, site="http://127.0.0.1:1").to_dict(), ["/x"], [{"page": "/a", "target": "/x"}]],
)
def test_a_baseline_does_not_count(baseline: object) -> None:
    """What a report or a list names is broken, and no reason to fail."""
    judged = review(report(A, B), baseline=read_baseline(baseline))
    assert (keys(judged.known), keys(judged.errors), judged.total_broken) == (["/x"], ["/y"], 2)


@pytest.mark.parametrize("document", [{}, "x", [1], [{"page": "/a"}], {"findings": [{"result": "broken"}]}])
def test_what_is_no_baseline_is_refused(document: object) -> None:
    """It is not taken for an empty one."""
    with pytest.raises(ValueError, match="baseline"):
        read_baseline(document)


def test_flaky_links_are_counted_over_thirty_nights() -> None:
    """Days further back than that are left out, and a night counts once."""
    flaky = (finding("/a", "/often", "http_503", "flaky"),)
    reviews = nights(*[report()] * 40, flaky=flaky)
    assert [(each.target, len(each.dates)) for each in reviews[-1].history.flaky] == [("/often", 30)]
    assert reviews[-1].history.runs[-1].flaky == 1


def test_flaky_is_not_fixed() -> None:
    """A link that was broken and is flaky now is neither."""
    judged = nights(report(A), report(), flaky=(finding("/a", "/x", "http_404", "flaky"),))[1]
    assert judged.changes is not None
    assert (judged.changes.fixed, judged.changes.unknown) == ((), (Gone("/a", "/x", "http_404"),))


def test_the_history_survives_its_file(tmp_path: Path) -> None:
    """What is written is read again; no file is an empty history, and anything else is refused."""
    path = tmp_path / "history.json"
    assert load_history(path) == History()
    agent = {"verdict": {"precision": 1.0, "recall": None}}
    history = nights(report(A), report(A, B), flaky=(C,), agent=agent)[1].history
    save_history(path, history.to_bytes())
    assert load_history(path) == history
    assert [child.name for child in tmp_path.iterdir()] == ["history.json"]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"history\.json"):
        load_history(path)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"links": [{"page": 1}]}, {"runs": [{"date": "yesterday"}]}, {"runs": 3}, {"flaky": [[]]}],
)
def test_a_damaged_history_is_refused(change: dict[str, Any]) -> None:
    """It is never taken for another one, in which everything would be new."""
    document = json.loads(json.dumps(History().to_dict())) | change
    with pytest.raises(ValueError, match="history of link audits"):
        read_history(document)


def test_the_last_good_audit_is_before_today() -> None:
    """A second audit on a day is not measured by the first."""
    history = History(runs=(Run(TODAY - timedelta(days=1), 100, 0, 0, 0), Run(TODAY, 10, 0, 0, 0)))
    run = history.last_good(TODAY)
    assert run is not None
    assert run.pages == 100


def test_the_digest_is_one_paragraph() -> None:
    """It says what is new, fixed and still broken, with a few examples."""
    judged = nights(report(B), report(*(finding("/a", f"/x{n}") for n in range(5)), B))[1]
    found = report(*(finding("/a", f"/x{n}") for n in range(5)), B)
    assert digest(found, judged) == (
        "docs.example.com: 5 new, 0 fixed, 1 still broken across 20 pages. "
        "New: [404] /x0 on /a, [404] /x1 on /a, [404] /x2 on /a and 2 more."
    )
    assert digest(report()) == "docs.example.com: no broken links across 20 pages."
