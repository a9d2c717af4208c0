"""Reasons and log lines without secrets."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ocf_common.secrets_filter import Redactor

SECRET = "Xy7pQ2wertz"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("login as nova with Xy7pQ2wertz refused", "login as nova with *** refused"),
        ("amqp://nova:other@h1,nova:more@h2/v is wrong", "amqp://nova:***@h2/v is wrong"),
        ("mysql+pymysql://u:a/b@h:3306/nova", "mysql+pymysql://u:***@h:3306/nova"),
        ("http://127.0.0.1:8774/v2 at http://[::1]:80/", "http://127.0.0.1:8774/v2 at http://[::1]:80/"),
        ("password=abc, user=nova", "password=***, user=nova"),
        ("rabbit_password = abc", "rabbit_password = ***"),
        ("os_password: 'a b' next", "os_password: '***' next"),
        ('{"password": "a b", "user": "nova"}', '{"password": "***", "user": "nova"}'),
        (r"{\"password\": \"a b\", \"user\": 1}", r"{\"password\": \"***\", \"user\": 1}"),
        ("{'admin_token': u'abc'}", "{'admin_token': u'***'}"),
        ("password='never closed", "password='***'"),
        ("X-Auth-Token: gAAAA-b_c", "X-Auth-Token: ***"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("password was refused", "password was refused"),
        ("two\r\nlines\x00and\x1b[31m\ttabs\u2028x", "two lines and [31m tabs x"),
        ("", ""),
    ],
)
def test_places_of_secrets_and_one_line(text: str, expected: str) -> None:
    assert Redactor([SECRET]).clean(text) == expected


def test_a_short_password_does_not_eat_words() -> None:
    cleaned = Redactor(["nova"]).clean("nova-scheduler of nova: 'nova' at super_nova")
    assert cleaned == "nova-scheduler of ***: '***' at super_nova"


def test_a_secret_with_a_line_end_or_at_the_cut() -> None:
    assert Redactor(["ab\ncdefghi"]).clean("x ab\ncdefghi y") == "x *** y"
    assert SECRET[:4] not in Redactor([SECRET]).clean("x" * 395 + SECRET)
    assert Redactor([]).clean("x" * 500) == "x" * 399 + "…"
    assert Redactor([]).clean("long", 3) == "lo…"


def test_longer_secrets_first() -> None:
    assert Redactor(["password1", "password1-and-more"]).clean("x password1-and-more") == "x ***"


LONG = st.text(min_size=8, max_size=30)


@given(LONG, st.text(max_size=50), st.text(max_size=50))
def test_no_form_of_a_long_secret_survives(secret: str, before: str, after: str) -> None:
    assume(secret not in "***…" and len(set(secret)) > 3)
    forms = [secret, urllib.parse.quote(secret), urllib.parse.quote_plus(secret), json.dumps(secret), repr(secret)]
    redactor = Redactor([secret])
    for form in forms:
        cleaned = redactor.clean(f"{before}{form}{after}", 10000)
        assert secret not in cleaned.replace(before, "").replace(after, "") or secret in before + after


@given(st.lists(st.text()), st.text(), st.integers(1, 500))
def test_always_one_line_of_bounded_length(secrets: list[str], text: str, most: int) -> None:
    cleaned = Redactor(secrets).clean(text, most)
    assert len(cleaned) <= most
    assert cleaned.isprintable()


@given(st.lists(st.sampled_from(["password", "=", ":", "'", '"', "\\", " ", "://", "u", "@", ",", "*", "x" * 50])))
def test_no_text_takes_for_ever(parts: list[str]) -> None:
    Redactor([]).clean("".join(parts) * 20)
