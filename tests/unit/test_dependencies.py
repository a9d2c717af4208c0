"""What a service depends on, found in its own configuration of whichever release."""

from __future__ import annotations

import pytest

from ocf_common.dependencies import broker_addresses, database_addresses
from ocf_common.outcomes import Misconfigured
from ocf_common.service_config import ServiceConfig


def settings(text: str) -> ServiceConfig:
    config = ServiceConfig()
    config.add("x.conf", text)
    return config


@pytest.mark.parametrize(
    ("text", "port", "addresses"),
    [
        ("", 0, ["localhost:5672"]),
        ("", 5673, ["localhost:5673"]),
        ("[DEFAULT]\ntransport_url = rabbit://n:p@a:5671,n:p@b//", 0, ["a:5671", "b:5672"]),
        ("[DEFAULT]\ntransport_url = rabbit://n:p@a:5671,n:p@b//", 5673, ["a:5673", "b:5673"]),
        ("[oslo_messaging_rabbit]\nrabbit_host = a\nrabbit_port = 5673", 0, ["a:5673"]),
        ("[DEFAULT]\nrabbit_hosts = a:5671, b", 0, ["a:5671", "b:5672"]),
        ("[DEFAULT]\ntransport_url = rabbit://n:p@[::1]:5672/", 0, ["[::1]:5672"]),
    ],
)
def test_brokers(text: str, port: int, addresses: list[str]) -> None:
    assert [str(broker) for broker in broker_addresses(settings(text), port)] == addresses


def test_login_of_a_broker_in_old_options() -> None:
    text = "[DEFAULT]\nrabbit_userid = nova\nrabbit_password = hush\nrabbit_virtual_host = /nova\n"
    (broker,) = broker_addresses(settings(text))
    assert (broker.user, broker.password, broker.virtual_host) == ("nova", "hush", "/nova")


def test_tls_of_a_broker_in_its_section() -> None:
    text = "[oslo_messaging_rabbit]\nssl = true\nssl_ca_file = /etc/ca.pem\n"
    (broker,) = broker_addresses(settings(text))
    assert (broker.tls, broker.ssl_ca_file) == (True, "/etc/ca.pem")


@pytest.mark.parametrize("section", ["oslo_messaging_rabbit", "DEFAULT"])
def test_tls_of_a_broker_in_old_options(section: str) -> None:
    text = f"[{section}]\nrabbit_use_ssl = true\nkombu_ssl_ca_certs = /ca\nkombu_ssl_certfile = /c\n"
    (broker,) = broker_addresses(settings(text + "kombu_ssl_keyfile = /k\n"))
    assert (broker.tls, broker.ssl_ca_file, broker.ssl_cert_file, broker.ssl_key_file) == (True, "/ca", "/c", "/k")


@pytest.mark.parametrize(
    "text",
    [
        "[DEFAULT]\ntransport_url = http://hush@h/",
        "[DEFAULT]\ntransport_url = rabbit://n:hush@h:port/",
        "[DEFAULT]\nrabbit_port = many",
        "[DEFAULT]\nrabbit_hosts = a:70000",
    ],
)
def test_a_broker_that_cannot_be_understood_is_this_nodes_configuration(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        broker_addresses(settings(text))
    assert caught.value.dependency == "broker"
    assert "hush" not in caught.value.reason


MYSQL = "mysql+pymysql://nova:hush@db/nova"


@pytest.mark.parametrize(
    ("text", "port", "addresses"),
    [
        ("", 0, []),
        (f"[database]\nconnection = {MYSQL}", 0, ["db:3306"]),
        (f"[database]\nconnection = {MYSQL}", 3307, ["db:3307"]),
        (f"[DEFAULT]\nsql_connection = {MYSQL}", 0, ["db:3306"]),
        (f"[database]\nconnection = {MYSQL}\n[api_database]\nconnection = {MYSQL}_api", 0, ["db:3306", "db:3306"]),
        (f"[database]\nconnection = {MYSQL}\n[api_database]\nconnection = {MYSQL}", 0, ["db:3306"]),
        (f"[placement_database]\nconnection = {MYSQL}", 0, ["db:3306"]),
        ("[database]\nconnection = sqlite:////var/x.db", 3307, ["/var/x.db"]),
    ],
)
def test_databases(text: str, port: int, addresses: list[str]) -> None:
    assert [str(address) for address in database_addresses(settings(text), port)] == addresses


def test_a_database_that_cannot_be_understood_is_this_nodes_configuration() -> None:
    with pytest.raises(Misconfigured) as caught:
        database_addresses(settings("[database]\nconnection = nonsense hush\n"))
    assert caught.value.dependency == "database"
    assert "hush" not in caught.value.reason
