"""Whose fault is it: the rules of ``health``, with a made-up service and made-up dependencies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocf_common import health
from ocf_common.common_parameters import daemon_parameters
from ocf_common.deadline import Deadline
from ocf_common.environment import Environment
from ocf_common.exit_codes import Degraded, GenericError, OcfExit
from ocf_common.identity import Tree
from ocf_common.memory import Memory
from ocf_common.outcomes import (
    Attention,
    CheckFailed,
    DependencyDown,
    Disconnected,
    Misconfigured,
    Refused,
    Silent,
    WrongAnswer,
)
from ocf_common.parameters import Parameters
from ocf_common.service_config import ConfigError

BROKER = DependencyDown("RabbitMQ at 192.0.2.5:5672 refuses connections", "broker")
DATABASE = DependencyDown("the database at 192.0.2.6:3306 refuses connections", "database")
LOGIN = Misconfigured("RabbitMQ at 192.0.2.5:5672 refuses the login of nova", "broker")
SCHEMA = Misconfigured("the database at 192.0.2.6:3306 knows no database nova", "database")
SILENT = Silent("nova-scheduler gave no answer")
REFUSED = Refused("127.0.0.1:8774 refuses connections")
GONE = Disconnected("RabbitMQ at 192.0.2.5:5672 has no queue scheduler.controller", "broker")
WRONG = WrongAnswer("http://127.0.0.1:8774/ answers 500")


class FakeService:
    """What ``health`` asks of a service. Each finding in ``finds`` is what one check says, the last one for ever."""

    name = "nova-scheduler"

    def __init__(self, folder: Path, timeout: float = 20.0, **given: str) -> None:
        self.now = 1000.0
        variables = {"OCF_RESKEY_CRM_meta_timeout": str(timeout * 1000)}
        self.environment = Environment(variables, ["agent", "monitor"], 0)
        self.parameters = Parameters(daemon_parameters("x", "/etc/x.conf", "x", False), given)
        self.memory = Memory(str(folder), "p_x", lambda: self.now)
        self.dependencies: tuple[str, ...] = ("database", "broker")
        self.finds: list[CheckFailed | None] = [None]
        self.database: Exception | None = None
        self.broker: Exception | None = None
        self.alive = True
        self.asked: list[str] = []
        self.limits: list[float] = []
        self.hangs = threading.Event()
        self.hanging: frozenset[str] = frozenset()

    def _say(self, what: str, finding: Exception | None) -> None:
        self.asked.append(what)
        if what in self.hanging:
            self.hangs.wait()
        if finding is not None:
            raise finding

    def answers(self, deadline: Deadline, tree: Tree) -> None:
        self.limits.append(deadline.left())
        self._say("answers", self.finds.pop(0) if len(self.finds) > 1 else self.finds[0])

    def works(self, deadline: Deadline, tree: Tree) -> None:
        self.asked.append("works")
        self.answers(deadline, tree)

    def lives(self, deadline: Deadline, tree: Tree) -> bool:
        return self.alive

    def uses(self, dependency: str) -> bool:
        return dependency == "database" or self.broker is not None

    def databases(self) -> list[Any]:
        self._say("database", self.database)
        return []

    def brokers(self) -> list[Any]:
        self._say("broker", self.broker)
        return []

    def examine(self, level: int = 10) -> tuple[int, str]:
        """Give exit code and reason of one monitor."""
        try:
            health.examine(self, level, Tree())  # type: ignore[arg-type]
        except OcfExit as ending:
            return ending.code, ending.reason
        return 0, ""


Make = Callable[..., FakeService]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[FakeService] = []

    def new(**settings: Any) -> FakeService:
        made.append(FakeService(tmp_path, **settings))
        return made[-1]

    yield new
    for service in made:
        service.hangs.set()  # the threads that still hang end with the test


# Rule 1: well


@pytest.mark.parametrize(("level", "asked"), [(10, ["answers"]), (20, ["works", "answers"])])
def test_well_and_no_dependency_is_asked(make: Make, level: int, asked: list[str]) -> None:
    service = make()
    assert service.examine(level) == (0, "")
    assert service.asked == asked


def test_well_forgets_outages_and_silence(make: Make) -> None:
    service = make()
    service.memory.note_down("broker", 20)
    service.memory.note_silence(10)
    service.examine(20)
    assert (service.memory.down, service.memory.silent) == ({}, {})


def test_well_at_a_lower_level_forgets_nothing_that_only_a_higher_one_sees(make: Make) -> None:
    service = make()
    service.memory.note_down("database", 20)
    service.memory.note_silence(20)
    service.memory.note_silence(10)
    service.examine(10)
    assert list(service.memory.down) == ["database"]
    assert service.memory.silent == {"20": 1}


# Rule 2: an operator's matter


def test_attention_is_degraded_and_asks_nobody(make: Make) -> None:
    service = make()
    service.database = DATABASE
    service.finds = [Attention("drained by an operator")]
    assert service.examine() == (190, "drained by an operator")
    assert service.asked == ["answers"]


# Rule 3: a dependency is down


@pytest.mark.parametrize("finding", [SILENT, REFUSED, WRONG, DATABASE])
def test_database_down_is_degraded_with_the_culprit(make: Make, finding: CheckFailed) -> None:
    service = make()
    service.finds, service.database = [finding], DATABASE
    assert service.examine() == (190, f"{DATABASE.reason}; nova-scheduler itself is running")
    assert service.memory.down == {"database": (1000.0, 10)}


@pytest.mark.parametrize("finding", [SILENT, REFUSED, WRONG, DATABASE, BROKER])
def test_dependency_down_fails_where_the_operator_wants_failover(make: Make, finding: CheckFailed) -> None:
    service = make(on_dependency_failure="fail")
    service.finds, service.database = [finding], DATABASE
    code, reason = service.examine()
    assert code == 1
    assert "refuses connections" in reason


def test_first_hand_knowledge_of_the_broker_asks_nobody_else(make: Make) -> None:
    service = make()
    service.finds, service.database = [BROKER], DATABASE
    assert service.examine()[1].startswith(BROKER.reason)
    assert service.asked == ["answers"]


def test_the_first_culprit_in_the_services_own_order_is_named(make: Make) -> None:
    service = make()
    service.finds, service.database, service.broker = [SILENT], DATABASE, BROKER
    assert service.examine()[1].startswith(DATABASE.reason)
    service.dependencies = ("broker", "database")
    assert service.examine()[1].startswith(BROKER.reason)


def test_a_dependency_that_is_down_comes_before_one_that_is_misconfigured(make: Make) -> None:
    service = make()
    service.finds, service.database, service.broker = [SILENT], SCHEMA, BROKER
    assert service.examine()[1].startswith(BROKER.reason)


def test_a_dependency_that_hangs_is_down(make: Make) -> None:
    service = make()
    service.finds, service.hanging = [SILENT], frozenset({"database"})
    code, reason = service.examine()
    assert code == 190
    assert reason.startswith("the database gave no answer within")


def test_a_dependency_that_is_turned_off_is_not_asked(make: Make) -> None:
    service = make()
    service.finds = [WRONG]
    service.examine()
    assert "broker" not in service.asked


def test_a_fault_of_our_own_question_proves_nothing_against_a_dependency(make: Make) -> None:
    service = make()
    service.finds, service.database = [WRONG], ZeroDivisionError("a defect of ours")
    assert service.examine() == (1, WRONG.reason)


# Rule 4: this node's configuration


@pytest.mark.parametrize(
    ("finding", "database"),
    [(LOGIN, None), (SCHEMA, SCHEMA), (SILENT, SCHEMA), (WRONG, ConfigError("/etc/x.conf", "is a folder"))],
)
def test_misconfigured_is_degraded_while_the_daemon_itself_answers(
    make: Make, finding: CheckFailed, database: Exception | None
) -> None:
    service = make()
    service.finds, service.database = [finding], database
    code, reason = service.examine()
    assert code == 190
    assert reason.endswith("nova-scheduler itself still answers")
    service.alive = False
    code, reason = service.examine()
    assert code == 1
    assert "still answers" not in reason


def test_unreadable_configuration_of_the_service_is_misconfigured(make: Make) -> None:
    service = make()

    def broken(deadline: Deadline, tree: Tree) -> None:
        raise ConfigError("/etc/x.conf", "is a folder")

    service.answers = broken  # type: ignore[method-assign]
    assert service.examine() == (
        190,
        "configuration file /etc/x.conf is a folder; nova-scheduler itself still answers",
    )


def test_both_reasons_are_given_where_the_daemon_does_not_answer_either(make: Make) -> None:
    service = make()
    service.finds, service.database, service.alive = [WRONG], SCHEMA, False
    assert service.examine() == (1, f"{SCHEMA.reason}; {WRONG.reason}")


# Rule 5: reconnecting


@pytest.mark.parametrize("finding", [SILENT, WRONG])
def test_recovery_is_degraded_until_the_grace_is_over(make: Make, finding: CheckFailed) -> None:
    service = make()
    service.finds = [finding]
    service.memory.note_down("broker", 10)
    service.now += 7
    assert service.examine() == (190, "RabbitMQ is back for 7 s; nova-scheduler has not reconnected yet")
    service.now += 172.9
    assert service.examine()[0] == 190
    assert service.memory.silent == {}
    service.now += 0.1
    assert "is back" not in service.examine()[1]


def test_a_broker_that_has_forgotten_the_daemon_was_restarted_unseen(make: Make) -> None:
    service = make()
    service.finds = [GONE]
    assert service.examine() == (190, "RabbitMQ is back for 0 s; nova-scheduler has not reconnected yet")
    # Noted once, and by another call as well: it is not for ever.
    service.now += 179
    service.memory = Memory(service.memory.folder.rpartition("/")[0], "p_x", lambda: service.now)
    assert service.examine() == (190, "RabbitMQ is back for 179 s; nova-scheduler has not reconnected yet")
    service.now += 2
    assert service.examine() == (1, GONE.reason)
    # It has come back, and the broker is restarted once more.
    service.finds = [None]
    assert service.examine() == (0, "")
    service.finds = [GONE]
    assert service.examine()[0] == 190


def test_an_old_outage_that_level_20_saw_does_not_spoil_the_grace_of_a_new_one(make: Make) -> None:
    service = make()
    service.finds = [BROKER]
    assert service.examine(20)[0] == 190
    service.finds = [None]
    service.now += 9 * 86400
    assert service.examine(10)[0] == 0
    service.finds = [GONE]
    assert service.examine(10) == (190, "RabbitMQ is back for 0 s; nova-scheduler has not reconnected yet")
    # The grace is not renewed: a daemon that is lost fails.
    service.now += 181
    assert [service.examine(level)[0] for level in (20, 10)] == [1, 1]


def test_a_broker_that_has_forgotten_the_daemon_is_no_excuse_that_cannot_be_remembered(make: Make) -> None:
    service = make()
    Path(service.memory.folder).write_text("in the way")
    service.finds = [GONE]
    assert service.examine() == (1, GONE.reason)
    assert service.examine() == (1, GONE.reason)


def test_recovery_grace_is_a_parameter(make: Make) -> None:
    service = make(recovery_grace="5")
    service.finds = [WRONG]
    service.memory.note_down("broker", 10)
    service.now += 4
    assert service.examine()[0] == 190
    service.now += 1
    assert service.examine() == (1, WRONG.reason)


def test_refused_connections_prove_death_even_in_the_grace(make: Make) -> None:
    service = make()
    service.finds = [REFUSED]
    service.memory.note_down("broker", 10)
    assert service.examine() == (1, REFUSED.reason)


# Rule 6: silence


def test_silence_is_degraded_once_and_fails_the_second_time(make: Make) -> None:
    service = make()
    service.finds = [SILENT]
    assert service.examine() == (190, f"{SILENT.reason} (1 of 2 monitors in a row)")
    code, reason = service.examine()
    assert code == 1
    assert "2 monitors in a row" in reason


@pytest.mark.parametrize("value", ["1", "0"])
def test_silence_fails_at_once_where_the_operator_wants_it(make: Make, value: str) -> None:
    service = make(silent_checks=value)
    service.finds = [SILENT]
    assert service.examine()[0] == 1


def test_silence_is_asked_again_and_an_answer_is_well(make: Make) -> None:
    service = make()
    service.memory.note_silence(10)
    service.finds = [SILENT, None]
    assert service.examine() == (0, "")
    assert service.asked == ["answers", "database", "answers"]
    assert service.memory.silent == {}


def test_an_answer_between_two_silences_starts_the_count_anew(make: Make) -> None:
    service = make()
    for finding, code in ((SILENT, 190), (None, 0), (SILENT, 190), (SILENT, 1)):
        service.finds = [finding]
        assert service.examine()[0] == code


def test_silence_is_counted_for_each_level_alone(make: Make) -> None:
    service = make()
    service.finds = [SILENT]
    assert service.examine(20)[0] == 190
    assert service.examine(10)[0] == 190
    assert service.examine(20)[0] == 1


@pytest.mark.parametrize("between", [[Attention("disabled")], [WRONG], [REFUSED], [BROKER], [SILENT, Attention("x")]])
def test_whatever_is_no_silence_ends_the_row(make: Make, between: list[CheckFailed]) -> None:
    service = make(recovery_grace="0")
    for finds in ([SILENT], between, [SILENT]):
        service.finds = list(finds)
        code, reason = service.examine(20)
    assert (code, reason) == (190, f"{SILENT.reason} (1 of 2 monitors in a row)")


@pytest.mark.parametrize(("second", "code"), [(WRONG, 1), (REFUSED, 1), (Attention("drained"), 190)])
def test_what_the_second_try_finds_is_said(make: Make, second: CheckFailed, code: int) -> None:
    """It is an answer, so it is no silence."""
    service = make()
    service.finds = [SILENT, second]
    assert service.examine() == (code, second.reason)
    assert service.memory.silent == {}


def test_a_check_that_never_returns_is_silence(make: Make) -> None:
    service = make(timeout=1)
    service.hanging = frozenset({"answers"})
    code, reason = service.examine()
    assert code == 190
    assert reason.startswith("nova-scheduler gave no answer within 0.2")


# Rule 7: everything else


@pytest.mark.parametrize("finding", [REFUSED, WRONG])
def test_the_service_is_at_fault_where_its_dependencies_are_well(make: Make, finding: CheckFailed) -> None:
    service = make()
    service.finds = [finding]
    assert service.examine() == (1, finding.reason)
    assert service.asked == ["answers", "database"]


# Time


@pytest.mark.parametrize("level", [10, 20])
@pytest.mark.parametrize("timeout", [1, 2, 3, 5, 10, 20, 120])
def test_the_budget_lies_inside_the_actions_time(make: Make, level: int, timeout: int) -> None:
    service = make(timeout=timeout)
    budget = health.budget(service, level)  # type: ignore[arg-type]
    assert budget <= {10: 5, 20: 10}[level]
    assert 0.5 <= budget <= timeout - service.environment.margin


@pytest.mark.parametrize("level", [10, 20])
def test_the_budget_uses_the_levels_time_where_the_action_has_it(make: Make, level: int) -> None:
    assert health.budget(make(timeout=20), level) == health.LEVEL_SECONDS[level]  # type: ignore[arg-type]


@pytest.mark.parametrize("hanging", [{"answers"}, {"answers", "database"}, {"database"}])
@pytest.mark.parametrize("timeout", [1, 2])
def test_the_whole_check_ends_inside_the_actions_time_whatever_hangs(
    make: Make, hanging: set[str], timeout: float
) -> None:
    service = make(timeout=timeout)
    service.finds, service.hanging = [SILENT], frozenset(hanging)
    begin = time.monotonic()
    assert service.examine()[0] == 190
    assert time.monotonic() - begin < timeout


def test_request_timeout_limits_one_request_and_leaves_time_for_the_questions(make: Make) -> None:
    service = make(timeout=20, request_timeout="1.5")
    service.examine()
    assert service.limits[0] == pytest.approx(1.5, abs=1)
    service = make(timeout=5, request_timeout="60")
    service.examine()
    assert 1 < service.limits[0] <= 2.4  # of 4 s, 1.4 are for the questions


def test_a_hung_service_is_not_excused_by_a_long_request_timeout(make: Make) -> None:
    service = make(timeout=3, request_timeout="10")
    service.hanging = frozenset({"answers"})
    assert [service.examine()[0] for _ in range(2)] == [190, 1]
    assert "database" in service.asked
    assert service.memory.down == {}


@pytest.mark.parametrize(("asked", "level"), [(-3, 0), (0, 0), (9, 0), (10, 10), (15, 10), (20, 20), (99, 20)])
def test_an_unknown_level_means_the_next_lower(asked: int, level: int) -> None:
    assert health.normal_level(asked) == level


def test_only_two_endings_leave_a_check() -> None:
    assert (Degraded.code, GenericError.code) == (190, 1)
