"""The actions of an agent, common to all services.

``main`` is the edge: it takes the outside world (environment, arguments, user, ``/proc``, clock) and ends the
process with the exit code. Everything else gets what it needs from there.
"""

from __future__ import annotations

import os
import sys

from ocf_common import pidfile
from ocf_common.environment import Environment
from ocf_common.exit_codes import (
    SUCCESS,
    Degraded,
    GenericError,
    NoPermission,
    NotInstalled,
    NotRunning,
    OcfExit,
    Unimplemented,
)
from ocf_common.identity import Ambiguous, CannotTell, Finder, is_running
from ocf_common.memory import HIGHEST, Memory
from ocf_common.procfs import Proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TextIO

    from ocf_common.identity import Tree
    from ocf_common.procfs import Process
    from ocf_common.service import Service

DEFAULT_LEVEL = 10  # of recurring monitors; probes and status look at the processes only


def main(service_class: type[Service]) -> None:
    """Run the action that the command line names, and end the process."""
    code = run(service_class, os.environ, sys.argv, os.geteuid(), Proc())
    # Not sys.exit: a check that hangs in a thread must not keep the agent alive, nor a closed stream change the code.
    os._exit(code)


def _say(stream: TextIO | None, text: str) -> bool:
    """Write a text at once and return whether that worked: who called may have closed the stream (then it is None)."""
    if stream is None:
        return False
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def run(
    service_class: type[Service], variables: Mapping[str, str], arguments: Sequence[str], uid: int, proc: Proc
) -> int:
    """Run one action and return its exit code; the reason of a failure goes to standard error."""
    environment = Environment(variables, arguments, uid)
    if environment.action in ("meta-data", "usage", "help", ""):
        return _describe(service_class, environment.action)
    memory = Memory(environment.state_folder, environment.instance)
    service = service_class(environment, proc, memory)
    lifecycle = Lifecycle(service)
    try:
        lifecycle.act()
        code, reason = SUCCESS, lifecycle.warning
    except OcfExit as ending:
        code, reason = ending.code, ending.reason
    except Exception as error:
        code, reason = GenericError.code, _unexpected(error)
    if reason:
        from ocf_common.secrets_filter import Redactor

        _say(sys.stderr, f"{environment.reason_prefix}{Redactor(service.secrets()).clean(reason)}\n")
    return code


def _unexpected(error: Exception) -> str:
    """Return one line about a fault of our own, with the place where it happened."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace is not None else "?"
    return f"the agent failed itself: {type(error).__name__}: {error} at {place}"


def _describe(service_class: type[Service], action: str) -> int:
    if action == "meta-data":
        from ocf_common import metadata

        text = metadata.render(
            service_class.name, service_class.shortdesc, service_class.longdesc(), service_class.declared_parameters()
        )
        return SUCCESS if _say(sys.stdout, text) else GenericError.code
    text = (
        f"usage: {service_class.name} {{start|stop|monitor|status|reload-agent|validate-all|meta-data|usage}}\n"
        f"Pacemaker agent for {service_class.shortdesc}; parameters come as OCF_RESKEY_NAME in the environment.\n"
    )
    if action:
        _say(sys.stdout, text)
        return SUCCESS
    _say(sys.stderr, text)
    return Unimplemented.code


class Lifecycle:
    """One action on one resource."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.environment = service.environment
        self.memory = service.memory
        self.proc = service.proc
        #: what a successful action still has to say
        self.warning = ""

    def act(self) -> None:
        """Run the action; raises OcfExit for everything but success."""
        actions: dict[str, Callable[[], None]] = {
            "monitor": self.monitor,
            "status": self.monitor,
            "start": self.start,
            "stop": self.stop,
            "reload-agent": self.reload_agent,
            "validate-all": self.validate_all,
        }
        action = actions.get(self.environment.action)
        if action is None:
            raise Unimplemented(f"unknown action '{self.environment.action[:40]}'")
        action()

    # Processes

    def find(self, thorough: bool = False) -> Tree:
        """Return the resource's processes; raises GenericError where that cannot be told."""
        finder = Finder(self.proc, self.service.expected(), os.getpid())
        try:
            return finder.find(pidfile.read(self.service.pid_file), thorough)
        except CannotTell as error:
            raise GenericError(f"cannot tell whether {self.service.name} runs: {error}") from None
        except Ambiguous as error:
            numbers = ", ".join(str(process.pid) for process in error.processes)
            raise GenericError(
                f"several daemons could be {self.service.name} of this resource, none is touched: processes {numbers}"
            ) from None

    def adopt(self, tree: Tree) -> None:
        """Let the pid file lead to a main process that had to be searched; without the file that is next time."""
        if tree.main is None:
            return
        record = pidfile.read(self.service.pid_file)
        if record is not None and record.started and tree.from_pid_file:
            return
        try:
            pidfile.write(self.service.pid_file, tree.main, self.proc.boot())
        except OSError:
            pass

    def _require_root(self) -> None:
        if self.environment.uid != 0:
            raise NoPermission(f"{self.environment.action} needs root")

    # Actions

    def validate_all(self) -> None:
        self.service.parameters.validate()
        if self.environment.check_level >= 10:
            self.service.require_host()

    def reload_agent(self) -> None:
        """Take changed parameters: each call reads them anew, so there is nothing to do but to check them."""
        self._require_root()
        self.service.parameters.validate()
        if self.find().main is None:
            raise NotRunning(f"{self.service.name} does not run")

    def monitor(self) -> None:
        if self.environment.uid != 0:
            raise GenericError("only root can tell: run as root")
        tree = self.find()
        if tree.main is None:
            self._not_running(tree)
        elif not tree.from_pid_file or self.environment.recurring:
            self.adopt(tree)
        level = self.environment.check_level
        if level < 0:
            level = DEFAULT_LEVEL if self.environment.recurring else 0
        try:
            self._look(tree)
            if level >= 10:
                from ocf_common import health

                try:
                    health.examine(self.service, health.normal_level(level), tree)
                except OcfExit:
                    # It may have died while it was asked, and what was found then is not the reason.
                    self._still_running(tree)
                    raise
            if self.service.parameters.problems:
                raise Degraded(f"{self.service.parameters.problems[0]}; the default is used")
        except Degraded as degraded:
            self._say_degraded(degraded, level)
        else:
            self._all_well(level)
        finally:
            self.memory.save()

    def _still_running(self, tree: Tree) -> None:
        """Raise what a monitor says of a dead service when the main process is gone since ``tree`` was found."""
        if tree.main is not None and not is_running(self.proc, tree.main):
            now = self.find()
            if now.main is None:
                self._not_running(now)

    def _not_running(self, tree: Tree) -> None:
        name = self.service.name
        if tree.orphans:
            numbers = ", ".join(str(process.pid) for process in tree.orphans[:8])
            raise GenericError(f"the main process of {name} is gone, its workers are left: processes {numbers}")
        if not self.environment.recurring:
            if self.service.form() is None:
                raise NotInstalled
            raise NotRunning
        reason = f"{name} is not running"
        if pidfile.read(self.service.pid_file) is not None:
            reason = f"{name} has crashed"
            words = self._last_words_of_log()
            reason += f"; its last words: {words}" if words else ""
        if tree.foreign:
            process, unit = tree.foreign[0]
            reason += f"; process {process.pid} belongs to {unit}"
        raise NotRunning(reason)

    def _last_words_of_log(self) -> str:
        from ocf_common.last_words import tail

        return tail([self.service.output_file, self.service.log_file()], any_line=False)

    def _look(self, tree: Tree) -> None:
        """Level 0: raises GenericError when nothing works any more, Degraded when a part does not."""
        assert tree.main is not None
        serving = tree.serving()
        stopped = [process for process in (tree.main, *tree.workers) if process.stopped]
        if not stopped:
            return
        numbers = ", ".join(str(process.pid) for process in stopped[:8])
        if all(process.stopped for process in serving):
            raise GenericError(f"{self.service.name} is frozen: stopped processes (state T) {numbers}")
        raise Degraded(f"{self.service.name} has stopped processes (state T): {numbers}")

    def _say_degraded(self, degraded: Degraded, level: int) -> None:
        if not self.environment.recurring:
            # Only a recurring monitor may say 190: after a probe the failed action would stay for ever.
            self.warning = degraded.reason
            return
        from ocf_common.publish import publish

        publish(self.memory, self.environment.instance, self._clean(degraded.reason), level)
        raise degraded

    def _clean(self, text: str) -> str:
        from ocf_common.secrets_filter import Redactor

        return Redactor(self.service.secrets()).clean(text)

    def _all_well(self, level: int) -> None:
        if self.environment.recurring and self.memory.published:
            from ocf_common.publish import publish

            publish(self.memory, self.environment.instance, "", level)

    def start(self) -> None:
        from ocf_common.starting import Starting

        self._require_root()
        self.service.parameters.validate()
        Starting(self).run()

    def stop(self) -> None:
        self._require_root()
        environment = self.environment
        left, killed = self.end_tree(
            environment.timeout - 2 * environment.margin, environment.timeout - environment.margin
        )
        if left:
            numbers = ", ".join(str(process.pid) for process in left[:8])
            raise GenericError(f"processes of {self.service.name} are left after SIGKILL: {numbers}")
        if killed:
            self.warning = f"{self.service.name} did not end in time and was killed"
        try:
            pidfile.remove(self.service.pid_file)
        except OSError:
            pass  # a stale pid file fools no later call
        self.forget()

    def end_tree(self, grace: float, limit: float) -> tuple[list[Process], list[Process]]:
        """End all processes of the resource; return what is left and what had to be killed."""
        import signal

        from ocf_common.termination import Termination

        wanted = self.service.parameters.text("shutdown_grace")
        grace = min(grace, float(wanted)) if wanted else grace

        def polite(process: Process) -> int:
            # Without die-on-term uWSGI only reloads on SIGTERM; SIGINT ends it in every configuration.
            program = os.path.basename(self.proc.program(process.pid))
            return signal.SIGINT if program.startswith("uwsgi") else signal.SIGTERM

        termination = Termination(self.proc, lambda: self.find(thorough=True), polite)
        left = termination.run(grace, limit)
        return left, termination.killed

    def forget(self) -> None:
        """Forget all trouble, also what is published: the resource begins anew, or is gone."""
        if self.memory.published:
            from ocf_common.publish import publish

            publish(self.memory, self.environment.instance, "", HIGHEST)
        self.memory.forget_trouble()
        self.memory.save()
