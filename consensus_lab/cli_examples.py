"""What the help of a command shows below its options: calls that work as they stand, and formats.

Tests run them: a sweep file that is shown here is one that can be read.
"""

from __future__ import annotations

SWEEP_FILE = """\
experiment: propagation        # or notebook: FOLDER/BOOK.ipynb, from the file's folder
preset: fast                   # or full: what nobody sets below
fixed: {n_blocks: 5, replicates: 2}
grid:                          # every combination
  block_size_bytes: [100000, 1000000]
lists:                         # side by side: 50 with 4, 100 with 8
  n_nodes: [50, 100]
  degree: [4, 8]
random:                        # drawn from ranges
  samples: 3
  seed: 1
  draw:
    missing_chance: {low: 0.0, high: 0.5}
    validation_bytes_per_s: {low: 1.0e+6, high: 1.0e+8, scale: log}
    relay: {choices: [push, inv]}
seeds: 2                       # 1 and 2; or a list
figures: true                  # keep each experiment's figure
cell_timeout_s: 600            # of notebooks
"""

EXAMPLES = {
    "describe": """\
example:
  consensus-lab describe propagation
""",
    "run": """\
examples:
  consensus-lab run propagation
  consensus-lab run propagation -p n_nodes=100 -p relay=push --jobs all --out results/small
  consensus-lab run stale-rate -p 'block_intervals_s=[600.0, 60.0]' -p replicates=2

A parameter is a number, true or false, a word, or a list in quotes. The folder gets the tables
(Parquet and CSV), the figure (SVG and PNG) and a manifest for `consensus-lab reproduce`.
Ctrl-C saves the replicates that have ended. Exit code 2: a mistake, 130: interrupted.
""",
    "table": """\
examples:
  consensus-lab table
  consensus-lab table -p block_interval_s=60 --out results/hasty-table

`consensus-lab describe comparison` lists the parameters. Exit code 1: --check found a cell outside
its tolerance, or the notebook failed.
""",
    "notebooks": """\
example:
  consensus-lab notebooks my-notebooks
""",
    "reproduce": """\
example:
  consensus-lab run mining --out results/mining
  consensus-lab reproduce results/mining

Exit code 1: something differs; what, is said, and which circumstances changed.
""",
    "sweep": f"""\
example:
  consensus-lab sweep sizes.yaml --out results/sizes
  consensus-lab collect results/sizes

The file (all parts but the first may be left out; the runs are the product of all others):

{"".join(f"  {line}" for line in SWEEP_FILE.splitlines(keepends=True))}
Runs that are there are not made again; Ctrl-C loses only those at hand. Exit code 1: runs failed.
""",
    "collect": """\
The table is FOLDER/summary.parquet (or frames.parquet), one column per parameter; the runs at a
glance are FOLDER/index.html. Both are made anew by each call.
""",
    "where": """\
example:
  consensus-lab where "compact block"
""",
}
