"""consensus_lab: measure Paxos, Raft and Nakamoto consensus in one seeded simulator.

The names that a notebook needs; each is imported when first used, so that this import is quick.

    import consensus_lab as lab
    result = lab.run("propagation", {"n_nodes": 500})
    result.summary
"""

from __future__ import annotations

import importlib
import os
from typing import Any

# The threads of numpy's BLAS (OpenBLAS) wait for work in a loop before they sleep: for a tenth of
# a second of CPU time after each start of Python.  Read when numpy is loaded, also by our workers;
# 2**20 clock ticks are a fraction of a millisecond.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

# Name -> the module that defines it.
_NAMES = {
    "Engine": "consensus_lab.sim.engine",
    "Host": "consensus_lab.sim.process",
    "Link": "consensus_lab.sim.links",
    "Links": "consensus_lab.sim.links",
    "ParameterError": "consensus_lab.node",
    "Trace": "consensus_lab.sim.trace",
    "jobs": "consensus_lab.experiments.replicates",
    "load": "consensus_lab.experiments",
    "questions": "consensus_lab.experiments",
    "run": "consensus_lab.experiments",
    "space_time": "consensus_lab.report.space_time",
    "trace_frame": "consensus_lab.report.space_time",
    "transcript": "consensus_lab.report.space_time",
}


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_NAMES]
