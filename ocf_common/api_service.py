"""Services with an HTTP API: Keystone, Glance, Nova's API and their like."""

from __future__ import annotations

import time

from ocf_common import common_parameters
from ocf_common.outcomes import Attention, CheckFailed, Refused, WrongAnswer
from ocf_common.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocf_common.connection_urls import HttpUrl
    from ocf_common.deadline import Deadline
    from ocf_common.forms import Form
    from ocf_common.http_check import HttpAnswer, Tls
    from ocf_common.identity import Tree
    from ocf_common.parameters import Parameter

POLL = 0.1  # seconds between two requests to a service that is starting
# Of the time of level 20: what a slow Keystone takes away must not make the service seem silent.
LOGIN_SHARE = 0.75
# Bytes of an answer to level 20: one image has as many properties as a tenant wants, and only the deadline must end it.
LARGEST_ANSWER = 16 * 1024 * 1024


class ApiService(Service):
    """What an agent of an HTTP service declares beside what every agent does."""

    #: (section, option) of the address that the service binds to, the first that is set
    bind_host: tuple[tuple[str, str], ...] = ()
    bind_port: tuple[tuple[str, str], ...] = ()
    #: (section, option) of the number of worker processes
    worker_option: tuple[str, str] = ("DEFAULT", "workers")
    default_port = 0
    #: (section, option) of the public endpoint, whose host name is in the certificate
    endpoint_option: tuple[str, str] = ("DEFAULT", "public_endpoint")
    #: what level 10 asks, the first path that the service knows
    health_paths: tuple[str, ...] = ("/",)
    #: what level 20 asks with a login
    request_path = ""
    #: what the old agent called the Identity URL
    identity_parameter = "os_auth_url"
    #: parameters that only this agent has
    further_parameters: tuple[Parameter, ...] = ()

    check_10 = "asks the service over HTTP, without a login"
    check_20 = "logs in to Keystone and makes a request that reads the database"

    @classmethod
    def own_parameters(cls) -> tuple[Parameter, ...]:
        return (
            *common_parameters.login_parameters(cls.identity_parameter),
            *common_parameters.api_parameters(),
            *cls.further_parameters,
        )

    # Where it is

    def uses_tls(self) -> bool:
        """Tell whether the daemon's own configuration makes it speak TLS."""
        return False

    def bind_address(self) -> tuple[str, int]:
        """Return host and port that the service binds to, as its configuration says."""
        listen = self.parameters.given("listen")
        if listen:
            host, _, port = listen.rpartition(":")
            return host.strip("[]"), int(port)
        host = self.settings.first(self.bind_host, "") or ""
        if host in ("$my_ip", "${my_ip}"):  # set nowhere
            host = default_ip()
        port = self.settings.first(self.bind_port, "") or ""
        return host.strip("[]"), int(port) if port.isdigit() and 0 < int(port) < 65536 else self.default_port

    def _ini_socket(self, form: Form | None) -> str:
        """Return the address that the uWSGI ini names itself, with ``https://`` before it where it is one."""
        if form is None or form.kind != "ini":
            return ""
        from ocf_common.service_config import ConfigError, ServiceConfig

        try:
            ini = ServiceConfig.load([form.application])
        except ConfigError:
            return ""
        # uWSGI takes both spellings, oslo.config, for which ServiceConfig reads, the underscore only.
        options = {name.replace("_", "-"): values[-1] for name, values in ini.sections.get("uwsgi", {}).items()}
        for option in ("https", "https-socket", "http-socket", "http"):
            value = options.get(option, "").partition(",")[0]
            if value:
                return ("https://" if option.startswith("https") else "http://") + value
        return ""

    def wsgi_socket(self, form: Form) -> str:
        if self._ini_socket(form):
            return ""
        host, port = self.bind_address()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def workers(self) -> int:
        number = self.settings.get(*self.worker_option) or ""
        return int(number) if number.isdigit() and 0 < int(number) < 1000 else super().workers()

    def base_url(self) -> HttpUrl:
        """Return where the service is asked: parameter, uWSGI's ini, configuration; raises ConfigError."""
        from ocf_common.connection_urls import HttpUrl, parse_http_url

        url = self.parameters.given("url")
        if url:
            return parse_http_url(url)
        scheme, host, port = self._place()
        return HttpUrl(scheme, _reachable(host), port, "/")

    def _place(self) -> tuple[str, str, int]:
        """Return scheme, host and port of the service's socket: those of uWSGI's ini, else of the configuration."""
        from ocf_common.connection_urls import InvalidUrl, parse_http_url

        socket = self._ini_socket(self.form()) if self.wsgi is not None else ""
        if socket:
            scheme, _, place = socket.partition("://")
            try:
                parsed = parse_http_url(f"http://{place}/" if place[0] != ":" else f"http://0.0.0.0{place}/")
                return scheme, parsed.host, parsed.port
            except InvalidUrl:
                pass  # a form of uWSGI's that we do not know: the configuration's address stands
        host, port = self.bind_address()
        return "https" if self.uses_tls() else "http", host, port

    def own_port(self) -> tuple[str, int] | None:
        return self._place()[1:]

    # How it is asked

    def _tls(self, url: HttpUrl) -> Tls | None:
        if url.scheme != "https":
            return None
        from ocf_common.connection_urls import InvalidUrl, parse_http_url
        from ocf_common.login import tls_settings

        tls = tls_settings(self)
        tls.server_name = self.parameters.text("tls_name")
        if not tls.server_name and not self.parameters.given("url"):
            endpoint = self.settings.get(*self.endpoint_option) or ""
            try:
                tls.server_name = parse_http_url(endpoint).host if endpoint else ""
            except InvalidUrl:
                pass
        return tls

    def is_asked(self) -> bool:
        return not self.parameters.turned_off("url")

    def answers(self, deadline: Deadline, tree: Tree) -> None:
        if not self.is_asked():
            return
        from ocf_common.http_check import Unresolved

        given = bool(self.parameters.given("url"))
        url = self.base_url()
        paths = [url.path, "/"] if given else list(self.health_paths)
        answer = None
        for path in paths:
            try:
                answer = self._get(url.with_path(path), deadline)
            except Unresolved as finding:
                if self._listens(tree):
                    raise Attention(finding.reason) from None
                raise
            # A path that this release does not know (/v1/, /healthcheck): the next one tells.
            if answer.status not in (404, 405, 410):
                break
        assert answer is not None
        judge(answer, url, logged_in=False)

    def _get(self, url: HttpUrl, deadline: Deadline, token: str = "") -> HttpAnswer:
        from ocf_common.http_check import LIMIT, request

        headers, limit = ({"X-Auth-Token": token}, LARGEST_ANSWER) if token else ({}, LIMIT)
        return request(url, deadline, headers=headers, tls=self._tls(url), limit=limit)

    def works(self, deadline: Deadline, tree: Tree) -> None:
        self.answers(deadline, tree)
        if self.parameters.turned_off(self.identity_parameter):
            return
        from ocf_common.login import log_in

        token = log_in(self, deadline.part(deadline.left() * LOGIN_SHARE))
        if token is None:
            raise Attention(
                f"level 20 needs credentials: neither parameters nor [keystone_authtoken] of {self.config_file} "
                "give any"
            )
        url = self.base_url().with_path(self.request_path)
        answer = self._get(url, deadline, token)
        if answer.status == 403:
            # Policy answers before the database is read: that proves the service, not the database.
            from ocf_common import dependencies

            dependencies.ask("database", self, deadline)
            return
        judge(answer, url, logged_in=True)

    def lives(self, deadline: Deadline, tree: Tree) -> bool:
        from ocf_common.service_config import ConfigError

        try:
            self.answers(deadline, tree)
        except ConfigError:
            # Broken under the daemon, it does not say where to ask; a start would fail, so a listener is enough.
            return self._listens(tree)
        except Attention:
            return True
        except CheckFailed:
            return False
        return True

    def _listens(self, tree: Tree) -> bool:
        from ocf_common import sockets

        return sockets.listens([process.pid for process in tree.all()], self.proc.root)

    def await_answer(self, seconds: float, tree: Callable[[], Tree]) -> None:
        from ocf_common.deadline import Deadline

        deadline = Deadline(seconds)
        while True:
            try:
                return self.answers(deadline, tree())
            except Refused:
                time.sleep(max(0.0, min(POLL, deadline.left())))
                if deadline.left() < POLL:
                    raise


def judge(answer: HttpAnswer, url: HttpUrl, logged_in: bool) -> None:
    """Raise what an HTTP status means for the service at ``url``; return where it is well.

    2xx, 3xx, and without a login 401: well. With a login 401 and 429: an operator's matter. ``DISABLED BY FILE``:
    somebody drained it. Everything else is a wrong answer.
    """
    status = answer.status
    if 200 <= status < 400 or (status == 401 and not logged_in):
        return
    if status == 429:
        raise Attention(f"{url} limits our requests (429)")
    if status == 401:
        raise Attention(f"{url} refuses the token that Keystone gave (401): check [keystone_authtoken]")
    if status == 503 and b"DISABLED BY FILE" in answer.body:
        raise Attention(f"{url} is drained by an operator (DISABLED BY FILE)")
    if 400 <= status < 500 and not logged_in and status not in (404, 405, 410):
        return  # it speaks HTTP and has an opinion about the request: alive
    raise WrongAnswer(f"{url} answers {status}")


def _reachable(host: str) -> str:
    """Return the address at which a service is asked that binds to ``host``."""
    if host in ("", "0.0.0.0", "*"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return "::1" if host == "::" else host


def default_ip() -> str:
    """Return the default of Nova's ``my_ip``: the address from which packets leave this host (oslo.utils, netutils)."""
    from _socket import AF_INET, SOCK_DGRAM, socket

    probe = socket(AF_INET, SOCK_DGRAM)
    try:
        probe.connect(("192.0.2.0", 80))  # as oslo.utils does; of a datagram socket it sends nothing
        return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
    finally:
        probe.close()
