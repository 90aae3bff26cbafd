"""Figures, diagrams, tables and the site: the only place that knows matplotlib.

Rules of this folder: functions take plain data (frames, arrays, traces) and optionally an `Axes`,
return the figure and never show it; no experiment is imported here.  Importing the package loads
neither matplotlib nor pandas: names are looked up when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "save_figure": "style",
    "trace_frame": "traces",
    "message_frame": "traces",
    "transcript": "traces",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # The table above is the one list of names.


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
