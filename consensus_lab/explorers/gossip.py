"""Explorer: a block's front on the network, over time, by relay protocol and number of links.

Rules of this file: arrivals come from the compiled path, once per protocol and degree; a slider
only changes what is shown of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments import gossip_front
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consensus_lab.experiments.result import Result
    from consensus_lab.explorers.panel import Panel
    from consensus_lab.report.front_view import FrontView

RELAYS = {
    "push": "push", "inv": "inv", "compact_low": "compact blocks",
}  # fmt: skip
"""Protocols that differ for a network's first block, which is the one that is drawn."""

DEGREES = (2, 4, 8, 16)
NODES = 600
MOMENTS = 60
"""Places of the slider between the discovery and the end."""

PLAY_INTERVAL_MS = 300


class Fronts:
    """One block's arrivals for each protocol and number of links, computed when first asked for.

    Parameters
    ----------
    parameters : gossip_front.Parameters, optional
        Network and block; the protocol and the degree are replaced by those asked for.

    Examples
    --------
    >>> fronts = Fronts(gossip_front.Parameters.of({"n_nodes": 60, "n_blocks": 1}))
    >>> fast, slow = (fronts.result(relay, 8).frame["accepted_s"].max() for relay in
    ...               ("compact_low", "inv"))
    >>> bool(fast < slow)
    True
    """

    def __init__(self, parameters: gossip_front.Parameters | None = None) -> None:
        given = parameters or gossip_front.Parameters.of({"n_nodes": NODES})
        self.parameters = given.replace(n_blocks=1, replicates=1)
        self._results: dict[tuple[str, int], Result] = {}
        self._views: dict[tuple[str, int], FrontView] = {}

    def result(self, relay: str, degree: int) -> Result:
        """The run of one block by that protocol, with so many links per node."""
        if relay not in RELAYS:
            raise ParameterError("relay", relay, f"one of {', '.join(RELAYS)}")
        if (relay, degree) not in self._results:
            parameters = self.parameters.replace(relay=relay, degree=degree)
            self._results[relay, degree] = gossip_front.run(parameters)
        return self._results[relay, degree]

    def end_s(self, degree: int) -> float:
        """When the slowest protocol has reached everybody, seconds."""
        return max(float(self.result(r, degree).frame["accepted_s"].max()) for r in RELAYS)

    def view(self, relay: str, degree: int) -> FrontView:
        """What is drawn for them."""
        from consensus_lab.report.front_view import FrontView

        if (relay, degree) not in self._views:
            arrivals = {
                name: self.result(one, degree).frame["accepted_s"].to_numpy(float)
                for one, name in RELAYS.items()
            }
            self._views[relay, degree] = FrontView(
                self.result(relay, degree), arrivals, chosen=RELAYS[relay],
                end_s=self.end_s(degree),
            )  # fmt: skip
        return self._views[relay, degree]


def strip(
    parameters: gossip_front.Parameters | None = None, *, relay: str = "inv", degree: int = 8
) -> Figure:
    """The static twin: the front at several moments, one map each."""
    return gossip_front.figure(Fronts(parameters).result(relay, degree))


def explore_gossip(
    parameters: gossip_front.Parameters | None = None, *, degrees: Sequence[int] = DEGREES
) -> Panel:
    """A slider over time, and choices of protocol and number of links.

    Parameters
    ----------
    parameters : gossip_front.Parameters, optional
        Network and block; 600 nodes without it.
    degrees : sequence of int
        Numbers of links per node to choose from.

    Returns
    -------
    Panel
        For the last line of a cell.
    """
    import ipywidgets

    from consensus_lab.explorers.panel import PNG_DPI, Panel, Screen

    fronts, screen = Fronts(parameters), Screen()
    asked = fronts.parameters.chosen("degree")
    relay = ipywidgets.ToggleButtons(
        options=[(name, key) for key, name in RELAYS.items()], value="inv",
        style={"button_width": "auto"},
    )  # fmt: skip
    degree = ipywidgets.SelectionSlider(
        options=sorted({*degrees, asked}), value=asked, description="links",
        continuous_update=False,
    )  # fmt: skip
    time = ipywidgets.FloatSlider(
        min=0.0, max=1.0, value=0.0, step=0.01, description="time (s)", readout_format=".2f",
        continuous_update=False, layout={"width": "32em"},
    )  # fmt: skip
    play = ipywidgets.Play(min=0, max=MOMENTS, interval=PLAY_INTERVAL_MS, show_repeat=False)

    def show(_: Any = None) -> None:
        view = fronts.view(relay.value, degree.value)
        screen.show(view.figure, view.png(time.value, dpi=PNG_DPI))

    def spread(_: Any = None) -> None:
        """Another number of links: the slowest protocol sets the end of the axis."""
        end_s = fronts.end_s(degree.value)
        with time.hold_trait_notifications():
            time.max, time.step = end_s, end_s / MOMENTS
            time.value = min(time.value, end_s)
        show()

    def tick(change: Any) -> None:
        time.value = change["new"] * time.max / MOMENTS

    play.observe(tick, names="value")
    degree.observe(spread, names="value")
    for control in (relay, time):
        control.observe(show, names="value")
    spread()
    time.value = float(fronts.result(relay.value, degree.value).frame["accepted_s"].median())
    label = ipywidgets.Label("relay protocol", layout={"margin": "2px 8px"})
    rows = [ipywidgets.HBox([play, time]), ipywidgets.HBox([label, relay, degree])]
    return Panel(
        ipywidgets.VBox([*rows, screen.picture]),
        lambda: gossip_front.figure(fronts.result(relay.value, degree.value)),
        time=time, relay=relay, degree=degree, play=play, screen=screen, fronts=fronts,
    )  # fmt: skip
