"""Runs every case of a folder laid out like the reference data.

    python -m tests.conformance.bitcoin FOLDER

Files (or the one that is named) are recognised by their columns and keys.  Every failure is
named, every reason for leaving a case out is given.  The last line is `N passed, M failed, K not
covered`; the exit code is 0 when nothing failed, 1 when something did and 2 when there was nothing
to judge.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conformance.bitcoin import (
    block_cases,
    chain_cases,
    crypto_cases,
    header_cases,
    transaction_cases,
)
from tests.conformance.bitcoin.corpus import Corpus
from tests.conformance.bitcoin.tally import Tally

JUDGES = {
    **header_cases.JUDGES,
    **block_cases.JUDGES,
    **transaction_cases.JUDGES,
    **crypto_cases.JUDGES,
    **chain_cases.JUDGES,
}
LEFT_OUT = {
    "measurements": "measurements, or a kind that we do not know: no rule to judge by",
    "manifest": "a list of files",
}


def judge(folder: Path) -> Tally:
    """Judge every file of a folder."""
    corpus, tally = Corpus(folder), Tally()
    for kind, judges in JUDGES.items():
        for file in corpus.of_kind(kind):
            for judge_file in judges:
                # A file that is damaged as a whole is one failure and does not stop the others.
                try:
                    judge_file(file, corpus, tally)
                except Exception as error:
                    tally.fail("damaged files", file.name, error)
    for file in corpus.of_kind("damaged"):
        tally.fail("damaged files", file.name, ValueError(file.content))
    for file in corpus.of_kind("unknown"):
        tally.leave_out("other files", file.name, f"{file.name}: {file.content}")
    for kind, reason in LEFT_OUT.items():
        for file in corpus.of_kind(kind):
            tally.leave_out("other files", file.name, f"{file.name}: {reason}")
    return tally


def main(arguments: list[str]) -> int:
    """The command."""
    if len(arguments) != 1 or not Path(arguments[0]).exists():
        print("usage: python -m tests.conformance.bitcoin FOLDER", file=sys.stderr)
        return 2
    tally = judge(Path(arguments[0]))
    tally.print()
    if not tally.passed + tally.failed:
        return 2
    return 1 if tally.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
