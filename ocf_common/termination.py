"""Ending a tree of processes, verified.

SIGTERM (for uWSGI: SIGINT, see ``lifecycle``) goes to the main process, which takes its workers along; stopped
processes are continued so that they can end in order. The whole declared tree is watched, not only the main
process: workers of glance-api go on serving after it. What is left when the time is up gets SIGKILL.
"""

from __future__ import annotations

import os
import signal
import time

from ocf_common.identity import is_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocf_common.identity import Tree
    from ocf_common.procfs import Proc, Process

STEP = 0.05  # seconds between two looks; a stop returns within 0.3 s of the last exit
RESCAN = 1.0  # seconds between two searches of the whole tree
OVERDUE = 3.0  # seconds after which uWSGI's workers are asked themselves


def send(proc: Proc, process: Process, number: int) -> None:
    """Send a signal to this very process, never to a later one of its number."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        descriptor = -1  # a kernel before 5.3, or the process is gone: the check below decides
    try:
        if not is_running(proc, process):
            return
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        pass
    finally:
        if descriptor >= 0:
            os.close(descriptor)


class Termination:
    """Ends what ``search`` returns.

    ``search`` looks at the whole tree anew each time it is called; ``polite`` says with which signal a process is
    asked to end.
    """

    def __init__(
        self,
        proc: Proc,
        search: Callable[[], Tree],
        polite: Callable[[Process], int],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.proc = proc
        self.search = search
        self.polite = polite
        self.clock = clock
        self.sleep = sleep
        self.known: dict[tuple[int, int], tuple[Process, list[str]]] = {}
        self.killed: list[Process] = []
        self.asked: set[tuple[int, int]] = set()

    def left(self) -> list[Process]:
        """Return what is still running of all that was ever seen of the tree.

        A process that has become another program since is none of it: between fork and exec a child that is meant to
        outlive the service looks like a worker.
        """
        self.known = {
            key: (process, arguments)
            for key, (process, arguments) in self.known.items()
            if is_running(self.proc, process) and self.proc.command_line(process.pid) in (arguments, [])
        }
        return [process for process, _ in self.known.values()]

    def look(self) -> Tree:
        tree = self.search()
        for process in tree.all():
            self.known[process.key] = (process, self.proc.command_line(process.pid))
        return tree

    def _ask(self, process: Process) -> None:
        """Send the polite signal, once to each process: a second one cuts an orderly end short."""
        if process.key not in self.asked:
            self.asked.add(process.key)
            send(self.proc, process, self.polite(process))

    def run(self, grace: float, limit: float) -> list[Process]:
        """End the tree and return what is left, which is nothing unless the kernel holds a process.

        ``grace``: seconds until SIGKILL; ``limit``: seconds until this returns in any case.
        """
        begin = self.clock()
        tree = self.look()
        asked = [tree.main] if tree.main is not None else tree.orphans
        for process in asked:
            self._ask(process)
        for process in tree.all():
            send(self.proc, process, signal.SIGCONT)
        next_look = begin + RESCAN
        while self.clock() - begin < grace:
            if not self.left():
                # Workers that were forked meanwhile, or whose main process had died before its children:
                tree = self.look()
                if not tree.all():
                    return []
                next_look = self.clock() + RESCAN
                for process in tree.orphans or tree.all():
                    self._ask(process)
                    send(self.proc, process, signal.SIGCONT)
            elif self.clock() >= next_look:
                next_look = self.clock() + RESCAN
                tree = self.look()
                # What outlived its main process was not asked yet: workers, and helpers, which nobody finds by
                # their command lines once their parent is gone.
                # And uWSGI's: to a worker that is still loading its application the signal of its main process is
                # an exception like any other, and uWSGI waits a minute for it.
                overdue = self.clock() - begin > OVERDUE
                for process in tree.orphans if tree.main is not None else self.left():
                    self._ask(process)
                for process in tree.workers if overdue else ():
                    if self.polite(process) == signal.SIGINT:
                        self._ask(process)
            self.sleep(STEP)
        return self._kill(begin + limit)

    def _kill(self, end: float) -> list[Process]:
        while True:
            self.look()
            left = self.left()
            if not left or self.clock() >= end:
                return left
            for process in left:
                self.killed.append(process)
                send(self.proc, process, signal.SIGKILL)
            self.sleep(STEP)
