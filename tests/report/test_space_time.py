"""Space-time diagrams: everything that happened is there, at its place, and can be read."""

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch

from consensus_lab.node import ParameterError
from consensus_lab.report.labels import Board, Box, overlap, segment
from consensus_lab.report.space_time import MESSAGES_MAX, space_time
from consensus_lab.report.style import LabFigure, render
from consensus_lab.report.time_axis import TimeAxis, length_text
from consensus_lab.report.traces import flights, message_frame, transcript
from consensus_lab.sim.trace import Record
from tests.report.examples import MS, run


def busy_trace(n_nodes=5, rounds=5):
    """Everybody asks everybody, in rounds that overlap: 100 messages on 5 nodes."""
    records, number = [], 0
    for turn, sender in itertools.product(range(rounds), range(n_nodes)):
        for receiver in set(range(n_nodes)) - {sender}:
            number += 1
            sent = turn * 3 * MS + sender * 400_000
            arrived = sent + MS + 150_000 * ((sender * 3 + receiver) % 5)
            records.append(Record(sent, sender, "send", f"Kind{turn}", receiver, number))
            records.append(Record(arrived, receiver, "receive", f"Kind{turn}", sender, number))
    return sorted(records, key=lambda record: record.time_ns)


def arrows(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def written(figure):
    """What is written inside the diagram, without the names of processes at its left."""
    return [text for text in figure.axes[0].texts if text.get_position()[0] >= 0]


def test_every_message_is_an_arrow_from_sender_to_receiver():
    trace = run()
    figure = space_time(trace)
    assert len(arrows(figure)) == len(message_frame(trace)) == 7
    rows = sorted((text.get_position()[1] for text in figure.axes[0].texts
                   if text.get_text().startswith("node ")), reverse=True)  # fmt: skip
    ends = [arrow._posA_posB[end][1] for arrow in arrows(figure)[:3] for end in (0, 1)]
    assert ends == pytest.approx([rows[0], rows[1], rows[0], rows[2], rows[1], rows[0]])


def test_lost_messages_end_in_a_cross_before_their_receivers_line():
    figure = space_time(run(loss=1.0))
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert len(crosses) == len(message_frame(run(loss=1.0)))
    rows = {text.get_position()[1] for text in figure.axes[0].texts
            if text.get_text().startswith("node ")}  # fmt: skip
    heights = [cross.get_ydata()[0] for cross in crosses]
    assert min(abs(height - row) for height in heights for row in rows) > 20
    assert "lost" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_decisions_notes_faults_and_crashes_are_marked():
    figure = space_time(run(), decisions=["decided"], notes=["awake"])
    said = [text.get_text() for text in written(figure)]
    for words in ("decided 7", "1: 7", "awake wake", "7", "8", "partition 1 | 2 3"):
        assert words in said
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert {"crash", "restart", "decision", "applied", "client asks"} <= set(legend)
    plain = [text.get_text() for text in written(space_time(run()))]
    assert "decided 7" not in plain


def test_the_line_of_a_process_that_is_down_is_missing():
    figure = space_time(run())
    low = min(text.get_position()[1] for text in figure.axes[0].texts
              if text.get_text() == "node 3")  # fmt: skip
    pieces = [line.get_xdata() for line in figure.axes[0].lines
              if len(line.get_xdata()) == 2 and set(line.get_ydata()) == {low}
              and line.get_linewidth() < 2]  # fmt: skip
    assert len(pieces) == 2
    assert pieces[0][1] < pieces[1][0]


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["cut", "linear", "step"])
def test_labels_do_not_cover_each_other(scale):
    """Measured with the renderer, not with the sizes that the placing assumed."""
    figure = space_time(busy_trace(), scale=scale, with_numbers=True)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = []
    for text in written(figure):
        angle = text.get_rotation()
        text.set_rotation(0)
        text.set_rotation_mode("anchor")
        extent = text.get_window_extent(renderer)
        x, y = text.get_transform().transform(text.get_position())
        boxes.append(Box(x, y, extent.width * 0.94, extent.height * 0.8, angle))
    assert len(boxes) > 60
    assert not [pair for pair in itertools.combinations(boxes, 2) if overlap(*pair)]


def test_fifty_messages_on_three_lines_keep_most_of_their_labels():
    records = [record for record in busy_trace(4, 5) if record.time_ns < 14 * MS]
    figure = space_time(records)
    labelled = [text for text in written(figure) if text.get_text().startswith("Kind")]
    assert len(labelled) >= 0.9 * len(flights(records))


def test_step_numbers_are_those_of_the_transcript():
    trace = run()
    window = {"begin_ns": 2 * MS, "end_ns": 6 * MS}
    figure = space_time(trace, with_numbers=True, **window)
    numbers = {int(text.get_text()) for text in written(figure) if text.get_fontsize() == 6.0}
    lines = transcript(trace, **window).splitlines()
    assert numbers <= set(range(1, len(lines) + 1))
    said = {i for i, line in enumerate(lines, 1) if "->" in line or "<-" in line}
    assert len(numbers & said) >= len(said) - 2


def test_a_window_shows_the_messages_that_cross_its_ends():
    trace = run()
    figure = space_time(trace, begin_ns=int(2.5 * MS), end_ns=int(4.5 * MS))
    assert len(arrows(figure)) == 4
    width = figure.axes[0].get_xlim()[1]
    for arrow in arrows(figure):
        assert all(0 <= x <= width for x, _ in arrow._posA_posB)


def test_equal_traces_are_equal_files():
    assert render(space_time(run()), "svg") == render(space_time(run()), "svg")


def test_it_draws_into_the_callers_axes_and_has_an_alternative_text():
    mine = LabFigure(figsize=(9, 4))
    left, _ = mine.subplots(1, 2)
    assert space_time(run(), left, title="Half a page") is mine
    assert mine.alt_text.startswith("Half a page. Space-time diagram of node 1, node 2, node 3")


def test_a_users_mistakes_are_named():
    with pytest.raises(ParameterError, match="scale must be one of cut, linear, step"):
        space_time(run(), scale="log")
    with pytest.raises(ParameterError, match="trace must be a trace with at least one record"):
        space_time(run(), begin_ns=10**15)
    with pytest.raises(ParameterError, match=f"at most {MESSAGES_MAX} messages"):
        space_time(busy_trace(rounds=30))


def test_time_runs_to_the_right_on_every_scale():
    times = [0, 5, 6, 7, 900, 905, 4000]
    for scale in ("cut", "linear", "step"):
        axis = TimeAxis(times, [(0, 5), (6, 7), (900, 905)], width_pt=500, scale=scale)
        points = [axis.x(time) for time in range(4001)]
        assert points == sorted(points)
        assert 0 < points[0] < points[-1] < 500
        ticks = axis.ticks()
        assert len(ticks) >= 2
        gaps = [b.at_pt - a.at_pt for a, b in itertools.pairwise(ticks)]
        assert min(gaps) >= 52


def test_pauses_are_cut_and_messages_under_way_are_not():
    axis = TimeAxis([0, 5, 1000, 1005, 9000], [(0, 5), (1000, 1005), (1005, 9000)], width_pt=500)
    assert [cut.length_ns for cut in axis.cuts] == [995]
    linear = TimeAxis([0, 5, 1000, 9000], [(0, 5)], width_pt=500, scale="linear")
    assert linear.cuts == []
    assert linear.x(4500) == pytest.approx(250)


def test_late_times_are_written_in_a_unit_in_which_they_are_short():
    axis = TimeAxis([2_500_000_000, 2_501_300_000], [], width_pt=500, scale="linear")
    assert axis.unit() == "ms"
    assert "2,500.6" in [tick.label for tick in axis.ticks()]
    assert TimeAxis([0, 1_300_000], [], width_pt=500).unit() == "µs"


def test_lengths_are_written_with_their_unit():
    assert [length_text(n) for n in (900, 250_000, 1_500_000_000, 7_200_000_000_000)] == [
        "0.9 µs", "250 µs", "1.5 s", "2 h",
    ]  # fmt: skip


def test_a_board_never_gives_a_taken_place_and_prefers_free_ones():
    board = Board()
    board.take(Box(0, 0, 10, 10))
    board.cross(segment(20, -10, 20, 10))
    first = board.place([Box(4, 0, 10, 4), Box(20, 0, 10, 4), Box(40, 0, 10, 4)])
    assert first == Box(40, 0, 10, 4)
    assert board.place([Box(41, 0, 10, 4), Box(2, 2, 4, 4, 45)]) is None


def test_turned_rectangles_that_only_seem_to_touch_are_apart():
    one, other = segment(0, 0, 10, 10), segment(3, 0, 13, 10)
    assert not overlap(one, other)
    assert overlap(one, segment(0, 10, 10, 0))
