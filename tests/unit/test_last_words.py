"""The last words of a daemon: the line that tells why, and only what is new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocf_common.last_words import LIMIT, size, tail

TRACEBACK = """Traceback (most recent call last):
  File "/usr/bin/nova-scheduler", line 10, in <module>
    sys.exit(main())
    ^^^^^^^^^^^^^^^^
oslo_config.cfg.ConfigFilesNotFoundError: Failed to find some config files: /x
"""
OSLO = "2026-03-01 10:00:00.123 4711 ERROR nova.service [-] Cannot bind to port 8774\n"
BANNER = "*** Starting uWSGI 2.0.21 (64bit) ***\n*** Operational MODE: preforking ***\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("\n \n", ""),
        ("hello\n", "hello"),
        (TRACEBACK, "oslo_config.cfg.ConfigFilesNotFoundError: Failed to find some config files: /x"),
        (OSLO, "Cannot bind to port 8774"),
        (BANNER, ""),
        (
            BANNER + "no python application found, check your startup logs for errors\n" + BANNER,
            "no python application",
        ),
        ("one\ntwo\n", "two"),
        ("x: error: boom\nbye\n", "x: error: boom"),
    ],
)
def test_the_line_that_tells(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.log"
    path.write_text(text)
    found = tail([str(path)])
    assert found.startswith(words) if words else found == ""


def test_a_daemon_that_was_killed_has_no_last_words(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("2026-03-01 10:00:00.123 4711 WARNING keystone.server [-] Authorization failed for somebody\nbye\n")
    assert tail([str(path)], any_line=False) == ""
    assert tail([str(path)]) == "bye"


def test_only_what_was_written_since_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("old Error\n")
    before = {str(path): size(str(path))}
    assert tail([str(path)], before) == ""
    with path.open("a") as log:
        log.write("new Error\n")
    assert tail([str(path)], before) == "new Error"


def test_a_file_that_was_rotated_is_all_new(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("new Error\n")
    assert tail([str(path)], {str(path): 5000}) == "new Error"


def test_the_first_file_that_tells_more_than_nothing(tmp_path: Path) -> None:
    quiet, telling = tmp_path / "quiet", tmp_path / "telling"
    quiet.write_text("starting\n")
    telling.write_text("x Error\n")
    assert tail([str(quiet), "", str(tmp_path / "missing"), str(telling)]) == "x Error"
    assert tail([str(quiet)]) == "starting"


def test_bytes_that_are_no_text_and_endless_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"\xff\xfe Error \x00" + b"x" * 1_000_000)
    assert len(tail([str(path)])) <= LIMIT


def test_what_is_no_file_of_its_own_is_not_read(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("secret Error\n")
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        assert tail([str(tmp_path / name)]) == ""
    assert size(str(tmp_path / "missing")) == 0
