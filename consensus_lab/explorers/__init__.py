"""Explorers: controls beside a picture, for JupyterLab; one file per explorer.

Rules of this folder: what can be known without a control (the story of a cluster, a block's way
through a network, a grid of stale rates) is computed by functions that know no widget, and each
explorer has a static twin, a figure that needs no kernel.  Only `panel` and the functions that
build controls import ipywidgets, when they are called; importing this package loads nothing.

    from consensus_lab import explorers
    explorers.explore_raft()
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "explore_gossip": "gossip",
    "explore_raft": "raft_stepper",
    "explore_risk": "risk",
    "explore_trade_off": "trade_off",
    "RaftStory": "raft_story",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # The table above is the one list of names.


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
