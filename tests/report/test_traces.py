"""Traces as frames and text, of runs of the real engine."""

import pandas
import pytest

from consensus_lab.node import ParameterError
from consensus_lab.report import traces
from consensus_lab.sim.trace import EVENTS, Record
from tests.report.examples import MS, run


def test_a_frame_has_one_row_per_record_and_survives_parquet(tmp_path):
    trace = run()
    frame = traces.trace_frame(trace)
    assert len(frame) == len(trace)
    assert list(frame["step"]) == list(range(1, len(trace) + 1))
    assert set(frame["event"]) <= set(EVENTS)
    assert frame["time_ns"].is_monotonic_increasing
    frame.to_parquet(tmp_path / "trace.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "trace.parquet"), frame)
    sent = frame[frame["event"] == "send"].iloc[0]
    assert (sent["kind"], sent["node"], sent["peer"]) == ("Ask", 1, 2)
    assert sent["detail"] == '{"type":"Ask","value":7,"size_bytes":120}'


def test_messages_have_their_latency_and_fate():
    frame = traces.message_frame(run())
    arrived = frame[frame["outcome"] == "received"]
    assert set(arrived["arrived_ns"] - arrived["sent_ns"]) == {MS}
    assert list(arrived["kind"]) == ["Ask", "Ask", "Answer", "Answer", "Ask", "Answer"]
    assert list(arrived["size_bytes"]) == [120, 120, 100, 100, 120, 100]
    to_the_dead = frame[frame["outcome"] == "lost"]
    assert list(to_the_dead["receiver"]) == [3]
    assert list(to_the_dead["arrived_ns"] - to_the_dead["sent_ns"]) == [MS]


def test_a_lossy_link_shows_lost_messages():
    frame = traces.message_frame(run(loss=1.0))
    assert set(frame["outcome"]) == {"lost"}
    assert frame["arrived_ns"].isna().all()


def test_a_duplicated_message_is_two_copies_with_one_number():
    frame = traces.message_frame(run(duplicate=1.0, reorder_ns=MS))
    assert (frame.groupby("number").size() == 2).any()


def test_a_message_under_way_at_the_end_is_pending():
    trace = run()
    cut = [record for record in trace if record.time_ns <= int(2.5 * MS)]
    assert [flight.outcome for flight in traces.flights(cut)] == ["pending", "pending"]


def test_a_message_dropped_on_arrival_keeps_its_time():
    records = [Record(0, 1, "send", "Ask", 2, 1), Record(5, 2, "drop", "Ask", 1, 1)]
    (flight,) = traces.flights(records)
    assert (flight.outcome, flight.arrived_ns) == ("lost", 5)


def test_selection_numbers_from_one_and_keeps_the_window():
    trace = run()
    steps = traces.select(trace, begin_ns=2 * MS, end_ns=6 * MS, kinds=["Answer"], nodes=[1, 2])
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    kinds = {step.record.kind for step in steps if step.record.number is not None}
    assert kinds == {"Answer"}
    assert {step.record.node for step in steps} <= {1, 2, None}
    assert all(2 * MS <= step.record.time_ns <= 6 * MS for step in steps)
    left = traces.select(trace, without=["Ask", "timer", "awake"])
    assert not {"Ask", "wake", "awake"} & {step.record.kind for step in left}
    with pytest.raises(ParameterError, match="end_ns must be at least begin_ns"):
        traces.select(trace, begin_ns=5, end_ns=4)


def test_a_transcript_reads_like_a_play():
    text = traces.transcript(run(), names={1: "Ann", 2: "Bob", 3: "Cy"}, end_ns=6 * MS)
    assert text.splitlines() == [
        " 1  0.000 ms  Ann  starts",
        " 2  0.000 ms  Bob  starts",
        " 3  0.000 ms  Cy   starts",
        " 4  2.000 ms  Ann  client asks  7",
        " 5  2.000 ms  Ann  -> Bob  Ask(value=7)",
        " 6  2.000 ms  Ann  -> Cy  Ask(value=7)",
        " 7  3.000 ms  Bob  <- Ann  Ask(value=7)",
        " 8  3.000 ms  Bob  writes  {'value': 7}",
        " 9  3.000 ms  Cy   <- Ann  Ask(value=7)",
        "10  3.000 ms  Cy   writes  {'value': 7}",
        "11  4.000 ms  Bob  is on disk",
        "12  4.000 ms  Bob  -> Ann  Answer(value=7)",
        "13  4.000 ms  Cy   is on disk",
        "14  4.000 ms  Cy   -> Ann  Answer(value=7)",
        "15  5.000 ms  Ann  <- Bob  Answer(value=7)",
        "16  5.000 ms  Ann  <- Cy  Answer(value=7)",
        "17  5.000 ms  Ann  notes decided  7",
        "18  5.000 ms  Ann  applies  (1, 7)",
        "19  5.000 ms  Ann  answers  ('r1', 'ok')",
    ]


def test_a_transcript_keeps_its_width_and_tells_of_crashes():
    lines = traces.transcript(run(), width=48).splitlines()
    assert max(len(line) for line in lines) == 48
    said = "\n".join(lines)
    assert "CRASHES" in said
    assert "restarts" in said
    assert "network  fault partition" in said
