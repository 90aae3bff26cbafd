"""How many others work for a selfish pool, if nobody but the network decides?

When another miner's block comes out, a selfish pool publishes its own of the same height: a race.
Every honest miner keeps the block that it heard of first.  How many hear the pool's first, gamma,
is no property of the pool but of the network: the pool hears of the other block late, and its
answer has to overtake it.  Nodes of its own in many places (gateways) help: it hears sooner, and
its block starts everywhere at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.networks import NetworkParameters, build, relay_blocks
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.experiments.selfish_mining import published_rows
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import array_stream

if TYPE_CHECKING:
    import networkx
    import numpy
    from matplotlib.figure import Figure

    from consensus_lab.gossip.race import Race
    from consensus_lab.network.arrays import Network


class Parameters(NetworkParameters):
    """Network, pool, and how many blocks."""

    n_nodes: int = parameter(
        150, full=1000, unit="count", meaning="nodes in the network", minimum=3, maximum=10**5
    )
    alpha: float = parameter(
        0.35, unit="fraction", meaning="the selfish pool's share of the hash power", minimum=0.01,
        maximum=0.49,
    )  # fmt: skip
    gateways: list[int] = parameter(
        [1, 4, 16, 64], full=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512], unit="count", minimum=1,
        meaning="nodes at which the pool's blocks enter the network",
    )  # fmt: skip
    n_blocks: int = parameter(
        3000, full=5_000, unit="count", meaning="blocks found per replicate and setting",
        minimum=100,
    )  # fmt: skip
    block_interval_s: float = parameter(
        600.0, unit="s", meaning="mean time between blocks", minimum=0.01
    )
    block_size_bytes: int = parameter(
        1_000_000, unit="bytes", meaning="size of each block", minimum=81, maximum=10**9
    )

    def check(self) -> None:
        super().check()
        if list(self.gateways) != sorted(set(self.gateways)):
            raise ParameterError("gateways", self.gateways, "rising, each once")
        if not self.graph_file:
            check_gateways(self.gateways, self.n_nodes)


def check_gateways(gateways: list[int], n_nodes: int) -> None:
    """Refuse more gateways than leave two honest nodes."""
    if max(gateways) > n_nodes - 2:
        raise ParameterError("gateways", gateways, f"at most {n_nodes - 2} of {n_nodes} nodes")


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Let one pool be selfish on a network, with ever more gateways.

    Parameters
    ----------
    parameters : Parameters
    progress : callable (done, total, what)
    graph : networkx.Graph, optional
        The user's own network; the pool's gateways are drawn among the nodes that mine least, and
        all others keep their relative shares of the hash power.

    Returns
    -------
    Result
        `frame`: one row per number of gateways: races that another miner ended, those that it
        ended on the pool's side, gamma (Wilson's 95 % interval), the pool's share of the chain
        with its 95 % interval over networks, and the closed form at that gamma.
    """
    import pandas

    played, interrupted = by_setting(
        [partial(_race, parameters, count) for count in parameters.gateways],
        parameters.replicates, prepare=partial(build, parameters, graph=graph),
        progress=progress, what="races",
    )  # fmt: skip
    rows = [
        _row(parameters, count, races)
        for count, races in zip(parameters.gateways, played, strict=True)
    ]
    measures = [
        Measure(f"{name}_{row['gateways']}_gateways", row[name], row[f"{name}_low"],
                row[f"{name}_high"], "fraction", replicates)
        for row in rows
        for name, replicates in (("gamma", row["races"]), ("revenue", row["networks"]))
    ]  # fmt: skip
    notes = [
        *interrupted,
        "gamma is counted where another miner found the next block after a race: on whose block?",
        "The closed form knows no delay; on the network honest blocks go stale by themselves too.",
    ]
    frame = pandas.DataFrame(rows).drop(columns="networks")
    return Result("selfish-network", parameters, frame, measures, closed_forms(rows), figure,
                  notes=notes)  # fmt: skip


def _race(
    parameters: Parameters, count: int, built: tuple[Network, int]
) -> tuple[int, int, float, float]:
    """Races ended by others, those on the pool's side, the pool's revenue, stale rate."""
    from consensus_lab.gossip.conditions import Conditions, Pool
    from consensus_lab.gossip.mining import draw_schedule
    from consensus_lab.nakamoto.relay_withholding import Strategy

    network, seed = built
    check_gateways(parameters.gateways, network.n_nodes)
    gateways = drawn_gateways(network, count, seed)
    network = with_pool(network, gateways, parameters.alpha)
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_interval_s=parameters.block_interval_s,
        block_size_bytes=parameters.block_size_bytes, seed=seed,
    )  # fmt: skip
    conditions = Conditions(pools=(Pool(tuple(gateways), Strategy()),))
    race: Race = relay_blocks(parameters, network, schedule, seed=seed, conditions=conditions)
    matched, joined = race.races_joined(gateways)
    return matched, joined, race.chain_share(gateways), race.stale_rate()


def drawn_gateways(network: Network, count: int, seed: int) -> list[int]:
    """Nodes drawn from those that mine least; more gateways include the fewer ones."""
    import numpy

    order = array_stream(seed, "gateways").permutation(network.n_nodes)
    # Stable: among nodes that mine alike the drawn order stays.
    least = order[numpy.argsort(network.hash_share[order], kind="stable")]
    return [int(node) for node in least[:count]]


def with_pool(network: Network, gateways: list[int], alpha: float) -> Network:
    """The network with that share of the hash power behind the gateways."""
    share: numpy.ndarray = network.hash_share.copy()
    share[gateways] = 0.0
    share *= (1.0 - alpha) / share.sum()
    share[gateways[0]] = alpha
    return replace(network, hash_share=share)


def _row(
    parameters: Parameters, count: int, outcomes: list[tuple[int, int, float, float]]
) -> dict[str, Any]:
    races, joined = (sum(one[place] for one in outcomes) for place in (0, 1))
    gamma, gamma_low, gamma_high = proportion_interval(joined, races)
    revenue, low, high = mean_interval(one[2] for one in outcomes)
    return {
        "gateways": count, "networks": len(outcomes), "races": races, "joined": joined,
        "gamma": gamma, "gamma_low": gamma_low, "gamma_high": gamma_high, "revenue": revenue,
        "revenue_low": low, "revenue_high": high,
        "revenue_closed_form": theory.selfish_mining_revenue(parameters.alpha, gamma=gamma)
        if races else float("nan"),
        "threshold": theory.selfish_mining_threshold(gamma) if races else float("nan"),
        "stale_fraction": sum(one[3] for one in outcomes) / len(outcomes),
    }  # fmt: skip


def closed_forms(rows: list[dict[str, Any]]) -> list[Published]:
    """Eyal and Sirer's revenue at the gamma that was measured."""
    source = published_rows()[0]["source"].split(",")[0]
    return [
        Published(f"revenue_{row['gateways']}_gateways", row["revenue_closed_form"], "fraction",
                  f"{source}, closed form at the measured gamma")
        for row in rows if row["races"]
    ]  # fmt: skip


def figure(result: Result) -> Figure:
    """gamma and revenue over the number of gateways."""
    from consensus_lab.report.selfish_figures import gateways_figure

    return gateways_figure(result)
