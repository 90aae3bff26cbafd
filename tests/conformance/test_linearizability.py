"""Published client histories: every verdict of the external corpus, and the command's answers."""

import os
from pathlib import Path

import pytest

from tests.conformance import linearizability as command

VERDICTS_PUBLISHED = 108


def corpus() -> Path:
    """The corpus folder, or a skip that says where to get it."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    folder = Path(reference or "nowhere") / "raft" / "linearizability"
    if not folder.is_dir():
        pytest.skip(command.CORPUS_HINT)
    return folder


@pytest.mark.slow
def test_every_published_verdict_is_found(capsys):
    """102 Jepsen logs of etcd and 6 key-value histories, as porcupine's authors judged them."""
    assert command.main([str(corpus())]) == 0
    assert capsys.readouterr().out.endswith(f"{VERDICTS_PUBLISHED} passed, 0 failed\n")


def test_a_subfolder_uses_the_verdicts_one_level_up(capsys):
    """The key-value folder has no verdict file of its own."""
    assert command.main([str(corpus() / "kv")]) == 0
    assert capsys.readouterr().out.endswith("6 passed, 0 failed\n")


GOOD = "INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1\n"


def write_corpus(folder: Path, *, verdict: str, text: str = GOOD) -> None:
    """One history with one verdict."""
    (folder / "deep").mkdir()
    (folder / "deep" / "a.log").write_text(text)
    (folder / "expected.csv").write_text(
        f"file,model,linearizable\ndeep/a.log,cas-register,{verdict}\n"
    )


def test_a_wrong_verdict_fails_and_is_named(tmp_path, capsys):
    """A corpus that contradicts the search: exit code 1, the file and both verdicts."""
    write_corpus(tmp_path, verdict="false")
    assert command.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "a.log: found linearizable, published not linearizable" in printed
    assert printed.endswith("0 passed, 1 failed\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("INFO  jepsen.util - 0\t:ok\t:write\t1\n", "line 1: process 0 gets an answer without"),
        (GOOD + "garbage\n", "line 3: neither an event nor another logger's line"),
        ("INFO  jepsen.util - 0\t:invoke\t:cas\t[1\n", "line 1: a bracket is never closed"),
    ],
)
def test_a_malformed_history_is_named_with_its_line(tmp_path, capsys, text, complaint):
    """A file that breaks the format fails with the line that breaks it."""
    write_corpus(tmp_path, verdict="true", text=text)
    assert command.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "malformed: " in printed and complaint in printed


def test_a_verdict_that_is_neither_true_nor_false_fails(tmp_path, capsys):
    """The verdict file itself may be wrong."""
    write_corpus(tmp_path, verdict="maybe")
    assert command.main([str(tmp_path)]) == 1
    assert "a verdict is true or false" in capsys.readouterr().out


def test_a_listed_file_that_is_missing_fails(tmp_path, capsys):
    """Nothing is passed over silently."""
    write_corpus(tmp_path, verdict="true")
    (tmp_path / "deep" / "a.log").unlink()
    assert command.main([str(tmp_path)]) == 1
    assert "1 failed" in capsys.readouterr().out


def test_a_history_without_a_verdict_is_judged_and_not_counted(tmp_path, capsys):
    """A user's own log: shown, not counted."""
    (tmp_path / "own.log").write_text(GOOD)
    assert command.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "own.log: linearizable (no verdict to compare with)" in printed
    assert printed.endswith("0 passed, 0 failed\n")


def test_nothing_to_judge_is_the_users_mistake(tmp_path, capsys):
    """No such folder, no histories: exit code 2."""
    assert command.main([str(tmp_path)]) == 2
    assert command.main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_bad_history_comes_back_as_a_picture(tmp_path, capsys):
    """Its shortest failing prefix, as text and as SVG and PNG."""
    stale = GOOD + GOOD.replace("- 0", "- 1").replace("invoke\t:write\t1", "invoke\t:read\tnil")
    stale = stale.replace("- 1\t:ok\t:write\t1", "- 1\t:ok\t:read\t7")
    write_corpus(tmp_path, verdict="false", text=stale)
    pictures = tmp_path / "pictures"
    assert command.main([str(tmp_path), "--describe", "--pictures", str(pictures)]) == 0
    assert "no order explains client 1's get -> 7" in capsys.readouterr().out
    assert (pictures / "a.svg").read_text().startswith("<?xml")
    assert (pictures / "a.png").stat().st_size > 1000
