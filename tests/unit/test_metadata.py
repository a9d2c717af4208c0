"""The meta-data document; the agents' own documents are compared in test_declarations."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from ocf_common.metadata import ACTIONS, escape, render
from ocf_common.parameters import Parameter

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), min_size=1, max_size=40)


@given(TEXT, TEXT, TEXT, st.none() | TEXT)
def test_any_text_comes_back_from_the_document(short: str, long: str, name: str, default: str | None) -> None:
    one = Parameter(name, "url", default, short, long, reloadable=True, unique_group="x")
    document = render("agent", short, long, [one])
    assert "encoding=" not in document.splitlines()[0]
    root = ElementTree.fromstring(document)  # noqa: S314 - it is our own
    parameter, content = root.find("parameters/parameter"), root.find("parameters/parameter/content")
    assert parameter is not None
    assert content is not None
    assert root.findtext("shortdesc") == short
    assert root.findtext("longdesc") == f"\n{long}\n"
    assert (parameter.get("name"), parameter.get("reloadable")) == (name, "1")
    assert (content.get("type"), content.get("default")) == ("string", default)


def test_no_default_is_none_in_the_document() -> None:
    document = render("agent", "s", "l", [Parameter("x", "port", None, "s", "l")])
    assert '<content type="integer" />' in document


def test_each_monitor_has_an_interval_of_its_own() -> None:
    intervals = [action.interval for action in ACTIONS if action.name == "monitor"]
    assert len(set(intervals)) == len(intervals) == 3


def test_escaping() -> None:
    assert escape("a<b>&\"c'") == "a&lt;b&gt;&amp;&quot;c'"
