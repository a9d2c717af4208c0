"""Directories that are expensive to build, kept under a name that holds the hash of their recipe.

1. A directory is complete or absent: it is built under a temporary name and renamed.
2. One builder at a time for each name (a file lock, which also holds between threads).
3. A new recipe removes the directories of older ones, except those that a mount still uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import progress, settings

#: Seconds for which one waits without being told.
PATIENCE = 2.0


def digest(*recipe: str) -> str:
    """Name a recipe: the same parts give the same twelve hex digits."""
    return hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]


@contextlib.contextmanager
def locked(name: str, work: str = "") -> Iterator[None]:
    """Hold the lock of that name; wait for whoever holds it.

    work: what its holder does, for the person who waits for longer than PATIENCE.
    """
    settings.CACHE.mkdir(parents=True, exist_ok=True)
    with open(settings.CACHE / f"{name}.lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"waiting for another program, which {work or f'holds {handle.name}'} ..."
            notice = threading.Timer(PATIENCE, progress.say, [text])
            notice.daemon = True
            notice.start()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            finally:
                notice.cancel()
        yield


def path(name: str, recipe: str) -> Path:
    """Give the place of a directory, built or not."""
    return settings.LAYERS / f"{name}-{recipe}"


def directory(name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """Give the directory of that recipe, built now by `build(temporary path)` if it is not there."""
    done = path(name, recipe)
    if done.is_dir():
        return done
    with locked(name, f"builds {name}"):
        if done.is_dir():
            return done
        settings.LAYERS.mkdir(parents=True, exist_ok=True)
        temporary = settings.LAYERS / f".{name}-{recipe}.building"
        _remove(temporary)
        with progress.step(f"building {name}"):
            build(temporary)
        temporary.rename(done)
        remove_older(done)
    return done


def remove_older(keep: Path) -> None:
    """Remove the directories of that name but another recipe that no mount uses."""
    name = keep.name.rpartition("-")[0]
    mounts = Path("/proc/self/mounts").read_text()
    for old in settings.LAYERS.glob(f"{name}-*"):
        if old != keep and str(old) not in mounts:
            _remove(old)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
