"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

from consensus_lab.experiments import progress


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self):
        """It is one."""
        return True


def test_a_terminal_gets_one_line_with_a_bar_that_is_drawn_over(monkeypatch):
    """Rate and remaining time beside it; a line feed only at the end."""
    now_s = [0.0]
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    show = progress.shown(clock=lambda: now_s[0])
    for now_s[0], done in ((0.0, 0), (0.05, 1), (10.0, 5), (20.0, 10)):
        show(done, 10, "networks")
    drawn = stream.getvalue().split("\r\x1b[K")[1:]
    assert drawn == [
        f"[{'#' * 12}{'.' * 12}] 5/10 networks (10 s, 30.0 per min, about 10 s left)",
        f"[{'#' * 24}] 10/10 networks (20 s, 30.0 per min)\n",
    ]


def test_a_file_gets_plain_lines_and_not_many_of_them(monkeypatch):
    """Every two seconds at first, seldom in a run of hours."""
    now_s = [0.0]
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    show = progress.shown(clock=lambda: now_s[0])
    for done in range(10_001):
        now_s[0] = float(done)
        show(done, 10_000, "networks")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "2/10000 networks (2 s, 1.0 per s, about 2.8 h left)"
    assert lines[-1] == "10000/10000 networks (2.8 h, 1.0 per s)"
    assert len(lines) < 350 and "\x1b" not in stream.getvalue()
