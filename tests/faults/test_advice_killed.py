"""A worker is killed while advice is asked for, awaited and checked: it is the same advice, and it is paid for once."""

import asyncio

from conftest import AGENT
from faults.moments import Moment
from faults.mortals import Mortals
from gapless.testing.emulator import Emulator

ADVISOR = f"agents/{AGENT}"
MOMENTS = (  # not in the submission: until the server knows of it, it is held for a person, as that of any task
    "after:poll",
    "return:poll",
    "during:advice-answer.json:1",
    "before:report_in_lane",
    "after:conclusion.json:1",
    "after:advice.json:1",
)


async def test_killed_at_any_moment(mortals: Mortals, emulator: Emulator) -> None:
    """No report shows when the worker was killed; each audit's advisor was asked once."""
    mortals.pages = 12
    alone = await mortals.audit(advisor=ADVISOR)
    assert alone.advice is not None
    assert alone.advice.works == alone.advice.suggested > 0
    told = await asyncio.gather(*(mortals.audit(Moment("advice", stall=stall), advisor=ADVISOR) for stall in MOMENTS))
    for stall, each in zip(MOMENTS, told, strict=True):
        assert each.files == alone.files, stall
        assert each.advice is not None, stall
        assert (each.advice.submissions, each.advice.kept) == (1, False), stall
        own = {"interaction_id", "details"}
        assert each.advice.model_dump(exclude=own) == alone.advice.model_dump(exclude=own), stall
    stats = emulator.stats()
    assert stats["created"] == stats["requests"]["create"] == len(MOMENTS) + 1
