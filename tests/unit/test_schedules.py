"""Jobs as they are declared."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from gapless.contract.link_audit import CrawlOptions, LinkAuditRequest
from gapless.errors import ConfigurationError
from gapless.links.report.settings import CRAWL_OPTIONS, ReportSettings
from gapless.schedules import read_jobs

JOB: dict[str, Any] = {"url": "https://docs.example.com/", "cron": "0 2 * * *"}


def test_a_job_in_two_lines() -> None:
    """Site and time are enough; the rest has defaults that suit a nightly job."""
    [(name, job)] = read_jobs({"nightly": JOB}).items()
    assert (name, job.time_zone, job.jitter, job.catchup_window) == (
        "nightly",
        "UTC",
        timedelta(minutes=5),
        timedelta(hours=1),
    )
    assert job.request() == LinkAuditRequest(url="https://docs.example.com/")


def test_a_job_is_a_request_with_times() -> None:
    """A job may say whatever a request may."""
    job = read_jobs({"weekly": JOB | {"agent": "a", "external": False, "max_pages": 7, "jitter": 0}})["weekly"]
    assert job.request() == LinkAuditRequest(url=JOB["url"], agent="a", external=False, max_pages=7)


@pytest.mark.parametrize(
    "cron", ["*/15 * * * *", "0 2 1,15 * *", "0-30/10 8-18 * jan-mar mon-fri", "59 23 31 12 7", "0 0 * * SUN"]
)
def test_cron(cron: str) -> None:
    """Five fields with lists, ranges, steps and names are taken."""
    assert read_jobs({"job": JOB | {"cron": cron}})["job"].cron == cron


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("@daily", "five fields"),
        ("0 2 * *", "five fields"),
        ("60 2 * * *", "'60' is no minute"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 2 0 * *", "'0' is no day"),
        ("0 2 * 13 *", "'13' is no month"),
        ("0 2 * * 8", "'8' is no weekday"),
        ("0 2 * * son", "'son' is no weekday"),
        ("5-1 2 * * *", "'5-1' is no minute"),
        ("*/0 2 * * *", "is no minute"),
        ("0, 2 * * *", "'' is no minute"),
    ],
)
def test_cron_that_cannot_be(cron: str, words: str) -> None:
    """What Temporal would refuse only after other jobs were applied is refused here, with the field's name."""
    with pytest.raises(ConfigurationError, match=words):
        read_jobs({"job": JOB | {"cron": cron}})


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("Nightly Docs", {}, "jobs.Nightly Docs"),
        ("job", {"url": "docs.example.com"}, "jobs.job.url: not an http or https URL"),
        ("job", {"time_zone": "Berlin"}, "jobs.job.time_zone: not an IANA time zone"),
        ("job", {"time_zone": "../etc"}, "jobs.job.time_zone"),
        ("job", {"provider": "nobody"}, "jobs.job.provider: unknown provider 'nobody'"),
        ("job", {"crn": "0 2 * * *"}, "jobs.job.crn"),
        ("job", {"catchup_window": 1}, "jobs.job.catchup_window"),
    ],
)
def test_what_does_not_fit_is_named(name: str, change: dict[str, Any], words: str) -> None:
    """An error names the job and its field."""
    with pytest.raises(ConfigurationError, match=words):
        read_jobs({name: JOB | change})


LINKS: dict[str, Any] = {"nights": 2, "exclude": ["/old/"], "max_pages": 50, "external": False, "prefix": "/docs/"}


def test_the_crawls_options_of_the_file_hold_for_its_jobs() -> None:
    """What stands in the table of links is the jobs' default; what a job says goes before it, and only the crawl's."""
    jobs = read_jobs({"a": JOB, "b": JOB | {"max_pages": 7, "exclude": [], "external": True}}, LINKS)
    url = JOB["url"]
    assert jobs["a"].request() == LinkAuditRequest(
        url=url, exclude=["/old/"], max_pages=50, external=False, prefix="/docs/"
    )
    assert jobs["b"].request() == LinkAuditRequest(url=url, max_pages=7, prefix="/docs/")


def test_the_two_readers_of_the_table_know_the_same_names() -> None:
    """The auditor, which stands alone, passes over exactly what the request's type calls an option of the crawl."""
    assert set(CRAWL_OPTIONS) == set(CrawlOptions.model_fields)
    assert not set(CRAWL_OPTIONS) & {field.name for field in fields(ReportSettings)}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"max_page": 3}, r"links.max_page is not a setting; did you mean max_pages\? \(known: .*, robots, "),
        ({"url": "https://a.example"}, "links.url is not a setting"),
        ({"agent": "a"}, "links.agent is not a setting"),
        ({"advisor": "a"}, "links.advisor is not a setting"),
        ({"max_pages": 0}, r"links\.max_pages: Input should be greater"),
        ({"include": "x"}, r"links\.include: Input should be a valid list"),
        ({"exclude": ["("]}, r"links\.exclude\.0: not a regular expression"),
        ({"nights": 0}, r"links\.nights must be a whole number"),
    ],
)
def test_a_table_that_cannot_be_meant(table: dict[str, Any], words: str) -> None:
    """It is refused before anything is applied, with the key and the names that are known."""
    with pytest.raises(ConfigurationError, match=words):
        read_jobs({"job": JOB}, table)
