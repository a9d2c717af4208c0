from __future__ import annotations

import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common import network_errors
from ocf_common.resolve import Unresolvable


class Wrapper(Exception):
    """As pika, PyMySQL and urllib3 wrap errors: in arguments, attributes, and by ``raise … from``."""

    def __init__(self, *arguments: object, **attributes: object) -> None:
        super().__init__(*arguments)
        self.__dict__.update(attributes)


REFUSED = ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        Wrapper(REFUSED),
        Wrapper(reason=REFUSED),
        Wrapper(exception=Wrapper(exceptions=[REFUSED])),
        Wrapper(original_exception=REFUSED),
    ],
)
def test_the_innermost_error_is_found(error):
    assert network_errors.trouble(network_errors.causes(error), 5) == "refuses connections"


def test_an_error_raised_from_another_is_found():
    try:
        try:
            raise REFUSED
        except OSError as error:
            raise Wrapper("no") from error
    except Wrapper as error:
        assert network_errors.causes(error)[1:] == [REFUSED]


def test_errors_that_hold_each_other_come_to_an_end():
    first, second = Wrapper(), Wrapper()
    first.reason, second.reason = second, first
    assert network_errors.causes(first) == [first, second]


@pytest.mark.parametrize(
    "error, words",
    [
        (socket.timeout("timed out"), "does not answer within 4.5 s"),
        (TimeoutError(110, "Connection timed out"), "does not answer within 4.5 s"),
        (ConnectionResetError(104, "Connection reset by peer"), "resets connections"),
        (BrokenPipeError(32, "Broken pipe"), "resets connections"),
        (OSError(113, "No route to host"), "cannot be reached: No route to host"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved"),
        (Unresolvable("db", ""), "cannot be resolved"),
        (ValueError("x"), ""),
    ],
)
def test_what_stands_between_us_and_the_other_end(error, words):
    assert network_errors.trouble([error], 4.52) == words


def test_a_certificate_that_is_not_trusted():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired."
    assert network_errors.unverified(network_errors.causes(Wrapper(error))) == "certificate has expired"
    assert network_errors.unverified([REFUSED]) == ""


def test_tls_that_cannot_be_spoken():
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    assert network_errors.broken_tls([error]) == "handshake failed"
    error.reason = "WRONG_VERSION_NUMBER"
    assert network_errors.broken_tls([Wrapper(), error]) == "wrong version number"
    assert network_errors.broken_tls([REFUSED]) == ""


@pytest.mark.parametrize("seconds, text", [(4.98, "5 s"), (2.48, "2.5 s"), (120, "120 s"), (0.42, "0.4 s")])
def test_durations_in_reasons(seconds, text):
    assert network_errors.duration(seconds) == text


@given(st.recursive(st.just(REFUSED), lambda inner: st.lists(inner, max_size=3).map(lambda errors: Wrapper(*errors))))
def test_any_nesting_comes_to_an_end(error):
    assert network_errors.trouble(network_errors.causes(error), 1) in ("refuses connections", "")
