"""The two activities that every audit has, however it began."""

from temporalio import workflow

from gapless.contract.host_lane import HostLaneActivities
from gapless.contract.link_audit import (
    AuditOutcome,
    Crawled,
    CrawlProgress,
    LinkAuditActivities,
    LinkAuditRequest,
    ReportRequest,
)
from gapless.text import clip
from gapless_workflows import policies

LOOKS = 2
"""How often other hosts are looked at: a second time when an answer led to pages of the site that nobody knew."""


async def crawl_in_lane(request: LinkAuditRequest, progress: CrawlProgress) -> AuditOutcome | Crawled:
    """Have the site crawled in its lane, from here on; the report may have been written there, too."""
    return await workflow.execute_activity_method(
        HostLaneActivities.crawl_in_lane,
        args=[request, progress],
        summary=clip(f"crawl {request.url}"),
        schedule_to_close_timeout=policies.CRAWL_LIMIT,
        **policies.IN_LANE,
    )


async def write_report(request: ReportRequest) -> AuditOutcome:
    """Have the report written of what is known."""
    return await workflow.execute_activity_method(
        LinkAuditActivities.report,
        ReportRequest(request=request.request, crawled=request.crawled, agent=request.agent, advice=request.advice),
        summary="write the report",
        schedule_to_close_timeout=policies.REPORT_LIMIT,
        **policies.REPORT,
    )
