"""Starting a daemon the way a good init system does.

No shell and no ``su``: the user with all its groups, a session of its own, an environment made from nothing,
limits and OOM score of a normal service (Pacemaker hands its own down), no inherited descriptor, standard
input from ``/dev/null``, output to a file that the daemon's user opens itself (so a link planted in the
service's log folder leads nowhere that this user may not write).
"""

from __future__ import annotations

import os
import pwd
import resource
import signal
import stat
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_LIMIT = 1 << 20  # bytes that an output file may have when the daemon starts; then it becomes FILE.1


class LaunchError(Exception):
    """The daemon could not be executed; one line of reason."""


class Command:
    """What to start: argument list, account, extra environment, output file and limit of open files."""

    __slots__ = ("account", "arguments", "environment", "open_files", "output")

    def __init__(
        self,
        arguments: Sequence[str],
        account: pwd.struct_passwd,
        environment: Mapping[str, str],
        output: str,
        open_files: int,
    ) -> None:
        self.arguments = list(arguments)
        self.account = account
        self.environment = dict(environment)
        self.output = output
        self.open_files = open_files


def launch(command: Command) -> subprocess.Popen[bytes]:
    """Start the daemon and return it; raises LaunchError.

    The calling process gives its own limits, signal handlers and OOM score away for this: it is an agent that
    ends soon.
    """
    account = command.account
    _become_ordinary(command.open_files)

    def open_output() -> None:  # runs in the child, already as the daemon's user
        descriptor = _open_output(command.output)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)

    environment = {"PATH": PATH, "HOME": account.pw_dir or "/", "LANG": "C.UTF-8", **command.environment}
    identity: dict[str, object] = {}
    if os.geteuid() == 0:
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    try:
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            umask=0o022,
            start_new_session=True,
            close_fds=True,
            preexec_fn=open_output,
            **identity,
        )
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise LaunchError(f"{command.arguments[0]} cannot be started: {error}") from None


def _become_ordinary(open_files: int) -> None:
    """Undo what the cluster manager has set for itself, so that the daemon does not inherit it."""
    for number in range(1, signal.NSIG):
        # Python ignores the last two, and the agent goes on to talk to brokers; Popen resets them for the daemon.
        if number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ):
            continue
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # numbers that the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        pass
    else:
        try:
            os.write(descriptor, b"0")
        except OSError:
            pass  # in a container that may not raise or lower it
        os.close(descriptor)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    except (OSError, ValueError):  # a container's ceiling, or an ordinary user: as many as are allowed
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(open_files, hard), hard))


def _open_output(path: str) -> int:
    """Open the daemon's output file for appending (0640), or ``/dev/null`` where that is not possible."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o640)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            if status.st_size > OUTPUT_LIMIT:
                try:
                    os.rename(path, path + ".1")
                    descriptor = os.open(path, flags | os.O_EXCL, 0o640)
                except OSError:
                    pass  # a folder that this user may not write: the file goes on growing
            os.set_blocking(descriptor, True)
            return descriptor
    except OSError:
        pass
    return os.open("/dev/null", os.O_WRONLY)
