"""What a caller needs to know of a Temporal server."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

Say = Callable[[str], None]
"""Receives one line of progress for a person."""


@dataclass(frozen=True)
class Server:
    """A Temporal server and the namespace to use on it."""

    address: str
    """Host and port of the gRPC service."""
    namespace: str
    ui: str | None
    """Address of the web UI, or None when it is not known."""
    origin: str
    """Where it comes from, in a few words for a person."""
    ours: bool
    """Whether `stop` ends it."""

    def run_url(self, workflow_id: str) -> str | None:
        """Name the page of a workflow in the web UI, or None without one."""
        if self.ui is None:
            return None
        return f"{self.ui}/namespaces/{quote(self.namespace, safe='')}/workflows/{quote(workflow_id, safe='')}"
