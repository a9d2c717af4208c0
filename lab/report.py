"""One self-contained HTML page with a timeline for each story: who was there, what ran where, what happened when.

What was seen is a `Recording`, which can be kept as JSON: programs that ran side by side put theirs into one page.
The page is plain HTML and SVG: no scripts, nothing from elsewhere. It is well-formed XML as well.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from itertools import groupby
from pathlib import Path

from lab.cluster import Event
from lab.timeline import Sample

SIZE = 1080  # pixels: the width of a picture
NODE, ROW, LANE, GAP = 20, 16, 15, 6  # pixels: heights of a node's line, another one, a label; between groups
LETTER = 6.5  # pixels: the width of a character at most, on average
Look = tuple[str, str, str]  # how something is drawn: style, what is written in it, what it tells when pointed at
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)  # seconds from tick to tick
STATES = {
    "online": "online",
    "standby": "standby: it may run nothing",
    "pending": "joining",
    "maintenance": "in maintenance: nothing is touched",
    "unclean": "lost: its state is unknown until it is fenced",
    "offline": "off: fenced, or shut down",
}

_STYLE = """
:root { color-scheme: light dark; --fg: #1f2328; --dim: #59636e; --bg: #fff; --track: #f1f3f5; --grid: #d5dae0;
  --ok: #1a7f37; --bad: #c62828; --node0: #2f6db0; --node1: #b3630d; --node2: #2e7d4f; --phase0: #dfe3e8;
  --phase1: #c9d0d8; --online: #d3ead6; --standby: #f2e3a0; --pending: #ddd3f0; --maintenance: #d6e4f0;
  --unclean: #c62828; --offline: #6e7781 }
@media (prefers-color-scheme: dark) { :root { --fg: #e6edf3; --dim: #9198a1; --bg: #12161c; --track: #1c222a;
  --grid: #39424d; --ok: #4cbb66; --bad: #ff7b72; --node0: #3d7ec4; --node1: #b96a14; --node2: #33875a;
  --phase0: #2b333d; --phase1: #3a444f; --online: #1f4a2a; --standby: #5c4d10; --pending: #443763;
  --maintenance: #26435c; --unclean: #b62324; --offline: #57606a } }
@media print { :root { color-scheme: light } body { margin: 0; font-size: 12px } .up { display: none } }
* { print-color-adjust: exact; -webkit-print-color-adjust: exact }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1080px; padding: 0 1em; color: var(--fg);
  background: var(--bg) }
h1 { font-size: 1.6em; margin: 0 } h2 { font-size: 1.15em; margin: 0 } p { margin: .3em 0 }
a { color: inherit } .up { float: right; text-decoration: none } code { font-size: .85em; color: var(--dim) }
section { margin: 2.5em 0; border-top: 1px solid var(--grid); padding-top: .8em; break-inside: avoid }
table { border-collapse: collapse; font-size: .93em } th { text-align: left; font-weight: 600 }
td, th { padding: .1em 1.2em .1em 0; vertical-align: baseline } .n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums }
.group th { padding-top: .8em } .passed { color: var(--ok) } .FAILED { color: var(--bad); font-weight: 700 }
.reason { color: var(--bad); overflow-wrap: anywhere } .dim { color: var(--dim) }
svg { display: block; width: 100%; height: auto; margin: .5em 0 }
.key { display: flex; flex-wrap: wrap; gap: 0 1.4em } .key svg { display: inline; width: 14px; height: 14px;
  margin: 0 .4em 0 0; vertical-align: -2px }
svg text { font: 11px system-ui, sans-serif; fill: var(--fg) } svg .dim { fill: var(--dim) }
.track { fill: var(--track) } .grid { stroke: var(--grid) } .zero { stroke: var(--dim) }
.event { stroke: var(--fg); stroke-dasharray: 2 2 } .unknown { fill: var(--grid); fill-opacity: .6 }
.node0 { color: var(--node0) } .node1 { color: var(--node1) } .node2 { color: var(--node2) }
.node0, .node1, .node2 { fill: currentColor } rect.degraded { fill-opacity: .4 }
rect.lost { fill-opacity: .1; stroke: currentColor; stroke-dasharray: 3 2 }
.phase0 { fill: var(--phase0) } .phase1 { fill: var(--phase1) } .online { fill: var(--online) }
.standby { fill: var(--standby) } .pending { fill: var(--pending) } .maintenance { fill: var(--maintenance) }
.unclean { fill: var(--unclean) } .offline { fill: var(--offline) }
svg text.in { fill: #fff; pointer-events: none }
svg :is(.online, .standby, .pending, .maintenance, .degraded, .lost, .phase0, .phase1).in { fill: var(--fg) }
"""


@dataclass(frozen=True)
class Chapter:
    """A part of the page. name: of a test, or a sentence; begun, since, ended: seconds since the epoch."""

    name: str
    begun: float
    #: the zero of its time axis
    since: float
    ended: float
    #: what was reached, and how many seconds after `since`
    phases: list[tuple[str, float]] = field(default_factory=list)
    #: passed, FAILED, or nothing
    outcome: str = ""
    reason: str = ""

    @property
    def title(self) -> str:
        """The name of a test as a sentence: test_x.py::test_it_works[here] is "It works (here)"."""
        _, _, name = self.name.rpartition("::")
        if not name.startswith("test_"):
            return self.name
        words, _, variant = name[len("test_") :].partition("[")
        sentence = words.replace("_", " ")
        return sentence[:1].upper() + sentence[1:] + (f" ({variant.rstrip(']')})" if variant else "")


@dataclass(frozen=True)
class Recording:
    """All that was seen of one cluster. name: what its file is called."""

    name: str
    chapters: list[Chapter]
    samples: list[Sample]
    events: list[Event]

    def save(self, folder: Path) -> None:
        """Write it to NAME.json."""
        _replace(folder / f"{self.name}.json", json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read what `save` wrote."""
        read = json.loads(path.read_text(encoding="utf-8"))
        chapters = [Chapter(**{**one, "phases": [tuple(phase) for phase in one["phases"]]}) for one in read["chapters"]]
        samples = [Sample(**one) for one in read["samples"]]
        return cls(read["name"], chapters, samples, [Event(**one) for one in read["events"]])


def load_all(folder: Path) -> list[Recording]:
    """Read every recording of a folder, in the order of their names."""
    return [Recording.load(path) for path in sorted(folder.glob("*.json"))]


def write(path: Path, title: str, recordings: Iterable[Recording]) -> None:
    """Write the page; a reader sees the old one or the new one."""
    told = list(recordings)
    # In the order of the page; the number is the place to jump to.
    numbered = list(enumerate((chapter, one) for one in told for chapter in one.chapters))
    rows = [
        (_heading(one) if len(told) > 1 else "")
        + "".join(_entry(number, chapter) for number, (chapter, its) in numbered if its is one)
        for one in told
    ]
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta name="viewport" content="width=device-width"/><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>",
        f'<h1 id="top">{escape(title)}</h1>',
        _summary([chapter for _, (chapter, _) in numbered]),
        f"<table><tr><th></th><th>outcome</th><th>seconds</th></tr>{''.join(rows)}</table>",
        _key(max((_nodes(one) for one in told), key=len, default=[])),
        *(_section(number, chapter, one) for number, (chapter, one) in numbered),
        "</body></html>\n",
    ]
    _replace(path, "\n".join(parts))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


# -- what is beside the pictures -------------------------------------------------------------------


def _summary(chapters: Sequence[Chapter]) -> str:
    failed = sum(chapter.outcome == "FAILED" for chapter in chapters)
    passed = sum(chapter.outcome == "passed" for chapter in chapters)
    counts = [f'<span class="FAILED">{failed} FAILED</span>'] if failed else []
    counts += [f'<span class="passed">{passed} passed</span>'] if passed else []
    when = _date(min((chapter.begun for chapter in chapters), default=time.time()))
    return f"<p>{', '.join([*counts, when])}</p>"


def _date(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))


def _heading(recording: Recording) -> str:
    when = f", {_date(recording.chapters[0].begun)}" if recording.chapters else ""
    return f'<tr class="group"><th colspan="3">{escape(recording.name)}<span class="dim">{when}</span></th></tr>'


def _entry(number: int, chapter: Chapter) -> str:
    return (
        f'<tr><td><a href="#c{number}">{escape(chapter.title)}</a></td>'
        f'<td class="{escape(chapter.outcome)}">{escape(chapter.outcome)}</td>'
        f'<td class="n">{chapter.ended - chapter.begun:.0f}</td></tr>'
    )


def _key(nodes: Sequence[str]) -> str:
    services = [(f"node{_number(name, nodes)}", f"a service runs on {name}") for name in nodes]
    services += [
        ("node0 degraded", "it says that it is degraded"),
        ("node0 lost", "it ran there when the node was lost"),
    ]
    services += [("track", "it runs nowhere"), ("unknown", "nobody with quorum answered")]
    return (
        f'<div class="key" style="margin-top: 1.5em">{_marks(services)}</div>\n'
        f'<div class="key">{_marks(STATES.items())}</div>\n'
        '<p class="dim">As Pacemaker sees it, on the side that may act. Dotted lines: what was done to a node, by a '
        "test or by the power switch. A bar tells its seconds when pointed at.</p>"
    )


def _marks(shown: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<span><svg viewBox="0 0 14 14"><rect x="1" y="1" width="12" height="12" class="{style}"/></svg>'
        f"{escape(text)}</span>"
        for style, text in shown
    )


def _section(number: int, chapter: Chapter, recording: Recording) -> str:
    outcome, name = escape(chapter.outcome), escape(chapter.name)
    parts = [
        f'<section id="c{number}"><a class="up" href="#top" title="to the top">↑</a><h2>{escape(chapter.title)} '
        f'<span class="{outcome}">{outcome}</span></h2>'
    ]
    if chapter.title != chapter.name:
        parts.append(f"<code>{name}</code>")
    if chapter.reason:
        parts.append(f'<p class="reason">{escape(chapter.reason)}</p>')
    parts.append(_Picture(chapter, recording).draw())
    rows = [
        f'<tr><td class="n">{number}</td><td>{escape(text)}</td><td class="n">{seconds:.1f} s</td>'
        f'<td class="n dim">+ {end - begin:.1f} s</td></tr>'
        for number, (text, seconds, begin, end) in enumerate(_steps(chapter, recording.events), 1)
    ]
    if rows:
        head = '<tr><th></th><th>phase</th><th colspan="2">reached after</th></tr>'
        parts.append(f"<table>{head}{''.join(rows)}</table>")
    return "\n".join([*parts, "</section>"])


# -- the pictures ----------------------------------------------------------------------------------


def _nodes(recording: Recording) -> list[str]:
    return sorted({name for sample in recording.samples for name in sample.nodes})


def _number(node: str, nodes: Sequence[str]) -> int:
    """Give the number of a node's colour; there are three."""
    return nodes.index(node) % 3 if node in nodes else 0


def _during(chapter: Chapter, samples: Sequence[Sample]) -> list[tuple[Sample, float, float]]:
    """Give what was seen during a chapter, with begin and end of each."""
    ends = [sample.when for sample in samples[1:]] + [chapter.ended]
    clipped = [(one, max(one.when, chapter.begun), min(end, chapter.ended)) for one, end in zip(samples, ends)]
    return [(sample, begin, end) for sample, begin, end in clipped if begin < end]


def _resources(samples: Sequence[Sample]) -> list[str]:
    """Give all that there was, in the order of the fullest sample, which is the configuration's."""
    fullest = max((sample.where for sample in samples), key=len, default={})
    others = {name for sample in samples for name in sample.where} - set(fullest)
    return [*fullest, *sorted(others)]


def _steps(chapter: Chapter, events: Iterable[Event]) -> Iterator[tuple[str, float, float, float]]:
    """Give the phases: what was reached, the seconds that it is told to have taken, begin and end on the axis.

    A phase begins where the one before it ends, or where its seconds count from. Its end is that of its event; one
    without counts from the chapter's zero.
    """
    said = {one.text: one.when for one in events if not one.node and chapter.begun <= one.when <= chapter.ended}
    last = chapter.begun
    for text, seconds in chapter.phases:
        end = said.get(text, chapter.since + seconds)
        begin = end - seconds
        # What is told of another time does not count here.
        if end <= chapter.ended + 0.1:
            begin, last = max(begin, last), end
        yield text, seconds, begin, end


def _width(text: str) -> float:
    return LETTER * len(text)


def lanes(labels: Sequence[tuple[float, float]]) -> list[int]:
    """Give each label (begin, end; by begin) a lane, 0 the uppermost, so that none covers another or its line.

    Lines come down from the begin of their labels: a label goes below all earlier ones that reach over its begin.
    """
    chosen: list[int] = []
    for begin, _ in labels:
        above = [lane for lane, (_, end) in zip(chosen, labels) if end > begin]
        chosen.append(max(above, default=-1) + 1)
    return chosen


class _Picture:
    """The timeline of one chapter. From top to bottom: labels of events, nodes, resources, phases, time axis."""

    def __init__(self, chapter: Chapter, recording: Recording) -> None:
        self.chapter = chapter
        self.seen = _during(chapter, recording.samples)
        self.steps = list(_steps(chapter, recording.events))
        self.nodes = _nodes(recording)
        self.resources = _resources([sample for sample, _, _ in self.seen])
        self.span = max(chapter.ended - chapter.begun, 1.0)
        # Those without a node are the phases.
        self.events = [one for one in recording.events if one.node and chapter.begun <= one.when <= chapter.ended]
        self.labels = [f"{one.when - chapter.since:.1f} s {one.node} {one.text}" for one in self.events]
        self.left = 12 + max(map(_width, [*self.nodes, *self.resources, "phases"]))
        # As wide as it can be with room for every label beside its line.
        room = SIZE - self.left
        self.width = room - 16
        for event, label in zip(self.events, self.labels):
            share = max((event.when - chapter.begun) / self.span, 0.01)
            self.width = min(self.width, (room - _width(label) - 6) / share)
        # Drawn one over the other.
        self.ground: list[str] = []
        self.bars: list[str] = []
        self.marks: list[str] = []

    def draw(self) -> str:
        """Give the picture."""
        places = [self.at(event.when) for event in self.events]
        chosen = lanes([(x, x + _width(label) + 10) for x, label in zip(places, self.labels)])
        top = LANE * (max(chosen, default=-1) + 1) + GAP
        y = self._rows(self.nodes, top, NODE, self._state) + GAP
        bottom = y = self._rows(self.resources, y, ROW, self._place)
        for _, begin, end in self._seen(lambda sample: None if sample.nodes else ("unknown", "", "")):
            self._bar("unknown", "", "nobody with quorum answered", begin, end, top, y - top)
        y = self._phases(y + GAP)
        self._axis(top, y)
        for x, lane, label in zip(places, chosen, self.labels):
            begin = LANE * lane
            self.bars.append(f'<line class="event" x1="{x:.1f}" x2="{x:.1f}" y1="{begin + 3}" y2="{bottom}"/>')
            self.marks.append(f'<text x="{x + 4:.1f}" y="{begin + 12}">{escape(label)}</text>')
        label = escape(f"Timeline: {self.chapter.title}")
        parts = "\n".join(self.ground + self.bars + self.marks)
        return f'<svg viewBox="0 0 {SIZE} {y + 20}" role="img" aria-label="{label}">\n{parts}\n</svg>'

    def at(self, when: float) -> float:
        """Give the place of a moment on the axis."""
        inside = min(max(when, self.chapter.begun), self.chapter.ended)
        return self.left + (inside - self.chapter.begun) / self.span * self.width

    def _state(self, sample: Sample, name: str) -> Look | None:
        state = sample.nodes.get(name, "")
        return (state, state, f"{name} is {state}") if state else None

    def _place(self, sample: Sample, name: str) -> Look | None:
        node, why = sample.where.get(name, ""), sample.degraded.get(name, "")
        if not node:
            return None
        colour = f"node{_number(node, self.nodes)}"
        if sample.nodes.get(node) == "unclean":
            return f"{colour} lost", f"{node}, lost", f"{name} ran on {node}, which is lost"
        if why:
            return f"{colour} degraded", f"{node}, degraded", f"{name} runs on {node}, degraded: {why}"
        return colour, node, f"{name} runs on {node}"

    def _seen(self, look: Callable[[Sample], Look | None]) -> Iterator[tuple[Look, float, float]]:
        """Give the looks of what was seen, with begin and end; equal neighbours are one."""
        for what, group in groupby(self.seen, key=lambda seen: look(seen[0])):
            together = list(group)
            if what is not None:
                yield what, together[0][1], together[-1][2]

    def _rows(self, names: Sequence[str], y: int, height: int, look: Callable[[Sample, str], Look | None]) -> int:
        """Draw a row for each name; give the place below."""
        for name in names:
            self._name(name, y, height)
            self.ground.append(
                f'<rect class="track" x="{self.left:.1f}" y="{y + 1}" width="{self.width:.1f}" height="{height - 2}"/>'
            )
            for (style, label, words), begin, end in self._seen(lambda sample, name=name: look(sample, name)):  # type: ignore[misc]
                self._bar(style, label, words, begin, end, y + 1, height - 2)
            y += height
        return y

    def _name(self, text: str, y: int, height: int) -> None:
        self.marks.append(f'<text x="0" y="{y + height // 2 + 4}">{escape(text)}</text>')

    def _bar(self, style: str, label: str, words: str, begin: float, end: float, y: int, height: int) -> None:
        """Draw a bar with what is written in it, if there is room, and what it tells when pointed at."""
        since, x, width = self.chapter.since, self.at(begin), self.at(end) - self.at(begin)
        told = f"{words}: {begin - since:.1f} s to {end - since:.1f} s ({end - begin:.1f} s)"
        self.bars.append(
            f'<rect class="{escape(style)}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}">'
            f"<title>{escape(told)}</title></rect>"
        )
        if label and _width(label) + 8 < width:
            self.marks.append(
                f'<text class="in {escape(style)}" x="{x + 5:.1f}" y="{y + height // 2 + 4}">{escape(label)}</text>'
            )

    def _phases(self, y: int) -> int:
        if not self.steps:
            return y
        self._name("phases", y, ROW)
        for number, (text, _, begin, end) in enumerate(self.steps, 1):
            if begin < end <= self.chapter.ended + 0.1:
                told, room = f"{number} {text}", self.at(end) - self.at(begin) - 8
                label = told if _width(told) < room else str(number)
                self._bar(f"phase{number % 2}", label, told, begin, end, y + 1, ROW - 2)
        return y + ROW

    def _axis(self, top: int, bottom: int) -> None:
        """Draw lines at round seconds, counted from the chapter's zero."""
        step = next((step for step in STEPS if self.span / step <= 15), STEPS[-1])
        first = math.ceil((self.chapter.begun - self.chapter.since) / step)
        last = math.floor((self.chapter.ended - self.chapter.since) / step)
        for tick in range(first, last + 1):
            x = self.at(self.chapter.since + tick * step)
            self.ground.append(
                f'<line class="{"grid" if tick else "zero"}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom + 4}"/>'
                f'<text class="dim" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick * step} s</text>'
            )
