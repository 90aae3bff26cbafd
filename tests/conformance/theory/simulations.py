"""Our own simulations against the tables, by z-scores.

Sample sizes are fixed here so that everything together takes a few minutes on one core; `effort`
scales them.  The sample-size table's own sizes (for five standard errors) are used unscaled.
Where a table prints a Monte Carlo mean, its own uncertainty is added: computed from our spread and
its number of samples, because the printed standard errors of the fork tables come from a handful of
batches.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from consensus_lab import theory
from consensus_lab.theory.monte_carlo import elections, forks, gossip, races, snow
from consensus_lab.theory.monte_carlo.estimate import Estimate, of_count, of_samples
from tests.conformance.theory import chain_tables, network_tables
from tests.conformance.theory.graphs import graph_distances
from tests.conformance.theory.report import Row
from tests.conformance.theory.tables import Checker

RARE = 1e-3
"""Probabilities below this are left to the formulas: plain sampling would hardly see them."""


class Run:
    """Randomness and effort of one run of the command."""

    def __init__(self, seed: int, effort: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.effort = effort

    def size(self, usual: float, *, least: int = 8) -> int:
        """A sample size, scaled by the effort."""
        return max(least, round(usual * self.effort))


Simulation = Callable[[Row, Run], None]

SIMULATIONS: dict[Checker, Simulation] = {}


def simulates(checker: Checker) -> Callable[[Simulation], Simulation]:
    """Register the simulation of a checker's tables."""

    def register(simulation: Simulation) -> Simulation:
        SIMULATIONS[checker] = simulation
        return simulation

    return register


def printed_error(estimate: Estimate, samples: int) -> float:
    """Standard error of a table's mean over that many samples, from our own spread."""
    return estimate.standard_error * math.sqrt(estimate.samples / samples)


def against_table(row: Row, column: str, estimate: Estimate, samples: int) -> None:
    """Compare with a printed Monte Carlo mean."""
    row.simulated(column, estimate, printed_error=printed_error(estimate, samples))


# Proof of work.


@simulates(chain_tables.double_spend)
def double_spend(row: Row, run: Run) -> None:
    q, z = row.number("q"), row.whole("z")
    expected = theory.double_spend_probability(q, confirmations=z)
    if z > 0 and expected > RARE:
        trials = run.size(20_000, least=100)
        estimate = races.double_spend(q, confirmations=z, trials=trials, rng=run.rng)
        row.simulated_share("p_exact", estimate, expected=expected)


@simulates(chain_tables.private_attack)
def private_attack(row: Row, run: Run) -> None:
    q, z, delay = row.number("q"), row.whole("z"), row.number("lambda_delta")
    expected = theory.private_attack_probability(q, confirmations=z, delay_intervals=delay)
    if z > 0 and expected > RARE:
        estimate = races.private_attack(
            q,
            confirmations=z,
            delay_intervals=delay,
            trials=run.size(20_000, least=100),
            rng=run.rng,
        )
        row.simulated_share("p_success", estimate, expected=expected)


@simulates(chain_tables.full_delay)
def full_delay(row: Row, run: Run) -> None:
    x, blocks = row.number("lambda_delta"), row.whole("mc_blocks")
    estimate = forks.stale_fraction([[x]], blocks=run.size(1_000_000, least=5000), rng=run.rng)
    row.simulated("stale_fraction", estimate)
    against_table(row, "mc_stale", estimate, blocks)


@simulates(chain_tables.two_miners)
def two_miners(row: Row, run: Run) -> None:
    share, x = row.number("p_u"), row.number("lambda_d")
    estimate = forks.stale_fraction(
        [[0.0, x], [x, 0.0]],
        shares=[share, 1.0 - share],
        blocks=run.size(400_000, least=5000),
        rng=run.rng,
    )
    row.simulated("stale_fraction", estimate)
    against_table(row, "mc_stale", estimate, row.whole("mc_blocks"))


@simulates(chain_tables.equal_miners)
def equal_miners(row: Row, run: Run) -> None:
    n, x = row.whole("n_miners"), row.number("lambda_delta")
    delays = x * (1.0 - np.eye(n))
    blocks = run.size(400_000, least=5000)
    estimate = forks.stale_fraction(delays, blocks=blocks, rng=run.rng)
    against_table(row, "mc_stale", estimate, row.whole("mc_blocks"))


@simulates(chain_tables.fork_graphs)
def fork_graphs(row: Row, run: Run) -> None:
    distances = graph_distances(row.text("graph"))
    if distances is None:
        row.not_covered("mc_stale", "unknown graph")
        return
    delays = distances * row.number("lambda_times_hop_delay")
    blocks = run.size(400_000, least=5000)
    estimate = forks.stale_fraction(delays, blocks=blocks, rng=run.rng)
    against_table(row, "mc_stale", estimate, row.whole("mc_blocks"))


@simulates(chain_tables.random_delays)
def random_delays(row: Row, run: Run) -> None:
    law = row.text("delay_law").split("(")[0]
    if law not in forks.DELAY_LAWS:
        row.not_covered("mc_stale", f"unknown law {law}")
        return
    estimate = forks.stale_fraction_random_delay(
        row.number("lambda_times_mean_delay"),
        law=law,
        blocks=run.size(400_000, least=5000),
        rng=run.rng,
    )
    against_table(row, "mc_stale", estimate, row.whole("mc_blocks"))


@simulates(chain_tables.selfish_mining)
def selfish_mining(row: Row, run: Run) -> None:
    a, g = row.number("alpha"), row.number("gamma")
    estimate = races.selfish_mining(
        a, gamma=g, blocks=run.size(2_000_000, least=1_000_000), rng=run.rng
    )
    row.simulated("relative_revenue", estimate.revenue)
    row.simulated("stale_fraction", estimate.stale_fraction)


@simulates(chain_tables.stubborn_mining)
def stubborn_mining(row: Row, run: Run) -> None:
    a, g, limit = row.number("alpha"), row.number("gamma"), row.whole("truncation")
    for name, stubbornness in theory.STUBBORN_STRATEGIES.items():
        column = f"rev_{name}"
        if not row.has(column) or float(row.cells[column]) < RARE:
            continue
        estimate = races.withholding_policy(
            theory.stubborn_policy(limit, *stubbornness),
            alpha=a,
            gamma=g,
            blocks=run.size(1_000_000, least=1_000_000),
            rng=run.rng,
        )
        row.simulated(column, estimate)


@simulates(chain_tables.optimal_selfish_mining)
def optimal_selfish_mining(row: Row, run: Run) -> None:
    a, g, limit = row.number("alpha"), row.number("gamma"), row.whole("truncation")
    best = chain_tables.optimal(a, g, limit, "first_seen")
    blocks = run.size(2_000_000, least=1_000_000)
    estimate = races.withholding_policy(best.policy, alpha=a, gamma=g, blocks=blocks, rng=run.rng)
    row.simulated("optimal_revenue", estimate)


@simulates(chain_tables.settlement)
def settlement(row: Row, run: Run) -> None:
    share, slots = row.number("adversarial_slot_prob"), row.whole("k")
    column = "p_settlement_violation"
    expected = row.number(column)
    if expected > RARE:
        trials = run.size(10_000, least=100)
        estimate = races.settlement_failures(share, slots=slots, trials=trials, rng=run.rng)
        row.simulated_share(column, estimate, expected=expected)


# Gossip.


@simulates(network_tables.rumor_rounds)
def rumor_rounds(row: Row, run: Run) -> None:
    n = row.whole("n")
    runs = run.size(min(4000, 800_000 / n))
    estimate = gossip.rumor_rounds(n, mode=row.text("mode"), runs=runs, rng=run.rng)
    row.simulated("sync_rounds_mc", estimate, printed_error=float(row.text("sync_se")))
    spread = Estimate(estimate.spread, estimate.spread_error, runs, batches=runs)
    against_table(row, "sync_sd", spread, row.whole("replicates"))


@simulates(network_tables.fanout)
def fanout(row: Row, run: Run) -> None:
    n, replicates = row.whole("n"), row.whole("replicates")
    runs = run.size(min(4000, 2_000_000 / n))
    reached, everyone = gossip.infect_and_die(n, fanout=row.whole("fanout"), runs=runs, rng=run.rng)
    # A run that dies early is rare and takes nearly the whole mean with it: the spread that few
    # runs show is then too small, so at least one such run is allowed for on either side.
    lost = reached.mean / min(runs, replicates)
    cautious = reached._replace(standard_error=max(reached.standard_error, lost / 3.0))
    against_table(row, "mc_mean_fraction", cautious, replicates)
    row.simulated_share("mc_p_all", everyone, replicates=replicates)


@lru_cache(maxsize=256)
def _passage(name: str, n: int, runs: int, run: Run) -> dict[str, Estimate]:
    return gossip.first_passage(name, n, runs=runs, rng=run.rng)


@simulates(network_tables.first_passage_random)
def first_passage_random(row: Row, run: Run) -> None:
    name, n, quantity = row.text("graph"), row.whole("n"), row.text("quantity")
    estimates = _passage(name, n, run.size(min(400, 60_000 / n)), run)
    if quantity not in estimates:
        row.not_covered("mc_mean", f"unknown quantity {quantity}")
        return
    row.simulated("mc_mean", estimates[quantity], printed_error=float(row.text("mc_se")))
    # Few runs may see no lost node at all: take the lost nodes as Poisson distributed.
    size = estimates["giant_size"]
    lost = max(n - float(row.cells["mean_giant_size"]), 1.0 / row.whole("replicates"))
    row.simulated("mean_giant_size", size, printed_error=math.sqrt(lost / size.samples))
    row.not_covered("single_run_sd", "without a standard error, and graphs are used repeatedly")


# Replicated logs.


@simulates(network_tables.split_votes)
def split_votes(row: Row, run: Run) -> None:
    late, expected = row.number("latency_over_timeout_range"), row.number("p_split")
    if expected > RARE:
        row.simulated_share("p_split", _splits(row, run, late, late), expected=expected)


@simulates(network_tables.split_votes_uniform)
def split_votes_uniform(row: Row, run: Run) -> None:
    estimate = _splits(row, run, row.number("l_min"), row.number("l_max"))
    row.simulated_share("mc_p_split", estimate, replicates=row.whole("replicates"))


def _splits(row: Row, run: Run, low: float, high: float) -> Estimate:
    return elections.split_votes(
        row.whole("cluster"),
        live=row.whole("live"),
        latency_low=low,
        latency_high=high,
        trials=run.size(100_000, least=1000),
        rng=run.rng,
    )


@simulates(network_tables.election_time_simulated)
def election_time(row: Row, run: Run) -> None:
    replicates = row.whole("replicates")
    runs = run.size(40_000 / float(row.cells["mean_terms"]), least=100)
    result = elections.election_times(
        row.whole("cluster"),
        live=row.whole("live"),
        timeout=(row.number("timeout_min_ms"), row.number("timeout_max_ms")),
        latency=(row.number("oneway_min_ms"), row.number("oneway_max_ms")),
        runs=runs,
        rng=run.rng,
    )
    row.simulated("mean_ms", result.time, printed_error=float(row.text("se_ms")))
    against_table(row, "mean_terms", result.term, replicates)
    row.simulated_share("p_more_than_one_term", result.more_than_one_term, replicates=replicates)
    for column, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p999_ms", 0.999)):
        if row.has(column):
            below = int(np.sum(result.times <= float(row.cells[column])))
            estimate = of_count(below, runs)._replace(
                standard_error=math.sqrt(share * (1.0 - share) / runs)
            )
            scatter = math.sqrt(share * (1.0 - share) / replicates)
            row.simulated(column, estimate, expected=share, printed_error=scatter)


@simulates(network_tables.duelling_proposers)
def duelling_proposers(row: Row, run: Run) -> None:
    window = row.number("d_over_B")
    duels = run.size(50_000, least=1000)
    rounds = np.zeros(duels)
    fighting = np.arange(duels)
    while len(fighting):
        rounds[fighting] += 1
        draws = run.rng.random((2, len(fighting)))
        fighting = fighting[np.abs(draws[0] - draws[1]) <= window]
    row.simulated("expected_rounds", of_samples(rounds))


@simulates(network_tables.snow_convergence)
def snow_convergence(row: Row, run: Run) -> None:
    replicates = row.whole("replicates")
    result = snow.convergence(
        row.text("protocol"),
        n_nodes=row.whole("n"),
        k=row.whole("k"),
        alpha=row.whole("alpha"),
        beta=row.whole("beta"),
        start_red_fraction=row.number("start_red_fraction"),
        runs=run.size(500),
        rng=run.rng,
    )
    row.simulated("mean_round_last_decision", result.last, printed_error=float(row.text("se_last")))
    average = result.average
    row.simulated("mean_round_avg_decision", average, printed_error=float(row.text("se_avg")))
    # Where the first decision is almost always round beta, few runs see no exception: allow one.
    first = result.first
    allowed = max(first.standard_error, 1.0 / first.samples)
    against_table(
        row,
        "mean_round_first_decision",
        first._replace(standard_error=allowed),
        min(replicates, first.samples),
    )
    row.simulated_share("p_disagreement", result.disagreement, replicates=replicates)


# The sample-size table: its own numbers of samples.


@simulates(network_tables.sample_sizes)
def sample_sizes(row: Row, run: Run) -> None:
    name = row.text("test")
    parameters = {key: float(value) for key, value in re.findall(r"([\w*]+)=([\d.]+)", name)}
    if not row.has("n_for_5_sigma"):
        return
    n = int(float(row.text("n_for_5_sigma")))
    measured = _sampled(name, parameters, n, run)
    if measured is None:
        row.not_covered("target (simulated)", "no target in the row")
        return
    estimate, expected = measured
    tolerance = float(row.text("abs_tolerance").split()[0])
    relative = "relative" in row.cells["abs_tolerance"]
    row.reached("target", estimate, expected, tolerance * (expected if relative else 1.0))


def _sampled(
    name: str, parameters: dict[str, float], n: int, run: Run
) -> tuple[Estimate, float] | None:
    """The test's estimate with n samples and what it should be."""
    rng, target = run.rng, re.search(r"\(([\d.e-]+)(%?)\)", name)
    stated = float(target[1]) / (100.0 if target[2] else 1.0) if target else math.nan
    if name.startswith("double spend"):
        q, z = parameters["q"], int(parameters["z"])
        return races.double_spend(q, confirmations=z, trials=n, rng=rng), stated
    if name.startswith("Raft split vote"):
        late = parameters["l"]
        estimate = elections.split_votes(
            int(parameters["n"]),
            live=int(parameters["s"]),
            latency_low=late,
            latency_high=late,
            trials=n,
            rng=rng,
        )
        return estimate, stated
    if name.startswith("PoS margin"):
        share, slots = parameters["alpha"], int(parameters["k"])
        return races.settlement_failures(share, slots=slots, trials=n, rng=rng), stated
    if name.startswith("gossip fanout"):
        nodes, told = int(parameters["n"]), int(parameters["f"])
        # The row's value is the limit e^(-n e^-f), which belongs to independent draws.
        _, everyone = gossip.infect_and_die(nodes, fanout=told, runs=n, rng=rng, distinct=False)
        return everyone, theory.fanout_everyone_probability(nodes, fanout=told)
    if name.startswith("stale fraction"):
        x = parameters["lambda*Delta"]
        estimate = forks.stale_fraction([[x]], blocks=n, rng=rng)
        return estimate, theory.full_delay_forks(x).stale_fraction
    if name.startswith("commit latency"):
        cluster = int(parameters["n"])
        order, draws = theory.commit_order(cluster)
        trips = np.sort(rng.exponential(1.0, (n, draws)), axis=1)[:, order - 1]
        law = theory.exponential_law(1.0)
        return of_samples(trips), theory.commit_latency_mean(cluster, law=law)
    if name.startswith("block interval"):
        return of_samples(rng.exponential(1.0, n)), 1.0
    return None
