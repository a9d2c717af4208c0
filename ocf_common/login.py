"""How a resource logs in to Keystone, with which credentials and when not.

Credentials, the first that is there: parameters, ``openrc``, ``clouds_yaml``, ``[keystone_authtoken]`` of the
service's configuration. After a refusal the same credentials rest for 15 minutes, for Keystone may lock the
account, and that may be the service's own. Tokens are never written to disk.
"""

from __future__ import annotations

import os

from ocf_common import credentials as sources
from ocf_common import identity_check
from ocf_common.http_check import Tls
from ocf_common.outcomes import Attention

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocf_common.credentials import Credentials
    from ocf_common.deadline import Deadline
    from ocf_common.identity_check import Token
    from ocf_common.service import Service

REST = 900.0  # seconds that refused credentials are not tried again
SECTIONS = ("keystone_authtoken", "placement")  # of a service's configuration, with a way to Keystone in them


def tls_settings(service: Service, section: str = SECTIONS[0]) -> Tls:
    """Return how certificates are verified: parameters, else what ``section`` of the configuration says."""
    parameters, settings = service.parameters, service.settings
    section = settings.get(section, "auth_section") or section
    given = parameters.given("insecure")
    insecure = parameters.boolean("insecure") if given else settings.boolean(section, "insecure")
    return Tls(parameters.given("os_cacert") or settings.get(section, "cafile") or "", not insecure)


def identity_url(service: Service) -> str:
    """Return the Identity URL (v3) of the resource: parameters, else the service's configuration, else ""."""
    for name in ("os_auth_url", "keystone_get_token_url"):
        url = service.parameters.given(name) if name in service.parameters.declared else None
        if url:
            return sources.v3_url(url)
    return _own_identity(service)[0]


def _own_identity(service: Service) -> tuple[str, str]:
    """Return the Identity URL of the service's configuration and the section with it; both "" without one."""
    for section in SECTIONS:
        url = sources.service_url(service.settings, section)
        if url:
            return url, service.settings.get(section, "auth_section") or section
    return "", ""


def needed_identity(service: Service) -> tuple[str, Tls]:
    """Return the Keystone on which the service depends, and how its certificate is verified.

    That is the one of the service's configuration, verified as the service itself does: parameters may name another
    address of Keystone, for the login of level 20 alone.
    """
    url, section = _own_identity(service)
    if not url:
        return identity_url(service), tls_settings(service)
    tls = tls_settings(service, section)
    tls.ca_file = service.settings.get(section, "cafile") or tls.ca_file
    return url, tls


def chosen(service: Service) -> Credentials | None:
    """Return the credentials of the resource, or None; raises Attention where a source cannot be used."""
    parameters = service.parameters
    given = {name: parameters.given(name) or "" for name in parameters.declared}
    try:
        found = sources.from_parameters(given)
        if found is None and given.get("openrc"):
            found = sources.from_openrc(given["openrc"])
        if found is None and given.get("clouds_yaml"):
            found = sources.from_clouds(given["clouds_yaml"], given.get("cloud", ""))
    except sources.CredentialsError as error:
        raise Attention(f"credentials for level 20: {error.reason}") from None
    if found is None:
        found = sources.from_service(service.settings)
    if found is not None and not found.auth_url:
        found.auth_url = identity_url(service)
    return found


def log_in(service: Service, deadline: Deadline, own_url: str = "", own_name: str = "") -> str | None:
    """Log in and return the token, or None without credentials.

    ``own_url``: Keystone's own address, asked instead of the one that the credentials name, unless a parameter names
    one; ``own_name``: the name in its certificate, where that is not the host in the URL. Raises as
    ``identity_check.log_in``, and Attention while refused credentials rest.
    """
    found = chosen(service)
    if found is None:
        return None
    overridden = service.parameters.given("os_cacert") or service.parameters.given("insecure")
    tls = tls_settings(service) if overridden else Tls(found.cacert, not found.insecure)
    if own_url and not service.parameters.given("os_auth_url"):
        found.auth_url, tls.server_name = own_url, own_name
    return _guarded(service, found, deadline, tls).value


def _guarded(service: Service, found: Credentials, deadline: Deadline, tls: Tls | None) -> Token:
    """Log in, unless these very credentials were refused a short while ago."""
    memory = service.memory
    salt = str(memory.refused.get("salt", "")) or os.urandom(16).hex()
    fingerprint = ""
    if memory.refused:
        fingerprint = found.fingerprint(salt)
        left = _rest(memory.refused, fingerprint, memory.clock())
        if left > 0:
            raise identity_check.CredentialsRefused(
                f"Keystone at {found.auth_url} has refused {found.who} of {found.source} (401); they are not tried "
                f"again before they change or {REST / 60:.0f} minutes have passed"
            )
    try:
        token = identity_check.log_in(found, deadline, tls)
    except identity_check.CredentialsRefused:
        memory.refused = {
            "salt": salt,
            "fingerprint": fingerprint or found.fingerprint(salt),
            "at": memory.clock(),
        }
        raise
    memory.refused = {}
    return token


def _rest(refused: dict[str, object], fingerprint: str, now: float) -> float:
    """Return for how many seconds these credentials must not be tried."""
    at = refused.get("at")
    if refused.get("fingerprint") != fingerprint or not isinstance(at, (int, float)) or at > now:
        return 0.0
    return max(0.0, at + REST - now)


def placement_url(service: Service, deadline: Deadline) -> str:
    """Return where the service finds Placement: its configuration, else Keystone's catalogue; "" if nowhere."""
    settings = service.settings
    override = settings.first((("placement", "endpoint_override"), ("placement", "os_placement_endpoint")), "")
    if override:
        return override
    found = sources.from_service(settings, "placement")
    if found is None:
        return ""
    token = _guarded(service, found, deadline, None)
    region = settings.first((("placement", "region_name"), ("placement", "os_region_name")), "") or ""
    interface = (settings.get("placement", "valid_interfaces") or "internal,public").split(",")[0].strip()
    return identity_check.endpoint(token, "placement", interface, region) or identity_check.endpoint(
        token, "placement", "public", region
    )
