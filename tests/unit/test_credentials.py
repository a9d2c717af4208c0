from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common import credentials
from ocf_common.credentials import (
    Credentials,
    CredentialsError,
    from_clouds,
    from_openrc,
    from_parameters,
    from_service,
)
from ocf_common.service_config import ServiceConfig

URL = "http://10.0.0.5:5000/v3"


def config(text: str) -> ServiceConfig:
    found = ServiceConfig()
    found.add("nova.conf", text)
    return found


def written(tmp_path, name: str, text: str) -> str:
    file = tmp_path / name
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    "url, v3",
    [
        ("http://127.0.0.1:5000/v2.0/tokens", "http://127.0.0.1:5000/v3"),
        ("http://127.0.0.1:5000/v2.0/", "http://127.0.0.1:5000/v3"),
        ("http://127.0.0.1:5000/v2.0", "http://127.0.0.1:5000/v3"),
        ("https://keystone/v3", "https://keystone/v3"),
        ("https://keystone/v3/auth/tokens", "https://keystone/v3"),
        ("https://keystone", "https://keystone/v3"),
        ("https://cloud/identity/", "https://cloud/identity/v3"),
        ("https://cloud/identity/v2.0", "https://cloud/identity/v3"),
        ("http://[::1]:35357", "http://[::1]:35357/v3"),
        (" http://h:5000?x=1 ", "http://h:5000/v3"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_every_url_becomes_one_of_version_3_at_the_same_place(url, v3):
    assert credentials.v3_url(url) == v3


@given(st.text(max_size=60))
def test_a_url_of_version_3_stays(text):
    once = credentials.v3_url(f"http://host/{text}")
    assert credentials.v3_url(once) == once
    assert once.endswith("/v3")


def test_parameters_of_the_old_agents():
    found = from_parameters(
        {
            "os_username": "nova",
            "os_password": "secret",
            "os_tenant_name": "services",
            "keystone_get_token_url": "http://10.0.0.5:5000/v2.0/tokens",
            "url": "http://127.0.0.1:8774/v2/",
        }
    )
    assert found.auth_url == URL
    assert found.auth_type == "password"
    assert found.options == {
        "username": "nova",
        "password": "secret",
        "project_name": "services",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }


def test_todays_parameters_go_before_the_old_ones():
    found = from_parameters(
        {
            "os_username": "nova",
            "os_password": "secret",
            "os_tenant_name": "old",
            "os_project_name": "new",
            "os_auth_url": URL,
            "keystone_get_token_url": "http://old/v2.0",
            "os_user_domain_name": "Users",
            "os_project_domain_name": "Projects",
            "os_region_name": "North",
            "os_cacert": "/etc/ca.pem",
            "insecure": "true",
        }
    )
    assert (found.auth_url, found.options["project_name"]) == (URL, "new")
    assert (found.options["user_domain_name"], found.options["project_domain_name"]) == ("Users", "Projects")
    assert (found.region_name, found.cacert, found.insecure) == ("North", "/etc/ca.pem", True)


@pytest.mark.parametrize("values", [{}, {"os_auth_url": URL}, {"os_username": "nova"}, {"os_password": ""}])
def test_parameters_without_a_login_are_no_credentials(values):
    assert from_parameters(values) is None


def test_an_application_credential_by_parameters():
    found = from_parameters({"os_application_credential_id": "4711", "os_application_credential_secret": "s"})
    assert found.auth_type == credentials.APPLICATION_CREDENTIAL
    assert "user_domain_id" not in found.options
    assert found.who == "application credential '4711'"


def test_an_openrc_file(tmp_path):
    path = written(
        tmp_path,
        "openrc",
        "export OS_USERNAME=monitor\nexport OS_PASSWORD='p w'\nexport OS_AUTH_URL=http://10.0.0.5:5000/v2.0\n"
        "export OS_DEFAULT_DOMAIN=work\nexport OS_TENANT_NAME=t\nexport OS_ENDPOINT_TYPE=internalURL\nexport HOME=/x\n",
    )
    found = from_openrc(path)
    assert (found.auth_url, found.interface, found.source) == (URL, "internal", path)
    assert found.options == {
        "username": "monitor",
        "password": "p w",
        "project_name": "t",
        "user_domain_id": "work",
        "project_domain_id": "work",
    }


def test_another_way_to_log_in_keeps_all_its_options(tmp_path):
    found = from_openrc(
        written(
            tmp_path,
            "openrc",
            "OS_AUTH_TYPE=v3oidcpassword OS_IDENTITY_PROVIDER=idp OS_PROTOCOL=oidc OS_CLIENT_ID=c OS_CLIENT_SECRET=s "
            f"OS_USERNAME=u OS_PASSWORD=p OS_AUTH_URL={URL}",
        )
    )
    assert found.auth_type == "v3oidcpassword"
    assert found.options["identity_provider"] == "idp"
    assert set(found.secrets()) == {"s", "p"}


@pytest.mark.parametrize(
    "content, words",
    [
        ("echo hello", "holds no credentials"),
        ("export OS_PASSWORD=$OS_PASSWORD_INPUT", "sets OS_PASSWORD in line 1"),
        ("export OS_PASSWORD='secret", "has a quote in line 1 that does not end"),
    ],
)
def test_an_openrc_file_that_cannot_be_used(tmp_path, content, words):
    with pytest.raises(CredentialsError, match=words) as caught:
        from_openrc(written(tmp_path, "openrc", content))
    assert "secret" not in caught.value.reason


@pytest.mark.parametrize("read", [from_openrc, from_clouds])
def test_a_file_that_is_missing(tmp_path, read):
    with pytest.raises(CredentialsError, match="does not exist"):
        read(str(tmp_path / "nothing"))


CLOUDS = """
clouds:
  lab:
    auth: {auth_url: "http://10.0.0.5:5000", username: monitor, project_name: demo, user_domain_name: Users}
    region_name: North
    interface: internal
    verify: false
    cacert: /etc/ca.pem
  app:
    auth_type: v3applicationcredential
    auth: {auth_url: "http://10.0.0.5:5000", application_credential_id: 4711, application_credential_secret: s}
  totp:
    auth_type: v3totp
    auth: {auth_url: "http://10.0.0.5:5000", username: u, passcode: "123456"}
"""


def test_a_cloud_completed_by_secure_yaml(tmp_path):
    path = written(tmp_path, "clouds.yaml", CLOUDS)
    written(tmp_path, "secure.yaml", "clouds: {lab: {auth: {password: secret}}}")
    found = from_clouds(path, "lab")
    assert found.options["password"] == "secret"
    assert found.options["user_domain_name"] == "Users"
    assert found.options["project_domain_id"] == "default"
    assert (found.auth_url, found.region_name, found.interface) == (URL, "North", "internal")
    assert (found.insecure, found.cacert) == (True, "/etc/ca.pem")


def test_other_clouds(tmp_path):
    path = written(tmp_path, "clouds.yaml", CLOUDS)
    assert from_clouds(path, "app").options["application_credential_id"] == "4711"
    assert from_clouds(path, "totp").auth_type == "v3totp"
    assert from_clouds(path, "totp").secrets() == ["123456"]


def test_the_only_cloud_needs_no_name(tmp_path):
    path = written(tmp_path, "clouds.yaml", "clouds: {a: {auth: {username: u, password: p}}}")
    assert from_clouds(path).options["username"] == "u"


@pytest.mark.parametrize(
    "content, cloud, words",
    [
        (CLOUDS, "", "does not say which cloud is meant, there are: app, lab, totp"),
        (CLOUDS, "other", "has no cloud 'other'"),
        (CLOUDS, "lab", "holds no credentials for cloud 'lab'"),
        ("clouds: {a: {auth: secret}}", "a", "an auth of cloud 'a' that is no mapping"),
        ("clouds: [secret]", "a", "has no mapping of clouds"),
        ("secret", "a", "has no mapping of clouds"),
        ("clouds:\n  a: {secret", "a", "is not valid YAML in line"),
        ("clouds: !!python/object:os.system {}", "a", "is not valid YAML"),
    ],
)
def test_a_clouds_yaml_that_cannot_be_used(tmp_path, content, cloud, words):
    with pytest.raises(CredentialsError, match=words) as caught:
        from_clouds(written(tmp_path, "clouds.yaml", content), cloud)
    assert "secret" not in caught.value.reason
    assert "\n" not in caught.value.reason


def test_the_services_own_login():
    found = from_service(
        config(
            "[keystone_authtoken]\nwww_authenticate_uri = http://public:5000\nauth_url = http://10.0.0.5:5000/\n"
            "memcached_servers = m:11211\nauth_type = password\nusername = nova\npassword = p$$w\n"
            "project_name = service\nuser_domain_name = Default\nproject_domain_name = Default\ncafile = /etc/ca.pem\n"
        )
    )
    assert (found.auth_url, found.cacert, found.source) == (URL, "/etc/ca.pem", "[keystone_authtoken]")
    assert found.options == {
        "username": "nova",
        "password": "p$w",
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }


def test_the_services_own_login_as_old_releases_name_it():
    found = from_service(
        config(
            "[keystone_authtoken]\nauth_host = 10.0.0.5\nauth_port = 5000\nauth_protocol = http\nadmin_user = nova\n"
            "admin_password = p\nadmin_tenant_name = service\n"
        )
    )
    assert found.auth_url == URL
    assert found.options["username"] == "nova"
    assert found.options["project_name"] == "service"


@pytest.mark.parametrize("option", ["auth_url", "www_authenticate_uri", "auth_uri", "identity_uri"])
def test_the_identity_url_of_a_service(option):
    assert credentials.service_url(config(f"[keystone_authtoken]\n{option} = http://10.0.0.5:5000/v2.0")) == URL


def test_a_section_that_leads_to_another():
    found = from_service(
        config(
            "[keystone_authtoken]\nauth_section = login\n"
            "[login]\nauth_url = http://10.0.0.5:5000\nusername = u\npassword = p"
        )
    )
    assert (found.auth_url, found.options["username"], found.source) == (URL, "u", "[login]")


@pytest.mark.parametrize(
    "text", ["", "[keystone_authtoken]\nauth_url = http://h:5000", "[keystone_authtoken]\nusername = u"]
)
def test_a_service_without_a_login(text):
    assert from_service(config(text)) is None


@given(st.text(min_size=8, max_size=30), st.text(min_size=1, max_size=8))
def test_nothing_shows_a_password(password, salt):
    found = Credentials({"username": "nova", "password": f"§{password}§", "auth_url": URL}, "a test")
    assert f"§{password}§" not in repr(found)
    assert f"§{password}§" in found.secrets()


def test_a_fingerprint_changes_with_all_that_a_login_depends_on():
    base = {"username": "nova", "password": "p", "auth_url": URL}
    others = [{**base, "password": "q"}, {**base, "username": "n"}, {**base, "auth_url": "http://h"}]
    prints = {Credentials(options, "a test").fingerprint("salt") for options in [base, *others]}
    assert len(prints) == 4
    assert Credentials(base, "elsewhere").fingerprint("salt") in prints
    assert Credentials(base, "elsewhere").fingerprint("other") not in prints


@given(
    st.dictionaries(st.sampled_from([*credentials.OTHER_NAMES, "auth_type", "password", "token"]), st.text(max_size=9))
)
def test_any_options_are_credentials_or_none(options):
    found = credentials._found(options, "a test")
    if found is not None:
        assert found.who
        assert all(found.options.values())
