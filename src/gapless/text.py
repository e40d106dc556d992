"""Foreign text made safe to show: what a page or an agent says is untrusted."""

_MARKDOWN = frozenset("\\`*_[]<>|#~!@&")


def printable(text: str) -> str:
    r"""Show what is not printable as escapes, so that a terminal obeys nothing of it; spaces, tabs and newlines stay.

    ANSI sequences lose their ESC, bidirectional overrides become `\u202e` and the like.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def cell(text: str, limit: int = 1000) -> str:
    """Make text safe for one cell of a Markdown table: one line, bounded, every mark escaped."""
    line = printable(" ".join(text.split()))[:limit]
    escaped = "".join(f"\\{c}" if c in _MARKDOWN else c for c in line)
    return escaped.replace("://", "\\://").replace("www.", "www\\.")  # else an address becomes a link by itself


def clip(text: str, size: int = 200) -> str:
    """Cut text to so many bytes of UTF-8; 200 is what Temporal's documentation allows for a summary."""
    return text.encode(errors="replace")[:size].decode(errors="ignore")
