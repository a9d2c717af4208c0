"""With what a check logs in to Keystone.

Four sources give credentials: parameters of the resource, an openrc file, a clouds.yaml, and the section
``[keystone_authtoken]`` of the service's configuration. All end as options under the names of keystoneauth
(``auth_url``, ``username``, ``project_name``, ...), so that what only a special way to log in knows is kept
for it. Each source returns None when it holds no credentials; the caller decides on the order.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ocf_common.service_config import ServiceConfig

# Options of the connection rather than of the login.
SESSION_OPTIONS = ("auth_type", "auth_url", "cacert", "insecure", "interface", "region_name")

# Names of old releases, clients and files: what keystoneauth calls the same thing.
OTHER_NAMES = {
    "admin_password": "password",
    "admin_tenant_name": "project_name",
    "admin_user": "username",
    "auth_plugin": "auth_type",
    "ca_file": "cacert",
    "cafile": "cacert",
    "endpoint_type": "interface",
    "tenant_id": "project_id",
    "tenant_name": "project_name",
    "user": "username",
    "user_name": "username",
}
PASSWORD_TYPES = ("password", "v2password", "v3password")
APPLICATION_CREDENTIAL = "v3applicationcredential"

# Options of [keystone_authtoken] that configure the middleware and are no part of a login.
NOT_OF_A_LOGIN = (
    "auth_section", "auth_uri", "auth_version", "delay_auth_decision", "http_connect_timeout", "identity_uri",
    "memcache_secret_key", "memcached_servers", "region", "service_token_roles", "service_token_roles_required",
    "service_type", "www_authenticate_uri",
)  # fmt: skip

# Users and projects without a domain are those that Keystone v2 knew: they live in this one.
DEFAULT_DOMAIN = "default"

TRUE_VALUES = ("1", "true", "yes", "on", "y", "t")
FINGERPRINT_ROUNDS = 10000


class CredentialsError(Exception):
    """A source of credentials that cannot be used; ``reason`` is one line without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Credentials:
    """A login: its ``options`` by keystoneauth's names, without those that are empty.

    ``auth_type`` is ``password``, ``v3applicationcredential`` or another one of keystoneauth; ``auth_url`` is
    one of Identity API v3, or empty; ``source`` says where it was found.
    """

    __slots__ = ("auth_type", "auth_url", "cacert", "insecure", "interface", "options", "region_name", "source")

    def __init__(self, options: Mapping[str, str], source: str) -> None:
        known = _named(options)
        self.source = source
        self.auth_url = v3_url(known.get("auth_url", ""))
        self.cacert = known.get("cacert", "")
        self.insecure = known.get("insecure", "").lower() in TRUE_VALUES
        self.interface = known.get("interface", "").replace("URL", "") or "public"
        self.region_name = known.get("region_name", "")
        self.options = {name: value for name, value in known.items() if name not in SESSION_OPTIONS}
        self.auth_type = known.get("auth_type", "").lower() or _type_of(self.options)
        if self.auth_type in PASSWORD_TYPES:
            self.auth_type = "password"
        if self.auth_type != APPLICATION_CREDENTIAL:
            _complete_domains(self.options)

    def __repr__(self) -> str:
        return f"<Credentials of {self.who} at {self.auth_url or 'no URL'} from {self.source}>"

    @property
    def who(self) -> str:
        """The user, or the application credential, for a reason."""
        options = self.options
        if self.auth_type == APPLICATION_CREDENTIAL:
            name = options.get("application_credential_name") or options.get("application_credential_id", "")
            return f"application credential {name!r}"
        user = options.get("username") or options.get("user_id", "")
        return f"user {user!r}" if user else f"auth_type {self.auth_type}"

    def secrets(self) -> list[str]:
        """Return all values that must never be shown."""
        from ocf_common.service_config import SECRET_ENDINGS

        endings = (*SECRET_ENDINGS, "passcode", "code")
        return [value for name, value in self.options.items() if name.endswith(endings)]

    def fingerprint(self, salt: str) -> str:
        """Return a text that is the same for the same login and ``salt``, and tells nothing about it.

        It remembers refused credentials, so it is made slowly: a password must not be found by trying.
        """
        import hashlib

        login = repr(sorted([*self.options.items(), ("auth_url", self.auth_url), ("auth_type", self.auth_type)]))
        return hashlib.pbkdf2_hmac("sha256", login.encode("utf-8", "replace"), salt.encode(), FINGERPRINT_ROUNDS).hex()


def from_parameters(values: Mapping[str, str]) -> Credentials | None:
    """Return the credentials of a resource's parameters (``os_username``, ``os_tenant_name``, ...), or None.

    ``keystone_get_token_url`` is what the old agents of some services called ``os_auth_url``.
    """
    options = {name[3:]: value for name, value in values.items() if name.startswith("os_")}
    if not options.get("auth_url"):
        options["auth_url"] = values.get("keystone_get_token_url", "")
    options["insecure"] = values.get("os_insecure") or values.get("insecure", "")
    return _found(options, "the os_* parameters")


def from_openrc(path: str) -> Credentials | None:
    """Return the credentials of an openrc file, or None; the file is read, never executed.

    Raises :class:`CredentialsError`.
    """
    from ocf_common.openrc import OpenrcError, parse

    try:
        variables = parse(_read(path))
    except OpenrcError as error:
        raise CredentialsError(f"{path} {error}") from None
    options = {name[3:].lower(): value for name, value in variables.items() if name.startswith("OS_")}
    credentials = _found(options, path)
    if credentials is None:
        raise CredentialsError(f"{path} holds no credentials")
    return credentials


def from_clouds(path: str, cloud: str = "") -> Credentials | None:
    """Return the credentials of ``cloud`` in a clouds.yaml, of the only one there if it is empty.

    A secure.yaml beside the file completes it. Raises :class:`CredentialsError`.
    """
    clouds = _clouds(path)
    if not cloud:
        if len(clouds) != 1:
            names = ", ".join(sorted(clouds)) or "none"
            raise CredentialsError(f"{path} does not say which cloud is meant, there are: {names}")
        cloud = next(iter(clouds))
    if cloud not in clouds:
        raise CredentialsError(f"{path} has no cloud {cloud!r}")
    entry = clouds[cloud]
    secure = os.path.join(os.path.dirname(path), "secure.yaml")
    if os.path.exists(secure):
        entry = _merged(entry, _clouds(secure).get(cloud, {}))
    login = entry.get("auth") or {}
    if not isinstance(login, dict):
        raise CredentialsError(f"{path} has an auth of cloud {cloud!r} that is no mapping")
    options = {str(name).replace("-", "_"): value for name, value in {**entry, **login}.items()}
    if options.get("verify") is False:
        options["insecure"] = "true"
    texts = {name: str(value) for name, value in options.items() if isinstance(value, (str, int, float))}
    credentials = _found(texts, f"cloud {cloud!r} of {path}")
    if credentials is None:
        raise CredentialsError(f"{path} holds no credentials for cloud {cloud!r}")
    return credentials


def from_service(config: ServiceConfig, section: str = "keystone_authtoken") -> Credentials | None:
    """Return the login that the service itself uses to verify tokens, or None.

    ``auth_section`` leads to another section; names of Ocata and older are understood.
    """
    section = config.get(section, "auth_section") or section
    name_of_section = section if section in config.sections else section.lower()
    options = {name: config.get(section, name) or "" for name in config.sections.get(name_of_section, {})}
    if not options.get("auth_url"):
        options["auth_url"] = service_url(config, section)
    login = {name: value for name, value in options.items() if name not in NOT_OF_A_LOGIN}
    return _found(login, f"[{section}]")


def service_url(config: ServiceConfig, section: str = "keystone_authtoken") -> str:
    """Return the Identity URL of the service's configuration, v3, or an empty string."""
    section = config.get(section, "auth_section") or section
    names = ("auth_url", "www_authenticate_uri", "auth_uri", "identity_uri")
    url = config.first([(section, name) for name in names], "") or ""
    host = config.get(section, "auth_host")
    if not url and host:
        protocol, port = config.get(section, "auth_protocol"), config.get(section, "auth_port")
        url = f"{protocol or 'https'}://{host}:{port or '35357'}"
    return v3_url(url)


def v3_url(url: str) -> str:
    """Return the URL of Identity API v3 at the same place: for ``…/v2.0/tokens``, ``…/v2.0``, ``…/v3``, ``…``."""
    url = url.strip().partition("?")[0].partition("#")[0]
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    parts = rest.rstrip("/").split("/")
    for number, part in enumerate(parts):
        if number and part in ("v2.0", "v2", "v3"):
            parts = parts[:number]
            break
    return f"{scheme}://{'/'.join(parts)}/v3"


def _found(options: Mapping[str, str], source: str) -> Credentials | None:
    """Return credentials where ``options`` hold more than a place: something to log in with."""
    known = _named(options)
    secret = ("password", "application_credential_secret", "token", "access_token", "passcode")
    if not any(known.get(name) for name in secret) and known.get("auth_type", "password").lower() in PASSWORD_TYPES:
        return None
    return Credentials(known, source)


def _named(options: Mapping[str, str]) -> dict[str, str]:
    """Return the options that are not empty under keystoneauth's names; its own names go before older ones."""
    known: dict[str, str] = {}
    for name, value in options.items():
        if value and OTHER_NAMES.get(name, name) == name:
            known[name] = value
    for name, value in options.items():
        if value and name in OTHER_NAMES:
            known.setdefault(OTHER_NAMES[name], value)
    return known


def _type_of(options: Mapping[str, str]) -> str:
    if options.get("application_credential_secret"):
        return APPLICATION_CREDENTIAL
    return "v3token" if options.get("token") and not options.get("password") else "password"


def _complete_domains(options: dict[str, str]) -> None:
    """Set the domains of user and project that are not named."""
    default_id = options.pop("default_domain_id", "") or options.get("default_domain", "")
    default_name = options.pop("default_domain_name", "")
    options.pop("default_domain", "")
    for what, names in (("user", ("username",)), ("project", ("project_name",))):
        if not any(options.get(name) for name in names):
            continue
        if options.get(f"{what}_domain_id") or options.get(f"{what}_domain_name"):
            continue
        if default_name and not default_id:
            options[f"{what}_domain_name"] = default_name
        else:
            options[f"{what}_domain_id"] = default_id or DEFAULT_DOMAIN


def _read(path: str) -> str:
    from ocf_common.service_config import ConfigError, read_text

    try:
        return read_text(path)
    except ConfigError as error:
        raise CredentialsError(str(error)) from None


def _clouds(path: str) -> dict[str, dict[str, Any]]:
    from ocf_common import packages

    yaml = packages.load("yaml")
    try:
        content = yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        # The error's own text quotes the file.
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise CredentialsError(f"{path} is not valid YAML{where}") from None
    except (ValueError, RecursionError):
        raise CredentialsError(f"{path} is not valid YAML") from None
    clouds = content.get("clouds") if isinstance(content, dict) else None
    if not isinstance(clouds, dict) or not all(isinstance(entry, dict) for entry in clouds.values()):
        raise CredentialsError(f"{path} has no mapping of clouds")
    return {str(name): entry for name, entry in clouds.items()}


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return ``first`` completed by ``second``, which wins; mappings inside are merged too."""
    merged = dict(first)
    for name, value in second.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
