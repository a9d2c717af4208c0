"""Telling people the present state: one line to syslog and one transient node attribute, on a change only.

Pacemaker shows the first reason of a degraded resource until somebody cleans it up, also after recovery, and
does not show a second reason. So the agent keeps an attribute of its own, ``crm_mon -A`` shows it, and removes
it when all is well. That costs a child process on a change and nothing otherwise. A failure to publish never
changes what the agent says.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocf_common.memory import Memory

TIME_LIMIT = 0.7  # seconds that attrd_updater may take: it comes on top of a check that used all its time
_UPDATER = "/usr/sbin/attrd_updater"


def attribute_name(instance: str) -> str:
    """Return the node attribute's name, for example ``degraded-p_nova-api``."""
    clean = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in instance)
    return f"degraded-{clean}"


def publish(
    memory: Memory, instance: str, state: str, level: int, update: Callable[[list[str]], None] | None = None
) -> None:
    """Show ``state`` as a monitor of ``level`` found it, an empty string when all is well, unless it is shown already.

    That all is well is not said by a lower level than the one that said otherwise: it could not see it.

    The seconds in a reason ("is back for 7 s") change with every call; they are no change of state.
    """
    words = state.split(" ")
    ends = (*words[1:], "")
    shown = " ".join(
        "#" if word.replace(".", "", 1).isdigit() and end.startswith("s") else word for word, end in zip(words, ends)
    )
    if shown == memory.published or (not state and level < memory.level):
        return
    memory.published, memory.level = shown, level if state else 0
    name = attribute_name(instance)
    _log(instance, state)
    (update or _run)([_UPDATER, "-n", name, *(["-U", state] if state else ["-D"])])


def _log(instance: str, state: str) -> None:
    try:
        import syslog

        syslog.openlog("ocf-openstack", 0, syslog.LOG_DAEMON)
        if state:
            syslog.syslog(syslog.LOG_WARNING, f"{instance}: degraded: {state}")
        else:
            syslog.syslog(syslog.LOG_NOTICE, f"{instance}: all is well again")
    except (ImportError, OSError, ValueError):
        pass


def _run(arguments: list[str]) -> None:
    """Run a program for ``TIME_LIMIT`` seconds at most, its output thrown away."""
    if not os.access(arguments[0], os.X_OK):
        return
    try:
        null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
        pid = os.posix_spawn(arguments[0], arguments, {"PATH": "/usr/sbin:/usr/bin"}, file_actions=null)
    except OSError:
        return
    end = time.monotonic() + TIME_LIMIT
    try:
        while time.monotonic() < end:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.02)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    except OSError:
        pass  # where SIGCHLD is ignored the kernel takes the child away itself
