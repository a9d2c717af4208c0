"""The timelines' page: what stands where, and that it is whole in itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.cluster import Event, Resource, Status
from lab.report import Chapter, Recording, lanes, load_all, write
from lab.timeline import Sample, look

T = 1_700_000_000.0  # seconds since the epoch
NAME = "test_failover.py::test_a_node_is_fenced[n1]"


def recording(name: str = "one", **changed: object) -> Recording:
    """A node is lost after 5 s and fenced after 10; the address moves and is degraded from 20 s to 30."""
    both, n1, n2 = {"n1": "online", "n2": "online"}, {"p_ip": "n1", "st": "n2"}, {"p_ip": "n2", "st": "n2"}
    samples = [
        Sample(T - 60, both, n1),
        Sample(T + 5, {"n1": "unclean", "n2": "online"}, n1),
        Sample(T + 10, {"n1": "offline", "n2": "online"}, {"p_ip": "", "st": "n2"}),
        Sample(T + 20, {"n1": "offline", "n2": "online"}, n2, {"p_ip": "no <route> & no hope"}),
        # What a row does not show makes no new bar in it.
        Sample(T + 25, both, n2, {"p_ip": "no <route> & no hope"}),
        Sample(T + 30, both, n2),
        # After the chapter.
        Sample(T + 50, both, n1),
    ]
    chapter = {"begun": T - 10, "since": T, "ended": T + 40, "phases": [("fenced", 10.0), ("moved", 20.0)], **changed}
    events = [Event(T, "n1", "crashes"), Event(T + 10, "n1", "is fenced"), Event(T + 10, "", "fenced")]
    return Recording(name, [Chapter(**{"name": NAME, **chapter})], samples, events)  # type: ignore[arg-type]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "build" / "page.html"


def read(page: Path) -> ElementTree.Element:
    return ElementTree.parse(page).getroot()  # noqa: S314 - our own


def timelines(page: Path) -> list[ElementTree.Element]:
    return read(page).findall(".//section/svg")


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def ticks(svg: ElementTree.Element) -> dict[float, float]:
    """Give the place of every second that the axis names."""
    named = [one for one in svg.findall("text") if one.get("text-anchor") == "middle"]
    return {float((one.text or "").removesuffix(" s")): float(one.get("x", "")) for one in named}


def bars(svg: ElementTree.Element, about: str) -> list[tuple[str, str, float, float]]:
    """Give style, words, begin and end (seconds, measured by the axis) of the bars whose words begin so."""
    axis = sorted(ticks(svg).items())
    (first, left), (last, right) = axis[0], axis[-1]

    def seconds(x: float) -> float:
        return round(first + (x - left) / (right - left) * (last - first), 1)

    found = []
    for rect in svg.iter("rect"):
        told = rect.findtext("title", "")
        if told.startswith(about):
            x, width = float(rect.get("x", "")), float(rect.get("width", ""))
            found.append((rect.get("class", ""), told, seconds(x), seconds(x + width)))
    return found


def test_a_bar_stands_where_its_seconds_are(page: Path) -> None:
    write(page, "Title", [recording()])
    (svg,) = timelines(page)
    assert [bar[0::2] + bar[3:] for bar in bars(svg, "n1 is")] == [
        ("online", -10.0, 5.0),
        ("unclean", 5.0, 10.0),
        ("offline", 10.0, 25.0),
        ("online", 25.0, 40.0),
    ]
    assert bars(svg, "n2 is") == [("online", "n2 is online: -10.0 s to 40.0 s (50.0 s)", -10.0, 40.0)]


def test_a_resource_has_the_colour_of_its_node_and_is_paler_when_degraded(page: Path) -> None:
    write(page, "Title", [recording()])
    (svg,) = timelines(page)
    assert bars(svg, "p_ip") == [
        ("node0", "p_ip runs on n1: -10.0 s to 5.0 s (15.0 s)", -10.0, 5.0),
        ("node0 lost", "p_ip ran on n1, which is lost: 5.0 s to 10.0 s (5.0 s)", 5.0, 10.0),
        ("node1 degraded", "p_ip runs on n2, degraded: no <route> & no hope: 20.0 s to 30.0 s (10.0 s)", 20.0, 30.0),
        ("node1", "p_ip runs on n2: 30.0 s to 40.0 s (10.0 s)", 30.0, 40.0),
    ]
    styles = read(page).findtext("head/style", "")
    for style in ("node0", "node1", "lost", "degraded", "unclean", "offline", "track", "unknown"):
        assert f".{style}" in styles


def test_phases_follow_each_other_and_their_seconds_are_listed(page: Path) -> None:
    write(page, "Title", [recording()])
    (svg,) = timelines(page)
    assert [bar[2:] for bar in (*bars(svg, "1 fenced"), *bars(svg, "2 moved"))] == [(0.0, 10.0), (10.0, 20.0)]
    rows = [words(row) for row in read(page).findall(".//section/table/tr")]
    assert rows[1:] == ["1fenced10.0 s+ 10.0 s", "2moved20.0 s+ 10.0 s"]


def test_a_phase_that_was_counted_from_elsewhere_is_only_listed(page: Path) -> None:
    write(page, "Title", [recording(phases=[("before", 500.0), ("after", 30.0)])])
    (svg,) = timelines(page)
    assert bars(svg, "1 before") == []
    assert [bar[2:] for bar in bars(svg, "2 after")] == [(0.0, 30.0)]


def test_phases_may_count_from_several_moments(page: Path) -> None:
    told = recording(begun=T - 30, phases=[("started", 12.0), ("broken", 10.0), ("mended", 15.0)])
    told.events[:] = [Event(T - 8, "", "started"), Event(T + 10, "", "broken"), Event(T + 15, "", "mended")]
    write(page, "Title", [told])
    (svg,) = timelines(page)
    shown = [bar[2:] for name in ("1 started", "2 broken", "3 mended") for bar in bars(svg, name)]
    assert shown == [(-20.0, -8.0), (0.0, 10.0), (10.0, 15.0)]
    rows = [words(row) for row in read(page).findall(".//section/table/tr")]
    assert rows[1:] == ["1started12.0 s+ 12.0 s", "2broken10.0 s+ 10.0 s", "3mended15.0 s+ 5.0 s"]


def test_a_row_is_there_for_what_there_was(page: Path) -> None:
    told = recording()
    told.samples.append(Sample(T + 60, {"n1": "online"}, {"later": "n1"}))
    for sample in told.samples[:-1]:
        sample.where["stopped"] = ""
    write(page, "Title", [told])
    (svg,) = timelines(page)
    names = [one.text for one in svg.findall("text") if one.get("x") == "0"]
    assert names == ["n1", "n2", "p_ip", "st", "stopped", "phases"]


def test_events_of_nodes_are_lines_with_labels(page: Path) -> None:
    write(page, "Title", [recording()])
    (svg,) = timelines(page)
    lines = [float(line.get("x1", "")) for line in svg.findall("line") if line.get("class") == "event"]
    assert lines == pytest.approx([ticks(svg)[0], ticks(svg)[10]], abs=0.2)
    labels = [one.text for one in svg.findall("text")]
    assert "0.0 s n1 crashes" in labels
    assert "10.0 s n1 is fenced" in labels


def test_no_label_covers_another_or_its_line() -> None:
    labels = [(0.0, 100.0), (20.0, 130.0), (100.0, 300.0), (125.0, 150.0), (125.0, 170.0), (200.0, 220.0)]
    chosen = lanes(labels)
    assert chosen == [0, 1, 2, 3, 4, 3]
    for (begin, end), lane in zip(labels, chosen):
        for (other_begin, other_end), other_lane in zip(labels, chosen):
            if (begin, end) != (other_begin, other_end):
                assert lane != other_lane or end <= other_begin or other_end <= begin
                # The line begins in its lane and goes down through those below.
                assert not (other_lane > lane and other_begin < begin < other_end)


def test_labels_at_the_end_stay_inside(page: Path) -> None:
    told = recording()
    told.events.append(Event(T + 39.9, "n2", "has a long story to tell, which takes its time"))
    write(page, "Title", [told])
    (svg,) = timelines(page)
    label = next(one for one in svg.findall("text") if "long story" in (one.text or ""))
    assert float(label.get("x", "")) + 6 * len(label.text or "") < float(svg.get("viewBox", "").split()[2])


def test_where_nobody_answers_nothing_is_claimed(page: Path) -> None:
    told = recording()
    told.samples.insert(5, Sample(T + 26, {}, {}))
    write(page, "Title", [told])
    (svg,) = timelines(page)
    assert [bar[::2] for bar in bars(svg, "nobody")] == [("unknown", 26.0)]
    assert [bar[2:] for bar in bars(svg, "n2 is")] == [(-10.0, 26.0), (30.0, 40.0)]


def test_names_cannot_break_the_page(page: Path) -> None:
    bad = "<b>\"'&</section>"
    told = Recording(
        bad,
        [Chapter(f"test_{bad}[{bad}]", T, T, T + 9, [(bad, 5.0)], bad, bad)],
        [Sample(T, {bad: bad}, {bad: bad}, {bad: bad})],
        [Event(T + 1, bad, bad)],
    )
    write(page, bad, [told, told])
    assert len(timelines(page)) == 2
    assert not read(page).findall(".//b")
    assert words(read(page).find("body/h1")) == bad  # type: ignore[arg-type]


class Outside(HTMLParser):
    """Everything that a page has a browser fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "img", "object", "use", "image"):
            self.found.append(tag)
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name.startswith("on")]
        self.found += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if name in ("src", "href", "xlink:href", "data") and not (value or "").startswith("#")
        ]


def test_the_page_is_whole_in_itself(page: Path) -> None:
    write(page, "Title", [recording(), recording("two", outcome="FAILED")])
    text = page.read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(text)
    assert outside.found == []
    assert not re.search(r"url\(|@import|https?:", text)
    root = read(page)
    places = {one.get("id") for one in root.iter() if one.get("id")}
    jumps = [(one.get("href") or "").removeprefix("#") for one in root.iter("a")]
    assert len(jumps) == 4
    assert set(jumps) <= places


def test_two_recordings_share_a_page_and_failures_are_counted(tmp_path: Path, page: Path) -> None:
    recording("b", outcome="FAILED", reason="LabError: not in 400 s").save(tmp_path)
    recording("a", outcome="passed").save(tmp_path)
    write(page, "Cluster tests", load_all(tmp_path))
    root = read(page)
    assert words(root.find("body/p")).startswith("1 FAILED, 1 passed, 2023-11-14")  # type: ignore[arg-type]
    rows = [words(row) for row in root.findall("body/table/tr")]
    assert rows == [
        "outcomeseconds",
        "a, 2023-11-14 22:13 UTC",
        "A node is fenced (n1)passed50",
        "b, 2023-11-14 22:13 UTC",
        "A node is fenced (n1)FAILED50",
    ]
    assert [words(one) for one in root.findall(".//h2")] == [
        "A node is fenced (n1) passed",
        "A node is fenced (n1) FAILED",
    ]
    assert [words(one) for one in root.findall(".//code")] == [NAME, NAME]
    assert [words(one) for one in root.findall(".//p[@class='reason']")] == ["LabError: not in 400 s"]


def test_a_recording_comes_back_as_it_was(tmp_path: Path) -> None:
    told = recording("one", outcome="passed", reason="none")
    told.save(tmp_path / "timelines")
    assert Recording.load(tmp_path / "timelines" / "one.json") == told
    assert [path.name for path in (tmp_path / "timelines").iterdir()] == ["one.json"]


def test_a_page_without_anything_can_be_written(page: Path) -> None:
    write(page, "Title", [])
    write(page, "Title", [Recording("one", [Chapter("Nothing", T, T, T)], [], [])])
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]
    assert len(timelines(page)) == 1


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("test_a.py::test_a_crashed_node_is_fenced", "A crashed node is fenced"),
        ("test_a.py::test_it_recovers[p_nova-api]", "It recovers (p_nova-api)"),
        ("The active node crashes", "The active node crashes"),
    ],
)
def test_a_test_has_a_sentence_for_its_title(name: str, title: str) -> None:
    assert Chapter(name, T, T, T).title == title


def test_a_sample_shows_what_runs_and_who_is_degraded_there() -> None:
    resources = [
        Resource("p_ip", "ocf:heartbeat:IPaddr2", "Started", "n2"),
        Resource("p_ping", "ocf:pacemaker:ping", "Started", "n1"),
        Resource("p_x", "ocf:openstack:x", "Started", "n2", failed=True),
        Resource("p_y", "ocf:openstack:y", "Started", "n2"),
    ]
    # What n1 says of p_ip is old: it does not run there.
    attributes = {"n1": {"degraded-p_ip": "old"}, "n2": {"degraded-p_y": "why", "pingd": "10000"}}
    status = Status(True, "n2", {"n1": "online", "n2": "online"}, resources, attributes)
    assert look(status, T) == Sample(T, status.nodes, {"p_ip": "n2", "p_x": "", "p_y": "n2"}, {"p_y": "why"})
