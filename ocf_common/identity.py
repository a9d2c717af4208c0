"""Which processes are ours.

A process belongs to a resource only when that is proven. The rules, in order:

1. It is alive: a zombie is not.
2. It lives in the agent's own PID and mount namespace: a container's daemon is not ours.
3. It runs as the resource's user, where that user is known on this host. root may have become anybody since.
4. Either the pid file holds its number together with its start time and this boot (we started it, or adopted it
   before), or its command line is that of the service, with the resource's configuration:

   - the script: ``/usr/bin/python3 /usr/bin/nova-scheduler --config-file /etc/nova/nova.conf``; a daemon without
     ``--config-file`` uses the default one and belongs to a resource that has the default; every ``--config-dir``
     counts too;
   - the title that nova 33 and later give themselves: ``nova-scheduler: master process [COMMAND LINE]``;
   - uWSGI with the service's ini file, module or script.

5. Where only the command line speaks for it, no other manager owns it: a process in the control group of a
   systemd service other than Pacemaker's and the agent's own belongs to that service.

A daemon whose pid file is lost is searched among all processes by the same rules. The top of a family of
matching processes is the main process, unless signs say that its own main process is gone, see ``_is_main``.

To a main process belong its workers (matching descendants) and the declared helpers; whatever else it has
started (dnsmasq, haproxy, qemu-img) is meant to outlive it: neither counted nor signalled.
"""

from __future__ import annotations

import os
from os.path import basename

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ocf_common.pidfile import PidRecord
    from ocf_common.procfs import Proc, Process

#: programs that a service starts to get privileges, and that belong to it
HELPERS = frozenset(("privsep-helper", "nova-rootwrap", "nova-rootwrap-daemon", "neutron-rootwrap-daemon"))

#: the argument by which a uWSGI that we start shows its configuration to the next call of the agent
CONFIG_PLACEHOLDER = "ocf-config="


class CannotTell(Exception):
    """Nothing can be proven here; the text says why."""


class Ambiguous(Exception):
    """Several daemons match; ``processes`` are their main processes."""

    def __init__(self, processes: list[Process]) -> None:
        super().__init__(", ".join(str(process.pid) for process in processes))
        self.processes = processes


class Likeness:
    """How a command line resembles the service: ``role`` is main, worker or "" (not shown).

    ``configured`` is True where it shows the resource's configuration, False where it shows none at all.
    """

    __slots__ = ("configured", "role")

    def __init__(self, role: str, configured: bool) -> None:
        self.role = role
        self.configured = configured


class Expected:
    """What the processes of one resource look like.

    ``names`` are the program's names (``nova-scheduler``), ``wsgi`` what a uWSGI of this service is started with
    (ini paths, modules, script names), ``configs`` its configuration files and the folders of ``--config-dir``,
    ``default_configs`` the files that a daemon without ``--config-file`` uses, ``uid`` the user's number (None where
    unknown).
    """

    __slots__ = ("configs", "default_configs", "names", "own_script", "uid", "wsgi")

    def __init__(
        self,
        names: Iterable[str],
        configs: Iterable[str],
        default_configs: Iterable[str],
        uid: int | None,
        wsgi: Iterable[str] = (),
        own_script: str = "",
    ) -> None:
        self.names = frozenset(names)
        self.configs = frozenset(configs)
        self.default_configs = frozenset(default_configs)
        self.uid = uid
        self.wsgi = frozenset(wsgi)
        self.own_script = own_script

    def recognise(self, arguments: list[str], program: str) -> Likeness | None:
        """Return how a process resembles this service, or None where it is another program or configuration.

        ``arguments`` is its command line, ``program`` the base name of the running program ("" if unknown).
        """
        if not arguments:
            return None
        first = basename(arguments[0])
        if first.startswith("uwsgi"):
            return self._recognise_uwsgi(arguments)
        if first.startswith("python"):
            position = 1
            while position < len(arguments) and arguments[position].startswith("-"):
                position += 1
            script = arguments[position] if position < len(arguments) else ""
        else:
            position, script = 0, arguments[0]
        if basename(script) in self.names and " " not in script:
            # The agent itself is a script of the same name.
            if "/resource.d/" in script or script == self.own_script:
                return None
            return self._with_configs("", arguments[position + 1 :])
        return self._recognise_title(arguments[0], program)

    def _recognise_title(self, title: str, program: str) -> Likeness | None:
        name, colon, rest = title.partition(": ")
        if not colon or name not in self.names or not program.startswith("python"):
            return None
        if not rest.startswith("master"):
            return Likeness("worker", False)
        return self._with_configs("main", rest.partition("[")[2].rpartition("]")[0].split())

    def _recognise_uwsgi(self, arguments: list[str]) -> Likeness | None:
        application = False
        options = handed_over(arguments)
        for argument in arguments:
            value = argument.partition("=")[2] if argument.startswith("--") and "=" in argument else argument
            if value in self.wsgi or (value.startswith("/") and basename(value) in self.wsgi):
                application = True
            if value.startswith(CONFIG_PLACEHOLDER):
                options += ["--config-file", value[len(CONFIG_PLACEHOLDER) :]]
        return self._with_configs("", options) if application else None

    def _with_configs(self, role: str, arguments: list[str]) -> Likeness | None:
        files = frozenset(option_values("--config-file", arguments)) or self.default_configs
        if files.union(option_values("--config-dir", arguments)) == self.configs:
            return Likeness(role, True)
        return None


def option_values(option: str, arguments: list[str]) -> list[str]:
    """Return the values of a command-line option, in both spellings (``--o v`` and ``--o=v``)."""
    values = []
    for position, argument in enumerate(arguments):
        if argument == option and position + 1 < len(arguments):
            values.append(arguments[position + 1])
        elif argument.startswith(option + "="):
            values.append(argument[len(option) + 1 :])
    return values


def handed_over(arguments: list[str]) -> list[str]:
    """Return the arguments that uWSGI hands over to the application."""
    return [word for text in option_values("--pyargv", arguments) for word in text.split()]


def _is_helper(arguments: list[str]) -> bool:
    return any(basename(argument) in HELPERS for argument in arguments[:6])


class Tree:
    """The processes of one resource: main process, its workers and helpers, or workers whose main is gone."""

    __slots__ = ("foreign", "from_pid_file", "helpers", "main", "orphans", "workers")

    def __init__(self) -> None:
        self.main: Process | None = None
        self.workers: list[Process] = []
        self.helpers: list[Process] = []
        self.orphans: list[Process] = []
        #: matching daemons that another manager owns: (process, unit)
        self.foreign: list[tuple[Process, str]] = []
        #: the pid file leads to the main process; False where it had to be searched
        self.from_pid_file = False

    def all(self) -> list[Process]:
        """Return every process that belongs to the resource."""
        main = [self.main] if self.main is not None else []
        return main + self.workers + self.helpers + self.orphans

    def serving(self) -> list[Process]:
        """Return the processes that do the work: the workers, else the main process."""
        return self.workers or self.orphans or ([self.main] if self.main is not None else [])


class Finder:
    """Finds the processes of one resource in ``proc``; ``own_pid`` is the agent's."""

    def __init__(self, proc: Proc, expected: Expected, own_pid: int) -> None:
        self.proc = proc
        self.expected = expected
        self.own_pid = own_pid
        self._own_namespaces = (proc.namespace("self", "pid"), proc.namespace("self", "mnt"))

    def find(self, record: PidRecord | None, thorough: bool = False) -> Tree:
        """Return what is there; ``thorough`` also searches for leftovers beside a proven main process.

        Raises CannotTell and Ambiguous.
        """
        tree = Tree()
        main = self._from_record(record) if record is not None else None
        if main is not None and not thorough:
            tree.main = main
            tree.from_pid_file = True
            self._add_family(tree, {}, deep=False)
            return tree
        return self._search(tree, record, main)

    def _from_record(self, record: PidRecord) -> Process | None:
        """Return the main process that the pid file leads to, if that is proven."""
        process = self.proc.process(record.pid)
        if process is None or not self._eligible(process):
            return None
        if record.started and record.is_same(process, self.proc.boot()):
            return process
        if record.started:  # the number was meant for another process, which is gone
            return None
        likeness = self._likeness(process)
        if likeness is None or not likeness.configured or self.proc.foreign_unit(process.pid):
            return None
        parent = self.proc.process(process.parent)
        if parent is not None and self._likeness(parent) is not None and self._eligible(parent):
            return None  # a worker's number: the search finds its main process
        return process

    def _eligible(self, process: Process) -> bool:
        """Rules 1 to 3."""
        if process.dead or process.pid == self.own_pid:
            return False
        namespaces = (self.proc.namespace(process.pid, "pid"), self.proc.namespace(process.pid, "mnt"))
        if None in namespaces or None in self._own_namespaces:
            now = self.proc.process(process.pid)
            # The kernel takes a dying process's memory, and with it the command line, before its namespaces.
            if now is None or now.dead or not self.proc.command_line(process.pid):
                return False
            raise CannotTell(f"the namespaces of process {process.pid} cannot be read")
        if namespaces != self._own_namespaces:
            return False
        # What was started as root may give that up for a user of its own choice (uid in uWSGI's ini).
        return self.expected.uid in (None, 0) or self.proc.uid(process.pid) == self.expected.uid

    def _likeness(self, process: Process) -> Likeness | None:
        """Rule 4, the command line."""
        arguments = self.proc.command_line(process.pid)
        if not arguments:
            return None
        # Only a title needs the program's name, which costs a system call.
        program = basename(self.proc.program(process.pid)) if ": " in arguments[0] else ""
        return self.expected.recognise(arguments, program)

    def _search(self, tree: Tree, record: PidRecord | None, main: Process | None) -> Tree:
        try:
            everything = list(self.proc.processes())
        except OSError as error:
            raise CannotTell(f"{self.proc.root} cannot be read: {error.strerror}") from None
        if self.proc.hides_others():
            raise CannotTell(f"{self.proc.root} hides the processes of others (hidepid)")
        children: dict[int, list[Process]] = {}
        likely: dict[int, tuple[Process, Likeness]] = {}
        for process in everything:
            children.setdefault(process.parent, []).append(process)
            likeness = self._likeness(process)
            if likeness is None or not self._eligible(process):
                continue
            unit = self.proc.foreign_unit(process.pid) if main is None or process.pid != main.pid else ""
            # Workers of a proven main process are ours, even where all of them carry some service's name because
            # the start was called from within it.
            if unit and (main is None or not self._descends(process, main.pid, everything)):
                tree.foreign.append((process, unit))
                continue
            likely[process.pid] = (process, likeness)
        tops = [pair for pair in likely.values() if pair[0].parent not in likely]
        mains = [main] if main is not None else []
        # The kernel gives no number anew while a group or session bears it: while the recorded number lives without
        # being ours, that group is somebody else's.
        recorded = self.proc.process(record.pid) if record is not None else None
        gone = record is not None and (recorded is None or recorded.dead)
        group = record.pid if record is not None and (gone or main is not None) else -1
        for process, likeness in tops:
            if main is not None and process.key == main.key:
                continue
            if self._is_main(process, likeness, group, gone, [top for top, _ in tops], children, likely):
                mains.append(process)
            elif likeness.configured or group in (process.session, process.pgid):
                tree.orphans.append(process)
        if main is None and len(mains) > 1:
            raise Ambiguous(mains)
        tree.main = mains[0] if mains else None
        tree.from_pid_file = main is not None
        # Beside a proven main process another one of the same configuration waits: a stop that has ended the first
        # finds it, and leaves nothing.
        for orphan in list(tree.orphans):
            tree.orphans += [child for child in children.get(orphan.pid, ()) if child.pid in likely]
        if tree.main is not None:
            self._add_family(tree, children, deep=True)
        return tree

    def _descends(self, process: Process, ancestor: int, everything: list[Process]) -> bool:
        parents = {other.pid: other.parent for other in everything}
        pid = process.parent
        while pid in parents and pid != ancestor:
            pid = parents[pid]
        return pid == ancestor

    def _is_main(
        self,
        process: Process,
        likeness: Likeness,
        group: int,
        gone: bool,
        tops: list[Process],
        children: dict[int, list[Process]],
        likely: dict[int, tuple[Process, Likeness]],
    ) -> bool:
        """Tell a main process from a worker whose main process is gone.

        ``group``: number of the recorded main process, ours or gone (else -1); ``gone``: it is recorded and gone.

        1. A title says which it is.
        2. Of the process group or session of the recorded main process, without being it: that one is gone.
        3. The leader of its process group: systemd, this suite and a shell at a terminal start daemons so.
        4. It has workers of its own.
        5. Several without leader in one group: the workers of a main process that the old agents had started.
        6. The recorded number is gone: its worker.
        """
        if likeness.role:
            return likeness.role == "main"
        if group in (process.session, process.pgid):
            return False
        if process.pid == process.pgid:
            return True
        if any(child.pid in likely for child in children.get(process.pid, ())):
            return True
        if sum(1 for top in tops if top.pgid == process.pgid) > 1:
            return False
        return not gone

    def _add_family(self, tree: Tree, children: dict[int, list[Process]], deep: bool) -> None:
        """Add the workers and helpers of ``tree.main``; the direct children only, unless ``deep``."""
        assert tree.main is not None
        title = self.proc.command_line(tree.main.pid)
        waiting = [tree.main]
        while waiting:
            parent = waiting.pop()
            if deep:
                family = children.get(parent.pid, [])
            else:
                found = [self.proc.process(pid) for pid in self.proc.children(parent.pid)]
                family = [child for child in found if child is not None]
            for child in family:
                if child.dead:
                    continue
                arguments = self.proc.command_line(child.pid)
                if _is_helper(arguments):
                    tree.helpers.append(child)
                elif arguments and (arguments == title or self._is_worker(child, arguments)):
                    tree.workers.append(child)
                else:
                    continue
                if deep:
                    waiting.append(child)

    def _is_worker(self, child: Process, arguments: list[str]) -> bool:
        program = basename(self.proc.program(child.pid))
        if program.startswith("uwsgi") and arguments[0].startswith("uWSGI"):
            return True  # the title of uWSGI's auto-procname
        return self.expected.recognise(arguments, program) is not None


def is_running(proc: Proc, process: Process) -> bool:
    """Tell whether this very process, not a later one of its number, is still alive."""
    now = proc.process(process.pid)
    return now is not None and now.key == process.key and not now.dead


def own_pid() -> int:
    return os.getpid()
