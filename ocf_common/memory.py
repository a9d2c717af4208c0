"""What an agent remembers between two calls: one small file per resource, only while something is not normal.

The file lies in a folder of root's own below the state folder. Lost, unreadable or of another shape, the
agent works on without it. What is kept:

``down``       dependency → when it was last seen down (seconds since boot)
``silent``     monitors in a row that got no answer
``published``  the state that syslog and the node attribute show
``refused``    fingerprint of refused credentials, its salt, and when they were refused
"""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT = 16384  # bytes


def since_boot() -> float:
    """Return the seconds since boot, sleep included: no change of the clock disturbs it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Memory:
    """The remembered state; ``save`` writes it, and removes the file when nothing is left to remember."""

    def __init__(self, state_folder: str, instance: str, clock: Callable[[], float] = since_boot) -> None:
        self.folder = os.path.join(state_folder, "openstack")
        # An instance name is an XML id, yet what is not is not allowed to leave the folder.
        self.path = os.path.join(self.folder, instance.replace("/", "_") + ".state")
        self.clock = clock
        self.down: dict[str, float] = {}
        self.silent = 0
        self.published = ""
        self.refused: dict[str, object] = {}
        self._loaded = self._state()
        self._load()

    def _state(self) -> dict[str, object]:
        return {"down": self.down, "silent": self.silent, "published": self.published, "refused": self.refused}

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
            down = {str(name): float(value) for name, value in values["down"].items()}
            self.down = {name: value for name, value in down.items() if value <= now}
            self.silent = max(0, int(values["silent"]))
            self.published = str(values["published"])
            self.refused = dict(values["refused"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.down, self.silent, self.published, self.refused = {}, 0, "", {}
        self._loaded = {**self._state(), "down": dict(self.down)}

    def save(self) -> None:
        """Write what has changed. A failure is no error: the agent then knows less the next time."""
        if self._state() == self._loaded:
            return
        from ocf_common.pidfile import remove, replace_file

        try:
            if not any(self._state().values()):
                remove(self.path)
                return
            import json

            self._make_folder()
            replace_file(self.path, json.dumps(self._state()).encode("utf-8"), 0o600)
        except OSError:
            pass

    def _make_folder(self) -> None:
        """Make the folder; raises OSError where something else than a folder of our own is there."""
        try:
            os.mkdir(self.folder, 0o700)
        except FileExistsError:
            status = os.stat(self.folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise

    def note_down(self, dependency: str) -> None:
        self.down = {**self.down, dependency: self.clock()}

    def last_down(self, within: float) -> tuple[str, float] | None:
        """Return the dependency that was down last, and for how many seconds it is back, if less than ``within``."""
        if not self.down:
            return None
        name = max(self.down, key=lambda key: self.down[key])
        back = self.clock() - self.down[name]
        return (name, back) if back < within else None

    def forget_trouble(self) -> None:
        """All is well: forget outages and silence (refused credentials stay until they are tried again)."""
        self.down, self.silent = {}, 0
