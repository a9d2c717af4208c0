"""What an agent remembers between two calls: one small file per resource, only while something is not normal.

The file lies in a folder of root's own below the state folder. Lost, unreadable or of another shape, the
agent works on without it. What is kept:

``down``       dependency → when it was last seen down (seconds since boot), and by which check level
``silent``     check level → monitors of it in a row that got no answer
``published``  the state that syslog and the node attribute show
``level``      the check level that published it
``refused``    fingerprint of refused credentials, its salt, and when they were refused

A resource usually has two monitors. The success of one forgets only what its own level, or a lower one, could
have seen: level 10 knows nothing of a database that level 20 found down.
"""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT = 16384  # bytes
HIGHEST = 99  # above every check level


def since_boot() -> float:
    """Return the seconds since boot, sleep included: no change of the clock disturbs it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Memory:
    """The remembered state; ``save`` writes it, and removes the file when nothing is left to remember."""

    def __init__(self, state_folder: str, instance: str, clock: Callable[[], float] = since_boot) -> None:
        self.folder = os.path.join(state_folder, "openstack")
        # An instance name is an XML id, yet what is not is not allowed to leave the folder.
        self.path = os.path.join(self.folder, instance.replace("/", "_") + ".state")
        self.state_folder, self.instance, self.clock = state_folder, instance, clock
        self.down: dict[str, tuple[float, int]] = {}
        self.silent: dict[str, int] = {}
        self.published = ""
        self.level = 0
        self.refused: dict[str, object] = {}
        self._loaded = self._state()
        self._load()

    def _state(self) -> dict[str, object]:
        return {
            "down": dict(self.down),
            "silent": dict(self.silent),
            "published": self.published,
            "level": self.level,
            "refused": self.refused,
        }

    def _load(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # the healthy case: no file, one system call
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                return
            text = os.read(descriptor, _LIMIT)
        except OSError:
            return
        finally:
            os.close(descriptor)
        import json

        try:
            values = json.loads(text)
            now = self.clock()
            down = {str(name): (float(when), int(level)) for name, (when, level) in values["down"].items()}
            self.down = {name: seen for name, seen in down.items() if seen[0] <= now}
            self.silent = {str(int(level)): int(count) for level, count in values["silent"].items()}
            self.published = str(values["published"])
            self.level = int(values["level"])
            self.refused = dict(values["refused"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            self.down, self.silent, self.published, self.level, self.refused = {}, {}, "", 0, {}
            self._loaded = {}  # the next save replaces or removes the file
            return
        self._loaded = self._state()

    def save(self) -> bool:
        """Write what has changed; return whether it will be known the next time. A failure is no error."""
        if self._state() == self._loaded:
            return True
        if all(self._state()[name] == self._loaded.get(name) for name in ("published", "level")):
            # A monitor may have published something since this call began (crm_resource --force-check is a second one).
            latest = Memory(self.state_folder, self.instance, self.clock)
            self.published, self.level = latest.published, latest.level
        from ocf_common.pidfile import remove, replace_file

        try:
            if not (self.down or self.silent or self.published or self.refused):
                remove(self.path)
                self._loaded = self._state()
                return True
            import json

            self._make_folder()
            replace_file(self.path, json.dumps(self._state()).encode("utf-8"), 0o600)
        except OSError:
            return False
        self._loaded = self._state()
        return True

    def _make_folder(self) -> None:
        """Make the folder; raises OSError where something else than a folder of our own is there."""
        try:
            os.mkdir(self.folder, 0o700)
        except FileExistsError:
            status = os.stat(self.folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise

    def note_down(self, dependency: str, level: int) -> None:
        self.down[dependency] = (self.clock(), level)

    def note_silence(self, level: int) -> int:
        """Count an unanswered monitor of this level; return how many there were in a row."""
        self.silent[str(level)] = max(0, self.silent.get(str(level), 0)) + 1
        return self.silent[str(level)]

    def forget_silence(self, level: int) -> None:
        """Begin to count anew: this monitor of this level was answered."""
        self.silent.pop(str(level), None)

    def last_down(self, within: float) -> tuple[str, float] | None:
        """Return the dependency that was down last, and for how many seconds it is back, if less than ``within``."""
        if not self.down:
            return None
        name = max(self.down, key=lambda key: self.down[key])
        back = self.clock() - self.down[name][0]
        return (name, back) if back < within else None

    def forget_trouble(self, level: int = HIGHEST) -> None:
        """All is well at this level: forget what it could have seen (refused credentials rest all the same)."""
        self.down = {name: seen for name, seen in self.down.items() if seen[1] > level}
        self.silent = {name: count for name, count in self.silent.items() if int(name) > level}
