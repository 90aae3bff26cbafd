"""How the gossip path is compiled: two decorators, and why they are set as they are.

The functions of this folder get their arrays bundled in named tuples.  Numba counts references
to every array it takes out of such a bundle, with atomic instructions, which made an event four
times as dear (312 against 66 ns).  The compiled functions allocate nothing, so they are built
without the runtime that counts (`_nrt=False`), and they are inlined into the one loop
(`forceinline`), because handing the bundles from call to call copies a kilobyte each time.  Both
are measured in `benchmarks/README-gossip.md`.  Machine code is cached beside the source files.
"""

from __future__ import annotations

from numba import njit

compiled = njit(cache=True, error_model="numpy", _nrt=False)
"""A function of its own: what Python calls, and what is called rarely."""

inlined = njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)
"""A step of the loop."""
