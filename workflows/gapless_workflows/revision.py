"""A revised report: what was broken on other hosts is looked at again when what passes by itself has passed."""

from datetime import timedelta

from pydantic import ValidationError
from temporalio import workflow

from gapless.contract.elsewhere import ElsewhereActivities
from gapless.contract.link_audit import ReportRevision, Revision, RevisionRequest
from gapless.text import cell
from gapless_workflows import policies


@workflow.defn(name="Revision", failure_exception_types=[ValidationError])
class RevisionWorkflow(ReportRevision):
    """See `gapless.contract.link_audit.ReportRevision`."""

    @workflow.run
    async def run(self, request: RevisionRequest) -> Revision:
        """Look again at each of the times that the audit names, for as long as something is broken."""
        revision = Revision(still_broken=request.outcome.broken_elsewhere)
        for wait in request.request.recheck_after:
            if not revision.still_broken:
                break
            await self._wait(wait, revision)
            revision = self._merged(revision, await self._look(request, revision))
        self._show("done", revision)
        return revision

    async def _wait(self, wait: timedelta, revision: Revision) -> None:
        self._show(f"looking again at {workflow.now() + wait:%Y-%m-%d %H:%M:%S} UTC", revision)
        await workflow.sleep(wait, summary="until the next look")

    async def _look(self, request: RevisionRequest, so_far: Revision) -> Revision:
        return await workflow.execute_activity_method(
            ElsewhereActivities.recheck,
            request.model_copy(update={"recovered": so_far.details}),
            summary="fetch again what is broken on other hosts",
            schedule_to_close_timeout=policies.RECHECK_LIMIT,
            **policies.RECHECK,
        )

    @staticmethod
    def _merged(earlier: Revision, now: Revision) -> Revision:
        """Return the newer revision, with the reports of the earlier one where it has none of its own."""
        if now.report_markdown is not None:
            return now
        kept = {"report_markdown": earlier.report_markdown, "report_json": earlier.report_json}
        return now.model_copy(update=kept)

    def _show(self, state: str, revision: Revision) -> None:
        found = f"{revision.recovered} recovered, {revision.still_broken} still broken"
        rows = (("State", state), ("On other hosts", found))
        table = "\n".join(f"| {name} | {cell(value)} |" for name, value in rows)
        workflow.set_current_details(f"| | |\n|---|---|\n{table}")
