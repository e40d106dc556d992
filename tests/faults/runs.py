"""What the tests that kill have in common: requests, what a run waits for, and a site that takes its time."""

import random
from typing import Any

from conftest import MODEL
from gapless import InteractionRequest, LinkAuditRequest
from gapless.client import Pending, Run
from unit.links.httpsite import Reply, Route, Site, page, redirect

PAGES = 300


def request(fault: str | None = None, **labels: str) -> InteractionRequest:
    """Return a request to a model; keywords are labels, with `_` for `-`."""
    named = {f"gapless-{name.replace('_', '-')}": value for name, value in labels.items()}
    named |= {"gapless-fault": fault} if fault else {}
    return InteractionRequest(model=MODEL, input="Say hello.", labels=named)


def audit(url: str) -> LinkAuditRequest:
    """Return a request to audit a site, and no other host."""
    return LinkAuditRequest(url=url, external=False)


async def pending(run: Run[Any], activity: str) -> Pending | None:
    """Return the activity that the run waits for, if it is this one."""
    found = (await run.status()).pending
    return next((each for each in found if each.activity == activity), None)


async def beat(run: Run[Any], activity: str, key: str) -> Any:
    """Return what the activity's newest heartbeat says under this key."""
    found = await pending(run, activity)
    return found.heartbeat.get(key) if found else None


async def state(run: Run[Any], wanted: str) -> bool:
    """Say whether the run is in this state."""
    return (await run.status()).state == wanted


def fetched_twice(site: Site) -> int:
    """Return how many pages of the large site were asked for more than once, each time counted."""
    return sum(count - 1 for path, count in site.requests.items() if path.startswith("/p/"))


def large(pages: int = PAGES) -> dict[str, Route]:
    """Write a site with healthy and broken links of every kind."""
    dice = random.Random(7)
    routes: dict[str, Route] = {
        "/": page("/p/0", f"/p/{pages // 2}"),
        "/robots.txt": Reply("", 404),
        "/old": redirect("/p/1#sec"),
    }
    for number in range(pages):
        links = [f"/p/{(number + 1) % pages}#sec", "/p/0#missing", "/old", f"/gone/{number % 7}"]
        links += [f"/p/{dice.randrange(pages)}" for _ in range(4)]
        routes[f"/p/{number}"] = page(*links, extra='<h1 id="sec">')
    return routes
