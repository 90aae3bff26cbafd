"""What makes a block slow: its size, the links, the shape of the network, the relay, the lines?

Each of five properties is varied alone, all else as the parameters say.  Blocks are sent over
independent networks and every delivery counts, as in `propagation`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, propagation, quiet
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.networks import TOPOLOGIES
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.nakamoto.relay_options import PROTOCOLS

if TYPE_CHECKING:
    import networkx
    from matplotlib.figure import Figure

SWEEPS = {
    "block_size_bytes": "block_sizes_bytes", "relay": "relays", "degree": "degrees",
    "topology": "topologies", "bandwidth_scale": "bandwidth_scales",
}  # fmt: skip
"""What is varied, and the parameter that lists its values."""

OF_A_GRAPH = ("degree", "topology")
"""Properties that a user's own graph has already."""

STATISTICS = ("mean", "p50", "p90", "p99")
SHARES = {f"p{share * 100:g}": share for share in propagation.SHARES}
"""Quantiles by name, for whole distributions."""

GERVAIS = "Gervais et al. 2016, simulated (its network of 2016)"
THEIR_RELAYS = {"standard_inv": "inv", "unsolicited": "push"}


class Parameters(propagation.Parameters):
    """The setting in the middle, and the values to try around it."""

    n_nodes: int = parameter(
        400, full=6000, unit="count", meaning="nodes in the network", minimum=2, maximum=10**6
    )
    n_blocks: int = parameter(
        20, full=100, unit="count", meaning="blocks relayed per replicate and setting", minimum=1
    )
    replicates: int = parameter(
        3, full=6, unit="count", minimum=1, maximum=1000,
        meaning="independent networks per setting, each with blocks of its own",
    )  # fmt: skip
    block_sizes_bytes: list[int] = parameter(
        [10_000, 100_000, 500_000, 1_000_000, 4_000_000],
        full=[1000, 10_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000, 4_000_000],
        unit="bytes", meaning="block sizes to try", minimum=81, maximum=10**9,
    )  # fmt: skip
    relays: list[str] = parameter(
        list(PROTOCOLS), choices=PROTOCOLS, meaning="relay protocols to try"
    )
    degrees: list[int] = parameter(
        [2, 4, 8, 16, 32], full=[2, 3, 4, 6, 8, 12, 16, 32, 64], unit="count", minimum=1,
        maximum=1000, meaning="links per node to try (outbound ones for bitcoin)",
    )  # fmt: skip
    topologies: list[str] = parameter(
        ["bitcoin", "random_regular", "erdos_renyi", "barabasi_albert", "watts_strogatz", "grid"],
        choices=TOPOLOGIES, meaning="topologies to try",
    )  # fmt: skip
    bandwidth_scales: list[float] = parameter(
        [0.1, 0.3, 1.0, 3.0, 10.0], full=[0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0],
        minimum=1e-3, maximum=1e6, meaning="line rates to try, as multiples of the geography's",
    )  # fmt: skip

    def base(self) -> propagation.Parameters:
        """The setting in the middle, as the experiment on propagation takes it."""
        names = propagation.Parameters.names()
        return propagation.Parameters.of({name: getattr(self, name) for name in names})

    def settings(self, *, has_graph: bool) -> list[tuple[str, Any, propagation.Parameters]]:
        """Property, value, and the setting with that value, in the order of the sweeps."""
        base = self.base()
        skipped = OF_A_GRAPH if has_graph or self.graph_file else ()
        return [
            (name, value, base.replace(**{name: value}))
            for name, values in SWEEPS.items() if name not in skipped
            for value in getattr(self, values)
        ]  # fmt: skip

    def check(self) -> None:
        super().check()
        self.settings(has_graph=False)


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Vary one property at a time.

    Parameters
    ----------
    parameters : Parameters
    progress : callable (done, total, what)
    graph : networkx.Graph, optional
        The user's own network; its shape is then not varied.

    Returns
    -------
    Result
        `frame`: one row per property, value and statistic (the mean, and quantiles from 1 to
        99 % of the deliveries): the delay (s) with its 95 % interval.
    """
    import pandas

    settings = parameters.settings(has_graph=graph is not None)
    # The setting in the middle belongs to every sweep and is run once.
    keys = [repr({**setting.as_dict(), **_chosen(setting)}) for _, _, setting in settings]
    different = dict(zip(keys, (setting for _, _, setting in settings), strict=True))
    came, interrupted = by_setting(
        [partial(propagation.measure, setting, graph=graph) for setting in different.values()],
        parameters.replicates, progress=progress, what="networks",
    )  # fmt: skip
    measured = dict(zip(different, came, strict=True))
    rows = [
        {
            "property": name, "value": str(value), "statistic": statistic,
            "delay_s": delay_s, "delay_low_s": low_s, "delay_high_s": high_s,
            "networks": len(measured[key]),
        }
        for key, (name, value, _) in zip(keys, settings, strict=True)
        for statistic, (delay_s, low_s, high_s) in _delays(measured[key]).items()
    ]  # fmt: skip
    measures = [
        Measure(quantity(row["property"], row["value"]), row["delay_s"], row["delay_low_s"],
                row["delay_high_s"], "s", row["networks"])
        for row in rows if row["statistic"] == "mean"
    ]  # fmt: skip
    notes = [
        *interrupted,
        "One property at a time; the others are those of the parameters.  Means over deliveries, "
        "intervals over networks.",
        "Gervais et al. simulated slower lines than today's: compare the shapes, or set "
        "geography=gervais_2016.",
    ]
    frame = pandas.DataFrame(rows)
    return Result("propagation-sweep", parameters, frame, measures, published(), figure,
                  notes=notes)  # fmt: skip


def _delays(networks: list[dict[Any, float]]) -> dict[str, tuple[float, float, float]]:
    """The mean delay and its quantiles, each with its interval over networks."""
    wanted = {"mean": "delay_s_mean", **SHARES}
    return {name: mean_interval(one[key] for one in networks) for name, key in wanted.items()}


def _chosen(setting: propagation.Parameters) -> dict[str, Any]:
    """What holds where the setting says nothing, so that `relay=inv` is the usual relay."""
    return {name: setting.chosen(name) for name in ("relay", "degree")}


def quantity(name: str, value: object) -> str:
    """The measure of a setting.

    Examples
    --------
    >>> quantity("block_size_bytes", 1_000_000)
    'delay_s_mean_block_size_bytes_1000000'
    """
    return f"delay_s_mean_{name}_{value}"


def published() -> list[Published]:
    """Mean delays that Gervais et al. simulated at 600 s: by size, by relay, by connections."""
    known = []
    for row in data.rows("network/published/gervais2016_simulated_propagation_and_stale.csv"):
        is_plain = row["experiment"] == "block_size" and row["relay_protocol"] in THEIR_RELAYS
        if not is_plain or float(row["block_interval_s"]) != constants.BLOCK_INTERVAL_S:
            continue
        size_bytes, mean_s = round(float(row["block_size_mb"]) * 1e6), float(row["mean_s"])
        relay = THEIR_RELAYS[row["relay_protocol"]]
        if relay == "inv":
            known.append(Published(quantity("block_size_bytes", size_bytes), mean_s, "s", GERVAIS))
        if size_bytes == constants.BLOCK_SIZE_BYTES_MAX:
            known.append(Published(quantity("relay", relay), mean_s, "s", GERVAIS))
    return known


def figure(result: Result) -> Figure:
    """One small picture per property."""
    from consensus_lab.report.gossip_sweeps import sweep_figure

    return sweep_figure(result, STATISTICS)


def distributions(result: Result) -> Figure:
    """The whole distribution of delays for every value, one small picture per property.

    The quantiles measured on the real network stand beside the relay protocols.
    """
    from consensus_lab.report.gossip_sweeps import distributions_figure

    measured = [
        (propagation.QUANTILES[name], one.value, one.source)
        for one in propagation.published()
        if (name := one.quantity.removeprefix("delay_s_")) in propagation.QUANTILES
    ]
    return distributions_figure(result, SHARES, measured)
