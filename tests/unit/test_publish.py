"""The present state for people: on a change only, and never at the expense of the verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ocf_common.memory import HIGHEST, Memory
from ocf_common.publish import attribute_name, publish

UPDATER = "/usr/sbin/attrd_updater"
DOWN = "RabbitMQ at 192.0.2.5:5672 refuses connections"


class Board:
    """Counts what is published; a new call of the agent has the memory of the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.updates: list[list[str]] = []

    def say(self, state: str, level: int = 10) -> int:
        """Publish as a new call of the agent does; give how many updates that took."""
        before = len(self.updates)
        memory = Memory(str(self.folder), "p_nova-api")
        publish(memory, "p_nova-api", state, level, self.updates.append)
        memory.save()
        return len(self.updates) - before


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_a_change_is_published_once(board: Board) -> None:
    assert [board.say(DOWN), board.say(DOWN), board.say(DOWN)] == [1, 0, 0]
    assert board.updates == [[UPDATER, "-n", "degraded-p_nova-api", "-U", DOWN]]


def test_well_from_the_beginning_publishes_nothing(board: Board) -> None:
    assert board.say("") == 0


def test_well_again_removes_the_attribute(board: Board) -> None:
    board.say(DOWN)
    assert [board.say(""), board.say("")] == [1, 0]
    assert board.updates[-1] == [UPDATER, "-n", "degraded-p_nova-api", "-D"]


def test_another_reason_is_a_change(board: Board) -> None:
    board.say(DOWN)
    assert board.say("the database is down") == 1


@pytest.mark.parametrize(
    ("first", "second", "changed"),
    [
        (
            "RabbitMQ is back for 7 s; x has not reconnected yet",
            "RabbitMQ is back for 22 s; x has not reconnected yet",
            0,
        ),
        ("is 61 s old", "is 76 s old", 0),
        ("gave no answer within 1.8 s; x itself is running", "gave no answer within 3.75 s; x itself is running", 0),
        ("2 of 3 monitors in a row", "1 of 3 monitors in a row", 1),
        ("stopped processes: 7, 8", "stopped processes: 7, 9", 1),
    ],
)
def test_seconds_are_no_change_of_state(board: Board, first: str, second: str, changed: int) -> None:
    board.say(first)
    assert board.say(second) == changed


def test_a_lower_level_does_not_say_that_all_is_well(board: Board) -> None:
    """It could not see what the higher one saw."""
    board.say(DOWN, 20)
    assert board.say("", 10) == 0
    assert board.say("", 20) == 1


def test_two_monitors_take_turns_without_any_update(board: Board) -> None:
    board.say(DOWN, 20)
    assert sum(board.say(state, level) for state, level in (("", 10), ("", 0), (DOWN, 20)) * 5) == 0


def test_the_end_of_the_resource_removes_whatever_is_shown(board: Board) -> None:
    board.say(DOWN, 20)
    assert board.say("", HIGHEST) == 1


@pytest.mark.parametrize(
    ("instance", "name"), [("p_nova-api", "degraded-p_nova-api"), ("a:0", "degraded-a_0"), ("a b/c", "degraded-a_b_c")]
)
def test_name_of_the_attribute(instance: str, name: str) -> None:
    assert attribute_name(instance) == name


#: publishes through a real child process, where a caller ignores SIGCHLD
CALL = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from ocf_common import publish
if sys.argv[2] == "ignored":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
publish.TIME_LIMIT = 0.5
publish._run(sys.argv[3:])
print("done")
"""


@pytest.mark.parametrize("children", ["default", "ignored"])
@pytest.mark.parametrize(
    "command", [["/bin/true"], ["/bin/false"], ["/bin/sleep", "60"], ["/nowhere/updater"], ["/etc/passwd"]]
)
def test_a_failure_to_publish_changes_nothing(children: str, command: list[str]) -> None:
    library = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CALL, library, children, *command], capture_output=True, text=True, timeout=10
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
