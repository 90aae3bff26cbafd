"""How the gossip path is compiled: three decorators, and why they are set as they are.

The functions of this folder get their arrays bundled in named tuples.  Numba counts references
to every array it takes out of such a bundle, with atomic instructions, which made an event four
times as dear (312 against 66 ns).  The compiled functions allocate nothing, so they are built
without the runtime that counts (`_nrt=False`), and they are inlined into the one loop
(`forceinline`), because handing the bundles from call to call copies a kilobyte each time.  Both
are measured in `benchmarks/README-gossip.md`.

Machine code is cached between processes, but Numba looks for changes only in the file of the
function that it loads, not in those that it calls.  So only the loops that Python calls are
cached (`cached`), and each takes a digest of its sources from an enclosing function: the values of
such variables are part of the cache's key, so a change in any of the sources compiles anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from numba import njit

_all: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
# Without the wrappers that would let Python call each of them, compiling takes 12 s, not 19 s.
_inner: dict[str, Any] = {**_all, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

inlined: Any = njit(**_inner, forceinline=True)
"""A step of a loop."""

compiled: Any = njit(**_inner)
"""A function of its own, for what happens rarely."""

cached: Any = njit(**_all, cache=True)
"""A loop that Python calls; it must use the `digest_of` its sources as a closure variable."""


def digest_of(*names: str) -> int:
    """A negative number from the text of files, named from the package's folder.

    Parameters
    ----------
    *names : str
        Every file whose code or constants are compiled into the loop; this one always counts.
    """
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for name in sorted({*names, "gossip/compiled.py"}):
        digest.update((package / name).read_bytes())
    return -1 - int.from_bytes(digest.digest()[:6], "big")
