"""A service object for one call, without any process or daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_proc import FakeProc

from ocf_common.environment import Environment
from ocf_common.memory import Memory


def make(kind: Any, folder: Path, text: str = "", **given: str) -> Any:
    """Give a resource of class ``kind`` whose configuration file holds ``text``; ``given`` are parameters."""
    config = folder / "service.conf"
    config.write_text(text)
    variables = {
        "HA_RSCTMP": str(folder),
        "OCF_RESOURCE_INSTANCE": "p_x",
        "OCF_RESKEY_config": str(config),
        **{f"OCF_RESKEY_{name}": value for name, value in given.items()},
    }
    environment = Environment(variables, ["/agents/x", "monitor"], 0)
    return kind(environment, FakeProc(folder / "proc").proc, Memory(str(folder), "p_x"))
