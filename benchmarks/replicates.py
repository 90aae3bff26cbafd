"""What a second core brings an experiment.

Prints, for three experiments with some 20 s of work, the wall time with one job and with as many as
there are cores, the best of two rounds each, and their ratio; starting the workers counts.  The
promise: replicates scale with the cores, and the bytes stay the same.
Run it by hand on a quiet machine: `python -m benchmarks.replicates [NAME ...]`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from consensus_lab import experiments
from consensus_lab.experiments.pool import cores

WORK = {
    "split-votes": {"n_trials": 6000},
    "stale-rate": {"n_nodes": 3000, "n_blocks": 500},
    "double-spend": {"n_played": 80},
}
ROUNDS = 2


def main(names: Sequence[str]) -> None:
    """Measure and print."""
    for name in names or WORK:
        experiments.run(name)  # Loads, or for the first time compiles, the machine code.
        took_s: dict[int, list[float]] = {1: [], cores(): []}
        # Another seed each round: this process remembers signatures that it has checked.
        for seed in range(2, 2 + ROUNDS):
            frames = []
            for jobs, times in took_s.items():
                result = experiments.run(name, {**WORK[name], "seed": seed}, jobs=jobs)
                times.append(result.wall_s)
                frames.append(result.frame.to_csv())
            assert len(set(frames)) == 1, "any number of jobs gives the same bytes"
        one_s, all_s = (min(times) for times in took_s.values())
        print(f"{name}: {one_s:.1f} s with one job, {all_s:.1f} s with {cores()}: "
              f"{one_s / all_s:.2f} times as fast", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
