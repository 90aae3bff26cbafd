"""The stepper's buttons do what they say, its picture too; its twin needs no kernel."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import nbformat
import pytest

from consensus_lab import explorers
from consensus_lab.experiments.clusters import ClusterParameters
from consensus_lab.explorers.raft_stepper import headline, picture, strip, tour
from consensus_lab.explorers.raft_story import Action
from consensus_lab.report.logs import ServerLog, log_rows
from consensus_lab.report.style import describe
from tests.explorers.twins import twin_of

pytestmark = pytest.mark.slow  # Every picture takes a third of a second.

ELECTED = "wait 4000 ms"


def press(panel: Any, *names: str) -> None:
    for name in names:
        panel[name].click()


def alt(panel: Any) -> str:
    found = re.search(r'alt="([^"]*)"', panel["screen"].picture.value)
    assert found
    return found[1]


@pytest.fixture
def panel() -> Any:
    return explorers.explore_raft(actions=ELECTED)


def test_buttons_move_the_story_and_change_the_picture(panel: Any) -> None:
    story, screen = panel["story"], panel["screen"]
    before = screen.picture.value
    assert "Server 2 leads term 1" in alt(panel)
    press(panel, "propose", "step")
    assert [action.kind for action in story.actions[1:]] == ["propose", "step"]
    assert screen.picture.value != before
    press(panel, "back", "back")
    assert screen.picture.value == before, "back is the same picture to the byte"
    press(panel, "crash", "step")
    assert "2 is down" in alt(panel)
    press(panel, "restart", "begin_again")
    assert story.actions == [] and "Nobody leads" in alt(panel)


def test_buttons_concern_the_chosen_servers(panel: Any) -> None:
    for server in (1, 3):
        panel["chosen"][server].value = True
    press(panel, "crash")
    assert panel["story"].actions[-1] == Action("crash", (1, 3))
    assert not any(toggle.value for toggle in panel["chosen"].values())
    press(panel, "restart")
    assert panel["story"].actions[-1] == Action("restart", (1, 3)), "all that are down"
    panel["chosen"][1].value = True
    press(panel, "cut")
    assert "1 is cut off" in alt(panel)
    press(panel, "heal")
    assert "cut off" not in alt(panel)


def test_what_is_impossible_is_said_and_changes_nothing(panel: Any) -> None:
    before = panel["screen"].picture.value
    press(panel, "heal")
    assert "network to heal must be one that is cut" in panel["screen"].message.value
    assert panel["screen"].picture.value == before
    press(panel, "step")
    assert "heal" not in panel["screen"].message.value, "the next success takes it away"


def test_play_is_one_step_per_tick(panel: Any) -> None:
    panel["play"].value = 1
    panel["play"].value = 2
    panel["play"].value = 0
    assert [action.kind for action in panel["story"].actions] == ["wait", "step", "step"]


def test_shown_it_leaves_its_static_twin_beside_the_widget(panel: Any) -> None:
    widget, twin = panel.outputs()
    assert "application/vnd.jupyter.widget-view+json" in widget
    assert twin["text/html"] == twin_of(panel, picture(panel["story"]))
    assert "server 2 is leader" in twin["text/plain"]
    untouched = explorers.explore_raft()
    assert untouched.outputs()[1]["text/html"] == twin_of(untouched, strip()), "a tour"


def test_an_html_export_without_a_kernel_or_network_shows_the_twin(panel: Any) -> None:
    from nbconvert import HTMLExporter

    outputs = [nbformat.v4.new_output("display_data", data=data) for data in panel.outputs()]
    cell = nbformat.v4.new_code_cell("explorers.explore_raft()", outputs=outputs)
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    (source,) = re.findall(r'src="([^"]+)"', panel.outputs()[1]["text/html"])
    assert source in page
    assert "display:none" not in page.partition("<body")[2], "only the living widget hides it"


@pytest.mark.parametrize("n_servers", [2, 5])
def test_the_tour_shows_a_crash_and_a_return(n_servers: int) -> None:
    story = tour(ClusterParameters.of({"n_servers": n_servers}))
    roles = [one.role for one in story.servers()]
    assert roles.count("leader") <= 1 and "down" not in roles
    assert {"crash", "restart"} <= {record.event for record in story.trace}
    words = describe(strip(story))
    assert headline(story) in words and "1 crash" in words


def test_a_box_tells_what_is_committed_and_what_is_on_disk() -> None:
    row = ServerLog(1, "leader", 2, ((1, "a"), (1, "b"), (2, "c")), committed=1, on_disk=2)
    boxes = log_rows([row]).axes[0].patches
    filled = [box.get_facecolor() == box.get_edgecolor() for box in boxes]
    assert filled == [True, False, False]
    assert [box.get_linestyle() for box in boxes[:2]] == ["-", "-"]
    assert boxes[2].get_linestyle() != "-"
    assert boxes[0].get_edgecolor() == boxes[1].get_edgecolor() != boxes[2].get_edgecolor()


def test_of_a_long_log_the_end_is_shown() -> None:
    entries = tuple((1, str(i)) for i in range(1, 60))
    figure = log_rows([ServerLog(1, "leader", 1, entries, committed=59, on_disk=59)])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "59" in texts and "1" not in texts and "…" in texts


def test_the_twin_needs_neither_widgets_nor_a_kernel() -> None:
    program = (
        "import sys; sys.modules['ipywidgets'] = None\n"
        "from consensus_lab.explorers.raft_stepper import strip\n"
        "strip(); print('IPython' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
