"""Checkers of the tables about proof of work: double spending, forks, withholding, bounds."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from consensus_lab import theory
from tests.conformance.theory.report import Row
from tests.conformance.theory.tables import table

ONE_MINUS_SUM = 1e-13
"""Columns that the tables computed as 1 minus a sum: their rounding error, seen as negative
probabilities of down to -2e-14 and as 4e-14 beside an independent exact value."""

BISECTION = 3e-6
"""Width of the tables' bisection: their own closed-form thresholds are missed by up to 1.3e-6."""

PUBLISHED_TRUNCATION = 94
"""Longest branch of Sapirshtein, Sompolinsky and Zohar's printed lower bounds (their T = 95)."""


@table("double spend probability", "q", "z", "p_nakamoto", "p_exact", "p_exact_strictly_longer")
def double_spend(row: Row) -> None:
    q, z = row.number("q"), row.whole("z")
    whitepaper = theory.whitepaper_double_spend_probability(q, confirmations=z)
    row.exact("p_nakamoto", whitepaper, floor=ONE_MINUS_SUM)
    row.exact("p_exact", theory.double_spend_probability(q, confirmations=z))
    strict = theory.double_spend_probability_strict(q, confirmations=z)
    row.exact("p_exact_strictly_longer", strict, floor=ONE_MINUS_SUM)
    for column in row.cells:
        gives_up = re.fullmatch(r"p_exact_giveup(\d+)", column)
        if gives_up:
            expected = theory.double_spend_probability_giving_up(
                q, confirmations=z, give_up_deficit=int(gives_up[1])
            )
            row.exact(column, expected, floor=ONE_MINUS_SUM)


@table("confirmations needed", "q", "risk", "z_nakamoto", "z_exact")
def confirmations_needed(row: Row) -> None:
    q, risk = row.number("q"), row.number("risk")
    row.exact("z_nakamoto", theory.confirmations_needed(q, risk=risk, formula="whitepaper"))
    row.exact("z_exact", theory.confirmations_needed(q, risk=risk))


@table("whitepaper, confirmations", "q", "risk", "z_whitepaper_published", "z_exact_computed")
def whitepaper_confirmations(row: Row) -> None:
    q, risk = row.number("q"), row.number("risk")
    whitepaper = theory.confirmations_needed(q, risk=risk, formula="whitepaper")
    row.exact("z_whitepaper_published", whitepaper)
    row.exact("z_nakamoto_computed", whitepaper)
    row.exact("z_exact_computed", theory.confirmations_needed(q, risk=risk))


@table("whitepaper, probability", "q", "z", "p_published", "p_computed", "p_exact_negbin")
def whitepaper_probability(row: Row) -> None:
    q, z = row.number("q"), row.whole("z")
    whitepaper = theory.whitepaper_double_spend_probability(q, confirmations=z)
    row.rounded("p_published", whitepaper)
    row.exact("p_computed", whitepaper, floor=ONE_MINUS_SUM)
    row.exact("p_exact_negbin", theory.double_spend_probability(q, confirmations=z))


@table("double spend given the time", "q", "z", "kappa", "p")
def conditional_time(row: Row) -> None:
    expected = theory.double_spend_probability_given_time(
        row.number("q"), confirmations=row.whole("z"), time_ratio=row.number("kappa")
    )
    row.exact("p", expected, floor=ONE_MINUS_SUM)


@table("Rosenfeld's table", "q", "n", "percent_recalled", "percent_computed")
def rosenfeld(row: Row) -> None:
    percent = 100 * theory.double_spend_probability(row.number("q"), confirmations=row.whole("n"))
    row.rounded("percent_recalled", percent)
    row.exact("percent_computed", percent)


@table("private attack with delay", "q", "lambda_delta", "z", "p_success")
def private_attack(row: Row) -> None:
    q, z, delay = row.number("q"), row.whole("z"), row.number("lambda_delta")
    success = theory.private_attack_probability(q, confirmations=z, delay_intervals=delay)
    row.exact("p_success", success, floor=ONE_MINUS_SUM)
    row.exact("p_no_delay", theory.double_spend_probability(q, confirmations=z))


@table("confirmation time", "confirmations", "mean_min", "sd_min", "p50_min")
def confirmation_time(row: Row) -> None:
    z = row.whole("confirmations")
    time = theory.confirmation_time(z)
    row.exact("mean_min", time.mean_s / 60)
    row.exact("sd_min", time.sd_s / 60)
    for column in row.cells:
        percent = re.fullmatch(r"p(\d+)_min", column)
        within = re.fullmatch(r"p_within_(\d+)min", column)
        if percent:
            share = int(percent[1]) / 100
            row.exact(column, theory.confirmation_time_quantile_s(z, share=share) / 60)
        elif within:
            minutes = int(within[1])
            row.exact(column, theory.confirmed_within_probability(z, time_s=60 * minutes))


@table("transactions per second", "block_bytes", "tx_bytes", "interval_s", "tx_per_block", "tps")
def transactions_per_second(row: Row) -> None:
    interval = row.number("interval_s")
    if row.has("block_bytes") and row.has("tx_bytes"):
        per_block = theory.transactions_per_block(
            block_size_bytes=row.number("block_bytes"),
            transaction_size_bytes=row.number("tx_bytes"),
        )
        row.exact("tx_per_block", per_block)
    else:
        per_block = row.number("tx_per_block")
    row.exact("tps", theory.transactions_per_second(per_block, block_interval_s=interval))


@table("forks with full delay", "lambda_delta", "growth_rate_over_lambda", "mc_stale", "p_loner")
def full_delay(row: Row) -> None:
    forks = theory.full_delay_forks(row.number("lambda_delta"))
    row.exact("growth_rate_over_lambda", forks.growth)
    row.exact("stale_fraction", forks.stale_fraction)
    row.exact("p_height_has_fork", forks.height_has_fork_probability)
    row.exact("mean_blocks_per_height", forks.blocks_per_height_mean)
    row.exact("p_lagger", forks.lagger_probability)
    row.exact("p_loner", forks.loner_probability)
    row.exact("se_constant_theory", forks.sampling_constant)
    blocks = row.whole("mc_blocks")
    row.statistical("mc_stale", forks.stale_fraction, forks.sampling_constant / math.sqrt(blocks))
    constant = float(row.text("se_constant_mc"))
    row.exact("mc_stale_se", constant / math.sqrt(blocks))
    forked = forks.height_has_fork_probability
    heights = blocks * forks.growth
    row.statistical("mc_p_height_has_fork", forked, math.sqrt(forked * (1.0 - forked) / heights))


@table("blocks at a height", "lambda_delta", "k", "p")
def blocks_at_height(row: Row) -> None:
    x, k = row.number("lambda_delta"), row.whole("k")
    row.exact("p", theory.blocks_at_height_probability(k, delay_intervals=x))


@table("two miners", "p_u", "lambda_d", "growth_over_lambda", "stale_fraction", "mc_stale")
def two_miners(row: Row) -> None:
    share, x = row.number("p_u"), row.number("lambda_d")
    row.exact("growth_over_lambda", theory.two_miner_growth(share, delay_intervals=x))
    stale = theory.two_miner_stale_fraction(share, delay_intervals=x)
    row.exact("stale_fraction", stale)
    blocks = row.whole("mc_blocks")
    row.text("mc_stale_se")
    row.statistical("mc_stale", stale, stale_standard_error(stale, blocks))


def stale_standard_error(stale: float, blocks: int) -> float:
    """Standard error of a simulated stale fraction when no formula gives it: binomial.

    The tables' own standard errors come from a handful of batches and scatter by a factor of
    two; the true ones are a little below the binomial (forks repel each other).
    """
    return math.sqrt(stale * (1.0 - stale) / blocks)


@table("equal miners", "n_miners", "lambda_delta", "approx_first_order", "approx_scaled")
def equal_miners(row: Row) -> None:
    n, x = row.whole("n_miners"), row.number("lambda_delta")
    row.exact("approx_first_order", theory.equal_miners_stale_first_order(n, delay_intervals=x))
    scaled = theory.equal_miners_stale_scaled(n, delay_intervals=x)
    row.exact("approx_scaled", scaled)
    row.exact("limit_infinite", theory.full_delay_forks(x).stale_fraction)
    blocks = row.whole("mc_blocks")
    row.text("mc_stale_se")
    if n == 2:
        exact = theory.two_miner_stale_fraction(0.5, delay_intervals=x)
        row.exact("exact", exact)
        row.statistical("mc_stale", exact, stale_standard_error(exact, blocks))
    else:
        row.blank("exact", "exact for two miners only")
        row.needs_simulation("mc_stale")


@table("forks on graphs", "graph", "mean_hops_incl_self", "lambda_times_hop_delay", "mc_stale")
def fork_graphs(row: Row) -> None:
    from tests.conformance.theory.graphs import graph_distances

    distances = graph_distances(row.text("graph"))
    hop = row.number("lambda_times_hop_delay")
    if distances is None:
        mean, diameter = row.number("mean_hops_incl_self"), row.number("diameter_hops")
        row.not_covered("n_nodes", "unknown graph")
    else:
        mean, diameter = float(distances.mean()), float(distances.max())
        row.exact("n_nodes", len(distances))
        row.exact("mean_hops_incl_self", mean)
        row.exact("diameter_hops", diameter)
    # The printed hop delay is rounded from the mean delay, which is a round number.
    x = row.number("lambda_times_mean_delay")
    row.exact("lambda_times_hop_delay", x / mean)
    row.exact("first_order", x)
    seconds = {"mean_delay_s": x, "block_interval_s": 1.0}
    row.exact("one_minus_exp", theory.fork_probability_exponential(**seconds))
    row.exact("x_over_1px", theory.full_delay_forks(x).stale_fraction)
    bound = theory.diameter_stale_bound(diameter, hop_delay_intervals=x / mean)
    row.exact("upper_bound_diameter", bound)
    assert hop > 0.0
    row.text("mc_stale_se"), row.text("mc_blocks")
    row.needs_simulation("mc_stale")


@table("forks with random delays", "delay_law", "lambda_times_mean_delay", "mc_stale")
def random_delays(row: Row) -> None:
    x = row.number("lambda_times_mean_delay")
    row.text("delay_law"), row.text("mc_stale_se"), row.text("mc_blocks")
    row.exact("constant_delay_exact", theory.full_delay_forks(x).stale_fraction)
    row.exact("first_order", x)
    row.needs_simulation("mc_stale")


@table("forks from propagation", "block_interval_s", "integral_1_minus_f_s", "P_fork_discrete")
def decker_wattenhofer(row: Row) -> None:
    interval, mean = row.number("block_interval_s"), row.number("integral_1_minus_f_s")
    seconds = {"mean_delay_s": mean, "block_interval_s": interval}
    row.exact("P_fork_discrete", theory.fork_probability_discrete(**seconds))
    row.exact("P_fork_exp", theory.fork_probability_exponential(**seconds))
    row.exact("full_delay_stale", theory.full_delay_forks(mean / interval).stale_fraction)


@table("selfish mining", "alpha", "gamma", "pool_mainchain_blocks_per_block_mined", "p_state0")
def selfish_mining(row: Row) -> None:
    a, g = row.number("alpha"), row.number("gamma")
    rates = theory.selfish_mining_rates(a, gamma=g)
    revenue = theory.selfish_mining_revenue(a, gamma=g)
    row.exact("relative_revenue", revenue)
    row.exact("pool_mainchain_blocks_per_block_mined", rates.pool)
    row.exact("honest_mainchain_blocks_per_block_mined", rates.honest)
    row.exact("stale_fraction", rates.stale_fraction)
    for column, state in (("p_state0", "0"), ("p_state0prime", "0'"), ("p_state1", "1")):
        row.exact(column, theory.selfish_mining_state_probability(a, state=state))
    if abs(revenue - a) < 1e-12:
        row.not_covered("profitable", "exactly at the threshold: rounding decides")
    else:
        row.exact("profitable", float(revenue > a))


@table("selfish mining, sampling", "alpha", "gamma", "sim_mean", "sd_constant")
def selfish_sampling(row: Row) -> None:
    a, g = row.number("alpha"), row.number("gamma")
    rates = theory.selfish_mining_rates(a, gamma=g)
    constants = theory.selfish_mining_sampling_constants(a, gamma=g)
    row.exact("relative_revenue", rates.relative_revenue)
    row.exact("stale_fraction", rates.stale_fraction)
    runs, blocks = _batches(row.cells.get("provenance", ""))
    scale = math.sqrt(runs * blocks)
    row.statistical("sim_mean", rates.relative_revenue, constants.revenue / scale)
    row.statistical("sim_stale", rates.stale_fraction, constants.stale_fraction / scale)
    # The standard deviation of `runs` values is itself known to 1 / sqrt(2 (runs - 1)).
    noise = 1.0 / math.sqrt(2.0 * (runs - 1))
    row.statistical("sd_constant", constants.revenue, noise * constants.revenue)
    row.statistical("stale_sd_constant", constants.stale_fraction, noise * constants.stale_fraction)
    printed = float(row.text("sd_constant"))
    standard_error = printed / scale
    z = (float(row.text("sim_mean")) - rates.relative_revenue) / standard_error
    row.near("z_score", z, within=1e-10 / standard_error, why="from the printed mean and constant")
    needed = math.ceil((3.0 * printed / 0.002) ** 2)
    row.near("blocks_for_abs_tol_0p002_at_3sigma", needed, within=1.0, why="printed constant")


def _batches(provenance: str) -> tuple[int, int]:
    """Runs and blocks per run as the provenance states them: (200 x 100k blocks)."""
    found = re.search(r"\((\d+) x (\d+)k blocks\)", provenance)
    return (int(found[1]), 1000 * int(found[2])) if found else (200, 100_000)


@lru_cache(maxsize=512)
def optimal(
    alpha: float, gamma: float, truncation: int, tie_breaking: str
) -> theory.OptimalSelfishMining:
    """Solved once for all columns and for the simulation."""
    return theory.optimal_selfish_mining(
        alpha, gamma=gamma, truncation=truncation, tie_breaking=tie_breaking
    )


@table("optimal selfish mining", "alpha", "gamma", "optimal_revenue", "truncation")
def optimal_selfish_mining(row: Row) -> None:
    a, g, limit = row.number("alpha"), row.number("gamma"), row.whole("truncation")
    best = optimal(a, g, limit, "first_seen").revenue
    row.exact("sm1_revenue", theory.selfish_mining_revenue(a, gamma=g))
    row.exact("optimal_revenue", best)
    shorter = optimal(a, g, int(0.7 * limit), "first_seen").revenue
    row.exact("truncation_gap", best - shorter, floor=ONE_MINUS_SUM)
    row.exact("upper_bound_alpha_over_1_minus_alpha", theory.withholding_revenue_bound(a))
    if row.has("published_recalled"):
        printed = optimal(a, g, PUBLISHED_TRUNCATION, "first_seen").revenue
        # Lower bounds, so they were rounded down to five digits.
        row.exact("published_recalled", math.floor(printed * 1e5) / 1e5)


@table("uniform tie breaking", "alpha", "optimal_revenue_uniform_tie_breaking", "truncation")
def uniform_tie_breaking(row: Row) -> None:
    a, limit = row.number("alpha"), row.whole("truncation")
    row.exact("sm1_revenue_gamma_half", theory.selfish_mining_revenue(a, gamma=0.5))
    row.exact("optimal_revenue_gamma_half", optimal(a, 0.5, limit, "first_seen").revenue)
    row.exact("optimal_revenue_uniform_tie_breaking", optimal(a, 0.5, limit, "uniform").revenue)


@table("selfish mining thresholds", "variant", "gamma", "sm1_threshold", "optimal_threshold")
def selfish_thresholds(row: Row) -> None:
    g, uniform = row.number("gamma"), row.text("variant").startswith("uniform")
    honest_or_not = theory.selfish_mining_threshold(g)
    row.exact("sm1_threshold", honest_or_not)
    stated = re.search(r"T=(\d+)", row.cells.get("provenance", ""))
    best = theory.optimal_selfish_mining_threshold(
        g,
        truncation=int(stated[1]) if stated else 45,
        tie_breaking="uniform" if uniform else "first_seen",
    )
    row.near("optimal_threshold", best, within=BISECTION, why="bisection")
    published = re.match(r"(?:(\d+)/(\d+)|([\d.]+))", row.cells.get("published", ""))
    if published and published[1]:
        ratio = int(published[1]) / int(published[2])
        row.same("published", ratio, honest_or_not)
    elif published:
        row.rounded("published", best if uniform else honest_or_not, text=published[3])


@table("stubborn mining", "alpha", "gamma", "sm1_closed_form", "rev_sm1", "truncation")
def stubborn_mining(row: Row) -> None:
    a, g, limit = row.number("alpha"), row.number("gamma"), row.whole("truncation")
    closed = theory.selfish_mining_revenue(a, gamma=g)
    row.exact("sm1_closed_form", closed)
    for name, (lead, equal_fork, trail) in theory.STUBBORN_STRATEGIES.items():
        column = f"rev_{name}"
        if column in row.cells:
            revenue = theory.stubborn_mining_revenue(
                a, gamma=g, lead=lead, equal_fork=equal_fork, trail=trail, truncation=limit
            )
            row.exact(column, revenue)
            if name == "sm1":
                row.exact("sm1_truncation_error", revenue - closed, floor=ONE_MINUS_SUM)


@table("tolerated share", "c_blocks_interval_over_delta", "beta_max_tight", "beta_min_pss_attack")
def tolerated_share(row: Row) -> None:
    x = 1.0 / row.number("c_blocks_interval_over_delta")
    row.exact("lambda_delta", x)
    tight = theory.tolerated_share_tight(x)
    row.exact("beta_max_tight", tight)
    row.exact("beta_min_pss_attack", tight)
    row.exact("beta_max_pss_proof", theory.tolerated_share_pass_seeman_shelat(x))
    row.exact("beta_max_ren_zhao_neat", theory.tolerated_share_ren_zhao(x))


@table("Guo and Ren", "beta", "lambda_delta", "k", "thm1_lower", "thm2_upper")
def guo_ren(row: Row) -> None:
    beta, x, k = row.number("beta"), row.number("lambda_delta"), row.whole("k")
    closed = theory.guo_ren_closed_bounds(beta, delay_intervals=x, depth=k)
    exact = theory.guo_ren_exact_bounds(beta, delay_intervals=x, depth=k)
    for column, value in zip(
        ("thm1_lower", "thm1_upper", "thm2_lower", "thm2_upper"), closed + exact, strict=True
    ):
        row.exact(column, value)


@table("settlement under stake", "adversarial_slot_prob", "k", "p_settlement_violation")
def settlement(row: Row) -> None:
    share, k = row.number("adversarial_slot_prob"), row.whole("k")
    failure = theory.settlement_failure_probability(share, slots=k)
    row.exact("p_settlement_violation", failure)
    row.exact("log10", math.log10(failure))
    empty = theory.settlement_failure_probability(share, slots=k, empty_prefix=True)
    row.exact("p_forkable_prefix_empty", empty)
