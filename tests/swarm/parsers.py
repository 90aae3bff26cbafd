"""Throws damaged bytes at every parser of what peers and files say, on all cores.

    python -m tests.swarm.parsers [--cases 6000] [--jobs 2] [--start 0]

Each parser of `tests/property/test_bitcoin_parsers.py` gets that many cases, more than 100,000 in
all by default.  A case that ends in anything but a value or a `ProtocolViolation` is printed in its
smallest form with the `--start` that finds it again; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.property.test_bitcoin_parsers import PARSERS, fuzz

CASES = 6000


def attack(name: str, cases: int, start: int) -> tuple[int, str]:
    """A worker's task: how many cases one parser got, and what was wrong, if anything."""
    try:
        return fuzz(name, cases, start=start), ""
    except Exception as error:  # Whatever escapes a parser is what we look for.
        notes = " ".join(getattr(error, "__notes__", ()))
        return cases, f"{type(error).__name__}: {error} {notes}".strip()


def attack_all(cases: int, start: int, jobs: int) -> int:
    """Every parser; how many failed."""
    began = time.monotonic()
    tried = failed = 0
    with ProcessPoolExecutor(jobs) as pool:
        names = {pool.submit(attack, name, cases, start): name for name in sorted(PARSERS)}
        for task in as_completed(names):
            count, complaint = task.result()
            tried += count
            if complaint:
                failed += 1
                print(f"FAILED parser of {names[task]}, --start {start}: {complaint}", flush=True)
    took_s = time.monotonic() - began
    print(f"parsers: {len(PARSERS)}, {tried} cases, {failed} failed, {took_s:.1f} s")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=CASES, help="for each parser")
    parser.add_argument("--start", type=int, default=0, help="other numbers, other cases")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    if options.cases < 1 or options.jobs < 1:
        parser.error("--cases and --jobs must be at least 1")
    return 1 if attack_all(options.cases, options.start, options.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
