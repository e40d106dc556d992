"""`gapless links explain`: why a link is called what it is called."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

from gapless import links
from gapless.client import Gapless, audit_id
from gapless.contract.link_audit import AuditOutcome
from gapless.errors import ConfigurationError
from gapless.links.explain import explain as explained
from gapless.links.explain import explanation_markdown
from gapless_cli.commands import OK, PROBLEM, asynchronous, connect
from gapless_cli.output import result, result_json, say

app = typer.Typer(help="What audits know of links.", add_completion=False, rich_markup_mode=None)


@app.callback()
def _links() -> None:
    """Keep `explain` a command of its own, though it is the only one."""


@app.command()
@asynchronous
async def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="The link: an address, or with --id a path of the site.")],
    id: Annotated[str | None, typer.Option(help="Id of the audit; that of the link's own site by default.")] = None,  # noqa: A002
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> int:
    """Say why a link is what it is: the rule, the requests, the answers on the way, every page that links to it.

    Exit codes: 0 explained, 1 the audit knows nothing of it, 2 usage.
    """
    if id is None and not urlsplit(url).netloc:
        raise ConfigurationError(f"{url!r} is no address; name the audit whose path it is with --id")
    gapless = await connect()
    crawl = await _crawl(gapless, id or audit_id(url.partition("://")[0] + "://" + urlsplit(url).netloc))
    found = explained(crawl, url)
    if as_json:
        result_json([each.to_dict() for each in found])
    elif found:
        result("\n".join(explanation_markdown(crawl, each) for each in found))
    else:
        say("the audit knows nothing of it: no page links there")
    return OK if found else PROBLEM


async def _crawl(gapless: Gapless, id_: str) -> links.Crawl:
    outcome = await (await gapless.run(id_)).result()
    if not isinstance(outcome, AuditOutcome):
        raise ConfigurationError(f"{id_} is no link audit")
    return links.Crawl.from_bytes(await gapless.artifacts.get(outcome.crawl.digest))
