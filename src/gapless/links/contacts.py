"""Links to mail boxes and telephones: their syntax is checked, and nothing is sent or called."""

import re
from urllib.parse import unquote_to_bytes

_DOT_ATOM = r"[\w!#$%&'*+/=?^`{|}~\u0080-\U0010ffff-]+(?:\.[\w!#$%&'*+/=?^`{|}~\u0080-\U0010ffff-]+)*"
_LABEL = r"[a-z0-9\u0080-\U0010ffff](?:[a-z0-9\u0080-\U0010ffff-]{0,61}[a-z0-9\u0080-\U0010ffff])?"
_MAIL = re.compile(
    rf"(?:{_DOT_ATOM}|\"(?:[^\"\\\r\n]|\\[^\r\n])*\")@(?P<domain>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])",
    re.IGNORECASE,
)
_TEL = re.compile(r"(?P<number>\+?[0-9A-F*#().\- ]*)(?P<parameters>(?:;[a-z0-9-]+(?:=[^;?#]*)?)*)", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]")
MAX_MAIL, MAX_LOCAL, MAX_DOMAIN = 254, 64, 253


def mail_or_tel_fault(href: str) -> str | None:
    """Say what is wrong with the syntax of a mailto: or tel: link.

    The rules are RFC 6068 for mailto (addresses of RFC 5322, and of RFC 6531 beyond ASCII), and RFC 3966 for tel, with
    spaces and dots for separators, as people write them and telephones read them.

    Returns:
        "bad_mailto" or "bad_tel", or None when nothing is wrong, and for all other links.
    """
    scheme, colon, rest = href.strip().partition(":")
    if colon and scheme.lower() == "mailto":
        return None if _is_mailto(rest) else "bad_mailto"
    if colon and scheme.lower() == "tel":
        return None if _is_tel(rest) else "bad_tel"
    return None


def _is_mailto(rest: str) -> bool:
    path, _, query = rest.partition("#")[0].partition("?")
    fields = [field.partition("=") for field in query.split("&") if field]
    named = [value for name, _, value in fields if name.lower() in {"to", "cc", "bcc"}]
    boxes = [box for part in [path, *named] if part for box in part.split(",")]
    if not boxes:  # a mail that still needs an address is fine when it says anything (RFC 6068, 2)
        return bool(fields)
    return all(_is_mail(box) for box in boxes)


def _is_mail(box: str) -> bool:
    try:
        address = unquote_to_bytes(box).decode().strip()
    except UnicodeDecodeError:
        return False
    local = address.rpartition("@")[0]
    found = _MAIL.fullmatch(address) if len(address) <= MAX_MAIL else None
    return found is not None and len(local) <= MAX_LOCAL and len(found["domain"]) <= MAX_DOMAIN


def _is_tel(rest: str) -> bool:
    number = unquote_to_bytes(rest).decode("utf-8", "replace").strip()
    found = _TEL.fullmatch(number) if len(number) <= MAX_MAIL else None
    if found is None or not _DIGITS.search(found["number"]):
        return False
    digits = re.sub(r"[().\- ]", "", found["number"])
    if digits.startswith("+"):  # a global number has digits only, 15 at most (ITU-T E.164)
        return digits[1:].isdigit() and len(digits) <= 16
    return True
