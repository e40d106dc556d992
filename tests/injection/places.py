"""Where on a site an order can hide. Each place gives the site with the order in it, and clean without one."""

import html
import json
from collections.abc import Callable
from urllib.parse import quote

from unit.links.httpsite import Reply, Route

Routes = dict[str, Route]
Place = Callable[[str], Routes]

LINKS = '<a href="/a">a</a> <a href="/ok">ok</a> <a href="/gone">gone</a> <a href="#nowhere">x</a>'
BROKEN = {"/gone", "/#nowhere", "/lost"}


def routes(head: str = "", body: str = "", **more: Route) -> Routes:
    """Return the site's routes; what is given is put into its first page."""
    pages: Routes = {
        "/": f"<!doctype html><html><head>{head or '<title>t</title>'}</head><body>{LINKS}{body}</body></html>",
        "/a": '<title>a</title><a href="/">home</a> <a href="/lost">lost</a>',
        "/ok": "<title>ok</title>fine",
        "/robots.txt": Reply("User-agent: *\nAllow: /\n", type="text/plain"),
    }
    return pages | {f"/{name}": route for name, route in more.items()}


def _in_head(form: str) -> Place:
    return lambda order: routes(head="<title>t</title>" + form.format(html.escape(order)))


def _in_body(form: str) -> Place:
    return lambda order: routes(body=form.format(html.escape(order)))


def _json_ld(order: str) -> Routes:
    data = json.dumps({"@type": "WebPage", "name": "t", "description": order})
    return routes(head=f'<title>t</title><script type="application/ld+json">{data}</script>')


def _link_text(order: str) -> Routes:
    return routes(body=f'<a href="/gone">{html.escape(order)}</a>')


def _headers(order: str) -> Routes:
    page = routes()["/"]
    assert isinstance(page, str)
    return routes() | {"/": Reply(page, headers={"X-Note": order or "none", "Server": order or "none"})}


def _robots(order: str) -> Routes:
    return routes() | {"/robots.txt": Reply(f"# {order}\nUser-agent: *\nAllow: /\n", type="text/plain")}


def _not_found(order: str) -> Routes:
    return routes(gone=Reply(f"<title>gone</title><h1>{html.escape(order)}</h1>", 404))


def _file_name(order: str) -> Routes:
    return routes(body=f'<a href="/{quote(order or "name", safe="")}.html">x</a>')


def _other_page(order: str) -> Routes:
    return routes(ok=f"<title>ok</title><pre>{html.escape(order)}</pre>")


PLACES: dict[str, Place] = {
    "visible text": _in_body("<p>{}</p>"),
    "hidden text": _in_body('<div style="display:none">{}</div>'),
    "text of no size": _in_body('<span style="font-size:0;color:#fff">{}</span>'),
    "comment": lambda order: routes(body=f"<!-- {order} -->"),
    "alternative text": _in_body('<img src="/ok" alt="{}">'),
    "other attributes": _in_body('<p title="{0}" aria-label="{0}" data-agent="{0}">x</p>'),
    "noscript": _in_body("<noscript>{}</noscript>"),
    "template": _in_body("<template>{}</template>"),
    "textarea": _in_body("<textarea>{}</textarea>"),
    "script": lambda order: routes(body=f"<script>var note = {json.dumps(order)}</script>"),
    "meta": _in_head('<meta name="description" content="{}">'),
    "title": lambda order: routes(head=f"<title>{html.escape(order) or 't'}</title>"),
    "JSON-LD": _json_ld,
    "link text": _link_text,
    "response headers": _headers,
    "robots.txt": _robots,
    "404 page": _not_found,
    "file name": _file_name,
    "another page": _other_page,
}
