"""What a run of a sweep costs beside the experiment itself.

Prints, for 200 runs of the cheapest experiment, the wall time per run in a plain loop and in a
sweep on one process, and their difference.  The promise: less than 20 ms.
Run it by hand on a quiet machine: `python -m benchmarks.batch`.
"""

from __future__ import annotations

import sys
import tempfile
import time

from consensus_lab import batch, experiments

RUNS = 200
FIXED = {
    "n_acceptors": 1, "n_values": 1, "n_ballots": 1, "break_rules": False, "crashes": False,
}  # fmt: skip


def main(runs: int = RUNS) -> None:
    """Measure and print."""
    begin = time.perf_counter()
    for seed in range(1, runs + 1):
        experiments.run("paxos-explore", {**FIXED, "seed": seed})
    plain_ms = (time.perf_counter() - begin) / runs * 1000
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        one = {"experiment": "paxos-explore", "fixed": FIXED, "seeds": 1}
        start_s = batch.sweep(one, out=other, jobs=1).wall_s
        sweep = {"experiment": "paxos-explore", "fixed": FIXED, "seeds": runs}
        first = batch.sweep(sweep, out=folder, jobs=1)
        assert first.made == runs, first.failures[:1]
        begin = time.perf_counter()
        assert batch.sweep(sweep, out=folder, jobs=1).present == runs
        resumed_ms = (time.perf_counter() - begin) / runs * 1000
        begin = time.perf_counter()
        batch.collect(folder)
        collected_ms = (time.perf_counter() - begin) / runs * 1000
    swept_ms = first.wall_s / runs * 1000
    print(f"a sweep of one run: {start_s:.1f} s, imports included")
    print(f"{runs} runs, ms per run: plain loop {plain_ms:.2f}, sweep on one process "
          f"{swept_ms:.2f}, overhead {swept_ms - plain_ms:.2f}; "
          f"finding it done {resumed_ms:.2f}, collecting {collected_ms:.2f}")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
