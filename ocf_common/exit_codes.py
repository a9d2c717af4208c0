"""The exit codes of the OCF standard, as exceptions.

An action ends by returning (exit code 0) or by raising one of these::

    OcfExit
    ├── GenericError       1    failed, or in doubt
    ├── BadArguments       2    a parameter is wrong on this host
    ├── Unimplemented      3    unknown action
    ├── NoPermission       4    needs root
    ├── NotInstalled       5    the daemon is missing
    ├── NotConfigured      6    a parameter is wrong on every host
    ├── NotRunning         7    the whole process tree is proven gone
    └── Degraded         190    serves, with something wrong beside it

Source: OCF Resource Agent API 1.1 and Pacemaker 2.1 (190).
"""

from __future__ import annotations

SUCCESS = 0


class OcfExit(Exception):
    """The end of an action with an exit code and, unless empty, one line of reason."""

    code = 1

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class GenericError(OcfExit):
    """Failed, or in doubt."""

    code = 1


class BadArguments(OcfExit):
    """A parameter does not fit this host: Pacemaker may try another node."""

    code = 2


class Unimplemented(OcfExit):
    """The action is not known."""

    code = 3


class NoPermission(OcfExit):
    """The action needs root."""

    code = 4


class NotInstalled(OcfExit):
    """The daemon is not installed on this host."""

    code = 5


class NotConfigured(OcfExit):
    """A parameter is wrong on every host: Pacemaker gives up cluster-wide."""

    code = 6


class NotRunning(OcfExit):
    """Nothing of the service is left."""

    code = 7


class Degraded(OcfExit):
    """The service runs, but something beside it is wrong. Recurring monitors only."""

    code = 190
