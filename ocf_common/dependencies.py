"""What a service depends on, found in its own configuration, and how each is asked whether it works.

A question returns when the dependency works, and raises DependencyDown or Misconfigured.
"""

from __future__ import annotations

from ocf_common.outcomes import Attention, CheckFailed, DependencyDown, Misconfigured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocf_common.connection_urls import BrokerAddress, DatabaseAddress
    from ocf_common.deadline import Deadline
    from ocf_common.service import Service
    from ocf_common.service_config import ServiceConfig

#: how a dependency is called in reasons
LABELS = {"broker": "RabbitMQ", "database": "the database", "identity": "Keystone", "placement": "Placement"}

#: options of oslo.messaging, and what they were called up to Ocata
OLD_TLS_NAMES = {
    "ssl_ca_file": "kombu_ssl_ca_certs",
    "ssl_cert_file": "kombu_ssl_certfile",
    "ssl_key_file": "kombu_ssl_keyfile",
}


def broker_addresses(settings: ServiceConfig, port: int = 0) -> list[BrokerAddress]:
    """Return the brokers of ``transport_url``, or of the options that Ocata and older knew instead.

    ``port`` overrides every port unless it is 0. Raises Misconfigured.
    """
    from ocf_common.connection_urls import BrokerAddress, InvalidUrl, parse_transport_url, split_port

    rabbit = "oslo_messaging_rabbit"
    url = settings.first((("DEFAULT", "transport_url"),))
    try:
        if url:
            brokers = parse_transport_url(url)
        else:

            def old(name: str, default: str) -> str:
                return settings.first(((rabbit, name), ("DEFAULT", name)), default) or default

            default_port = int(old("rabbit_port", "5672"))
            hosts = old("rabbit_hosts", old("rabbit_host", "localhost")).split(",")
            brokers = []
            for text in hosts:
                host, number = split_port(text.strip(), default_port, "rabbit_hosts")
                broker = BrokerAddress(host, number)
                broker.user, broker.password = old("rabbit_userid", "guest"), old("rabbit_password", "guest")
                broker.virtual_host = old("rabbit_virtual_host", "/")
                brokers.append(broker)
    except (InvalidUrl, ValueError) as error:
        raise Misconfigured(f"transport_url cannot be used: {error}", "broker") from None
    old_tls = ((rabbit, "rabbit_use_ssl"), ("DEFAULT", "rabbit_use_ssl"))
    tls = any(settings.boolean(*place) for place in ((rabbit, "ssl"), *old_tls))
    for broker in brokers:
        broker.port = port or broker.port
        broker.tls = broker.tls or tls
        for name, old_name in OLD_TLS_NAMES.items():
            if not getattr(broker, name):
                places = ((rabbit, name), (rabbit, old_name), ("DEFAULT", old_name))
                setattr(broker, name, settings.first(places, ""))
    return brokers


def database_addresses(settings: ServiceConfig, port: int = 0) -> list[DatabaseAddress]:
    """Return the service's databases; ``port`` overrides every port unless it is 0. Raises Misconfigured."""
    from ocf_common.connection_urls import InvalidUrl, parse_database_url

    found: list[DatabaseAddress] = []
    for names in (
        (("database", "connection"), ("DEFAULT", "sql_connection"), ("sql", "connection")),
        (("api_database", "connection"),),
        (("placement_database", "connection"),),
    ):
        url = settings.first(names)
        if not url:
            continue
        try:
            address = parse_database_url(url)
        except InvalidUrl as error:
            raise Misconfigured(f"[{names[0][0]}] connection cannot be used: {error}", "database") from None
        address.port = port if port and address.port else address.port
        if not any(str(address) == str(other) and address.database == other.database for other in found):
            found.append(address)
    return found


def ask_broker(service: Service, deadline: Deadline) -> None:
    from ocf_common import amqp_check

    amqp_check.ask(service.brokers(), deadline, service.name)


def ask_database(service: Service, deadline: Deadline) -> None:
    from ocf_common import database_check

    for address in service.databases():
        database_check.ask(address, deadline)


def ask_identity(service: Service, deadline: Deadline) -> None:
    from ocf_common import identity_check
    from ocf_common.login import needed_identity

    url, tls = needed_identity(service)
    if url:
        identity_check.ask(url, deadline, tls)


def ask_placement(service: Service, deadline: Deadline) -> None:
    """Ask Placement at the endpoint that the service itself would use."""
    from ocf_common.login import placement_url, tls_settings

    url = placement_url(service, deadline)
    if not url:
        return
    from ocf_common.connection_urls import parse_http_url
    from ocf_common.http_check import request

    try:
        answer = request(parse_http_url(url), deadline, tls=tls_settings(service, "placement"))
    except Attention as finding:
        raise Misconfigured(f"Placement: {finding.reason}", "placement") from None
    except CheckFailed as finding:
        raise DependencyDown(f"Placement: {finding.reason}", "placement") from None
    if answer.status >= 500:
        raise DependencyDown(f"Placement at {url} answers {answer.status}", "placement")


QUESTIONS: dict[str, Callable[[Service, Deadline], None]] = {
    "broker": ask_broker,
    "database": ask_database,
    "identity": ask_identity,
    "placement": ask_placement,
}


def ask(name: str, service: Service, deadline: Deadline) -> None:
    """Ask one dependency; raises DependencyDown or Misconfigured."""
    from ocf_common.service_config import ConfigError

    try:
        QUESTIONS[name](service, deadline)
    except (DependencyDown, Misconfigured):
        raise
    except ConfigError as error:
        raise Misconfigured(f"configuration file {error}", name) from None
    except CheckFailed as finding:
        # Credentials that Keystone refuses, a package that is missing: nothing is known against the dependency.
        if type(finding).__name__ == "CredentialsRefused":
            raise Misconfigured(finding.reason, name) from None
