"""The power switch of the laboratory's nodes, which the fence agent in them (files/fence_lab) asks through a socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path


class PowerSwitch:
    """Answers `ACTION NODE` lines on a unix socket until it is closed.

    folder: where the socket is made; shown in the nodes, so that only files lead to it and never the network that a
    test cuts. perform: does it and gives the answer ("ok", "on", "off", or what went wrong).
    """

    def __init__(self, folder: Path, perform: Callable[[str, str], str]) -> None:
        self.folder = folder
        self.perform = perform
        #: a device that takes questions and does not answer, for as long as this is set
        self.silent = False
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Begin to answer."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._socket.bind(str(self.folder / "socket"))
        self._socket.listen(8)
        threading.Thread(target=self._serve, args=(self._socket,), name="power switch", daemon=True).start()

    def close(self) -> None:
        """Answer no more; what was never opened is fine."""
        if self._socket is None:
            return
        # Wakes the thread that waits in accept; to close alone would not.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            with connection.makefile() as lines:
                words = lines.readline().split()
            if self.silent:
                # Until the agent gives up and closes its end.
                connection.recv(1)
                return
            action, node = [*words, "", ""][:2]
            connection.sendall((self.perform(action, node) + "\n").encode())
