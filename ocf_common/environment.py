"""What the cluster manager tells an agent: action, instance, time limit, interval, check level.

Pacemaker sets ``OCF_*`` variables; what it does not set has a default here. Source: OCF Resource Agent
API 1.1 and Pacemaker 2.1.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Pacemaker gives every action without an ``op`` line 20 s, whatever the meta-data advises.
DEFAULT_TIMEOUT = 20.0
STATE_FOLDER = "/run/resource-agents"

_TRUE = frozenset(("yes", "true", "1", "ja", "on"))
_FALSE = frozenset(("no", "false", "0", "nein", "off"))


def parse_boolean(text: str) -> bool:
    """Return the truth of an OCF boolean; raises ValueError for any other word."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(text)


class Environment:
    """The call of an agent: ``arguments`` as in ``sys.argv``, ``variables`` as in ``os.environ``."""

    __slots__ = (
        "action",
        "check_level",
        "instance",
        "interval",
        "parameters",
        "pretend_missing",
        "reason_prefix",
        "recurring",
        "script",
        "search_path",
        "state_folder",
        "timeout",
        "uid",
    )

    def __init__(self, variables: Mapping[str, str], arguments: Sequence[str], uid: int) -> None:
        def number(name: str, default: float) -> float:
            try:
                value = float(variables.get(name, ""))
            except ValueError:
                return default
            return value if 0 <= value < 1e12 else default

        self.uid = uid
        #: the agent's own path, as it was called
        self.script = arguments[0] if arguments else ""
        self.action = arguments[1] if len(arguments) > 1 else ""
        #: what the resource's configuration sets, by parameter name; an empty string is set too
        self.parameters = {
            name[len("OCF_RESKEY_") :]: value
            for name, value in variables.items()
            if name.startswith("OCF_RESKEY_") and not name.startswith("OCF_RESKEY_CRM_meta_")
        }
        meta = "OCF_RESKEY_CRM_meta_"
        self.instance = self._instance(variables, meta)
        #: seconds until the cluster manager kills this action
        self.timeout = number(meta + "timeout", DEFAULT_TIMEOUT * 1000) / 1000 or DEFAULT_TIMEOUT
        #: seconds between two monitors; 0 for a probe and for every other action
        self.interval = number(meta + "interval", 0) / 1000
        self.recurring = self.action == "monitor" and self.interval > 0
        #: -1 unless the operation sets one
        self.check_level = int(number("OCF_CHECK_LEVEL", -1))
        self.state_folder = variables.get("HA_RSCTMP") or STATE_FOLDER
        self.reason_prefix = variables.get("OCF_EXIT_REASON_PREFIX", "ocf-exit-reason:")
        self.search_path = variables.get("PATH", "")
        #: ocf-tester asks agents to behave as if every binary were missing
        self.pretend_missing = variables.get("OCF_TESTER_FAIL_HAVE_BINARY") == "1"

    def _instance(self, variables: Mapping[str, str], meta: str) -> str:
        """Return the resource's name; the ``:N`` of a clone counts only where clones are told apart."""
        name = variables.get("OCF_RESOURCE_INSTANCE", "") or "default"
        base, colon, number = name.rpartition(":")
        unique = variables.get(meta + "globally_unique", "false").lower()
        if colon and number.isdigit() and unique not in _TRUE:
            name = base
        return name

    @property
    def probe(self) -> bool:
        return self.action == "monitor" and not self.recurring

    @property
    def margin(self) -> float:
        """Seconds to keep between the end of our work and the end of the action's time."""
        return max(1.0, self.timeout * 0.1) if self.timeout > 2 else self.timeout * 0.4
