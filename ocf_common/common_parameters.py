"""The parameters that the agents share, in families.

Names and meanings of the first group of each family are those of the shell agents of 2012 to 2018
(``ocf:openstack:*``), so that existing configurations load unchanged.
"""

from __future__ import annotations

from ocf_common.parameters import Parameter

_BINARY = Parameter("binary", "string", None, "The daemon", "The name or path of the daemon that is started.")


def wsgi_binary(daemon: str) -> Parameter:
    """Return ``binary`` of a service that uWSGI can serve; ``daemon`` is its own daemon in older releases."""
    return Parameter(
        "binary",
        "string",
        None,
        "The daemon, or what uWSGI serves",
        f"What is started: the name or path of the service's own daemon ({daemon}), the path of a uWSGI ini file "
        "(*.ini), a WSGI module (PACKAGE.MODULE:CALLABLE), a WSGI script, or the path of a uwsgi program. "
        "Default: the daemon if it is installed, else uWSGI with the distribution's ini file, else uWSGI with the "
        f"service's WSGI module. Where {daemon} is named and not installed, the default holds.",
    )


def daemon_parameters(binary: str, config: str, user: str, wsgi: bool) -> tuple[Parameter, ...]:
    """Return what every agent has: how its daemon is started, known and judged."""
    return (
        wsgi_binary(binary) if wsgi else _BINARY.replaced(default=binary),
        Parameter(
            "config",
            "path",
            config,
            "Configuration file",
            f"The configuration file of the service. The *.conf files in the folder of the same name with '.d' "
            f"appended ({config}.d) are read after it. Addresses, ports, message broker, database and the "
            "credentials for monitoring come from there, so that no other parameter is needed.",
        ),
        Parameter(
            "user",
            "string",
            user,
            "User that runs the daemon",
            "The account that the daemon is started as, with all its groups. Where uWSGI is started it takes "
            "precedence over the uid in the ini file; only root lets uWSGI change to that uid.",
        ),
        Parameter(
            "pid",
            "path",
            None,
            "Pid file",
            "The pid file; its first line is the number of the main process. "
            "Default: $HA_RSCTMP/$OCF_RESOURCE_INSTANCE.pid",
            unique_group="pid",
        ),
        Parameter(
            "additional_parameters",
            "string",
            None,
            "Further arguments",
            "Further arguments for the daemon, separated by white space; quotes keep words together. No shell "
            "reads them. With uWSGI they are arguments of uwsgi.",
        ),
        Parameter(
            "output_file",
            "path",
            None,
            "Where the daemon's output goes",
            "The file that gets what the daemon prints (standard output and standard error); the daemon's user "
            "must be able to write it. It becomes FILE.1 when it is larger than 1 MiB at a start. "
            "Default: /var/log/PROJECT/AGENT.out",
        ),
        Parameter(
            "open_files",
            "integer",
            "65536",
            "Limit of open files",
            "How many files and sockets the daemon may open (RLIMIT_NOFILE).",
        ),
        Parameter(
            "shutdown_grace",
            "seconds",
            None,
            "Seconds until SIGKILL",
            "How long stop waits for an orderly end before it kills what is left. Default, and upper bound: the "
            "time limit of the stop operation less 20 % (at least 2 s).",
            reloadable=True,
        ),
        Parameter(
            "request_timeout",
            "seconds",
            None,
            "Seconds for one request of a monitor",
            "The time limit for one request to the service. Default: 40 % of the time that the check level has "
            "(5 s at level 10, 10 s at level 20, never more than the operation's own time limit); at most about "
            "60 %, for the dependencies must be asked as well.",
            reloadable=True,
        ),
        Parameter(
            "on_dependency_failure",
            "string",
            "degraded",
            "What to say when a dependency is down",
            "degraded: when the message broker, the database, Keystone or Placement is at fault, a monitor says "
            "so (exit code 190) and the service stays where it is. fail: the monitor fails, which moves the "
            "service where the cluster may; for sites where only this node may be cut off.",
            reloadable=True,
            choices=("degraded", "fail"),
        ),
        Parameter(
            "recovery_grace",
            "seconds",
            "180",
            "Seconds to reconnect after an outage",
            "How long a living service is called degraded, not failed, after its dependency has come back.",
            reloadable=True,
        ),
        Parameter(
            "silent_checks",
            "integer",
            "2",
            "Unanswered monitors that make a failure",
            "A service that gives no answer although everything it needs is well may be busy. So many monitors "
            "in a row without an answer are a failure; those before say degraded.",
            reloadable=True,
        ),
    )


def login_parameters(url_name: str) -> tuple[Parameter, ...]:
    """Return how the end-to-end check logs in; ``url_name`` is what the old agent called the Identity URL."""
    better_unset = (
        "Better left unset: without it the credentials come from the service's own configuration or from the "
        "file that openrc or clouds_yaml names. If set, keep it out of the CIB: crm resource secret."
    )
    return (
        Parameter(
            "os_username",
            "string",
            None,
            "User name for the end-to-end check",
            "The user that the check at level 20 logs in as. Default: the one of [keystone_authtoken] in the "
            "service's configuration.",
            reloadable=True,
        ),
        Parameter(
            "os_password",
            "string",
            None,
            "Password for the end-to-end check",
            "The password of os_username. " + better_unset,
            reloadable=True,
            secret=True,
        ),
        Parameter(
            "os_tenant_name",
            "string",
            None,
            "Project for the end-to-end check (old name)",
            "The project to log in to. The same as os_project_name, which takes precedence.",
            reloadable=True,
        ),
        Parameter(
            url_name,
            "url",
            None,
            "Identity URL",
            "The address of Keystone. URLs of version 2 (.../v2.0/tokens) still work: version 3 at the same host is "
            "asked. Default: auth_url of [keystone_authtoken], for keystone itself its own address.",
            reloadable=True,
            empty="off",
        ),
        *(
            (
                Parameter(
                    "os_auth_url",
                    "url",
                    None,
                    "Identity URL (today's name)",
                    f"The same as {url_name}; takes precedence.",
                    reloadable=True,
                ),
            )
            if url_name != "os_auth_url"
            else ()
        ),
        Parameter(
            "os_project_name",
            "string",
            None,
            "Project for the end-to-end check",
            "The project to log in to.",
            reloadable=True,
        ),
        Parameter(
            "os_user_domain_name",
            "string",
            None,
            "Domain of the user",
            "The domain of os_username. Default: Default",
            reloadable=True,
        ),
        Parameter(
            "os_project_domain_name",
            "string",
            None,
            "Domain of the project",
            "The domain of the project. Default: Default",
            reloadable=True,
        ),
        Parameter(
            "os_region_name",
            "string",
            None,
            "Region",
            "The region whose endpoints are asked, where Keystone's catalogue is needed.",
            reloadable=True,
        ),
        Parameter(
            "os_cacert",
            "path",
            None,
            "CA certificates",
            "File of certificates that verify Keystone and the service itself. Default: the system's.",
            reloadable=True,
        ),
        Parameter(
            "insecure",
            "boolean",
            "false",
            "Do not verify certificates",
            "Accept any certificate of Keystone and of the service itself.",
            reloadable=True,
        ),
        Parameter(
            "tls_name",
            "string",
            None,
            "Name in the service's certificate",
            "The host name that the service's own certificate must be valid for. Default: the host of the "
            "public endpoint in the configuration, else the name in the URL that is asked.",
            reloadable=True,
        ),
        Parameter(
            "openrc",
            "path",
            None,
            "File with OS_* settings",
            "A file of lines such as export OS_USERNAME=monitor; it is read, never executed. Its settings "
            "are used where no os_* parameter is set.",
            reloadable=True,
        ),
        Parameter(
            "clouds_yaml",
            "path",
            None,
            "clouds.yaml",
            "A clouds.yaml with the credentials; every authentication type that python-keystoneclient can load works.",
            reloadable=True,
        ),
        Parameter(
            "cloud",
            "string",
            None,
            "Name in clouds.yaml",
            "Which cloud of clouds_yaml to use. Default: the only one there.",
            reloadable=True,
        ),
    )


def api_parameters() -> tuple[Parameter, ...]:
    """Return what agents of HTTP services have beside the login."""
    return (
        Parameter(
            "url",
            "url",
            None,
            "URL of the service",
            "What the monitor asks at level 10. Default: built from the address and port in the service's "
            "configuration. An empty string turns the request off.",
            reloadable=True,
            empty="off",
        ),
        Parameter(
            "listen",
            "address",
            None,
            "Address for uWSGI",
            "HOST:PORT on which uWSGI listens, where this agent starts uWSGI and the ini file names no address. "
            "Default: address and port of the service's configuration.",
        ),
    )


CLIENT_BINARY = Parameter(
    "client_binary",
    "string",
    None,
    "Command-line client (no longer used)",
    "The old agents ran this client. It is accepted and not used: checks speak HTTP themselves.",
    reloadable=True,
)


def rpc_parameters() -> tuple[Parameter, ...]:
    """Return what agents of services behind the message broker have."""
    return (
        Parameter(
            "database_server_port",
            "port",
            None,
            "Port of the database",
            "Overrides the port in [database] connection. An empty string turns the database checks off.",
            reloadable=True,
            empty="off",
        ),
        Parameter(
            "amqp_server_port",
            "port",
            None,
            "Port of the message broker",
            "Overrides the port in transport_url. An empty string turns the checks by the broker off.",
            reloadable=True,
            empty="off",
        ),
        Parameter(
            "zeromq",
            "boolean",
            "false",
            "ZeroMQ instead of a broker",
            "The service uses ZeroMQ (old releases): no broker is asked.",
            reloadable=True,
        ),
        Parameter(
            "rpc_host",
            "string",
            None,
            "Host in the service's queue and row",
            "The name under which the daemon is known to the broker and in the services table. "
            "Default: host of the configuration, else the host's name.",
            reloadable=True,
        ),
    )
