"""Parameters: whatever text comes, one clear problem or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.common_parameters import api_parameters, daemon_parameters, login_parameters, rpc_parameters
from ocf_common.exit_codes import NotConfigured
from ocf_common.parameters import Parameter, Parameters, printable

KINDS = ("string", "integer", "boolean", "seconds", "port", "path", "url", "address")
# Surrogates are what bytes that are not UTF-8 become in os.environ.
ANY = st.text(st.characters(), max_size=80) | st.text("0123456789.:/[]-+e h\ud800\udcff", max_size=30)
ALL = (
    *daemon_parameters("nova-api", "/etc/nova/nova.conf", "nova", True),
    *login_parameters("keystone_get_token_url"),
    *api_parameters(),
    *rpc_parameters(),
)


def parameter(kind: str = "string", default: str | None = None, **settings: object) -> Parameter:
    return Parameter("x", kind, default, "short", "long").replaced(**settings)


@pytest.mark.parametrize("kind", KINDS)
@given(value=ANY)
def test_any_text_has_a_problem_on_one_line_or_none(kind: str, value: str) -> None:
    problem = parameter(kind).problem(value)
    assert problem.isprintable()
    assert problem == "" or problem.startswith("parameter x:")
    assert len(problem) < 500


@given(st.dictionaries(st.sampled_from([one.name for one in ALL]), ANY))
def test_any_values_can_be_read_in_every_way_that_their_kind_allows(given_values: dict[str, str]) -> None:
    """Stop and monitor work with a wrong configuration: it gives the defaults."""
    parameters = Parameters(ALL, given_values)
    for one in ALL:
        parameters.text(one.name).encode("utf-8")
        if one.kind in ("seconds", "integer", "boolean"):
            read = {"seconds": parameters.seconds, "integer": parameters.integer, "boolean": parameters.boolean}
            assert read[one.kind](one.name) >= 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "0"),
        ("seconds", "0"),
        ("seconds", "2.5"),
        ("seconds", "86400"),
        ("port", "1"),
        ("port", "65535"),
        ("port", "80"),
        ("boolean", "ja"),
        ("path", "/"),
        ("url", "https://[::1]:8774/v2.1/"),
        ("address", ":8774"),
        ("address", "0.0.0.0:8774"),
        ("address", "[::1]:8774"),
        ("address", "controller:8774"),
        ("string", "ä ö"),
    ],
)
def test_right_values(kind: str, value: str) -> None:
    assert parameter(kind).problem(value) == ""


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("integer", "1.0", "'1.0' is not a whole number"),
        ("seconds", "86400.5", "is not a number of seconds between 0 and 86400"),
        ("port", "0", "'0' is not a port from 1 to 65535"),
        ("boolean", "maybe", "'maybe' is not a boolean"),
        ("path", "x", "'x' is not an absolute path"),
        ("address", "8774", "'8774' is not of the form HOST:PORT"),
        ("url", "ftp://h/", "'ftp://h/' is not a URL that can be asked"),
        ("string", "a\nb", "'a?b' holds control characters"),
        ("string", "\udcff", "bytes that are not UTF-8"),
    ],
)
def test_problems_name_parameter_value_and_what_is_wanted(kind: str, value: str, words: str) -> None:
    problem = parameter(kind).problem(value)
    assert problem.startswith("parameter x: ")
    assert words in problem


def test_choices() -> None:
    one = parameter(choices=("degraded", "fail"))
    assert one.problem("fail") == ""
    assert "is not one of degraded, fail" in one.problem("FAIL")


@pytest.mark.parametrize("value", ["hush\nhush", "hush"])
def test_a_secret_is_never_in_a_problem(value: str) -> None:
    problem = parameter("port", secret=True).problem(value)
    assert problem
    assert "hush" not in problem


def test_values_defaults_and_what_is_turned_off() -> None:
    declared = [
        parameter(default="1", name="a", kind="integer"),
        parameter(name="b", empty="off"),
        parameter(default="no", name="c", kind="boolean"),
        parameter(default="5", name="d", kind="integer", empty="off"),
    ]
    values = Parameters(declared, {"a": "", "b": "", "other": "x"})
    assert (values.integer("a"), values.given("a"), values.turned_off("a")) == (1, None, False)
    assert (values.text("b"), values.given("b"), values.turned_off("b")) == ("", "", True)
    assert (values.boolean("c"), values.boolean("unknown")) == (False, False)
    assert (values.integer("d"), values.turned_off("d")) == (5, False)
    assert Parameters(declared, {"d": ""}).integer("d") == 0
    values.validate()


def test_a_wrong_value_gives_the_default_and_fails_the_validation_alone() -> None:
    values = Parameters([parameter("port", "80"), parameter("path", name="y")], {"x": "0", "y": "z"})
    assert values.integer("x") == 80
    assert values.given("x") is None
    assert len(values.problems) == 2
    with pytest.raises(NotConfigured, match="'0' is not a port"):
        values.validate()


def test_secrets_are_the_values_that_were_set() -> None:
    declared = [parameter(secret=True), parameter(name="y", secret=True), parameter(name="z")]
    assert Parameters(declared, {"x": "hush", "y": "", "z": "open"}).secrets() == ["hush"]


@given(ANY, st.integers(1, 50))
def test_printable_is_one_short_line(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit + 1
