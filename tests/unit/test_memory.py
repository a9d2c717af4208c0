"""What an agent remembers: a file only while something is not normal, and never trusted blindly."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.memory import HIGHEST, Memory, since_boot

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
SHAPED = st.fixed_dictionaries(
    {
        "down": JSON | st.dictionaries(st.text(max_size=5), st.tuples(JSON, JSON), max_size=2),
        "silent": JSON | st.dictionaries(st.text(max_size=5), JSON, max_size=2),
        "published": JSON,
        "level": JSON,
        "refused": JSON,
    }
)


def load(folder: Path, now: float = 1000.0, instance: str = "p_x") -> Memory:
    return Memory(str(folder), instance, lambda: now)


def empty(memory: Memory) -> bool:
    return not (memory.down or memory.silent or memory.published or memory.refused)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of one resource, in a folder that is there already."""
    (tmp_path / "openstack").mkdir(mode=0o700)
    return tmp_path / "openstack" / "p_x.state"


def troubled(folder: Path) -> Memory:
    memory = load(folder)
    memory.note_down("broker", 10)
    memory.note_silence(20)
    memory.published, memory.level = "RabbitMQ is down", 10
    memory.refused = {"salt": "x"}
    memory.save()
    return memory


def test_nothing_to_remember_leaves_nothing(tmp_path: Path) -> None:
    load(tmp_path).save()
    assert list(tmp_path.iterdir()) == []


def test_what_is_remembered_comes_back(tmp_path: Path) -> None:
    troubled(tmp_path)
    memory = load(tmp_path)
    assert memory.down == {"broker": (1000.0, 10)}
    assert memory.silent == {"20": 1}
    assert (memory.published, memory.level, memory.refused) == ("RabbitMQ is down", 10, {"salt": "x"})


def test_file_and_folder_are_roots_alone_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        path = Path(troubled(tmp_path).path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["p_x.state"]


def test_the_file_goes_when_all_is_well_again(tmp_path: Path) -> None:
    troubled(tmp_path)
    memory = load(tmp_path)
    memory.forget_trouble()
    memory.published, memory.refused = "", {}
    memory.save()
    assert not Path(memory.path).exists()


def test_what_another_call_has_published_meanwhile_is_kept(tmp_path: Path) -> None:
    slow = load(tmp_path)
    troubled(tmp_path)
    slow.note_silence(10)
    slow.save()
    assert (load(tmp_path).published, load(tmp_path).level) == ("RabbitMQ is down", 10)
    slow = load(tmp_path)
    Path(slow.path).unlink()  # all is well again
    slow.note_silence(10)
    slow.save()
    assert load(tmp_path).published == ""


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    path = Path(troubled(tmp_path).path)
    before = path.stat().st_ino
    load(tmp_path).save()
    assert path.stat().st_ino == before


def test_refused_credentials_are_remembered_beyond_trouble(tmp_path: Path) -> None:
    troubled(tmp_path)
    memory = load(tmp_path)
    memory.forget_trouble()
    assert memory.refused == {"salt": "x"}


@pytest.mark.parametrize(("level", "left"), [(0, 2), (10, 1), (20, 0), (HIGHEST, 0)])
def test_a_level_forgets_what_it_could_have_seen(tmp_path: Path, level: int, left: int) -> None:
    memory = load(tmp_path)
    memory.note_down("broker", 10)
    memory.note_down("database", 20)
    memory.note_silence(10)
    memory.note_silence(20)
    memory.forget_trouble(level)
    assert len(memory.down) == len(memory.silent) == left


def test_the_last_outage_and_for_how_long_it_is_over(tmp_path: Path) -> None:
    now = 1000.0
    memory = Memory(str(tmp_path), "p_x", lambda: now)
    assert memory.last_down(180) is None
    memory.note_down("database", 10)
    now = 1003.0
    memory.note_down("broker", 10)
    now = 1010.0
    assert memory.last_down(180) == ("broker", 7.0)
    assert memory.last_down(7) is None


def test_an_outage_in_the_future_is_of_another_boot(tmp_path: Path) -> None:
    troubled(tmp_path)
    assert load(tmp_path, now=5.0).down == {}


def test_silence_is_counted_for_each_level(tmp_path: Path) -> None:
    memory = load(tmp_path)
    assert [memory.note_silence(10), memory.note_silence(20), memory.note_silence(10)] == [1, 1, 2]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"down": 5}', b"[" * 16000, b'"' + b"x" * 100_000]
)
def test_garbage_is_nothing_and_is_removed_by_the_next_save(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    memory = load(path.parent.parent)
    assert empty(memory)
    memory.save()
    assert not path.exists()


@given(SHAPED)
def test_any_json_can_be_worked_with(tmp_path_factory: pytest.TempPathFactory, values: object) -> None:
    folder = tmp_path_factory.mktemp("memory")
    (folder / "openstack").mkdir()
    (folder / "openstack" / "p_x.state").write_text(json.dumps(values))
    memory = load(folder)
    memory.last_down(180)
    memory.note_down("broker", 10)
    memory.note_silence(10)
    memory.forget_trouble(10)
    memory.save()
    again = load(folder)
    assert (again.down, again.silent, again.published) == (memory.down, memory.silent, memory.published)


def test_a_planted_link_is_neither_read_nor_followed(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    target = Path(troubled(other).path)
    text = target.read_text()
    path.symlink_to(target)
    memory = load(tmp_path)
    assert empty(memory)
    memory.note_silence(10)
    memory.save()
    assert target.read_text() == text
    assert not path.is_symlink()


def test_a_file_of_somebody_else_is_not_read(path: Path, tmp_path: Path, root: None) -> None:
    troubled(tmp_path)
    os.chown(path, 65534, 65534)
    assert empty(load(tmp_path))


@pytest.mark.parametrize("kind", ["link", "file", "foreign"])
def test_a_planted_folder_is_not_used(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "openstack"
    if kind == "link":
        folder.symlink_to(elsewhere)
    elif kind == "file":
        folder.write_text("")
    else:
        request.getfixturevalue("root")
        folder.mkdir()
        os.chown(folder, 65534, 65534)
    troubled(tmp_path)  # no error: the agent knows less the next time
    assert list(elsewhere.iterdir()) == []
    assert empty(load(tmp_path))


def test_a_state_folder_that_is_missing_is_no_error(tmp_path: Path) -> None:
    troubled(tmp_path / "no" / "folder")
    assert empty(load(tmp_path / "no" / "folder"))


@pytest.mark.parametrize("instance", ["../../etc/x", "/etc/x", ".."])
def test_no_name_leaves_the_folder(tmp_path: Path, instance: str) -> None:
    memory = load(tmp_path, instance=instance)
    assert Path(memory.path).parent == tmp_path / "openstack"
    memory.note_silence(10)
    memory.save()
    assert len(list((tmp_path / "openstack").iterdir())) == 1


def test_the_clock_counts_from_boot() -> None:
    assert 0 < since_boot() <= since_boot()
