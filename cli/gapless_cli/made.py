"""What the worker of an audit has written, where the very same would be written here."""

from contextlib import suppress

from gapless.artifacts import ArtifactLost
from gapless.client import Gapless
from gapless.contract.link_audit import AuditOutcome
from gapless_cli.link_report import Form, LinkReport


async def made_already(gapless: Gapless, outcome: AuditOutcome, report: LinkReport) -> dict[Form, bytes]:
    """Return the forms of a report that need not be made again."""
    if outcome.findings is None or outcome.report_html is None:
        return {}
    basis = report.basis(outcome.report_json.digest, outcome.findings.flaky.digest)
    same = {Form.MD: outcome.report_markdown} if report.is_plain else {}
    same |= {Form.HTML: outcome.report_html} if basis is not None and basis == outcome.html_basis else {}
    made: dict[Form, bytes] = {}
    for form, artifact in same.items():
        with suppress(ArtifactLost):  # then it is made here
            made[form] = await gapless.artifacts.get(artifact.digest)
    return made
