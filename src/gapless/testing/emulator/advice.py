"""The stand-in's advice on broken links: the first address that it is offered, and some made up if it is told so."""

import json
from functools import lru_cache


@lru_cache(maxsize=16)  # a model's answer is worked out anew for each look at it
def advise(prompt: str, invent: int) -> str | None:
    """Return the answer to a prompt that holds broken links as JSON in one line, or None to any other prompt.

    Args:
        prompt: with `{"site": …, "broken": [{"target": …, "candidates": […], "linked_from": […]}]}`.
        invent: for so many of the links it makes addresses up, on the site and elsewhere by turns.
    """
    line = next((line for line in prompt.splitlines() if line.startswith('{"site":')), "")
    try:
        asked = json.loads(line)
        broken, site = asked["broken"], asked["site"]
    except (ValueError, KeyError):
        return None
    rows = []
    for number, link in enumerate(broken):
        made_up = f"{site}/moved-{number}.html" if number % 2 == 0 else f"https://elsewhere.example/{number}"
        found = made_up if number < invent else next(iter(link["candidates"]), None)
        if found is not None:
            named = {"target": link["target"], "suggestion": found}
            rows.append(named | {"why": "its name is most alike", "linked_from": link["linked_from"]})
    return json.dumps({"suggestions": rows}, indent=1)
