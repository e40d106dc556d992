"""Reason ids in words: what is wrong, and what to do about it."""

from http import HTTPStatus

_HELP = {
    "missing_fragment": (
        "The page exists, but nothing on it has the id that the link names.",
        "Correct the part after the #, or give the heading its old id again.",
    ),
    "dns": ("The host's name is not known.", "Correct the host, or remove the link."),
    "refused": ("The host refuses connections.", "Check that the address is meant to be public."),
    "reset": ("The connection broke before an answer came.", "Try the link; if it fails for you, too, replace it."),
    "tls": ("The certificate is not valid for the host.", "Renew the certificate, or replace the link."),
    "timeout": ("No answer came in time.", "Try the link; if it fails for you, too, replace it."),
    "truncated": ("The answer ended before its announced length.", "Check the server that sends it."),
    "invalid_response": ("The answer is not HTTP.", "Check the server that sends it."),
    "bad_url": ("The link is not a valid address.", "Correct how it is written."),
    "bad_mailto": ("The mail address is not written as one.", "Correct how it is written."),
    "bad_tel": ("The telephone number is not written as one.", "Correct how it is written."),
    "no_location": ("A redirect does not say where to.", "Correct the redirect."),
    "redirect_loop": ("The redirects lead back to where they began.", "Correct the redirects."),
    "redirect_to_broken": ("The redirect leads to something that is broken.", "Link to a page that exists."),
    "too_many_redirects": ("There are more than ten redirects.", "Link to where they end."),
    "soft_404": ("The server says OK, but the page says that it was not found.", "Link to a page that exists."),
    "cf_challenge": ("A bot wall stands in front of the page.", "Try the link by hand; nothing is known of it."),
    "rate_limited": ("The host asked to be left alone for longer than the audit waits.", "Try the link by hand."),
    "robots_disallowed": ("robots.txt forbids the address to programs.", "Try the link by hand."),
    "crawler_trap": ("The address looks like one of endlessly many.", "Look whether the link is meant."),
    "js_anchor": ("Only a script could say whether the page has this anchor.", "Try the link by hand."),
    "private_address": ("The host is on a private network.", "Check that readers can reach it."),
    "not_checked": ("A redirect leads to where the audit does not go.", "Try the link by hand."),
    "too_large": ("The page is larger than the audit reads.", "Try the link by hand."),
    "too_deep": ("The page's elements are nested deeper than the audit follows.", "Check its HTML."),
    "unparsable": ("The page could not be parsed.", "Check its HTML."),
    "parser_crashed": ("The page ended the process that read it, twice.", "Check its HTML; please report it as a bug."),
    "unsupported_encoding": ("The page is compressed in a way that the audit cannot undo.", "Try the link by hand."),
    "permanent_redirect": ("The page has moved for good.", "Link to where it is now."),
    "too_many_links": ("The page has more links than the audit takes from one.", "Split the page, or check the rest."),
}
_OTHER = ("The link is not in order.", "Try the link by hand.")


def label(reason: str) -> str:
    """Return a reason as it stands in brackets: a status, or words."""
    number = reason.removeprefix("http_")
    return number if number.isdigit() else reason.replace("_", " ")


def meaning(reason: str) -> str:
    """Return in one sentence what a reason id says."""
    return _help(reason)[0]


def advice(reason: str) -> str:
    """Return in one sentence what to do about it."""
    return _help(reason)[1]


def _help(reason: str) -> tuple[str, str]:
    kind, _, number = reason.rpartition("_")
    if not number.isdigit() or kind not in ("http", "blocked"):
        return _HELP.get(reason, _OTHER)
    answer = f"{number} {_phrase(int(number))}".rstrip()
    if kind == "blocked":
        return f"The host refuses the auditor ({answer}).", "Try the link by hand; nothing is known of it."
    if number.startswith("5"):
        return f"The server failed ({answer}).", "Repair what answers there, or link to something else."
    return f"There is no such page ({answer})." if number in ("404", "410") else f"The server answered {answer}.", (
        "Correct the link, or restore the page with a redirect."
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
