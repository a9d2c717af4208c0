"""Whose fault is it? From a check's finding to what the monitor says.

The rules, in order:

1. The check passes: well. What was remembered of trouble is forgotten.
2. Something only an operator can mend, while the service serves (``Attention``): degraded.
3. The dependencies are asked, all at once, the one that the check names included. One is down: degraded, with
   the culprit (or failed, where ``on_dependency_failure=fail``). The first in the service's own order is named:
   a Keystone without its database is silent too, and the database is the culprit.
4. This node's configuration does not fit a dependency: degraded while the daemon itself still answers, else
   failed.
5. All dependencies are well, and one was down less than ``recovery_grace`` ago: the service is reconnecting,
   degraded. Not for refused connections at the service's own port: that proves its death. A broker that no longer
   knows the daemon's queue was restarted between two monitors: the grace begins when that is first seen.
6. Silence is asked again over a fresh connection. Still silent: degraded, until ``silent_checks`` monitors in
   a row were not answered. Every other finding ends the row.
7. Everything else: failed.

Every step has its share of the level's time, which lies inside the action's own time limit.
"""

from __future__ import annotations

from ocf_common.deadline import Deadline, OutOfTime, within
from ocf_common.dependencies import LABELS, ask
from ocf_common.exit_codes import Degraded, GenericError, OcfExit
from ocf_common.outcomes import (
    Attention,
    CheckFailed,
    DependencyDown,
    Disconnected,
    Misconfigured,
    Refused,
    Silent,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocf_common.identity import Tree
    from ocf_common.service import Service

# The whole action ends within 5 s at level 10 and 10 s at level 20: half a second is for its start and its end.
LEVEL_SECONDS = {10: 4.5, 20: 9.5}

FIRST_TRY = 0.4  # of the level's time
QUESTIONS = 0.35  # for all dependencies together; the rest is for the second try
OVERRUN = 0.2  # seconds that a check may take beyond its own limit, for it can say better what did not answer


def normal_level(level: int) -> int:
    """Return the check level that an unknown one means: the next lower."""
    return 20 if level >= 20 else 10 if level >= 10 else 0


def budget(service: Service, level: int) -> float:
    """Return the seconds that a check of this level may take in all."""
    environment = service.environment
    return max(0.5, min(LEVEL_SECONDS[level], environment.timeout - environment.margin))


def examine(service: Service, level: int, tree: Tree) -> None:
    """Check the service at level 10 or 20; raises Degraded or GenericError."""
    from ocf_common.service_config import ConfigError

    total = Deadline(budget(service, level))
    seconds = total.left()
    first = service.parameters.seconds("request_timeout") or seconds * FIRST_TRY
    # Without time for the questions every dependency would be silent, and a hung service excused for ever.
    first = min(first, max(seconds * FIRST_TRY, seconds * (1 - QUESTIONS) - OVERRUN))
    check = service.works if level >= 20 else service.answers
    try:
        finding = _finding(service, check, total.part(first), tree)
    except ConfigError as error:
        finding = Misconfigured(f"configuration file {error}", "")
    if finding is None:
        service.memory.forget_trouble(level)
        return
    if not isinstance(finding, Silent):
        service.memory.forget_silence(level)
    if isinstance(finding, Attention):
        raise Degraded(finding.reason)
    verdict = Judgement(service, level, check, total, tree).of(finding)
    if verdict is not None:
        raise verdict


def _finding(
    service: Service, check: Callable[[Deadline, Tree], None], deadline: Deadline, tree: Tree
) -> CheckFailed | None:
    limit = deadline.left()
    try:
        within(Deadline(limit + OVERRUN), lambda: check(deadline, tree))
    except CheckFailed as finding:
        return finding
    except OutOfTime:
        return Silent(f"{service.name} gave no answer within {limit:.3g} s")
    return None


def ask_dependencies(service: Service, deadline: Deadline) -> list[DependencyDown | Misconfigured]:
    """Ask all dependencies of the service at once; return what is wrong, in the service's own order."""
    import _thread

    answers: dict[str, DependencyDown | Misconfigured | None] = {}
    names = [name for name in service.dependencies if service.uses(name)]
    done = _thread.allocate_lock()
    done.acquire()

    def question(name: str) -> None:
        try:
            ask(name, service, deadline)
            answers[name] = None
        except (DependencyDown, Misconfigured) as finding:
            answers[name] = finding
        except BaseException:  # a fault of ours proves nothing against a dependency
            answers[name] = None
        if len(answers) == len(names):
            try:
                done.release()
            except RuntimeError:
                pass  # two answered last

    limit = deadline.left()
    for name in names:
        _thread.start_new_thread(question, (name,))
    if names:
        done.acquire(timeout=max(0.05, deadline.left() + 0.1))
    findings: list[DependencyDown | Misconfigured] = []
    for name in names:
        finding = answers.get(name, DependencyDown(f"{LABELS[name]} gave no answer within {limit:.3g} s", name))
        if finding is not None:
            findings.append(finding)
    return findings


class Judgement:
    """Rules 3 to 7 for one finding of one check."""

    def __init__(
        self, service: Service, level: int, check: Callable[[Deadline, Tree], None], total: Deadline, tree: Tree
    ) -> None:
        self.service = service
        self.memory = service.memory
        self.level = level
        self.check = check
        self.total = total
        self.tree = tree

    def of(self, finding: CheckFailed) -> OcfExit | None:
        """Return how the action ends, or None where a second try found all well."""
        culprit = self._culprit(finding)
        if isinstance(culprit, DependencyDown):
            return self._dependency_down(culprit)
        if isinstance(culprit, Misconfigured):
            return self._misconfigured(culprit, finding)
        if isinstance(finding, Disconnected):
            self._note_unseen_outage(finding.dependency)
        if not isinstance(finding, Refused):
            recent = self.memory.last_down(self.service.parameters.seconds("recovery_grace"))
            if recent is not None:
                label, back = LABELS.get(recent[0], recent[0]), int(recent[1])
                return Degraded(f"{label} is back for {back} s; {self.service.name} has not reconnected yet")
        if isinstance(finding, Silent):
            return self._silence(finding)
        return GenericError(finding.reason)

    def _note_unseen_outage(self, dependency: str) -> None:
        """Note it once: a daemon that does not come back fails when the grace is over.

        Level 10 sees the broker, so an outage that it noted stays known until the daemon is back. One that level 20
        saw stays longer: when its grace is over, it says nothing of an outage now.
        """
        when, level = self.memory.down.get(dependency, (0.0, 0))
        grace = self.service.parameters.seconds("recovery_grace")
        if dependency in self.memory.down and (level <= 10 or self.memory.clock() - when < grace):
            return
        # The first level that asks the dependency sees that the daemon is there again.
        self.memory.note_down(dependency, min(self.level, 10))
        if not self.memory.save():
            # The next monitor would take it for new, and so for ever.
            del self.memory.down[dependency]

    def _culprit(self, finding: CheckFailed) -> CheckFailed | None:
        """Return the dependency that is at fault, the first in the service's order, or None."""
        itself = [finding] if isinstance(finding, (DependencyDown, Misconfigured)) else []
        if itself and itself[0].dependency in ("broker", ""):
            return finding  # first-hand, and nothing lies behind a broker
        found = ask_dependencies(self.service, self.total.part(budget(self.service, self.level) * QUESTIONS))
        down = [other for other in found if isinstance(other, DependencyDown)]
        return next(iter([*down, *itself, *found]), None)

    def _dependency_down(self, culprit: DependencyDown) -> OcfExit:
        self.memory.note_down(culprit.dependency, self.level)
        reason = f"{culprit.reason}; {self.service.name} itself is running"
        if self.service.parameters.text("on_dependency_failure") == "fail":
            return GenericError(reason)
        return Degraded(reason)

    def _misconfigured(self, culprit: Misconfigured, finding: CheckFailed) -> OcfExit:
        if self.service.lives(self.total, self.tree):
            return Degraded(f"{culprit.reason}; {self.service.name} itself still answers")
        return GenericError(culprit.reason if finding is culprit else f"{culprit.reason}; {finding.reason}")

    def _silence(self, finding: Silent) -> OcfExit | None:
        """Rule 6."""
        if self.total.left() > 0.3:
            again = _finding(self.service, self.check, self.total.part(self.total.left() - 0.2), self.tree)
            if again is None:
                self.memory.forget_trouble(self.level)
                return None
            # An answer this time, or first-hand knowledge of a culprit, is no silence.
            if not isinstance(again, (Silent, Misconfigured)):
                self.memory.forget_silence(self.level)
            if isinstance(again, DependencyDown):
                return self._dependency_down(again)
            if isinstance(again, Attention):
                return Degraded(again.reason)
            if not isinstance(again, (Silent, Misconfigured)):
                return GenericError(again.reason)
        count = self.memory.note_silence(self.level)
        limit = max(1, self.service.parameters.integer("silent_checks"))
        if count < limit:
            return Degraded(f"{finding.reason} ({count} of {limit} monitors in a row)")
        return GenericError(f"{finding.reason}, {count} monitors in a row; its dependencies are well")
