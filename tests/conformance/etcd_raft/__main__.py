"""Replay etcd-io/raft's data-driven test files and compare every output with etcd's.

    python -m tests.conformance.etcd_raft FOLDER

replays every file (.txt or without an ending) of the folder and its subfolders: scenarios of
etcd's interaction environment (testdata), quorum tables (quorum/testdata) and membership tables
(confchange/testdata).  It names each file and command that fails, and ends with the line
"N passed, M failed", scenario files and table cases together; the exit code is 1 when any failed
and 2 when there is nothing to replay.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.conformance.etcd_raft.runner import MEMBERSHIP, QUORUM, SCENARIO, find_files, replay

CORPUS_HINT = (
    "set CONSENSUS_LAB_REFERENCE to a folder that holds raft/etcd_raft_testdata: the files in "
    "testdata, quorum/testdata and confchange/testdata of github.com/etcd-io/raft at cdfbeed"
)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.etcd_raft",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument("folder", type=Path, help="folder, or a single file")
    options = parser.parse_args(arguments)
    if not options.folder.exists():
        print(f"no such folder: {options.folder}", file=sys.stderr)
        return 2
    paths = find_files(options.folder)
    if not paths:
        print(f"nothing to replay in {options.folder}", file=sys.stderr)
        return 2
    passed: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for path in paths:
        result = replay(path)
        passed[result.kind] += result.passed
        failed[result.kind] += result.failed
        for failure in result.failures:
            print(f"FAILED {failure.where}: {failure.command}\n    {failure.what}")
    for kind in (SCENARIO, QUORUM, MEMBERSHIP):
        if passed[kind] or failed[kind]:
            print(f"{kind}: {passed[kind]} passed, {failed[kind]} failed (full output without log)")
    print(f"{passed.total()} passed, {failed.total()} failed")
    return 1 if failed.total() else 0


if __name__ == "__main__":
    sys.exit(main())
