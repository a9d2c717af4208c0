"""A real small daemon with workers, under the name of a service; see daemons/daemon.py for what it can do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ocf_common.identity import Expected, Finder, Tree, is_running
from ocf_common.pidfile import PidRecord
from ocf_common.procfs import Proc, Process

SOURCE = Path(__file__).resolve().parent / "daemons" / "daemon.py"
NAME = "nova-scheduler"


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Give what ``condition`` returns once it is true; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


class RealDaemon:
    """``script`` and ``config`` lie in ``folder``; nothing runs before ``start``."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.script = folder / "bin" / name
        self.script.parent.mkdir()
        shutil.copy(SOURCE, self.script)
        (self.script.parent / "privsep-helper").write_text("import signal\nsignal.pause()\n")
        self.config = folder / "service.conf"
        self.config.write_text("")
        self.proc = Proc()
        self.seen: dict[tuple[int, int], Process] = {}
        self.opened: list[subprocess.Popen[bytes]] = []
        self.numbers: dict[str, Any] = {}

    @property
    def arguments(self) -> list[str]:
        return [sys.executable, str(self.script), "--config-file", str(self.config)]

    def start(self, *options: str) -> Process:
        """Start it and give its main process, once all of it is up."""
        process = subprocess.Popen([*self.arguments, *options], stdout=subprocess.PIPE, start_new_session=True)
        self.opened.append(process)
        assert process.stdout is not None
        self.numbers = json.loads(process.stdout.readline())
        for pid in (self.numbers["main"], *self.numbers["workers"], self.numbers["child"], self.numbers["helper"]):
            if pid:
                self.note(pid)
        return self.note(self.numbers["main"])

    def note(self, pid: int) -> Process:
        """Remember a living process for ``clean``."""
        process = self.proc.process(pid)
        assert process is not None
        self.seen[process.key] = process
        return process

    def alive(self, pids: Iterable[int]) -> list[int]:
        return [process.pid for process in self.seen.values() if process.pid in pids and is_running(self.proc, process)]

    def signal(self, number: int, pids: Iterable[int]) -> None:
        for pid in pids:
            os.kill(pid, number)

    def find(self, record: PidRecord | None = None) -> Tree:
        expected = Expected([self.script.name], [str(self.config)], [], None)
        return Finder(self.proc, expected, os.getpid()).find(record, thorough=True)

    def output(self) -> str:
        """Give what the daemon has printed after its first line; it must have ended."""
        stream = self.opened[-1].stdout
        assert stream is not None
        return stream.read().decode()

    def clean(self) -> None:
        for process in self.seen.values():
            with contextlib.suppress(ProcessLookupError):
                if is_running(self.proc, process):
                    os.kill(process.pid, signal.SIGKILL)
        for opened in self.opened:
            opened.wait(10)
            if opened.stdout is not None:
                opened.stdout.close()
