"""One self-contained HTML page with a timeline for each story: who was there, what ran where, what happened when."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from lab.cluster import Event
from lab.timeline import Sample

WIDTH, LEFT, ROW = 900, 150, 16  # pixels: of the time axis, of the names beside it, of a line
COLOURS = ("#3b78b5", "#d98a29", "#4c9a62")  # of the nodes
STATES = {"online": "#dfe8df", "standby": "#e9e2c0", "unclean": "#c0392b", "pending": "#d5d0e4", "maintenance": "#eee"}

_STYLE = """
body { font: 14px/1.45 sans-serif; margin: 2em auto; max-width: 1100px; color: #222 }
h2 { margin: 2.2em 0 .2em; font-size: 1.05em } svg { display: block; margin: .4em 0 }
svg text { font: 11px sans-serif; fill: #222 } table { border-collapse: collapse; font-size: 13px }
td { padding: .1em .9em .1em 0; vertical-align: top } .n { text-align: right; font-variant-numeric: tabular-nums }
.key span { display: inline-block; width: 1em; height: 1em; margin: 0 .4em 0 1.2em; vertical-align: -2px }
"""


@dataclass(frozen=True)
class Chapter:
    """A part of the page. begun, ended: seconds since the epoch; phases: (what was reached, seconds)."""

    title: str
    begun: float
    ended: float
    phases: Sequence[tuple[str, float]] = field(default_factory=tuple)
    outcome: str = ""


def write(
    path: Path, title: str, chapters: Iterable[Chapter], samples: Sequence[Sample], events: Sequence[Event]
) -> None:
    """Write the page. samples, events: of the whole time; each chapter shows its own."""
    nodes = sorted({name for sample in samples for name in sample.nodes})
    colours = dict(zip(nodes, COLOURS))
    key = "".join(f'<span style="background:{colours[name]}"></span>{escape(name)}' for name in colours)
    parts = [
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>',
        f"<h1>{escape(title)}</h1><p>{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC</p>",
        f'<p class="key">A service runs on:{key}<span style="background:#fff;border:1px solid #999"></span>nowhere',
        '<span style="background:#c0392b"></span>lost, not yet fenced '
        '<span style="background:#3b78b5;opacity:.45"></span>degraded (paler)</p>',
    ]
    for chapter in chapters:
        parts.append(f"<h2>{escape(chapter.title)} {escape(chapter.outcome)}</h2>")
        parts.append(_picture(chapter, samples, events, colours))
        rows = "".join(
            f'<tr><td class="n">{seconds:.1f} s</td><td>{escape(text)}</td></tr>' for text, seconds in chapter.phases
        )
        parts.append(f"<table>{rows}</table>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _picture(chapter: Chapter, samples: Sequence[Sample], events: Sequence[Event], colours: dict[str, str]) -> str:
    span = max(chapter.ended - chapter.begun, 1.0)

    def place(when: float) -> float:
        return LEFT + (min(max(when, chapter.begun), chapter.ended) - chapter.begun) / span * WIDTH

    shown = _during(chapter, samples)
    resources = sorted({name for sample, _, _ in shown for name in sample.where})
    bars: list[str] = []
    for row, name in enumerate([*colours, *resources]):
        top = row * ROW + 4
        bars.append(f'<text x="0" y="{top + 11}">{escape(name)}</text>')
        for sample, begin, end in shown:
            colour = _colour(sample, name, colours)
            if colour:
                x, width = place(begin), place(end) - place(begin)
                opacity = "0.45" if name in sample.degraded else "1"
                bars.append(
                    f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{ROW - 3}" fill="{colour}" '
                    f'opacity="{opacity}"/>'
                )
    height = (len(colours) + len(resources)) * ROW + 8
    lines: list[str] = []
    mine = [event for event in events if chapter.begun <= event.when <= chapter.ended]
    for number, event in enumerate(mine):
        x = place(event.when)
        y = height + 12 + 13 * number
        text = escape(f"{event.when - chapter.begun:.1f} s  {event.node} {event.text}".strip())
        anchor = "end" if x > LEFT + WIDTH * 0.7 else "start"
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{y - 4}" stroke="#555" stroke-dasharray="2 2"/>')
        lines.append(
            f'<text x="{x + (4 if anchor == "start" else -4):.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'
        )
    total = height + 13 * len(mine) + 8
    return f'<svg width="{LEFT + WIDTH + 10}" height="{total}">{"".join(bars)}{"".join(lines)}</svg>'


def _during(chapter: Chapter, samples: Sequence[Sample]) -> list[tuple[Sample, float, float]]:
    """Give what the chapter saw, with begin and end of each."""
    ends = [sample.when for sample in samples[1:]] + [chapter.ended]
    return [
        (sample, max(sample.when, chapter.begun), min(end, chapter.ended))
        for sample, end in zip(samples, ends)
        if end > chapter.begun and sample.when < chapter.ended
    ]


def _colour(sample: Sample, name: str, colours: dict[str, str]) -> str:
    if name in colours:
        return STATES.get(sample.nodes.get(name, ""), "")
    return colours.get(sample.where.get(name, ""), "")
