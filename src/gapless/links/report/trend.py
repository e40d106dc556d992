"""Small charts of what earlier audits found, as SVG that takes its colours from the page."""

from collections.abc import Callable, Sequence

from gapless.links.escape import markup
from gapless.links.report.history import Run

SHOWN = 90
WIDTH, TOP, BASE, MIDDLE, REACH, HEIGHT = 1000, 8, 76, 96, 14, 112
"""The view box: it is stretched to the width there is, and its height is in pixels. What is new and fixed stands
around the middle line, below the base of the curve."""

Point = tuple[float, float]


def trend(runs: Sequence[Run]) -> str:
    """Draw broken links over time, with what was new above and fixed below a second line; "" for less than two runs."""
    shown = runs[-SHOWN:]
    if len(shown) < 2:
        return ""
    good = [run for run in shown if run.incomplete is None]
    top = max((run.broken for run in shown), default=0) or 1
    x = _across(len(shown))
    points = [(x(n), BASE - (BASE - TOP) * run.broken / top) for n, run in enumerate(shown) if run.incomplete is None]
    parts = [
        _axis(TOP) + _axis(BASE) + _axis(MIDDLE),
        _area(points),
        _line(points, "broken"),
        *(_dot(*point, "s-broken") for point in points[-1:]),
        *(_ill(x(n), run) for n, run in enumerate(shown) if run.incomplete is not None),
        *_moves(shown, x),
    ]
    last = shown[-1]
    label = (
        f"{len(good)} complete audits from {shown[0].date} to {last.date}; the last found {last.broken} broken links"
    )
    caption = (
        '<strong>Over time</strong><span class="key">broken, new above</span>'
        '<span class="key k-fixed">fixed below</span>'
    )
    return _figure(caption, _plot(label, parts, shown, str(top)), _table(shown))


def agent_trend(runs: Sequence[Run]) -> str:
    """Draw the agent's precision and recall over time; "" for less than two nights with an agent."""
    shown = [run for run in runs if run.precision is not None or run.recall is not None][-SHOWN:]
    if len(shown) < 2:
        return ""
    x = _across(len(shown))
    parts = [_axis(TOP) + _axis(MIDDLE)]
    for name in ("precision", "recall"):
        values = [(n, getattr(run, name)) for n, run in enumerate(shown)]
        points = [(x(n), MIDDLE - (MIDDLE - TOP) * value) for n, value in values if value is not None]
        parts.append(_line(points, name))
        parts += [_dot(*point, f"s-{name}") for point in points[-1:]]
    caption = (
        '<strong>The agent</strong><span class="key k-precision">precision</span>'
        '<span class="key k-recall">recall</span>'
    )
    label = f"Precision and recall of the agent from {shown[0].date} to {shown[-1].date}"
    rows = [(run.date.isoformat(), share(run.precision), share(run.recall)) for run in reversed(shown)]
    return _figure(caption, _plot(label, parts, shown, "1.0", "lo low"), _rows(("Night", "Precision", "Recall"), rows))


def share(value: float | None) -> str:
    """Write a share with two digits; n/a where there was nothing to divide by."""
    return "n/a" if value is None else f"{value:.2f}"


def _across(number: int) -> Callable[[int], float]:
    step = (WIDTH - 16) / max(number - 1, 1)
    return lambda n: 8 + n * step


def _axis(y: int) -> str:
    return f'<line class="axis" x1="0" y1="{y}" x2="{WIDTH}" y2="{y}"/>'


def _area(points: Sequence[Point]) -> str:
    if not points:
        return ""
    path = " ".join(f"L{x:.1f},{y:.1f}" for x, y in points)
    return f'<path class="area" d="M{points[0][0]:.1f},{BASE} {path} L{points[-1][0]:.1f},{BASE}Z"/>'


def _line(points: Sequence[Point], name: str) -> str:
    return f'<polyline class="stroke s-{name}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _dot(x: float, y: float, name: str) -> str:
    return f'<path class="dot {name}" d="M{x:.1f},{y:.1f}h0"/>'  # a round end of no line stays round when stretched


def _ill(x: float, run: Run) -> str:
    why = markup(f"{run.date}: incomplete, {run.incomplete}")
    return f"<g><title>{why}</title>{_dot(x, BASE, 'ill')}{_dot(x, BASE, 'hole')}</g>"


def _moves(shown: Sequence[Run], x: Callable[[int], float]) -> list[str]:
    most = max(max(run.new, run.fixed) for run in shown) or 1
    width = max(3.0, min(10.0, 0.6 * WIDTH / len(shown)))
    bars = []
    for n, run in enumerate(shown):
        for name, number in (("new", run.new), ("fixed", run.fixed)):
            tall = REACH * number / most
            y = MIDDLE - tall if name == "new" else MIDDLE
            if number:
                bars.append(
                    f'<rect class="f-{name}" x="{x(n) - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
                    f'height="{tall:.1f}"><title>{run.date}: {number} {name}</title></rect>'
                )
    return bars


def _plot(label: str, parts: Sequence[str], shown: Sequence[Run], top: str, zero: str = "lo") -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
        f'<span class="hi">{top}</span><span class="{zero}">0</span>'
        f'<div class="ends"><span>{shown[0].date}</span><span>{shown[-1].date}</span></div>'
    )


def _figure(caption: str, plot: str, table: str) -> str:
    return (
        f'<figure class="trend"><figcaption>{caption}</figcaption><div class="plot">{plot}</div>'
        f'<details><summary>As a table</summary><div class="scroll" tabindex="0">{table}</div></details></figure>'
    )


def _table(shown: Sequence[Run]) -> str:
    rows = [
        (
            run.date.isoformat(),
            str(run.pages),
            str(run.broken),
            str(run.new),
            str(run.fixed),
            markup(run.incomplete or ""),
        )
        for run in reversed(shown)
    ]
    return _rows(("Night", "Pages", "Broken", "New", "Fixed", "Incomplete"), rows)


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
