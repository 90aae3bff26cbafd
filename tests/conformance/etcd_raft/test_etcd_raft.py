"""etcd's own corpus, and what the command says of files that are wrong."""

import os
from pathlib import Path

import pytest

from tests.conformance.etcd_raft.__main__ import CORPUS_HINT, main
from tests.conformance.etcd_raft.datadriven import ScenarioError, parse_line, read_file
from tests.conformance.etcd_raft.interaction import COMMANDS
from tests.conformance.etcd_raft.runner import replay, without_prose

START = """\
log-level none
----
ok

add-nodes 3 voters=(1,2,3) index=10
----
ok

campaign 1
----
ok

stabilize
----
ok

log-level info
----
ok

"""


def corpus() -> Path:
    """The corpus folder, or a skip that says where to get it."""
    folder = Path(os.environ.get("CONSENSUS_LAB_REFERENCE") or "nowhere") / "raft"
    folder = folder / "etcd_raft_testdata"
    if not folder.is_dir():
        pytest.skip(CORPUS_HINT)
    return folder


def scenario(folder: Path, text: str, name: str = "scenario.txt") -> Path:
    """A file with that text after three nodes were started and node 1 elected."""
    path = folder / name
    path.write_text(START + text)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subfolder", "count"),
    [("interaction", 28), ("oracle_random", 123), ("quorum", 127), ("confchange", 58)],
)
def test_the_corpus_passes(subfolder, count, capsys):
    """Every file and case prints what etcd printed, line by line, but for the logger."""
    assert main([str(corpus() / subfolder)]) == 0
    assert capsys.readouterr().out.endswith(f"{count} passed, 0 failed\n")


def test_a_right_scenario_passes(tmp_path, capsys):
    """State, log and a proposal, as etcd prints them; subfolders are searched."""
    (tmp_path / "deep").mkdir()
    scenario(
        tmp_path / "deep",
        "raft-state\n----\n"
        "1: StateLeader (Voter) Term:1 Lead:1\n"
        "2: StateFollower (Voter) Term:1 Lead:1\n"
        "3: StateFollower (Voter) Term:1 Lead:1\n\n"
        "propose 1 foo\n----\nok\n\n"
        'process-ready 1\n----\nReady MustSync=true:\nEntries:\n1/12 EntryNormal "foo"\n'
        "Messages:\n"
        '1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal "foo"]\n'
        '1->3 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal "foo"]\n\n',
    )
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("1 passed, 0 failed\n")


def test_a_wrong_commit_index_is_found(tmp_path, capsys):
    """One digit off in what is expected: the file, the command and the line are named."""
    scenario(tmp_path, 'raft-log 1\n----\n1/12 EntryNormal ""\n\n')
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "scenario.txt:21: raft-log 1" in printed
    assert """line 1 of the output is '1/11 EntryNormal ""', etcd printed '1/12""" in printed
    assert printed.endswith("0 passed, 1 failed\n")


def test_a_missing_message_is_found(tmp_path):
    """An output that ends too early is a difference, too."""
    path = scenario(tmp_path, "tick-heartbeat 1\n----\nok\n\nprocess-ready 1\n----\nok\n\n")
    assert "(end of output)" in replay(path).failures[0].what


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("explode 1\n----\nok\n", "unknown command 'explode'"),
        ("campaign 9\n----\nok\n", "unknown node 9: there are 3"),
        ("campaign one\n----\nok\n", "a number is needed, not 'one'"),
        ("campaign\n----\nok\n", "1 plain arguments are needed"),
        ("campaign 1\nok\n", "no ---- after command 'campaign'"),
        ("deliver-msgs drop=(1\n----\nok\n", "cannot parse directive at column"),
        ("deliver-msgs 1 drop=(1)\n----\nok\n", "can't both deliver and drop msgs to 1"),
        ("deliver-msgs 1 type=MsgNo\n----\nok\n", "unknown message type MsgNo"),
        ("add-nodes 1 wings=2\n----\nok\n", "unknown option 'wings'"),
        ("add-nodes 9999999\n----\nok\n", "at most 1000 nodes"),
        ("tick 1 9999999999\n----\nok\n", "at most 1000000 ticks"),
        ("stabilize 1 speed=2\n----\nok\n", "unknown option 'speed'"),
        ("transfer-leadership from=1\n----\nok\n", "missing argument: to"),
        ("compact 1 99\n----\nok\n", "compact 99 is out of bound 11"),
        ("raft-log 1\n----\n----\nno end\n", "is not closed by two ----"),
    ],
)
def test_a_wrong_file_is_a_clear_error(text, complaint, tmp_path):
    """A syntax error, an unknown command or node: the line and what is wrong."""
    result = replay(scenario(tmp_path, text))
    assert result.failed == 1
    assert complaint in result.failures[0].what
    assert "scenario.txt:21" in result.failures[0].where


def test_a_change_that_removes_all_voters_is_a_clear_error(tmp_path):
    """It passes the check at proposal, as in etcd, and is refused when it is applied."""
    path = scenario(tmp_path, "propose-conf-change 1\nr1 r2 r3\n----\nok\n\nstabilize\n----\nok\n")
    assert "removed all voters" in replay(path).failures[0].what


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("propose 2 a\n", "raft proposal dropped"),
        ("process-append-thread 1\n", "no append work to perform"),
        ("deliver-msgs 1\n", "no messages"),
        ("compact 1 3\n", "requested index is unavailable due to compaction"),
        ("report-unreachable 1\n", "must specify exactly two node indexes"),
        ("log-level loud\n", "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]"),
        ("propose-conf-change 1 transition=slow\nv4\n", "unknown transition slow"),
        ("propose-conf-change 1\nx4\n", "unknown input: x4"),
    ],
)
def test_errors_that_etcd_prints_are_output(command, complaint, tmp_path):
    """They are part of a scenario, not a failure of the file."""
    if "propose 2" in command:
        command = "forget-leader 2\n----\nok\n\n" + command
    failure = replay(scenario(tmp_path, command + "----\nother\n")).failures[0]
    assert complaint in failure.what


def test_tables_name_every_failing_case(tmp_path, capsys):
    """A table goes on after a failure; each case counts."""
    (tmp_path / "table.txt").write_text(
        "vote cfg=(1) votes=(y)\n----\nVoteWon\n\n"
        "vote cfg=(1) votes=(n)\n----\nVoteWon\n\n"
        "committed cfg=(1,2) idx=(5)\n----\nother\n\n"
    )
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "'VoteLost', etcd printed 'VoteWon'" in printed
    assert "mismatched input" in printed
    assert printed.endswith("1 passed, 2 failed\n")


def test_a_table_goes_on_after_a_line_that_is_none(tmp_path, capsys):
    """An unknown command or argument is one failing case; the cases after it still count."""
    (tmp_path / "table.txt").write_text(
        "vote cfg=(1) votes=(y)\n----\nVoteWon\n\n"
        "elect cfg=(1)\n----\nVoteWon\n\n"
        "vote cfg=(1) ballots=(y)\n----\nVoteWon\n\n"
        "vote cfg=(1) votes=(n)\n----\nVoteLost\n\n"
    )
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "table.txt:5: elect cfg=(1)\n    unknown command 'elect'" in printed
    assert "unknown argument 'ballots'" in printed
    assert printed.endswith("2 passed, 2 failed\n")


def test_files_are_found_and_read_whatever_wrote_them(tmp_path, capsys):
    """Windows line ends, a byte order mark, a name without ending; what is no case is left out."""
    text = "vote cfg=(1) votes=(y)\n----\nVoteWon\n\n"
    (tmp_path / "unix").write_text(text)
    (tmp_path / "windows.txt").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    for name in ("README.md", ".hidden.txt", "#saved.txt"):
        (tmp_path / name).write_text("no case")
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("2 passed, 0 failed\n")


def test_a_bug_here_fails_its_file_and_no_other(tmp_path, capsys, monkeypatch):
    """An exception that nobody foresaw is a failure with its name, not the end of the run."""

    def breaks(env, arguments):
        raise KeyError("surprise")

    monkeypatch.setitem(COMMANDS, "raft-state", breaks)
    scenario(tmp_path, "raft-state\n----\nok\n", "a.txt")
    scenario(tmp_path, "status 2\n----\nok\n", "b.txt")
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "a.txt:21: raft-state\n    the replay broke: KeyError: 'surprise'" in printed
    assert printed.endswith("1 passed, 1 failed\n")


def test_nothing_to_replay(tmp_path, capsys):
    """No folder, no files: exit code 2; an empty file: a failure."""
    assert main([str(tmp_path / "none")]) == 2
    assert main([str(tmp_path)]) == 2
    (tmp_path / "empty.txt").write_text("# nothing\n")
    assert main([str(tmp_path)]) == 1
    assert "no command in this file" in capsys.readouterr().out


def test_lines_are_parsed_as_datadriven_does():
    """Words, values, lists with spaces; quotes are ordinary letters."""
    command, arguments = parse_line('propose 1 "foo" a=b c=(1, 2,3) d=()', "here")
    assert command == "propose"
    assert arguments == (("1", ()), ('"foo"', ()), ("a", ("b",)), ("c", ("1", "2", "3")), ("d", ()))
    with pytest.raises(ScenarioError, match="column 8"):
        parse_line("deliver a=(1", "here")


def test_continued_lines_comments_and_double_separators(tmp_path):
    """A backslash joins lines; blank lines may stand between double separators."""
    path = tmp_path / "file.txt"
    path.write_text("# note\nstatus \\\n 1\n----\n----\na\n\nb\n----\n----\n\nraft-state\n----\n")
    first, second = read_file(path)
    assert (first.text, first.expected) == ("status  1", "a\n\nb\n")
    assert (second.command, second.expected) == ("raft-state", "")


def test_only_prose_is_left_out():
    """Lines that begin with a level are the logger's; others stay, indented or not."""
    output = "INFO 1 became leader\n  DEBUG x\n1->2 MsgApp\n  INFORM\n"
    assert without_prose(output) == ["1->2 MsgApp", "  INFORM"]
    assert without_prose("ok\n") == without_prose("") == []
