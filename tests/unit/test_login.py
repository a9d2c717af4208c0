"""Where a whole service finds Keystone and Placement, how it verifies them, and how it logs in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from fake_keystone import FakeKeystone
from loopback import Authority, Server
from resource_maker import make

from ocf_common import dependencies
from ocf_common.api_service import ApiService
from ocf_common.deadline import Deadline
from ocf_common.identity import Tree
from ocf_common.identity_service import IdentityService
from ocf_common.outcomes import Attention, DependencyDown, Misconfigured
from ocf_common.rpc_service import RpcService

New = Callable[..., Any]


class Scheduler(RpcService):
    name = "nova-scheduler"
    config = "/etc/nova/nova.conf"
    dependencies = ("broker", "database", "identity", "placement")


class Keystone(IdentityService):
    name = "keystone"
    config = "/etc/keystone/keystone.conf"


class Image(ApiService):
    name = "glance-api"
    config = "/etc/glance/glance-api.conf"
    dependencies = ("database", "identity")


def section(name: str, url: str, **options: str) -> str:
    options = {"auth_url": url, "username": "nova", "password": "very-secret", **options}
    return f"[{name}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())


@pytest.fixture
def new(tmp_path_factory: pytest.TempPathFactory) -> New:
    """Give resources of a class, each with a folder and thus a memory of its own."""
    return lambda kind, *text, **given: make(kind, tmp_path_factory.mktemp("resource"), *text, **given)


def ask(service: object, name: str = "identity") -> None:
    dependencies.ask(name, service, Deadline(10))  # type: ignore[arg-type]


@pytest.fixture
def named_keystone(tls_keystone: FakeKeystone, monkeypatch: pytest.MonkeyPatch) -> FakeKeystone:
    """The Keystone with TLS, found by the name in its certificate; Placement is at the same address."""
    port = tls_keystone.server.server_address[1]
    here = [(2, ("127.0.0.1", port))]
    monkeypatch.setattr("ocf_common.http_check.resolve", lambda *_: here)
    tls_keystone.url = f"https://keystone.test:{port}/v3"
    return tls_keystone


@pytest.mark.parametrize("name", ["keystone_authtoken", "placement"])
@pytest.mark.parametrize("way", ["cafile", "insecure"])
def test_keystone_is_verified_as_the_section_with_its_url_says(
    named_keystone: FakeKeystone, authority: Authority, name: str, way: str, new: New
) -> None:
    options = {"cafile": authority.ca_file} if way == "cafile" else {"insecure": "true"}
    ask(new(Scheduler, section(name, named_keystone.url, **options)))
    with pytest.raises(Misconfigured, match="unable to get local issuer certificate"):
        ask(new(Scheduler, section(name, named_keystone.url)))


def test_placement_is_verified_as_its_own_section_says(
    named_keystone: FakeKeystone, authority: Authority, new: New
) -> None:
    options = {"cafile": authority.ca_file, "endpoint_override": named_keystone.url.replace("v3", "")}
    ask(new(Scheduler, section("placement", named_keystone.url, **options)), "placement")
    del options["cafile"]
    with pytest.raises(Misconfigured, match=r"^Placement: certificate of https://keystone.test.* unable to get local"):
        ask(new(Scheduler, section("placement", named_keystone.url, **options)), "placement")


def test_the_services_own_keystone_is_asked_and_not_that_of_the_parameters(
    keystone: FakeKeystone, closed_url: str, new: New
) -> None:
    service = new(Image, section("keystone_authtoken", closed_url), os_auth_url=keystone.url)
    with pytest.raises(DependencyDown, match=f"Keystone at {closed_url} refuses connections"):
        ask(service)
    ask(new(Image, section("keystone_authtoken", keystone.url), os_auth_url=closed_url))


def test_without_a_keystone_of_its_own_that_of_the_parameters_is_asked(closed_url: str, new: New) -> None:
    with pytest.raises(DependencyDown, match=f"Keystone at {closed_url} refuses connections"):
        ask(new(Image, os_auth_url=closed_url))


def test_the_services_own_keystone_is_verified_as_the_service_does(
    named_keystone: FakeKeystone, authority: Authority, new: New
) -> None:
    """os_cacert is for the address in the parameters, which may have a certificate of another authority."""
    text = section("keystone_authtoken", named_keystone.url, cafile=authority.ca_file)
    ask(new(Image, text, os_cacert="/nonexistent/ca.pem"))


@pytest.fixture
def api_url(serve: Callable[..., Server]) -> str:
    """The URL of an API that answers with 200; with a login the answer is long and its end not announced."""

    def well(connection: socket.socket) -> None:
        body = b"x" * 200000 if b"X-Auth-Token" in connection.recv(65536) else b"{}"
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)

    return f"http://127.0.0.1:{serve(well).port}/"


def test_a_long_answer_to_a_login_is_no_endless_one(keystone: FakeKeystone, api_url: str, new: New) -> None:
    """As uWSGI sends it, which removes the length, when a tenant has given one image many properties."""
    new(Image, section("keystone_authtoken", keystone.url), url=api_url).works(Deadline(10), Tree())


def test_a_login_leaves_time_for_the_service(keystone: FakeKeystone, api_url: str, new: New) -> None:
    """Else what Keystone has wasted would be missing there, and the service be called silent."""
    service = new(Image, section("keystone_authtoken", keystone.url), url=api_url)
    service.works(Deadline(10), Tree())
    keystone.silent = True
    deadline = Deadline(4)
    with pytest.raises(DependencyDown, match="does not answer within"):
        service.works(deadline, Tree())
    assert deadline.left() > 0


def test_keystones_own_login_knows_the_name_in_its_certificate(
    tls_keystone: FakeKeystone, authority: Authority, new: New
) -> None:
    login = {"os_username": "nova", "os_password": "very-secret", "os_cacert": authority.ca_file}
    url = tls_keystone.url.replace("v3", "")
    new(Keystone, url=url, tls_name="keystone.test", **login).works(Deadline(10), Tree())
    assert tls_keystone.requests[-1][:2] == ("POST", "/v3/auth/tokens")
    with pytest.raises(Attention, match="IP address mismatch"):
        new(Keystone, url=url, **login).works(Deadline(10), Tree())
