"""All tests, in groups, with a summary that names what was left out and how to get it.

``python -m tools.check [style|unit|services|cluster …]``; without a name all groups. Exit code 1 when a test failed,
and, where ``CI`` is set, also when something was left out that this machine must be able to run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tools import prepare

if TYPE_CHECKING:
    #: passed, failed, or None for left out; and what there is to say about it
    Outcome = tuple[bool | None, str]

ROOT = prepare.ROOT
COVERAGE_GOAL = 90  # percent of the library's branches and lines, unit and service tests together
PYTHONS = ("3.9", "3.11", "3.13")
GROUPS = ("style", "unit", "services", "cluster")
WITHOUT_LAB = ("tests", "--ignore=tests/services", "--ignore=tests/cluster")
OUTAGES = "tests/cluster/test_outages.py"  # these wait for minutes: on a cluster of their own, beside all others
TIMELINES = ROOT / "build/timelines"


@dataclass
class Result:
    """How one group ended: ``ok`` True, False, or None where it was left out; ``text`` says why or what."""

    group: str
    ok: bool | None
    seconds: float = 0.0
    text: str = ""


@dataclass
class Report:
    results: list[Result] = field(default_factory=list)

    def add(self, works: dict[str, Callable[[], Outcome]], at_once: int = len(PYTHONS)) -> None:
        """Run groups side by side, not more than that many at once, and note how each ended."""

        def result(group: str) -> Result:
            begin = time.monotonic()
            ok, text = works[group]()
            return Result(group, ok, time.monotonic() - begin, text)

        print(f"\n=== {' | '.join(works)}", flush=True)
        with ThreadPoolExecutor(at_once) as pool:
            try:
                self.results += pool.map(result, works)
            except BaseException:
                # Ctrl-C has reached what runs; what waits is not begun.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def print(self) -> None:
        words = {True: "passed", False: "FAILED", None: "left out"}
        print("\n=== summary")
        for result in self.results:
            print(f"{result.group:<22} {words[result.ok]:<9} {result.seconds:6.0f} s  {result.text}")


@contextmanager
def started(command: Iterable[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command until it ends; options: of Popen."""
    with subprocess.Popen([str(word) for word in command], cwd=ROOT, text=True, **options) as process:
        _running.add(process)
        try:
            yield process
            process.wait()
        finally:
            _running.discard(process)


_running: set[subprocess.Popen[str]] = set()


def terminate(number: int, _frame: object) -> None:
    """End as Ctrl-C does, which the terminal sends to everything that runs; this signal came here alone."""
    for process in list(_running):
        process.send_signal(number)
    raise KeyboardInterrupt


def run(*command: str | Path) -> bool:
    """Run a command with its output on the terminal; return whether it succeeded."""
    with started(command) as process:
        pass
    return process.returncode == 0


def stream(name: str, *command: str | Path) -> int:
    """Run a command that has the terminal with others: each line says whose it is. Return its exit code."""
    # Not when a buffer is full: the lines show how far it is.
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with started(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{name:>9} | {line}", end="", flush=True)
    return process.returncode


def tests(name: str, *arguments: str | Path, runner: Sequence[str | Path] = (sys.executable,)) -> tuple[bool, str]:
    """Run pytest; give whether all passed, and a remark. runner: the interpreter that runs it, with its arguments.

    On a busy machine a process may be late: what failed is run once more, in a new laboratory; the remark names it.
    Not so what may never happen even once (`BrokenPromise` of the cluster tests).
    """
    # A cache of its own each, for groups run side by side, and a new one: what failed earlier is nothing to this run.
    cache = ROOT / ".pytest_cache" / name
    shutil.rmtree(cache, ignore_errors=True)
    command = [*runner, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
    code = stream(name, *command)
    if code != pytest.ExitCode.TESTS_FAILED:
        return code == 0, "" if code == 0 else f"; pytest ended with {code}"
    broken = cache / "v/promises/broken"
    if broken.exists():
        return False, f"; no second try for: {', '.join(json.loads(broken.read_text()))}"
    failed = json.loads((cache / "v/cache/lastfailed").read_text())
    print(f"{name:>9} | --- what failed, once more", flush=True)
    passed = stream(name, *command, "--last-failed", "--last-failed-no-failures=none") == 0
    return passed, f"; only at the second try: {', '.join(failed)}" if passed else ""


def in_laboratory(work: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Give the group's work where a laboratory can run; else what leaves it out and says why."""
    from lab import settings

    missing = settings.missing()
    return (lambda: (None, "; ".join(missing))) if missing else work


def laboratory() -> Outcome:
    """Build what the groups with real daemons boot, as far as it is not there, and show what is being done."""
    from lab import settings

    return run(sys.executable, "-m", "lab", "build"), f"in {settings.CACHE}"


def style() -> Outcome:
    python = sys.executable
    checks = [
        run(python, "-m", "ruff", "check", "."),
        run(python, "-m", "ruff", "format", "--check", "."),
        run(python, "-m", "mypy"),
    ]
    return all(checks), "ruff check, ruff format, mypy --strict"


def interpreter(version: str) -> str:
    """Return the path of ``pythonVERSION``, or an empty string."""
    found = shutil.which(f"python{version}")
    if found is None:
        return ""
    # A version manager's stand-in may refuse; its versions lie beside the folder of stand-ins.
    candidates = [Path(found), *sorted(Path(found).parent.parent.glob(f"versions/{version}*/bin/python{version}"))]
    for candidate in candidates:
        command = [str(candidate), "-c", "import sys, venv; print(sys.executable)"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return ""


def unit(version: str) -> Outcome:
    """Run the unit tests with one version of Python; the environment's own also measures coverage."""
    measured = ROOT / ".coverage.unit"
    python: list[str | Path] = [sys.executable, "-m", "coverage", "run", "--append", f"--data-file={measured}"]
    text = "with coverage"
    if version != f"{sys.version_info[0]}.{sys.version_info[1]}":
        path = interpreter(version)
        if not path:
            return None, f"no python{version} in PATH; install that interpreter to include it"
        folder = ROOT / f".venv-{version}"
        prepare.make_environment(path, folder)
        python, text = [folder / "bin/python"], ""
    else:
        measured.unlink(missing_ok=True)
    ok, remark = tests(f"unit-{version}", "-q", *WITHOUT_LAB, runner=python)
    return ok, (text + remark).removeprefix("; ")


def services() -> Outcome:
    from lab import eras

    without = eras.ocata_missing()
    text = f"without nova-cert and nova-consoleauth: {without}" if without else "Ocata, Zed and 2026.1"
    ok, remark = tests("services", "-q", "tests/services")
    return ok, (text + remark).removeprefix("; ")


def cluster(name: str, *arguments: str) -> Outcome:
    ok, remark = tests(name, "-v", *arguments)
    return ok, f"timelines: build/cluster-tests.html{remark}"


def coverage() -> Outcome:
    """Put the measurements of all groups together."""
    data = sorted(str(path) for path in ROOT.glob(".coverage.*"))
    if not data:
        return None, "nothing was measured"
    run(sys.executable, "-m", "coverage", "combine", "-q", "--keep", *data)
    ok = run(sys.executable, "-m", "coverage", "report", f"--fail-under={COVERAGE_GOAL}")
    return ok, f"of ocf_common, branches included; the goal is {COVERAGE_GOAL} %"


def main(groups: Iterable[str]) -> int:
    wanted = tuple(groups) or GROUPS
    report = Report()
    for old in ROOT.glob(".coverage*"):
        if not groups or old.name == ".coverage":
            old.unlink()
    if "style" in wanted:
        report.add({"style": style})
    if "unit" in wanted:
        report.add({f"unit, Python {version}": partial(unit, version) for version in PYTHONS})
    with_daemons: dict[str, Callable[[], Outcome]] = {}
    if "cluster" in wanted:
        shutil.rmtree(TIMELINES, ignore_errors=True)
        with_daemons["cluster"] = partial(cluster, "cluster", "tests/cluster", f"--ignore={OUTAGES}")
    if "services" in wanted:
        with_daemons["services"] = services
    if "cluster" in wanted:
        with_daemons["outages"] = partial(cluster, "outages", OUTAGES)
    if with_daemons:
        report.add({"laboratory": in_laboratory(laboratory)})
        # They wait more than they work; more than two at once would be late now and then.
        report.add({group: in_laboratory(work) for group, work in with_daemons.items()}, at_once=2)
    if {"unit", "services"} <= set(wanted):
        report.add({"coverage": coverage})
    report.print()
    failed = [result for result in report.results if result.ok is False]
    # Where everything can be had nothing may be left out without notice; other Pythons are not always there.
    if os.environ.get("CI") and os.geteuid() == 0:
        failed += [r for r in report.results if r.ok is None and not r.group.startswith("unit")]
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted; what ran has been removed")
