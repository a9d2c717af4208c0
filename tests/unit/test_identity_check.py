"""The Identity checks against an HTTP server that answers as a test wants it to."""

from __future__ import annotations

import pytest
from fake_keystone import CATALOG, FakeKeystone

from ocf_common import identity_check
from ocf_common.connection_urls import parse_http_url
from ocf_common.deadline import Deadline, within
from ocf_common.http_check import Tls
from ocf_common.outcomes import (
    Attention,
    CheckFailed,
    DependencyDown,
    Misconfigured,
    Refused,
    Silent,
    WrongAnswer,
)


def log_in(keystone: FakeKeystone, seconds: float = 5, **changes: str) -> identity_check.Token:
    return identity_check.log_in(keystone.credentials(**changes), Deadline(seconds))


APPLICATION = {
    "auth_type": "v3applicationcredential",
    "application_credential_id": "4711",
    "application_credential_secret": "very-secret",
    "username": "",
    "password": "",
}
TOKEN = {"auth_type": "v3token", "token": "very-secret", "password": ""}
WAYS = [{}, APPLICATION, TOKEN]


@pytest.mark.parametrize("way", WAYS)
def test_a_login_gives_a_token_and_the_catalogue(keystone, way):
    token = log_in(keystone, **way)
    assert token.value == "gAAAA-token"
    assert token.catalog == CATALOG
    assert "gAAAA" not in repr(token)
    assert [(method, path) for method, path, _, _ in keystone.requests] == [("POST", "/v3/auth/tokens")]


@pytest.mark.parametrize(
    "options, identity, scope",
    [
        (
            {},
            {"password": {"user": {"name": "monitor", "domain": {"name": "Users"}, "password": "very-secret"}}},
            {"project": {"name": "service", "domain": {"id": "default"}}},
        ),
        (
            {"user_id": "u1", "project_id": "p1"},
            {"password": {"user": {"id": "u1", "password": "very-secret"}}},
            {"project": {"id": "p1"}},
        ),
        (
            {"project_name": "", "domain_name": "Work", "user_domain_name": ""},
            {"password": {"user": {"name": "monitor", "domain": {"id": "default"}, "password": "very-secret"}}},
            {"domain": {"name": "Work"}},
        ),
        (
            {"project_name": "", "system_scope": "all", "user_id": "u1"},
            {"password": {"user": {"id": "u1", "password": "very-secret"}}},
            {"system": {"all": True}},
        ),
        (
            {"trust_id": "t1", "user_id": "u1"},
            {"password": {"user": {"id": "u1", "password": "very-secret"}}},
            {"OS-TRUST:trust": {"id": "t1"}},
        ),
        ({**APPLICATION}, {"application_credential": {"id": "4711", "secret": "very-secret"}}, None),
        (
            {**APPLICATION, "application_credential_id": "", "application_credential_name": "a", "user_id": "u1"},
            {"application_credential": {"name": "a", "secret": "very-secret", "user": {"id": "u1"}}},
            None,
        ),
    ],
)
def test_what_is_sent_for_a_login(keystone, options, identity, scope):
    log_in(keystone, **options)
    sent = keystone.requests[0][3]["auth"]
    assert sent["identity"] == {"methods": list(identity), **identity}
    assert sent.get("scope") == scope


@pytest.mark.parametrize("way", WAYS)
def test_refused_credentials_are_told_apart(keystone, way):
    keystone.status["POST"] = 401
    with pytest.raises(identity_check.CredentialsRefused, match="401") as caught:
        log_in(keystone, **way)
    assert isinstance(caught.value, Attention)
    assert "very-secret" not in caught.value.reason


@pytest.mark.parametrize("way", [{}, TOKEN])
@pytest.mark.parametrize(
    "status, finding, words",
    [
        (429, Attention, "limits our logins"),
        (403, Attention, "forbids the login"),
        (500, DependencyDown, r"Keystone at http://127.0.0.1:\d+/v3 answers a login with 500"),
        (503, DependencyDown, "answers a login with 503"),
        (404, Misconfigured, "has no Identity API version 3"),
        (400, Misconfigured, "answers the login of .* with 400"),
    ],
)
def test_what_a_status_means(keystone, status, finding, words, way):
    keystone.status["POST"] = status
    with pytest.raises(finding, match=words):
        log_in(keystone, **way)


def test_a_login_is_not_sent_to_where_keystone_leads(keystone):
    keystone.status["POST"] = 301
    keystone.headers["Location"] = "https://other/v3/auth/tokens"
    with pytest.raises(Misconfigured, match="leads elsewhere: https://other/"):
        log_in(keystone)
    assert len(keystone.requests) == 1


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"token": 1}', b"{}"])
def test_an_answer_that_is_no_token(keystone, body):
    keystone.body = body
    with pytest.raises(DependencyDown, match="something that is no token"):
        log_in(keystone)


def test_a_token_without_a_catalogue(keystone):
    keystone.body = b'{"token": {}}'
    assert log_in(keystone).catalog == []


@pytest.mark.parametrize("way", [{}, TOKEN])
def test_a_silent_keystone_is_named_within_the_time_limit(keystone, way):
    keystone.silent = True
    with pytest.raises(DependencyDown, match=r"does not answer within 0.3 s"):
        log_in(keystone, seconds=0.3, **way)


@pytest.mark.parametrize("way", WAYS)
def test_a_keystone_that_is_slow_in_each_step_is_named_within_the_time_limit(keystone, way):
    keystone.delay = 0.2
    with pytest.raises(DependencyDown, match=r"does not answer within 0.5 s"):
        within(Deadline(20), lambda: log_in(keystone, seconds=0.5, **way))


@pytest.mark.parametrize("way", [{}, TOKEN])
def test_a_keystone_that_drops_connections(keystone, way):
    keystone.drops = True
    with pytest.raises(DependencyDown, match=r"closes connections without an answer|resets connections"):
        log_in(keystone, **way)


@pytest.mark.parametrize("way", [{}, TOKEN])
def test_a_keystone_that_refuses_connections(keystone, closed_url, way):
    with pytest.raises(DependencyDown) as caught:
        log_in(keystone, auth_url=closed_url, **way)
    assert caught.value.reason == f"Keystone at {closed_url} refuses connections"
    assert caught.value.dependency == "identity"


@pytest.mark.parametrize("way", [{}, TOKEN])
def test_a_name_that_nobody_knows(keystone, way):
    with pytest.raises(DependencyDown, match=r"Keystone at http://keystone.invalid/v3 cannot be resolved"):
        log_in(keystone, auth_url="http://keystone.invalid", **way)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"auth_url": ""}, "no Identity URL"),
        ({"auth_url": "ftp://keystone/v3"}, "cannot be used"),
        ({"auth_type": "v3nonsense"}, "auth_type v3nonsense is not known"),
        ({"auth_type": "v3oidcpassword"}, "by auth_type v3oidcpassword: .*endpoint"),
    ],
)
def test_credentials_that_cannot_be_used(keystone, changes, words):
    with pytest.raises(Misconfigured, match=words):
        log_in(keystone, **changes)


def test_proxies_of_the_environment_are_ignored(keystone, closed_url, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_url)
    assert log_in(keystone).value
    assert log_in(keystone, **TOKEN).value


def test_the_catalogue():
    token = identity_check.Token("t", CATALOG)
    assert identity_check.endpoint(token, "compute") == "http://south/v2.1"
    assert identity_check.endpoint(token, "compute", region="North") == "http://north/v2.1"
    assert identity_check.endpoint(token, "compute", "internal", "North") == "http://inside/v2.1"
    assert identity_check.endpoint(token, "compute", "admin") == ""
    assert identity_check.endpoint(token, "image") == ""
    assert identity_check.endpoint(token, "volume") == ""


@pytest.mark.parametrize("as_text", [True, False])
def test_a_request_with_a_token(keystone, as_text):
    url = keystone.url if as_text else parse_http_url(keystone.url)
    answer = identity_check.authenticated_get(url, identity_check.Token("gAAAA", []), Deadline(5))
    assert answer.status == 200
    assert keystone.requests[0][2]["X-Auth-Token"] == "gAAAA"


@pytest.mark.parametrize("status", [200, 300, 401, 429])
def test_a_keystone_that_lives(keystone, status):
    keystone.status["GET"] = status
    identity_check.ask(keystone.url, Deadline(5))


@pytest.mark.parametrize(
    "status, finding, words",
    [
        (500, DependencyDown, r"^Keystone at http://127.0.0.1:\d+/v3 answers 500$"),
        (503, DependencyDown, "answers 503"),
        (404, Misconfigured, "no Identity API version 3"),
    ],
)
def test_a_keystone_that_does_not_live(keystone, status, finding, words):
    keystone.status["GET"] = status
    with pytest.raises(finding, match=words) as caught:
        identity_check.ask(keystone.url, Deadline(5))
    assert caught.value.dependency == "identity"


def test_a_keystone_that_cannot_be_reached(keystone, closed_url):
    with pytest.raises(DependencyDown, match=f"^Keystone at {closed_url} refuses connections$"):
        identity_check.ask(closed_url, Deadline(5))
    keystone.silent = True
    with pytest.raises(DependencyDown, match=r"gave no answer within 0\.[23]"):
        identity_check.ask(keystone.url, Deadline(0.3))
    with pytest.raises(Misconfigured, match="cannot be used"):
        identity_check.ask("nonsense", Deadline(5))


def test_a_login_that_must_be_refused(keystone):
    keystone.status["POST"] = 401
    identity_check.must_be_refused(keystone.url, Deadline(5))
    identity_check.must_be_refused(keystone.url, Deadline(5))
    first, second = (sent["auth"]["identity"]["password"]["user"] for _, _, _, sent in keystone.requests)
    assert first["name"] != second["name"]
    assert first["domain"]["name"] != second["domain"]["name"]


@pytest.mark.parametrize(
    "status, finding", [(500, WrongAnswer), (201, WrongAnswer), (404, WrongAnswer), (429, Attention)]
)
def test_a_login_that_must_be_refused_and_is_not(keystone, status, finding):
    keystone.status["POST"] = status
    with pytest.raises(finding, match=str(status)):
        identity_check.must_be_refused(keystone.url, Deadline(5))


def test_findings_about_our_own_keystone_stay_what_they_are(keystone, closed_url):
    with pytest.raises(Refused):
        identity_check.must_be_refused(closed_url, Deadline(5))
    keystone.silent = True
    with pytest.raises(Silent):
        identity_check.must_be_refused(keystone.url, Deadline(0.3))


@pytest.mark.parametrize("way", [{}, TOKEN])
def test_tls_is_verified(tls_keystone, authority, way):
    trusted = authority.ca_file

    def attempt(tls: Tls | None) -> identity_check.Token:
        return identity_check.log_in(tls_keystone.credentials(**way), Deadline(5), tls)

    with pytest.raises(Misconfigured, match="has a certificate that cannot be verified: unable to get local issuer"):
        attempt(None)
    with pytest.raises(Misconfigured, match="has a certificate that cannot be verified: IP address mismatch"):
        attempt(Tls(trusted))
    assert attempt(Tls(trusted, server_name="keystone.test")).value
    assert attempt(Tls(verify=False)).value


@pytest.mark.parametrize("way", [{}, TOKEN])
def test_tls_towards_a_port_without_tls(keystone, way):
    with pytest.raises(CheckFailed, match=r"does not speak TLS|closes connections|resets connections"):
        log_in(keystone, auth_url=keystone.url.replace("http:", "https:"), **way)
