"""Bitcoin's published data and recorded decisions, judged by our rules; and the judge itself."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.conformance.bitcoin import __main__ as command
from tests.conformance.bitcoin.assembler import assemble
from tests.conformance.bitcoin.tally import NotCovered

CORPUS_HINT = (
    "set CONSENSUS_LAB_REFERENCE to a folder with bitcoin: real headers and blocks, Bitcoin Core's "
    "test vectors (github.com/bitcoin/bitcoin, src/test/data) and recorded fork decisions"
)
KINDS_WITHOUT_FAILURES_MIN = 20
# A few of each kind: what must at least have passed, so that an empty judge cannot.
PASSED_MIN = {
    "header chains": 9_700,
    "retargets inside header chains": 6,
    "blocks with their coins": 1,
    "signature hashes": 334,
    "valid transactions": 81,
    "invalid transactions": 62,
    "fork decisions": 2_171,
    "block validity": 33,
    "most work beats longest": 56,
    "ECDSA signatures": 309,
    "median times": 40,
    "chain work": 290,
}


def corpus() -> Path:
    """The corpus folder, or a skip that says where to get it."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    folder = Path(reference or "nowhere") / "bitcoin"
    if not folder.is_dir():
        pytest.skip(CORPUS_HINT)
    return folder


@pytest.mark.slow
def test_every_published_case_comes_out_as_published(capsys):
    """Headers, blocks, vectors and decisions: nothing fails, and the counts are all there."""
    tally = command.judge(corpus())
    tally.print()
    printed = capsys.readouterr().out
    assert tally.failed == 0, printed
    assert len(tally.kinds) >= KINDS_WITHOUT_FAILURES_MIN
    for kind, passed in PASSED_MIN.items():
        assert tally.kinds[kind].passed >= passed, kind
    last = printed.splitlines()[-1]
    assert last == f"{tally.passed} passed, 0 failed, {tally.not_covered} not covered"


@pytest.mark.slow
def test_files_are_recognised_by_content(tmp_path):
    """The same files under names that say nothing give the same counts."""
    for number, path in enumerate(sorted(corpus().rglob("*"))):
        if path.is_file() and path.suffix != ".md":
            shutil.copy(path, tmp_path / f"{number:03}")
    renamed, original = command.judge(tmp_path), command.judge(corpus())
    assert {k: (t.passed, t.not_covered_count) for k, t in renamed.kinds.items()} == {
        k: (t.passed, t.not_covered_count) for k, t in original.kinds.items()
    }


def copy_changed(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """One file of the corpus with a text replaced once."""
    text = (corpus() / name).read_text()
    assert old in text
    (tmp_path / "changed").write_text(text.replace(old, new, 1))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("headers/nbits_target.csv", "1d00d86a,00000000d86a", "1d00d86a,00000000d86b"),
        ("headers/retarget_cases.csv", "1d00d86a", "1d00d86b"),
        ("transactions/first_payment_block170.json", "true", "false"),
        ("crypto/rfc6979_secp256k1.json", "2df40ca7", "2df40ca8"),
        ("crypto/segwit_addresses_bip350.json", "BC1QW508D6", "BC1QW508D7"),
        ("ledger/block_validity_regtest.json", "bad-cb-height", "bad-cb-length"),
        ("chain_selection/simnet_most_work_beats_longest.json", "4004", "4005"),
    ],
)
def test_a_published_value_that_differs_is_a_named_failure(tmp_path, capsys, name, old, new):
    """A judge that cannot fail proves nothing: one changed value, one failure, exit code 1."""
    assert command.main([str(copy_changed(tmp_path, name, old, new))]) == 1
    printed = capsys.readouterr().out
    assert printed.count("FAILED ") == 1
    assert "FAILED " in printed.splitlines()[0] and "changed" in printed.splitlines()[0]


def test_a_damaged_header_fails_alone(tmp_path):
    """One flipped bit in a run of headers: that header and the link behind it fail."""
    data = bytearray((corpus() / "headers" / "mainnet_300000_300499.bin").read_bytes())
    data[80 * 100 + 40] ^= 1
    (tmp_path / "headers").write_bytes(data)
    tally = command.judge(tmp_path).kinds["header chains"]
    assert (tally.passed, len(tally.failures)) == (498, 2)
    assert "high-hash" in tally.failures[0]


def test_a_damaged_file_is_a_failure_and_no_crash(tmp_path, capsys):
    """Keys that promise a kind, and nothing right inside."""
    (tmp_path / "trees.json").write_text(json.dumps({"scenarios": [{"seed": 1}]}))
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    assert command.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "FAILED damaged files: trees.json" in printed
    assert printed.endswith("0 passed, 1 failed, 1 not covered\n")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("cut.json", b'{"scenarios": [{"seed": 1', "JSONDecodeError"),
        ("deep.json", b"[" * 100_000, "RecursionError"),
        ("wide", b"a,b\n" + b"x" * 200_000 + b",2\n", "field larger than field limit"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_failure(tmp_path, capsys, name, content, complaint):
    """Cut off or absurd: one line that names it, never passed over as unknown."""
    (tmp_path / name).write_bytes(content)
    assert command.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"FAILED damaged files: {name}: ") and complaint in printed
    assert printed.endswith("0 passed, 1 failed, 0 not covered\n")


def test_half_a_block_and_headers_cut_off_are_failures(tmp_path):
    """They begin with a header that has its work, so they were meant to be real."""
    (tmp_path / "block").write_bytes((corpus() / "blocks" / "block_9.raw").read_bytes()[:180])
    headers = (corpus() / "headers" / "mainnet_0_4199.bin").read_bytes()
    (tmp_path / "headers").write_bytes(headers[:900])
    assert len(command.judge(tmp_path).kinds["damaged files"].failures) == 2


def test_a_row_of_nonsense_does_not_stop_the_others(tmp_path, capsys):
    """A height that is none; other files, one at a time or with Windows line ends, go on."""
    (tmp_path / "facts.json").write_text(json.dumps([{"block_id": "00", "height": "high"}]))
    table = (corpus() / "headers" / "retarget_cases.csv").read_bytes()
    (tmp_path / "table").write_bytes(b"\xef\xbb\xbf" + table.replace(b"\n", b"\r\n"))
    assert command.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "retargets: 6 passed, 0 failed" in printed
    assert "facts.json: measurements, or a kind that we do not know" in printed
    assert command.main([str(tmp_path / "table")]) == 0


def test_nothing_to_judge_is_the_users_mistake(tmp_path, capsys):
    """No such folder, or nothing in it: exit code 2."""
    assert command.main([str(tmp_path / "nowhere")]) == 2
    assert "usage" in capsys.readouterr().err
    assert command.main([str(tmp_path)]) == 2


def test_an_unknown_word_of_the_script_notation_is_not_covered():
    """Neither passed nor failed."""
    with pytest.raises(NotCovered, match="FROBNICATE"):
        assemble("DUP FROBNICATE")
