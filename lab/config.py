"""Changes to oslo.config files that leave their comments alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Options = Mapping[str, Mapping[str, object]]


def set_options(path: Path, options: Options) -> None:
    """Set options of an oslo.config file: replaced where they stand, else put first in their section.

    path: the file; made, owner and mode as the caller's umask has it, where it is not there. options: by section.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    for section, values in options.items():
        if f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        begin = lines.index(f"[{section}]") + 1
        end = next((i for i in range(begin, len(lines)) if lines[i].startswith("[")), len(lines))
        body = [line for line in lines[begin:end] if line.partition("=")[0].strip() not in values]
        lines[begin:end] = [f"{name} = {value}" for name, value in values.items()] + body
    path.write_text("\n".join(lines).lstrip("\n") + "\n")
