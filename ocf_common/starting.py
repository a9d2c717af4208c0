"""Start: from "nothing runs" to "the service answers".

The steps:

1. What this host needs is there: daemon, user, configuration.
2. A daemon of ours that runs already is kept (a lost pid file is written anew); workers that an earlier main
   process has left are ended first.
3. Nobody else holds the service's address, no other manager runs the daemon.
4. The daemon is launched and its pid file written.
5. Until it answers its level-10 check it is watched; where that is turned off, until it has settled. A daemon that
   ends while its dependencies are well fails the start at once, with its last words. One that ends while a dependency
   is down, or was when it waited, is started again when that is back, while time is left: some daemons give up where
   others retry.
6. A daemon that lives but cannot answer because a dependency is down has started: it retries by itself, and a
   failed start would ban it from this node.
"""

from __future__ import annotations

import time

from ocf_common import health, pidfile
from ocf_common.deadline import Deadline, OutOfTime, within
from ocf_common.exit_codes import BadArguments, GenericError, OcfExit
from ocf_common.last_words import size, tail
from ocf_common.launch import Command, LaunchError, launch
from ocf_common.outcomes import Attention, CheckFailed, DependencyDown, Misconfigured
from ocf_common.procfs import age

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    import subprocess

    from ocf_common.forms import Form
    from ocf_common.identity import Tree
    from ocf_common.lifecycle import Lifecycle

SETTLE = 6.0  # seconds that a daemon must live with its broker or database down: all are known to retry
# The same with another dependency down, which does not keep a daemon from answering, but makes some give up: Zed's
# scheduler without Placement after 4 s on an idle host, 14 s on one with three times the load.
SETTLE_LATE = 30.0
UNASKED = 3.0  # seconds that a daemon must live where no check is to ask it
IDLE_WINDOW = 1.0  # seconds over which the daemon's use of the processor is taken
IDLE_SHARE = 0.2  # of one core: below it a daemon waits, above it is still starting, however slow the host
FIRST_QUESTION = 2.0  # seconds without an answer before the dependencies are asked
NEXT_QUESTION = 5.0  # seconds between two rounds of questions
QUESTION_LIMIT = 5.0  # seconds for one round: what is only slow is not down
DEATH_LIMIT = 1.5  # seconds for a round after the daemon's death, which fails the start within 2 s
ANSWER_STEP = 0.5  # seconds of waiting for an answer between two looks at the process
# A daemon that gave up is started again when the dependency is back, and once in a while if it is not: that may not be
# why. To ask costs far less than to launch, on a host where all services start at the same time.
RETRY_PAUSE = 2.0  # seconds between two questions
RETRY_LATEST = 20.0  # seconds


class Starting:
    """One start of one resource."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.service = lifecycle.service
        self.environment = lifecycle.environment
        self.deadline = Deadline(self.environment.timeout - self.environment.margin)
        self.child: subprocess.Popen[bytes] | None = None
        self.finding: CheckFailed | None = None
        self.written: dict[str, int] = {}
        #: how it ended with a dependency down, and which, before it was started again
        self.death = ""
        #: when the daemon's processor time was last looked at, and how much it was
        self.sample: tuple[float, float] | None = None
        self.idle = False

    def run(self) -> None:
        form, account = self.service.require_host()
        self.lifecycle.memory.forget_trouble()
        tree = self.lifecycle.find(thorough=True)
        if tree.main is not None:
            self.lifecycle.adopt(tree)
        else:
            self._end_orphans(tree)
            self._refuse_rivals()
            self._launch(form, account)
        try:
            if self._until_ready(form, account):
                self.lifecycle.forget()
        finally:
            self.service.close()
            self.lifecycle.memory.save()

    def _end_orphans(self, tree: Tree) -> None:
        """End the workers that a main process has left; raises GenericError."""
        if tree.orphans:
            left, _ = self.lifecycle.end_tree(min(10.0, self.deadline.left() / 3), self.deadline.left() / 2)
            if left:
                raise GenericError(f"workers of an earlier {self.service.name} cannot be ended: process {left[0].pid}")

    def _refuse_rivals(self) -> None:
        """Raise GenericError where another manager runs the daemon or somebody holds its address."""
        tree = self.lifecycle.find(thorough=True)
        if tree.foreign:
            process, unit = tree.foreign[0]
            raise GenericError(
                f"{self.service.name} runs already as pid {process.pid} of {unit}; run: systemctl disable --now {unit}"
            )
        address = self.service.own_port()
        if address is None:
            return
        from ocf_common import sockets

        host, port = address
        listeners = sockets.listeners(port, self.service.proc.root)
        # A proxy may hold the same port of another address: the virtual one in front of the service.
        ours = self._numbers(host) if listeners else frozenset()
        inodes = [inode for held, inode in listeners if {held, *ours} & sockets.ANY or held in ours]
        if not inodes:
            return
        holders = sorted(pid for pids in sockets.owners(inodes, self.service.proc.root).values() for pid in pids)
        if not holders:
            raise GenericError(f"port {port} is held by a process that cannot be seen from here")
        unit = self.service.proc.foreign_unit(holders[0])
        if unit:
            raise GenericError(
                f"port {port} is held by pid {holders[0]} of {unit}; run: systemctl disable --now {unit}"
            )
        command = self.service.proc.command_line(holders[0])[:1]
        raise GenericError(f"port {port} is held by pid {holders[0]} ({' '.join(command)}); end it first")

    def _numbers(self, host: str) -> frozenset[str]:
        """Return the numeric addresses of ``host``; every address where it is not known by name."""
        from ocf_common.resolve import Unresolvable, resolve
        from ocf_common.sockets import ANY, normal

        if host in ANY:
            return ANY
        try:
            return frozenset(normal(place[0]) for _, place in resolve(host, 0, self.deadline.part(QUESTION_LIMIT)))
        except Unresolvable:
            return ANY

    def _launch(self, form: Form, account: pwd.struct_passwd) -> None:
        arguments, environment = self.service.command(form)
        output = self.service.output_file
        self.written = {path: size(path) for path in (output, self.service.log_file()) if path}
        open_files = self.service.parameters.integer("open_files") or 65536
        self.sample, self.idle = None, False
        try:
            self.child = launch(Command(arguments, account, environment, output, open_files))
        except LaunchError as error:
            raise GenericError(str(error)) from None
        process = self.service.proc.process(self.child.pid)
        if process is None:
            return
        try:
            pidfile.write(self.service.pid_file, process, self.service.proc.boot())
        except OSError as error:
            # Without it the daemon would have to be searched at each call; and something is wrong with the host.
            self.child.kill()
            raise BadArguments(f"pid file {self.service.pid_file} cannot be written: {error.strerror}") from None

    def _until_ready(self, form: Form, account: pwd.struct_passwd) -> bool:
        """Return True when the service answers, False when it started and a dependency is down."""
        begin, asked = time.monotonic(), -NEXT_QUESTION
        culprits: list[DependencyDown | Misconfigured] = []
        answers = False
        while self.deadline.left() > ANSWER_STEP:
            status = self.child.poll() if self.child is not None else None
            if status == 0 and self._went_into_background():
                continue
            if status is not None:
                self._relaunch_or_fail(status, culprits, form, account)
                begin, asked, answers, culprits = time.monotonic(), -NEXT_QUESTION, False, []
                continue
            answers = self._answers()
            if answers and (self.service.is_asked() or self._has_settled()):
                return True
            if self.child is None and self.lifecycle.find().main is None:
                raise GenericError(f"{self.service.name} was running and has ended while it was waited for")
            if answers:
                time.sleep(ANSWER_STEP / 5)
                continue
            now = time.monotonic()
            if isinstance(self.finding, (DependencyDown, Misconfigured)):
                culprits = [self.finding]  # first-hand
            elif now - begin > FIRST_QUESTION and now - asked > NEXT_QUESTION and self.deadline.left() > QUESTION_LIMIT:
                asked = now
                culprits = health.ask_dependencies(self.service, self.deadline.part(QUESTION_LIMIT))
            idle = self._idles(now)
            for culprit in culprits:
                if isinstance(culprit, Misconfigured):
                    raise GenericError(culprit.reason)
            if culprits and idle and now - begin > self._settle(culprits[0].dependency):
                if culprits[0] is self.finding or now - asked < 1.0:
                    self._started_without(culprits[0])
                    return False
                asked = -NEXT_QUESTION  # an old answer is asked for again
        if answers:
            return True
        if self.death:
            raise GenericError(self.death)  # and will again: it is not one of those that go on trying
        if culprits:
            self._started_without(culprits[0])
            return False
        waits = self.finding.reason if self.finding is not None else "no answer yet"
        raise GenericError(f"{self.service.name} is not ready after {self.environment.timeout:.0f} s: {waits}")

    def _has_settled(self) -> bool:
        """Tell whether a daemon that is not asked lives on: for a while, and waits for work."""
        main = self.lifecycle.find().main
        idle = self._idles(time.monotonic())
        lived = age(main) if main is not None else 0.0
        return lived >= SETTLE_LATE or (idle and lived >= min(UNASKED, self.environment.timeout * 0.3))

    def _settle(self, dependency: str) -> float:
        """Return the seconds that the daemon must live before its start counts in spite of a dependency."""
        if dependency in ("broker", "database"):
            return min(SETTLE, self.environment.timeout * 0.3)
        return min(SETTLE_LATE, self.environment.timeout * 0.75)

    def _idles(self, now: float) -> bool:
        """Tell whether the daemon waits for something; one that is still starting may yet give up."""
        used = sum(self.service.proc.cpu_seconds(process.pid) for process in self.lifecycle.find().all())
        if self.sample is None:
            self.sample = (now, used)
        elif now - self.sample[0] >= IDLE_WINDOW:
            self.idle = used - self.sample[1] < IDLE_SHARE * (now - self.sample[0])
            self.sample = (now, used)
        return self.idle

    def _went_into_background(self) -> bool:
        """Tell whether the daemon that ended with 0 goes on as another process (uWSGI with daemonize); adopt that."""
        # The number in the pid file is gone; without it the search does not take the daemon for a worker.
        pidfile.remove(self.service.pid_file)
        tree = self.lifecycle.find()
        if tree.main is None:
            return False
        self.child = None
        self.lifecycle.adopt(tree)
        return True

    def _answers(self) -> bool:
        """Wait a step for the answer; return whether it came. ``finding`` says what is missing."""
        step = min(ANSWER_STEP, max(0.05, self.deadline.left()))
        began = time.monotonic()
        # A question that hangs (a name server's) ends inside the action's time too.
        limit = Deadline(min(step + DEATH_LIMIT, self.deadline.left() + self.environment.margin / 2))
        try:
            within(limit, lambda: self.service.await_answer(step, self.lifecycle.find))
        except Attention as finding:
            self.lifecycle.warning = finding.reason
        except CheckFailed as finding:
            self.finding = finding
            # A check that fails at once is asked again, not as fast as the processor can.
            time.sleep(max(0.0, min(step, 0.1) - (time.monotonic() - began)))
            return False
        except OcfExit:
            return False
        except OutOfTime:
            self.finding = None
            return False
        return self.child is None or self.child.poll() is None

    def _started_without(self, culprit: DependencyDown | Misconfigured) -> None:
        self.lifecycle.memory.note_down(culprit.dependency, 10)
        self.lifecycle.warning = f"{culprit.reason}; {self.service.name} is started and goes on trying"

    def _relaunch_or_fail(
        self, status: int, seen: list[DependencyDown | Misconfigured], form: Form, account: pwd.struct_passwd
    ) -> None:
        """Launch the daemon again where a dependency excuses its end; else raise GenericError.

        seen: whom it waited for when that was last asked. Who gives up for a dependency may end when it is just back.
        """
        how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        words = tail(self.written, self.written)
        death = f"{self.service.name} {how}" + (f": {words}" if words else "")
        culprits = health.ask_dependencies(self.service, self.deadline.part(DEATH_LIMIT))
        down = [culprit for culprit in culprits or seen if isinstance(culprit, DependencyDown)]
        if not down:
            raise GenericError("; ".join([*(culprit.reason for culprit in culprits), death]))
        # A dependency is down: the daemon may live when it is back, which its own start decides.
        # The cause first: last words can be long, and a long reason is cut.
        self.death = f"{down[0].reason}; {death}"
        if self.deadline.left() < SETTLE:
            raise GenericError(self.death)
        latest = self.deadline.part(min(RETRY_LATEST, self.deadline.left() - SETTLE))
        while culprits and latest.left() > 0:
            time.sleep(min(RETRY_PAUSE, latest.left()))
            culprits = health.ask_dependencies(self.service, self.deadline.part(QUESTION_LIMIT))
        self._end_orphans(self.lifecycle.find(thorough=True))
        self._launch(form, account)
