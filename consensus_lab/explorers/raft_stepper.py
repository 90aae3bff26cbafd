"""Explorer: a Raft cluster, step by step, forwards and back, with crashes, cuts and proposals.

Rules of this file: what happens is `raft_story`'s business; here are the picture and the buttons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from consensus_lab.explorers.raft_story import (
    HEARTBEATS,
    Action,
    RaftStory,
    as_program,
    from_program,
    record_text,
)
from consensus_lab.node import NodeId, ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consensus_lab.experiments.clusters import ClusterParameters
    from consensus_lab.explorers.panel import Panel
    from consensus_lab.raft.config import RaftConfig

MESSAGES_SHOWN = {3: 20, 5: 28}
"""How many of the last messages the diagram holds, by number of servers."""

MESSAGES_SHOWN_MAX = 32

PLAY_INTERVAL_MS = 900

ELECTED_MS, SETTLED_MS = 4000, 400
"""Time in which, without faults, a leader is found and a value is everywhere, milliseconds."""

KNOWN_KINDS = ("MsgVote", "MsgVoteResp", "MsgApp", "MsgAppResp", "MsgProp", "MsgPreVote")


def picture(story: RaftStory, *, messages: int | None = None) -> Figure:
    """A story as it stands: its last messages, and every server's log beside its line.

    Parameters
    ----------
    story : RaftStory
    messages : int, optional
        How many of the last messages are drawn; a number that fits without it.
    """
    from consensus_lab.report.logs import cluster_picture

    count = story.parameters.n_servers
    shown = messages or MESSAGES_SHOWN.get(count, MESSAGES_SHOWN_MAX)
    return cluster_picture(
        story.trace, story.servers(), names={i: f"server {i}" for i in range(1, count + 1)},
        begin_ns=story.window_begin_ns(messages=shown), end_ns=story.engine.now,
        notes=("role",), say=record_text, known_kinds=KNOWN_KINDS,
        without=(*HEARTBEATS, "timer", "persist", "durable"),
        title=headline(story), detail=_detail(story),
    )  # fmt: skip


def headline(story: RaftStory) -> str:
    """Who leads, who is down, who is cut off."""
    parts = []
    for one in story.servers():
        if one.role == "leader":
            parts.append(f"server {one.server} leads term {one.term}")
    parts = [" and ".join(parts) if parts else "nobody leads"]
    down = [one.server for one in story.servers() if one.role == "down"]
    for servers, state in ((down, "down"), *((cut, "cut off") for cut in story.cut_off())):
        if servers:
            names = ", ".join(map(str, servers))
            parts.append(f"{names} {'is' if len(servers) == 1 else 'are'} {state}")
    text = "; ".join(parts)
    return text[0].upper() + text[1:]


def _detail(story: RaftStory) -> str:
    words = as_program(story.actions)
    words = words if len(words) <= 110 else "… " + words[-108:].partition(", ")[2]
    text = f"{story.now_ms:,.3f} ms, seed {story.parameters.seed}, heartbeats not drawn"
    return f"{text}; {words}" if words else text


def tour(parameters: ClusterParameters | None = None) -> RaftStory:
    """A story that shows most: a leader, a value, its crash, another leader, its return."""
    settled = f"wait {ELECTED_MS} ms, propose, wait {SETTLED_MS} ms"
    story = RaftStory(parameters, actions=settled)
    leader = story.leader()
    assert leader is not None, "nothing disturbs the election"
    rest = f"crash {leader}, {settled}, restart {leader}, wait {SETTLED_MS} ms"
    for action in from_program(rest):
        story.do(action)
    return story


def strip(story: RaftStory | None = None) -> Figure:
    """The static twin: a whole story in one picture.

    Parameters
    ----------
    story : RaftStory, optional
        The `tour` of three servers without it.
    """
    from consensus_lab.report.space_time import MESSAGES_MAX

    return picture(story or tour(), messages=MESSAGES_MAX // 2)


def explore_raft(
    parameters: ClusterParameters | None = None,
    *,
    actions: str | Iterable[Action] = (),
    raft: RaftConfig | None = None,
) -> Panel:
    """Buttons for a cluster: play, step, step back, crash, restart, cut, heal, propose.

    Parameters
    ----------
    parameters : ClusterParameters, optional
        Of the cluster; three servers in one region by default.
    actions : str or iterable of Action
        Where the story begins; see `RaftStory`.
    raft : RaftConfig, optional
        See `RaftStory`.

    Returns
    -------
    Panel
        For the last line of a cell; `panel["story"]` is the story.
    """
    return _Stepper(RaftStory(parameters, actions=actions, raft=raft)).panel


class _Stepper:
    """The buttons and what they do."""

    def __init__(self, story: RaftStory) -> None:
        import ipywidgets

        from consensus_lab.explorers.panel import Panel, Screen

        self.story = story
        self.screen = Screen()
        self.play = ipywidgets.Play(
            value=0, min=0, max=1_000_000, interval=PLAY_INTERVAL_MS, show_repeat=False,
            description="play: a step every second",
        )  # fmt: skip
        self.play.observe(self._tick, names="value")
        self.chosen = {
            server: ipywidgets.ToggleButton(
                description=f"server {server}", tooltip="whom the buttons below concern",
                layout={"width": "6.5em"},
            )
            for server in sorted(story.engine.processes)
        }  # fmt: skip
        buttons: dict[str, Any] = {
            name: self._button(name, *look) for name, look in self._looks().items()
        }
        time = [self.play, *(buttons[name] for name in ("step", "back", "begin_again")),
                self.screen.message]  # fmt: skip
        deeds = [buttons[name] for name in ("propose", "crash", "restart", "cut", "heal")]
        rows = [ipywidgets.HBox(time), ipywidgets.HBox([*self.chosen.values(), *deeds])]
        for row in rows:
            row.layout.flex_flow = "row wrap"
            row.layout.align_items = "center"
        box = ipywidgets.VBox([*rows, self.screen.picture])
        self.panel = Panel(
            box, lambda: picture(story) if story.actions else strip(tour(story.parameters)),
            story=story, screen=self.screen, play=self.play, chosen=self.chosen, **buttons,
        )  # fmt: skip
        self._show()

    def _looks(self) -> dict[str, tuple[str, str, str, Callable[[], None]]]:
        """Per button: label, icon, what it says on hovering, what it does."""
        story, act = self.story, self._act
        return {
            "step": ("step", "step-forward", "to the next thing to be seen", story.step),
            "back": ("step back", "step-backward", "take the last action back", story.back),
            "begin_again": ("from the start", "undo", "take everything back", story.begin_again),
            "propose": ("propose", "pencil", "a client puts the next value, at the chosen "
                        "servers or else at the leader", lambda: act("propose", needs=False)),
            "crash": ("crash", "bolt", "the chosen servers, or else the leader",
                      lambda: act("crash")),
            "restart": ("restart", "power-off", "the chosen servers, or else all that are down",
                        lambda: act("restart")),
            "cut": ("cut off", "scissors", "the chosen servers, or else the leader, from all "
                    "others", lambda: act("cut")),
            "heal": ("heal", "link", "every cut", lambda: act("heal", needs=False)),
        }  # fmt: skip

    def _button(self, name: str, label: str, icon: str, tip: str, do: Callable[[], None]) -> Any:
        import ipywidgets

        button = ipywidgets.Button(
            description=label, icon=icon, tooltip=tip, layout={"width": "auto"}
        )
        button.add_class(f"consensus-lab-{name.replace('_', '-')}")
        button.on_click(lambda _: self._do(do))
        return button

    def _act(self, kind: str, *, needs: bool = True) -> None:
        """One action on the chosen servers, or on the obvious one."""
        servers = tuple(server for server, toggle in self.chosen.items() if toggle.value)
        if not servers and needs:
            servers = self._obvious(kind)
        self.story.do(Action(kind, () if kind == "heal" else servers))
        for toggle in self.chosen.values():
            toggle.value = False

    def _obvious(self, kind: str) -> tuple[NodeId, ...]:
        if kind == "restart":
            return tuple(one.server for one in self.story.servers() if one.role == "down")
        leader = self.story.leader()
        if leader is None:
            raise ParameterError(f"server to {kind}", "none, and nobody leads", "a chosen one")
        return (leader,)

    def _tick(self, change: Any) -> None:
        if change["new"] > 0:
            self._do(self.story.step)

    def _do(self, action: Callable[[], None]) -> None:
        if self.screen.attempt(action):
            self._show()

    def _show(self) -> None:
        self.screen.show(picture(self.story))
