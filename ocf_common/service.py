"""A service, as an agent declares it, and the resource that one call is about.

A class attribute is what is special about a service; an instance is one resource during one call. Services with
an HTTP API derive from ``api_service.ApiService``, those behind the message broker from
``rpc_service.RpcService``.
"""

from __future__ import annotations

import os
from os.path import basename, dirname, isdir, join

from ocf_common import common_parameters
from ocf_common.exit_codes import BadArguments, NotInstalled
from ocf_common.identity import Expected, handed_over, option_values
from ocf_common.parameters import Parameter, Parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable

    from ocf_common.connection_urls import BrokerAddress, DatabaseAddress
    from ocf_common.deadline import Deadline
    from ocf_common.environment import Environment
    from ocf_common.forms import Form, Wsgi
    from ocf_common.identity import Tree
    from ocf_common.memory import Memory
    from ocf_common.procfs import Proc
    from ocf_common.service_config import ServiceConfig


class Service:
    """What every agent declares, and what the lifecycle and the health checks ask of it."""

    #: the agent's name, which is the name of its file
    name = ""
    #: in one line, what it manages
    shortdesc = ""
    #: the project's name, as in /etc/PROJECT and /var/log/PROJECT
    project = ""
    #: the daemon's name
    binary = ""
    #: further names under which the daemon is known
    other_names: tuple[str, ...] = ()
    #: the default configuration file
    config = ""
    #: the default account
    user = ""
    #: the WSGI form, where there is one
    wsgi: Wsgi | None = None
    #: what it depends on, in the order in which a culprit is looked for: names of ``dependencies``
    dependencies: tuple[str, ...] = ()
    #: how the check of each level is described
    check_10 = ""
    check_20 = ""
    #: one paragraph about this service alone
    about = ""

    def __init__(self, environment: Environment, proc: Proc, memory: Memory) -> None:
        self.environment = environment
        self.proc = proc
        self.memory = memory
        self.parameters = Parameters(self.declared_parameters(), environment.parameters)
        self._settings: ServiceConfig | None = None

    # Declaration

    @classmethod
    def declared_parameters(cls) -> tuple[Parameter, ...]:
        wsgi = cls.wsgi is not None
        return common_parameters.daemon_parameters(cls.binary, cls.config, cls.user, wsgi) + cls.own_parameters()

    @classmethod
    def own_parameters(cls) -> tuple[Parameter, ...]:
        return ()

    @classmethod
    def longdesc(cls) -> str:
        text = f"Manages {cls.name}, {cls.shortdesc}, as a daemon that the agent starts itself.\n\n"
        text += cls.about + "\n\n" if cls.about else ""
        return text + (
            "Check levels (OCF_CHECK_LEVEL): 0 looks at the processes; 10, the default of recurring monitors, "
            f"{cls.check_10}; 20 {cls.check_20}. Exit code 190 of a monitor means degraded: the service runs, "
            "something that it depends on does not, and the reason and the node attribute "
            "degraded-RESOURCE name it."
        )

    # What the resource is

    @property
    def pid_file(self) -> str:
        return self.parameters.text("pid") or join(
            self.environment.state_folder, self.environment.instance.replace("/", "_") + ".pid"
        )

    @property
    def config_file(self) -> str:
        return self.parameters.as_set("config")

    @property
    def output_file(self) -> str:
        return self.parameters.text("output_file") or f"/var/log/{self.project}/{self.name}.out"

    def additional_arguments(self) -> list[str]:
        """Return ``additional_parameters`` as words; a quote that is never closed is taken as it stands."""
        text = self.parameters.as_set("additional_parameters")
        if not any(mark in text for mark in "'\"\\"):
            return text.split()
        import shlex

        try:
            return shlex.split(text)
        except ValueError:
            return text.split()

    def config_files(self) -> list[str]:
        """Return the configuration files that the daemon gets, in order."""
        return [self.config_file, *self._own_options("--config-file")]

    def _own_options(self, option: str) -> list[str]:
        arguments = self.additional_arguments()
        return option_values(option, arguments + handed_over(arguments))

    def form(self) -> Form | None:
        """Return the form of the service that is installed here, or None."""
        if self.environment.pretend_missing:
            return None
        from ocf_common import forms

        binary = self.parameters.given("binary") or ""
        return forms.choose(binary, self.binary, self.wsgi, self.environment.search_path)

    def account(self) -> pwd.struct_passwd | None:
        """Return the user's entry in the password database, or None where this host does not know it."""
        import pwd

        try:
            return pwd.getpwnam(self.parameters.text("user"))
        except KeyError:
            return None

    def expected(self) -> Expected:
        """Return what the resource's processes look like."""
        account = self.account()
        binary = self.parameters.given("binary") or ""
        names = {self.binary, *self.other_names}
        markers: list[str] = []
        if self.wsgi is not None:
            from ocf_common.forms import wsgi_markers

            markers = wsgi_markers(self.wsgi, binary)
        if binary and not basename(binary).startswith("uwsgi"):
            names.add(basename(binary))
        uid = account.pw_uid if account is not None else None
        configs = self.config_files() + self._own_options("--config-dir")
        return Expected(names, configs, (self.config,), uid, markers, self.environment.script)

    # What is needed on this host

    def require_host(self) -> tuple[Form, pwd.struct_passwd]:
        """Return form and account; raises NotInstalled or BadArguments where something is missing here."""
        form = self.form()
        if form is None:
            wanted = self.parameters.given("binary") or self.binary
            also = ", nor uWSGI with a WSGI form of it" if self.wsgi is not None else ""
            raise NotInstalled(f"{wanted} is not installed{also}")
        account = self.account()
        if account is None:
            raise BadArguments(f"parameter user: there is no user {self.parameters.text('user')} on this host")
        from ocf_common.service_config import ConfigError

        try:
            self.settings  # noqa: B018 - reading it is the check
        except ConfigError as error:
            raise BadArguments(f"configuration file {error}") from None
        return form, account

    # The daemon's own configuration

    @property
    def settings(self) -> ServiceConfig:
        """The daemon's configuration, read once a call; raises ConfigError."""
        if self._settings is None:
            from ocf_common.service_config import ServiceConfig

            after = self._own_options("--config-dir")
            before: list[str] = []
            if not after:  # then oslo.config looks into folders of its own
                own = (self.config_file + ".d", join(dirname(self.config_file), self.binary + ".conf.d"))
                before = [folder for folder in dict.fromkeys(own) if isdir(folder)]
                form = self.form() if before else None
                # It reads them before a file that --config-file names, after one that a variable leads to.
                if form is not None and form.uwsgi:
                    after, before = before, after
            self._settings = ServiceConfig.load(self.config_files(), after, before)
        return self._settings

    def log_file(self) -> str:
        """Return the log file that the configuration or the uWSGI ini names, or an empty string."""
        from ocf_common.service_config import ConfigError, ServiceConfig

        try:
            form = self.form()
            if form is not None and form.kind == "ini":
                target = ServiceConfig.load([form.application]).first((("uwsgi", "logto"), ("uwsgi", "logto2")))
                if target:
                    return target
            name = self.settings.get("DEFAULT", "log_file") or ""
            folder = self.settings.get("DEFAULT", "log_dir") or ""
        except ConfigError:
            return ""
        if folder:
            return join(folder, name or self.binary + ".log")
        return name if name.startswith("/") else ""

    def secrets(self) -> list[str]:
        """Return what must not be shown, as far as it is known without reading anything anew."""
        known = self.parameters.secrets()
        return known + (self._settings.secrets() if self._settings is not None else [])

    def brokers(self) -> list[BrokerAddress]:
        """Return the message brokers of the configuration; raises Misconfigured, ConfigError."""
        from ocf_common.dependencies import broker_addresses

        return broker_addresses(self.settings, self._port_parameter("amqp_server_port"))

    def databases(self) -> list[DatabaseAddress]:
        """Return the databases of the configuration; raises Misconfigured, ConfigError."""
        from ocf_common.dependencies import database_addresses

        return database_addresses(self.settings, self._port_parameter("database_server_port"))

    def _port_parameter(self, name: str) -> int:
        return int(self.parameters.given(name) or 0) if name in self.parameters.declared else 0

    def uses(self, dependency: str) -> bool:
        """Tell whether the dependency is asked: an empty port parameter turns it off."""
        return True

    # How it is started

    def command(self, form: Form) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the additions to the environment."""
        extra = self.additional_arguments()
        if not form.uwsgi or self.wsgi is None:
            return [form.program, "--config-file", self.config_file, *extra], {}
        from ocf_common import forms

        arguments = forms.uwsgi_arguments(form, self.wsgi, self.config_file, self.wsgi_socket(form), self.workers())
        return arguments + extra, forms.wsgi_environment(self.wsgi, self.config_file)

    def wsgi_socket(self, form: Form) -> str:
        return ""

    def workers(self) -> int:
        """Return how many processes uWSGI gets where no ini file says it."""
        return min(4, os.cpu_count() or 1)

    def own_port(self) -> tuple[str, int] | None:
        """Return the address that the service listens on, or None where it listens on none."""
        return None

    # How it is asked

    def is_asked(self) -> bool:
        """Tell whether level 10 asks at all: a parameter may turn that off."""
        return True

    def answers(self, deadline: Deadline, tree: Tree) -> None:
        """Level 10; raises what ``outcomes`` lists."""
        raise NotImplementedError

    def works(self, deadline: Deadline, tree: Tree) -> None:
        """Level 20; raises what ``outcomes`` lists."""
        raise NotImplementedError

    def await_answer(self, seconds: float, tree: Callable[[], Tree]) -> None:
        """Wait up to ``seconds`` for the level-10 answer of a daemon that is starting; raises as ``answers``."""
        raise NotImplementedError

    def lives(self, deadline: Deadline, tree: Tree) -> bool:
        """Tell whether the daemon itself still works, where this node's configuration does not fit a dependency."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what ``await_answer`` holds."""
