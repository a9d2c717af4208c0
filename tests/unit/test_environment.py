"""What the cluster manager tells an agent, and what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.environment import DEFAULT_TIMEOUT, STATE_FOLDER, Environment, parse_boolean

META = "OCF_RESKEY_CRM_meta_"
NAMES = st.sampled_from(
    ["OCF_CHECK_LEVEL", "OCF_RESOURCE_INSTANCE", "HA_RSCTMP", META + "timeout", META + "interval", "OCF_RESKEY_x"]
) | st.text(max_size=20)


def call(*arguments: str, **variables: str) -> Environment:
    return Environment(variables, ["agent", *arguments], 0)


@given(st.dictionaries(NAMES, st.text(max_size=20)), st.lists(st.text(max_size=10), max_size=3))
def test_any_mapping_is_an_environment(variables: dict[str, str], arguments: list[str]) -> None:
    environment = Environment(variables, arguments, 0)
    assert environment.timeout > 0
    assert environment.interval >= 0
    assert environment.check_level >= -1
    assert 0 < environment.margin < environment.timeout
    assert environment.instance is not None
    assert not (environment.probe and environment.recurring)


def test_nothing_is_set() -> None:
    environment = Environment({}, [], 0)
    assert (environment.action, environment.instance, environment.timeout) == ("", "default", DEFAULT_TIMEOUT)
    assert (environment.check_level, environment.state_folder) == (-1, STATE_FOLDER)
    assert environment.reason_prefix == "ocf-exit-reason:"


@pytest.mark.parametrize(
    ("variables", "timeout"), [({"timeout": "20000"}, 20), ({"timeout": "0"}, 20), ({"timeout": "500"}, 0.5)]
)
def test_time_limits_come_in_milliseconds(variables: dict[str, str], timeout: float) -> None:
    assert call("start", **{META + name: value for name, value in variables.items()}).timeout == timeout


@pytest.mark.parametrize("value", ["", "x", "-1", "nan", "inf", "1e99", "20s", "\u0662"])
def test_a_time_limit_that_is_none_gives_the_default(value: str) -> None:
    environment = call("monitor", **{META + "timeout": value, META + "interval": value, "OCF_CHECK_LEVEL": value})
    assert environment.timeout in (DEFAULT_TIMEOUT, 0.002)
    assert environment.check_level in (-1, 2)


@pytest.mark.parametrize(
    ("action", "interval", "probe", "recurring"),
    [
        ("monitor", "0", True, False),
        ("monitor", None, True, False),
        ("monitor", "10000", False, True),
        ("status", "10000", False, False),
        ("start", "0", False, False),
    ],
)
def test_a_probe_is_a_monitor_without_interval(action: str, interval: str | None, probe: bool, recurring: bool) -> None:
    environment = call(action, **({META + "interval": interval} if interval is not None else {}))
    assert (environment.probe, environment.recurring) == (probe, recurring)


@pytest.mark.parametrize(
    ("name", "unique", "instance"),
    [
        ("p_nova", None, "p_nova"),
        ("p_nova:0", None, "p_nova"),
        ("p_nova:12", "false", "p_nova"),
        ("p_nova:0", "true", "p_nova:0"),
        ("p_nova:x", None, "p_nova:x"),
        ("", None, "default"),
    ],
)
def test_the_number_of_a_clone_counts_only_where_clones_are_told_apart(
    name: str, unique: str | None, instance: str
) -> None:
    variables = {"OCF_RESOURCE_INSTANCE": name}
    if unique is not None:
        variables[META + "globally_unique"] = unique
    assert call("monitor", **variables).instance == instance


def test_parameters_are_what_the_resource_sets_and_an_empty_string_is_set() -> None:
    environment = call("start", OCF_RESKEY_url="", OCF_RESKEY_CRM_meta_timeout="5", OCF_RESKEY_a="b", OTHER="x")
    assert environment.parameters == {"url": "", "a": "b"}


@pytest.mark.parametrize("word", ["yes", "true", "1", "YES", "TRUE", "True", "ja", "on", "ON", " on "])
def test_true_words(word: str) -> None:
    assert parse_boolean(word)


@pytest.mark.parametrize("word", ["no", "false", "0", "NO", "FALSE", "False", "nein", "off", "OFF"])
def test_false_words(word: str) -> None:
    assert not parse_boolean(word)


@pytest.mark.parametrize("word", ["", "2", "maybe", "y", "truefalse"])
def test_other_words_are_no_booleans(word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word}$"):
        parse_boolean(word)


@pytest.mark.parametrize(("timeout", "margin"), [(5, 1), (10, 1), (20, 2), (120, 12), (2, 0.8), (1, 0.4)])
def test_margin_scales_with_the_time_limit(timeout: float, margin: float) -> None:
    assert call("stop", **{META + "timeout": str(timeout * 1000)}).margin == pytest.approx(margin)


@pytest.mark.parametrize(("value", "pretend"), [("1", True), ("0", False), ("", False)])
def test_ocf_tester_may_hide_every_binary(value: str, pretend: bool) -> None:
    assert call("start", OCF_TESTER_FAIL_HAVE_BINARY=value).pretend_missing == pretend
