"""Task queues: the one place where their names are written."""

from enum import StrEnum


class TaskQueue(StrEnum):
    """Where workers listen; a run on a queue of its own keeps everything it starts on that queue."""

    INTERACTIONS = "gapless-interactions"
    LINKS = "gapless-links"
