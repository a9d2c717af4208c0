"""CPU time of commands, measured inside a node: run as a script there, it prints one JSON line.

Standard input: a JSON list of [label, argv, environment, runs]. Output: {label: {"cpu": median ms, "wall": median ms,
"codes": exit codes}}. The commands are interleaved, so that a busy moment of the machine hits all of them alike.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time


def once(argv: list[str], environment: dict[str, str]) -> tuple[float, float, int]:
    """Run a command; return CPU and wall time in ms (children included) and the exit code."""
    null = os.open(os.devnull, os.O_RDWR)
    begin = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    os.close(null)
    return (usage.ru_utime + usage.ru_stime) * 1000, wall * 1000, os.waitstatus_to_exitcode(status)


def main() -> None:
    jobs = json.load(sys.stdin)
    samples: dict[str, list[tuple[float, float, int]]] = {job[0]: [] for job in jobs}
    for turn in range(max(job[3] for job in jobs)):
        for label, argv, environment, runs in jobs:
            if turn < runs:
                samples[label].append(once(argv, environment))
    result = {
        label: {
            "cpu": statistics.median(sample[0] for sample in taken),
            "wall": statistics.median(sample[1] for sample in taken),
            "codes": sorted({sample[2] for sample in taken}),
        }
        for label, taken in samples.items()
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
