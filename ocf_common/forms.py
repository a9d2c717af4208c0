"""The forms in which a service comes: a daemon of its own, or an application that uWSGI serves.

``binary`` says which form is meant; without it the first that is installed of: the daemon, uWSGI with the
distribution's ini file, uWSGI with the service's WSGI module or script. Source of the uWSGI arguments: what
OpenStack's own deployments and Debian use, and measured trials (without ``--rem-header Content-Length`` clients
see connection resets).
"""

from __future__ import annotations

import os
import sys
from os.path import basename, dirname, join

from ocf_common.identity import CONFIG_PLACEHOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UWSGI_PROGRAMS = ("uwsgi_python3", "uwsgi")


class Wsgi:
    """The WSGI form of a service.

    ``ini``: the distribution's uWSGI file; ``module``: MODULE:CALLABLE; ``script``: the older script;
    ``environment``: variables that lead the application to its configuration, with {config}, {folder} and
    {file} to be filled in; ``options``: further uWSGI options.
    """

    __slots__ = ("environment", "ini", "module", "options", "script")

    def __init__(
        self, ini: str, module: str, script: str, environment: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        self.ini = ini
        self.module = module
        self.script = script
        self.environment = dict(environment)
        self.options = tuple(options)


class Form:
    """What is started. ``kind`` is daemon, ini, module or script; ``program`` is executed."""

    __slots__ = ("application", "kind", "program")

    def __init__(self, kind: str, program: str, application: str = "") -> None:
        self.kind = kind
        self.program = program
        self.application = application

    @property
    def uwsgi(self) -> bool:
        return self.kind != "daemon"


def find_program(name: str, search_path: str) -> str:
    """Return the path of an executable file, or an empty string."""
    if "/" in name:
        candidates = [name]
    else:
        candidates = [join(folder, name) for folder in f"{search_path}:{STANDARD_PATH}".split(":") if folder]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def is_stub(path: str) -> bool:
    """Tell whether a daemon is only a script that says it is gone (glance-api from glance 33 on).

    The script loads the entry point of a package; one that makes no server is a stub.
    """
    if basename(path) != "glance-api":
        return False
    for folder in package_folders(path):
        try:
            with open(join(folder, "glance", "cmd", "api.py"), "rb") as source:
                return b"wsgi.Server(" not in source.read(65536)
        except OSError:
            continue
    return False


def package_folders(program: str) -> list[str]:
    """Return where the Python packages of a program lie: beside it (virtual environment), else the system's."""
    prefix = dirname(dirname(program))
    if os.path.isfile(join(prefix, "pyvenv.cfg")):
        library = join(prefix, "lib")
        return [join(library, name, "site-packages") for name in _listing(library) if name.startswith("python3")]
    from ocf_common.packages import folders

    return folders(*sys.version_info[:2])


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def has_module(program: str, module: str) -> bool:
    """Tell whether the WSGI module is installed where ``program`` finds its packages."""
    path = module.partition(":")[0].replace(".", "/")
    return any(
        os.path.isfile(join(folder, path + ".py")) or os.path.isfile(join(folder, path, "__init__.py"))
        for folder in package_folders(program)
    )


def choose(binary: str, default: str, wsgi: Wsgi | None, search_path: str) -> Form | None:
    """Return the form that ``binary`` names (an empty string: that is found), or None where it is not installed."""
    if binary and wsgi is not None:
        named = _named_wsgi(binary, wsgi, search_path)
        if named is not None:
            return named if named.program else None
    wanted = binary or default
    program = find_program(wanted, search_path)
    # Placement's WSGI script is called as a daemon would be.
    is_script = wsgi is not None and basename(program) == wsgi.script
    if program and not is_script and not is_stub(program):
        return Form("daemon", program)
    # A configuration of old may name the daemon of old (keystone-all): the service of today is meant.
    if wsgi is None or basename(wanted) != default:
        return None
    uwsgi = _uwsgi_beside(program) or _find_uwsgi(search_path)
    return _choose_wsgi(uwsgi, wsgi, search_path) if uwsgi else None


def _choose_wsgi(uwsgi: str, wsgi: Wsgi, search_path: str) -> Form | None:
    if wsgi.ini and os.path.isfile(wsgi.ini) and not _in_environment(uwsgi):
        return Form("ini", uwsgi, wsgi.ini)
    if has_module(uwsgi, wsgi.module):
        return Form("module", uwsgi, wsgi.module)
    beside = find_program(join(dirname(uwsgi), wsgi.script), "") or find_program(wsgi.script, search_path)
    return Form("script", uwsgi, beside) if beside else None


def _named_wsgi(binary: str, wsgi: Wsgi, search_path: str) -> Form | None:
    """Return the WSGI form that ``binary`` names, with an empty program where a part is missing."""
    if binary.endswith(".ini"):
        return Form("ini", _find_uwsgi(search_path) if os.path.isfile(binary) else "", binary)
    if ":" in binary and "/" not in binary:
        return Form("module", _find_uwsgi(search_path), binary)
    if basename(binary).startswith("uwsgi"):
        program = find_program(binary, search_path)
        return (_choose_wsgi(program, wsgi, search_path) if program else None) or Form("module", "", "")
    if "wsgi" in basename(binary):
        script = find_program(binary, search_path)
        return Form("script", _find_uwsgi(search_path) if script else "", script)
    return None


def _uwsgi_beside(program: str) -> str:
    """Return the uWSGI of a program's virtual environment: the system's would load the system's packages."""
    if not program or not _in_environment(program):
        return ""
    folder = dirname(program)
    found = (find_program(join(folder, name), "") for name in sorted(_listing(folder)) if name.startswith("uwsgi"))
    return next(filter(None, found), "")


def _find_uwsgi(search_path: str) -> str:
    for name in UWSGI_PROGRAMS:
        program = find_program(name, search_path)
        if program:
            return program
    return ""


def _in_environment(program: str) -> bool:
    return os.path.isfile(join(dirname(dirname(program)), "pyvenv.cfg"))


def uwsgi_arguments(form: Form, wsgi: Wsgi, config: str, socket: str, workers: int) -> list[str]:
    """Return the command line for a uWSGI form; ``socket`` is HOST:PORT, empty where the ini names its own."""
    arguments = [form.program]
    environment = dirname(dirname(form.program))
    if _in_environment(form.program):
        arguments += ["--virtualenv", environment]
    elif basename(form.program) == "uwsgi" and form.kind != "ini":
        arguments += ["--plugin", "python3"]
    if wsgi.options and form.kind != "ini" and basename(os.path.realpath(form.program)) == "uwsgi-core":
        # Debian's knows the options of its HTTP plugin only once that is loaded, and ends at an unknown one.
        arguments += ["--plugin", "http"]
    if form.kind == "ini":
        arguments += ["--ini", form.application]
    else:
        arguments += [
            "--master",
            "--processes",
            str(workers),
            "--die-on-term",
            "--need-app",
            "--enable-threads",
            "--lazy-apps",
            "--buffer-size",
            "65535",
            "--rem-header",
            "Content-Length",
            "--thunder-lock",
            *wsgi.options,
        ]
        arguments += ["--module", form.application] if form.kind == "module" else ["--wsgi-file", form.application]
    if socket:
        arguments += ["--http-socket", socket]
    # uWSGI ignores a placeholder that nothing uses; the next call of the agent reads it in the command line.
    return [*arguments, "--set-placeholder", CONFIG_PLACEHOLDER + config]


def wsgi_environment(wsgi: Wsgi, config: str) -> dict[str, str]:
    """Return the variables that lead the application to its configuration."""
    values = {"{config}": config, "{folder}": dirname(config), "{file}": basename(config)}
    result = {}
    for name, template in wsgi.environment.items():
        for mark, value in values.items():
            template = template.replace(mark, value)
        result[name] = template
    return result


def wsgi_markers(wsgi: Wsgi, binary: str) -> list[str]:
    """Return the arguments by which a uWSGI of this service is known, see ``identity``.

    Where ``binary`` names an ini file, a module or a script, only that: another one is another resource's.
    """
    if binary.endswith(".ini") or ":" in binary or "wsgi" in basename(binary).replace("uwsgi", ""):
        return [binary]
    markers = [wsgi.ini, wsgi.module, wsgi.script]
    return [*markers, binary] if binary else markers
