"""A day of counts as little SVG pictures: pure text, no script, colours by the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

MINUTES = 24 * 60
_WIDTH, _HEIGHT = 480, 80
_GAP = 3

History = Sequence[tuple[int, Mapping[str, float]]]
"""(Unix minute, counts), oldest first."""


def plot(title: str, names: Mapping[str, str], history: History, now_minute: int) -> str:
    """One figure: a line for each of `names` (count to legend) over the last 24 hours; a gap where no engine ran."""
    recent = [(minute, counts) for minute, counts in history if minute > now_minute - MINUTES]
    top = max((counts.get(name, 0.0) for _, counts in recent for name in names), default=0.0)
    last = recent[-1][1] if recent else {}
    lines = "".join(_line(number, name, recent, now_minute, top) for number, name in enumerate(names))
    legend = ", ".join(
        f'<span class="line{number}">{escape(word)} {last.get(name, 0.0):g}</span>'
        for number, (name, word) in enumerate(names.items())
    )
    said = f"{title} over the last 24 hours, at most {top:g}"
    return (
        f"<figure><figcaption>{escape(title)}: {legend}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(said)}">'
        f"{lines}</svg><p class=scale><span>24 h ago</span><span>at most {top:g}</span><span>now</span></p></figure>"
    )


def _line(number: int, name: str, recent: History, now_minute: int, top: float) -> str:
    """Paths of the runs of minutes between gaps."""
    steps, before = [], None
    for minute, counts in recent:
        x = _WIDTH * (minute - now_minute + MINUTES) / MINUTES
        y = _HEIGHT - (_HEIGHT - 2) * counts.get(name, 0.0) / (top or 1.0) - 1
        starts = before is None or minute - before > _GAP
        steps.append(f"{'M' if starts else 'L'}{x:.1f} {y:.1f}")
        before = minute
    return f'<path class="line{number}" d="{"".join(steps)}"/>' if steps else ""
