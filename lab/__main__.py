"""Commands for people: `python3 -m lab build|up|shell|run|down|status`."""

from __future__ import annotations
