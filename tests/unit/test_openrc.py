from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.openrc import OpenrcError, parse

HORIZON = """
#!/usr/bin/env bash
# To use an OpenStack cloud you need to authenticate
export OS_AUTH_URL=http://10.0.0.5:5000
export OS_PROJECT_NAME="demo"
export OS_USER_DOMAIN_NAME="Default"
if [ -z "$OS_USER_DOMAIN_NAME" ]; then unset OS_USER_DOMAIN_NAME; fi
# unset v2.0 items in case set
unset OS_TENANT_ID
export OS_USERNAME="demo"
echo "Please enter your OpenStack Password for project $OS_PROJECT_NAME as user $OS_USERNAME: "
"""


def test_the_file_that_horizon_offers():
    assert parse(HORIZON) == {
        "OS_AUTH_URL": "http://10.0.0.5:5000",
        "OS_PROJECT_NAME": "demo",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_USERNAME": "demo",
    }


@pytest.mark.parametrize(
    "line, value",
    [
        ("export OS_X=a", "a"),
        ("OS_X=a", "a"),
        ("  export  OS_X='a b'  # why", "a b"),
        ('export OS_X="a\'b"', "a'b"),
        ("export OS_X='a\"b$c`d`'", 'a"b$c`d`'),
        ('export OS_X="a\\"b\\$c\\d"', 'a"b$c\\d'),
        ("export OS_X=a\\ b", "a b"),
        ("export OS_X=a#b", "a#b"),
        ("export OS_X=a'b'\"c\"", "abc"),
        ("export OS_X=p$", "p$"),
        ("export OS_X=", ""),
        ("export OS_A=1 OS_X=2", "2"),
        ("OS_A=1; OS_X=$OS_A", "1"),
        ("OS_A=1\nexport OS_X=${OS_A}2", "12"),
        ("export OS_X=a\\\nb", "ab"),
        ("export OS_X='a\nb'", "a\nb"),
        ("declare OS_X=a\r", "a"),
        ("OS_X=a\nOS_X=b", "b"),
    ],
)
def test_forms_of_a_setting(line, value):
    assert parse(line)["OS_X"] == value


@pytest.mark.parametrize(
    "line", ["# OS_X=a", "echo OS_X=a", "test OS_X=a", "OS_X=a\nunset OS_X", "if true; then OS_X=a; fi"]
)
def test_what_sets_nothing(line):
    assert "OS_X" not in parse(line)


@pytest.mark.parametrize(
    "line, words",
    [
        ("\nexport OS_PASSWORD=$OS_PASSWORD_INPUT", r"sets OS_PASSWORD in line 2 to \$OS_PASSWORD_INPUT"),
        ("export OS_PASSWORD=$(cat /etc/secret)", "the output of a command"),
        ('export OS_PASSWORD="`cat /etc/secret`"', "the output of a command"),
        ("export OS_PASSWORD=${OS_X:-secret}", "what only a shell knows"),
        ("OS_X=1\nexport OS_PASSWORD='abc", "has a quote in line 2 that does not end"),
    ],
)
def test_what_only_a_shell_could_know_is_said_and_never_run(line, words):
    with pytest.raises(OpenrcError, match=words) as caught:
        parse(line)
    assert "abc" not in str(caught.value)


def test_other_variables_may_hold_commands():
    assert parse("export PS1=$(whoami)\nOS_X=1") == {"OS_X": "1"}


@given(st.dictionaries(st.from_regex("OS_[A-Z_]{1,20}", fullmatch=True), st.text(max_size=40), max_size=5))
def test_what_a_shell_would_read_is_read(variables):
    quoted = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    assert parse(quoted) == variables


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except OpenrcError:
        pass
