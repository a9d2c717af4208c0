"""What Keystone answers: whether it lives, and whether it lets somebody in (Identity API v3).

A login with a password or an application credential is one POST over requests; every other way to log in is
left to the plug-ins of keystoneauth, which cost six times as much. A token lives in this process's memory
and nowhere else.

What Keystone (Zed) writes for one login: one line of its access log; for ``must_be_refused`` the same and two
warnings ("Could not find domain", "Authorization failed"); for ``ask`` one line of its access log.
"""

from __future__ import annotations

import os

from ocf_common import http_check, network_errors, packages
from ocf_common.connection_urls import InvalidUrl, parse_http_url
from ocf_common.credentials import APPLICATION_CREDENTIAL
from ocf_common.deadline import OutOfTime, within
from ocf_common.outcomes import Attention, CheckFailed, DependencyDown, Misconfigured, WrongAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ocf_common.connection_urls import HttpUrl
    from ocf_common.credentials import Credentials
    from ocf_common.deadline import Deadline
    from ocf_common.http_check import HttpAnswer, Tls

DEPENDENCY = "identity"
LARGEST_ANSWER = 4 * 1024 * 1024  # bytes; the catalogue of a large cloud has 0.1 MB
SHORTEST_WAIT = 0.001  # seconds; 0 would mean "do not block"

JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class CredentialsRefused(Attention):
    """Keystone refuses these credentials (401): they must not be tried again soon, it may lock the account."""


class Token:
    """A token and the catalogue that came with it; it is never written anywhere."""

    __slots__ = ("catalog", "value")

    def __init__(self, value: str, catalog: list[dict[str, Any]]) -> None:
        self.value = value
        self.catalog = catalog

    def __repr__(self) -> str:
        return f"<Token with {len(self.catalog)} services>"


def log_in(credentials: Credentials, deadline: Deadline, tls: Tls | None = None) -> Token:
    """Log in and return the token.

    ``tls`` defaults to what the credentials say. Raises :class:`CredentialsRefused`, :class:`Attention` (too many
    requests), :class:`DependencyDown`, :class:`Misconfigured`.
    """
    if tls is None:
        tls = http_check.Tls(credentials.cacert, verify=not credentials.insecure)
    url = credentials.auth_url
    if not url:
        raise Misconfigured(f"{credentials.source}: no Identity URL for {credentials.who}", DEPENDENCY)
    _parsed(url)
    login = _Login(credentials, deadline, tls)
    ask = login.post if credentials.auth_type in ("password", APPLICATION_CREDENTIAL) else login.plugin
    try:
        # Each request and each read has a time limit, their sum has not.
        return within(deadline, ask)
    except OutOfTime:
        raise login.down(network_errors.no_answer(login.seconds)) from None
    except CheckFailed:
        raise
    except Exception as error:
        raise login.finding(error) from None


def ask(auth_url: str, deadline: Deadline, tls: Tls | None = None) -> None:
    """Ask Keystone whether it lives, without a login; raises :class:`DependencyDown` or :class:`Misconfigured`."""
    url = _parsed(auth_url)
    try:
        answer = http_check.request(url, deadline, tls=tls)
    except Attention as finding:
        raise Misconfigured(f"Keystone: {finding.reason}", DEPENDENCY) from None
    except CheckFailed as finding:
        raise DependencyDown(f"Keystone at {finding.reason}", DEPENDENCY) from None
    if answer.status >= 500:
        raise DependencyDown(f"Keystone at {url} answers {answer.status}", DEPENDENCY)
    if answer.status in (404, 410):
        raise Misconfigured(f"there is no Identity API version 3 at {url} ({answer.status})", DEPENDENCY)


def must_be_refused(auth_url: str, deadline: Deadline, tls: Tls | None = None) -> None:
    """Try a login of somebody who cannot exist: a Keystone that works looks into its database and refuses.

    Raises :class:`WrongAnswer` for everything but a refusal, :class:`Attention` for too many requests, and the
    findings of :func:`http_check.request`.
    """
    import json

    nobody = f"ocf-monitor-{os.urandom(8).hex()}"
    user = {"name": nobody, "domain": {"name": nobody}, "password": os.urandom(16).hex()}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    url = _tokens(_parsed(auth_url))
    answer = http_check.request(url, deadline, method="POST", headers=JSON, body=json.dumps(body).encode(), tls=tls)
    if answer.status == 429:
        raise Attention(f"{url} limits our requests (429)")
    if answer.status != 401:
        raise WrongAnswer(f"{url} answers a login that must be refused with {answer.status}")


def authenticated_get(url: HttpUrl | str, token: Token, deadline: Deadline, tls: Tls | None = None) -> HttpAnswer:
    """Return the answer to a GET with ``token``; raises as :func:`http_check.request` and :class:`Misconfigured`."""
    where = parse_http_url(url) if isinstance(url, str) else url
    return http_check.request(where, deadline, headers={"X-Auth-Token": token.value}, tls=tls)


def endpoint(token: Token, service_type: str, interface: str = "public", region: str = "") -> str:
    """Return the URL of a service in the catalogue, or an empty string; ``region`` matters only when given."""
    for service in token.catalog:
        if service.get("type") != service_type:
            continue
        for found in service.get("endpoints") or []:
            here = found.get("region_id") or found.get("region")
            if found.get("interface") == interface and (not region or here == region):
                return str(found.get("url") or "")
    return ""


class _Login:
    """One login, and the words for what goes wrong in it."""

    def __init__(self, credentials: Credentials, deadline: Deadline, tls: Tls) -> None:
        self.credentials = credentials
        self.deadline = deadline
        self.tls = tls
        self.seconds = deadline.left()
        self.wait = max(self.seconds, SHORTEST_WAIT)
        self.where = f"Keystone at {credentials.auth_url}"

    def session(self) -> Any:
        """Return a session of requests that knows no proxies and verifies as ``tls`` says."""
        requests = packages.load("requests")
        session = requests.Session()
        session.trust_env = False
        session.verify = (self.tls.ca_file or True) if self.tls.verify else False
        if not self.tls.verify:
            packages.load("urllib3").disable_warnings()  # it would complain on stderr of what the operator chose
        if self.tls.server_name:
            adapter = session.get_adapter("https://")
            adapter.poolmanager.connection_pool_kw.update(
                server_hostname=self.tls.server_name, assert_hostname=self.tls.server_name
            )
        return session

    def post(self) -> Token:
        """Log in over requests."""
        import json

        url = _tokens(_parsed(self.credentials.auth_url))
        with self.session() as session:
            answer = session.post(
                str(url),
                data=json.dumps(body(self.credentials)).encode(),
                headers=JSON,
                timeout=self.wait,
                allow_redirects=False,  # a login must not be sent to where nobody configured it
                stream=True,
            )
            with answer:
                if answer.status_code != 201:
                    raise self.refusal(answer.status_code, answer.headers)
                content = self.read(answer)
        try:
            catalog = json.loads(content)["token"].get("catalog") or []
            return Token(answer.headers["X-Subject-Token"], catalog)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self.down("answers a login with something that is no token") from None

    def read(self, answer: Any) -> bytes:
        """Return the body of an answer; the time limit of requests bounds each read, this one their sum."""
        content = b""
        for chunk in answer.iter_content(65536):
            content += chunk
            if self.deadline.passed():
                raise self.down(network_errors.no_answer(self.seconds))
            if len(content) > LARGEST_ANSWER:
                raise self.down("answers a login with an endless text")
        return content

    def plugin(self) -> Token:
        """Log in by the plug-in of keystoneauth that the credentials name."""
        loading = packages.load("keystoneauth1.loading")
        sessions = packages.load("keystoneauth1.session")
        exceptions = packages.load("keystoneauth1.exceptions")
        credentials = self.credentials
        try:
            loader = loading.get_plugin_loader(credentials.auth_type)
            options = {**credentials.options, "auth_url": credentials.auth_url}
            known = {option.dest: options[option.dest] for option in loader.get_options() if options.get(option.dest)}
            plugin = loader.load_from_options(**known)
        except exceptions.NoMatchingPlugin:
            raise self.misfit(f"cannot be asked: auth_type {credentials.auth_type} is not known here") from None
        except exceptions.OptionError as error:  # it names options, never their values
            raise self.misfit(f"cannot be asked by auth_type {credentials.auth_type}: {error}") from None
        with self.session() as transport:
            session = sessions.Session(auth=plugin, session=transport, verify=transport.verify, timeout=self.wait)
            access = plugin.get_access(session)
        return Token(access.auth_token, list(access.service_catalog.catalog) if access.has_service_catalog() else [])

    def refusal(self, status: int, headers: Mapping[str, str]) -> CheckFailed:
        """Return what a status other than "created" means."""
        if status == 401:
            return CredentialsRefused(
                f"{self.where} refuses {self.credentials.who} of {self.credentials.source} (401): "
                "the login is wrong, or the account is locked"
            )
        if status == 429:
            return Attention(f"{self.where} limits our logins (429)")
        if status == 403:
            return Attention(f"{self.where} forbids the login of {self.credentials.who} (403)")
        if status >= 500:
            return self.down(f"answers a login with {status}")
        if 300 <= status < 400:
            return self.misfit(f"leads elsewhere: {headers.get('Location', 'somewhere')[:200]}")
        if status in (404, 410):
            return self.misfit(f"has no Identity API version 3 ({status})")
        return self.misfit(f"answers the login of {self.credentials.who} with {status}")

    def finding(self, error: Exception) -> CheckFailed:
        """Return what an error of requests or keystoneauth means; its own text may show what was sent."""
        errors = network_errors.causes(error)
        untrusted = network_errors.unverified(errors)
        if untrusted:
            return self.misfit(f"has a certificate that cannot be verified: {untrusted}")
        no_tls = network_errors.broken_tls(errors)
        if no_tls:
            return self.misfit(f"does not speak TLS as configured: {no_tls}")
        for item in errors:
            status = getattr(item, "http_status", None)
            if isinstance(status, int) and status >= 300:
                return self.refusal(status, {})
        trouble = network_errors.trouble(errors, self.seconds)
        if trouble:
            return self.down(trouble)
        names = {type(item).__name__ for item in errors}
        if names & {"ConnectionError", "ConnectFailure", "ProtocolError", "RemoteDisconnected"}:
            return self.down("closes connections without an answer")
        if names & {"ChunkedEncodingError", "ContentDecodingError", "InvalidResponse", "DiscoveryFailure"}:
            return self.down("answers with something that is not the Identity API")
        return self.misfit(f"cannot be asked ({type(error).__name__})")

    def down(self, what: str) -> DependencyDown:
        return DependencyDown(f"{self.where} {what}", DEPENDENCY)

    def misfit(self, what: str) -> Misconfigured:
        return Misconfigured(f"{self.where} {what}", DEPENDENCY)


def body(credentials: Credentials) -> dict[str, Any]:
    """Return the request for a token, as the Identity API v3 wants it ("Password authentication ...")."""
    options = credentials.options
    if credentials.auth_type == APPLICATION_CREDENTIAL:
        application: dict[str, Any] = {
            name: options[f"application_credential_{name}"]
            for name in ("id", "name", "secret")
            if f"application_credential_{name}" in options
        }
        if "id" not in application:
            application["user"] = _user(options)
        return {"auth": {"identity": {"methods": ["application_credential"], "application_credential": application}}}
    user = {**_user(options), "password": options.get("password", "")}
    request: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    project = _project(options)
    if options.get("system_scope"):
        request["scope"] = {"system": {"all": True}}
    elif options.get("trust_id"):
        request["scope"] = {"OS-TRUST:trust": {"id": options["trust_id"]}}
    elif project:
        request["scope"] = {"project": project}
    elif options.get("domain_id") or options.get("domain_name"):
        request["scope"] = {"domain": _reference(options, "domain")}
    return {"auth": request}


def _user(options: Mapping[str, str]) -> dict[str, Any]:
    if options.get("user_id"):
        return {"id": options["user_id"]}
    return {
        "name": options.get("username", ""),
        "domain": _reference(options, "user_domain") or {"id": "default"},
    }


def _project(options: Mapping[str, str]) -> dict[str, Any]:
    """Return the project by its identifier, or by name and domain; empty without one."""
    if options.get("project_id"):
        return {"id": options["project_id"]}
    if not options.get("project_name"):
        return {}
    return {"name": options["project_name"], "domain": _reference(options, "project_domain")}


def _reference(options: Mapping[str, str], what: str) -> dict[str, str]:
    """Return a domain by its identifier, else by its name; empty without both."""
    for name in ("id", "name"):
        if options.get(f"{what}_{name}"):
            return {name: options[f"{what}_{name}"]}
    return {}


def _parsed(url: str) -> HttpUrl:
    try:
        return parse_http_url(url)
    except InvalidUrl as error:
        raise Misconfigured(f"the Identity URL cannot be used: {error.reason}", DEPENDENCY) from None


def _tokens(url: HttpUrl) -> HttpUrl:
    return url.with_path(f"{url.path.rstrip('/')}/auth/tokens")
