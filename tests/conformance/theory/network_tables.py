"""Checkers of the tables about gossip, replicated logs, queues, Snow, and of the prose."""

from __future__ import annotations

import math
import re

from consensus_lab import theory
from tests.conformance.theory.report import PROSE, Row
from tests.conformance.theory.tables import table

UNAVAILABILITY = 1e-15
"""The tables computed unavailability as 1 minus availability: multiples of 1.1e-16."""

DUEL_REPLICATES = 400_000
"""Not stated in the table; its Monte Carlo means are multiples of 1 / 400,000."""


@table("first passage, complete graph", "n", "mean_arrival", "E_t50", "E_t90", "sd_t100")
def first_passage_complete(row: Row) -> None:
    n = row.whole("n")
    times = theory.complete_graph_first_passage(n)
    row.exact("mean_arrival", times.mean_arrival)
    row.exact("sd_t100", times.everyone_sd)
    row.exact("two_H_over_n", times.everyone_mean)
    for column in row.cells:
        percent = re.fullmatch(r"E_t(\d+)", column)
        if percent:
            share = int(percent[1]) / 100
            row.exact(column, theory.complete_graph_share_time(n, share=share))


@table("first passage, random graphs", "graph", "n", "quantity", "mc_mean", "single_run_sd")
def first_passage_random(row: Row) -> None:
    graph, n, quantity = row.text("graph"), row.whole("n"), row.text("quantity")
    regular = re.fullmatch(r"rr(\d+)", graph)
    poisson = re.fullmatch(r"er(\d+)", graph)
    if row.has("leading_order_typical"):
        branching = int(regular[1]) - 1 if regular else int(poisson[1]) if poisson else None
        if branching and quantity == "mean_arrival":
            expected = theory.random_graph_first_passage_leading_order(n, branching=branching)
            row.exact("leading_order_typical", expected)
    if row.has("leading_order_flooding") and regular and quantity == "t100":
        expected = theory.random_regular_flooding_leading_order(n, degree=int(regular[1]))
        row.exact("leading_order_flooding", expected)
    # The printed error also holds the spread between graphs: it does not follow from the runs'.
    row.text("mc_se")
    for column in ("mc_mean", "single_run_sd", "mean_giant_size"):
        row.needs_simulation(column)
    row.text("replicates")


@table("mean hops, random regular", "degree", "n", "mean_hops")
def mean_hops(row: Row) -> None:
    degree, n = row.whole("degree"), row.whole("n")
    row.exact("mean_hops", theory.random_regular_mean_hops(n, degree=degree))


@table("rumor rounds", "n", "mode", "sync_rounds_mc", "async_time_exact")
def rumor_rounds(row: Row) -> None:
    n, mode = row.whole("n"), row.text("mode")
    row.exact("async_time_exact", theory.complete_graph_asynchronous_rumor_time(n, mode=mode))
    if mode == "pull":
        row.blank("sync_leading_order", "no leading order for pull alone")
    else:
        row.exact("sync_leading_order", theory.rumor_rounds_leading_order(n, mode=mode))
    spread = float(row.text("sync_sd")) / math.sqrt(row.whole("replicates"))
    row.exact("sync_se", spread)
    row.needs_simulation("sync_rounds_mc")
    row.needs_simulation("sync_sd")


@table("fanout", "n", "fanout", "final_fraction_fixed_point", "p_all_poisson_limit")
def fanout(row: Row) -> None:
    n, f = row.whole("n"), row.number("fanout")
    row.exact("final_fraction_fixed_point", theory.fanout_reached_fraction(f))
    row.exact("p_all_poisson_limit", theory.fanout_everyone_probability(n, fanout=f))
    row.text("replicates")
    for column in ("mc_mean_fraction", "mc_p_all"):
        row.needs_simulation(column)
    row.not_covered("mc_mean_fraction_given_outbreak", "what counts as an outbreak is not stated")


@table("split votes, fixed latency", "cluster", "live", "latency_over_timeout_range", "p_split")
def split_votes(row: Row) -> None:
    n, s = row.whole("cluster"), row.whole("live")
    late = row.number("latency_over_timeout_range")
    row.exact("p_split", theory.raft_split_vote_probability(n, live=s, latency=late))
    row.not_covered("published", PROSE)


@table("split votes, uniform latency", "cluster", "live", "l_min", "l_max", "mc_p_split")
def split_votes_uniform(row: Row) -> None:
    n, s = row.whole("cluster"), row.whole("live")
    low, high = row.number("l_min"), row.number("l_max")
    replicates = row.whole("replicates")
    printed = float(row.text("mc_p_split"))
    row.exact("mc_se", math.sqrt(printed * (1.0 - printed) / replicates))
    if low == high:
        expected = theory.raft_split_vote_probability(n, live=s, latency=low)
    elif s == theory.majority(n):
        expected = theory.raft_split_vote_probability_bare_majority(
            n, latency_low=low, latency_high=high
        )
    else:
        row.needs_simulation("mc_p_split")
        row.not_covered("published", PROSE)
        return
    row.statistical("mc_p_split", expected, math.sqrt(expected * (1 - expected) / replicates))
    row.not_covered("published", PROSE)


@table("election time", "cluster", "live", "latency_over_timeout_range", "E_election_time")
def election_time(row: Row) -> None:
    n, s = row.whole("cluster"), row.whole("live")
    time = theory.raft_election_time(n, live=s, latency=row.number("latency_over_timeout_range"))
    row.exact("E_first_timeout", time.first_timeout)
    row.exact("E_terms", time.terms)
    row.exact("E_no_split", time.without_split)
    row.exact("E_election_time", time.election)


@table("election time, simulated", "cluster", "live", "timeout_min_ms", "oneway_min_ms", "mean_ms")
def election_time_simulated(row: Row) -> None:
    for column in ("cluster", "live", "timeout_min_ms", "timeout_max_ms"):
        row.text(column)
    for column in ("oneway_min_ms", "oneway_max_ms", "replicates", "se_ms"):
        row.text(column)
    for column in ("mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "mean_terms"):
        row.needs_simulation(column)
    row.needs_simulation("p_more_than_one_term")
    row.not_covered("published", PROSE)


@table("commit latency", "rtt_law", "cluster", "crashed_followers", "order_m", "of_N")
def commit_latency(row: Row) -> None:
    law = theory.latency_law(row.text("rtt_law"))
    cluster, crashed = row.whole("cluster"), row.whole("crashed_followers")
    order, draws = theory.commit_order(cluster, crashed_followers=crashed)
    row.exact("order_m", order)
    row.exact("of_N", draws)
    mean = theory.commit_latency_mean(cluster, law=law, crashed_followers=crashed)
    row.exact("mean", mean)
    for column in row.cells:
        percent = re.fullmatch(r"p(\d+)", column)
        if percent:
            quantile = theory.commit_latency_quantile(
                cluster, law=law, share=int(percent[1]) / 100, crashed_followers=crashed
            )
            row.exact(column, quantile)


@table("quorum availability", "p_node_down", "n", "p_majority_up", "unavailability")
def quorum_availability(row: Row) -> None:
    availability = theory.quorum_availability(row.whole("n"), down=row.number("p_node_down"))
    row.exact("p_majority_up", availability.available)
    row.exact("unavailability", availability.unavailable, floor=UNAVAILABILITY)
    minutes = availability.minutes_down_per_year
    row.exact("minutes_down_per_year", minutes, floor=UNAVAILABILITY * 525_960)


@table("M/D/1 and M/M/1", "rho", "md1_wait_over_service", "mm1_p99_sojourn")
def single_server(row: Row) -> None:
    rho = row.number("rho")
    row.exact("md1_wait_over_service", theory.md1_wait(rho))
    row.exact("mm1_wait_over_service", theory.mm1_wait(rho))
    row.exact("md1_sojourn", theory.md1_sojourn(rho))
    row.exact("mm1_sojourn", theory.mm1_sojourn(rho))
    row.exact("mm1_p99_sojourn", theory.mm1_sojourn_quantile(rho, share=0.99))


@table("closed loop", "clients", "think_over_service", "throughput_times_service")
def closed_loop(row: Row) -> None:
    loop = theory.closed_loop(row.whole("clients"), think=row.number("think_over_service"))
    row.exact("throughput_times_service", loop.throughput)
    row.exact("response_over_service", loop.response)
    row.exact("asymptote_min", loop.throughput_bound)


@table("leader load", "n", "quorum", "leader_msgs_in", "service_time_s_example", "load_paxos")
def leader_load(row: Row) -> None:
    n, quorum = row.whole("n"), row.whole("quorum")
    grid = re.search(r"L=(\d+),Q=(\d+)", row.cells["load_paxos"])
    if grid:
        load = theory.leader_load(quorum=int(grid[2]), leaders=int(grid[1]))
        row.exact("load_epaxos_c0", load)
        row.not_covered("load_paxos", PROSE)
        return
    messages = theory.leader_messages(n)
    row.exact("quorum", messages.quorum)
    row.exact("leader_msgs_in", messages.messages_in)
    row.exact("leader_msgs_out_serialised", messages.serialised_out)
    row.exact("nic_messages", messages.network_card)
    # The example's parameters stand in the provenance: 10 us, 1 kB, 1 Gbit/s.
    busy = theory.leader_service_time_s(
        n, receive_s=1e-5, send_s=1e-5, message_size_bytes=1000, bandwidth_bits_per_s=1e9
    )
    row.exact("service_time_s_example", busy)
    row.exact("max_throughput_example", 1.0 / busy)
    row.exact("load_paxos", theory.leader_load(quorum=quorum))
    for column, conflicts in (("load_epaxos_c0", 0.0), ("load_epaxos_c1", 1.0)):
        load = theory.leader_load(quorum=quorum, leaders=n, conflicts=conflicts)
        row.exact(column, load)


@table("duelling proposers", "d_over_B", "p_round_succeeds", "expected_rounds")
def duelling_proposers(row: Row) -> None:
    ratio = row.number("d_over_B")
    success = theory.duelling_proposers_success(window=ratio, backoff=1.0)
    rounds = theory.duelling_proposers_rounds(window=ratio, backoff=1.0)
    row.exact("p_round_succeeds", success)
    row.exact("expected_rounds", rounds)
    spread = math.sqrt(1.0 - success) / success
    row.statistical("mc", rounds, spread / math.sqrt(DUEL_REPLICATES))


@table("Little's law", "case", "published_qps", "clients", "published_mean_latency_s")
def littles_law(row: Row) -> None:
    latency = row.number("published_mean_latency_s")
    expected = theory.littles_law_throughput(row.whole("clients"), latency_s=latency)
    row.text("case")
    row.exact("little_law_qps", expected)
    row.exact("ratio", row.number("published_qps") / expected)


@table("message counts", "f", "n", "pbft_msgs", "tendermint_msgs_broadcast", "raft_n")
def message_counts(row: Row) -> None:
    f = row.whole("f")
    pbft, tendermint = theory.pbft_messages(f), theory.tendermint_messages(f)
    hotstuff, raft = theory.hotstuff_messages(f), theory.raft_messages(f)
    paxos = theory.basic_paxos_messages(f)
    for column, value in (
        ("n", pbft.n_nodes),
        ("pbft_msgs", pbft.messages),
        ("pbft_delays_client", pbft.delays),
        ("tendermint_msgs_broadcast", tendermint.messages),
        ("tendermint_delays", tendermint.delays),
        ("hotstuff_basic_msgs", hotstuff.messages),
        ("hotstuff_basic_delays", hotstuff.delays),
        ("hotstuff_chained_commit_delays", theory.hotstuff_messages(f, chained=True).delays),
        ("raft_n", raft.n_nodes),
        ("raft_msgs_per_commit", raft.messages),
        ("raft_delays_client", raft.delays),
        ("raft_delays_leader", theory.raft_messages(f, from_client=False).delays),
        ("basic_paxos_msgs", paxos.messages),
        ("basic_paxos_delays_proposer", paxos.delays),
    ):
        row.exact(column, value)


@table("Snow, one sample", "n", "byz_fraction", "k", "alpha", "beta", "p_success")
def snow_sample(row: Row) -> None:
    k, alpha, beta = row.whole("k"), row.whole("alpha"), row.whole("beta")
    one = theory.sample_success(
        row.whole("n"), byzantine_share=row.number("byz_fraction"), k=k, alpha=alpha
    )
    row.exact("p_success", one.success)
    row.exact("p_minority_success", one.minority_success)
    rounds = theory.expected_rounds_to_run(one.success, beta=beta)
    row.exact("expected_rounds_to_beta_run", rounds)
    if one.minority_success == 0.0:
        row.blank("log10_p_minority_beta_run", "the minority cannot succeed")
    else:
        run = theory.beta_run_log10_probability(one.minority_success, beta=beta)
        row.exact("log10_p_minority_beta_run", run)


@table("Slush", "n", "k", "alpha", "start_red", "expected_rounds", "p_all_red")
def slush(row: Row) -> None:
    outcome = theory.slush(
        row.whole("n"),
        k=row.whole("k"),
        alpha=row.whole("alpha"),
        start_red=row.whole("start_red"),
    )
    row.exact("expected_rounds", outcome.expected_rounds)
    row.exact("p_all_red", outcome.all_red_probability)


@table("Snow, convergence", "protocol", "n", "k", "alpha", "beta", "mean_round_last_decision")
def snow_convergence(row: Row) -> None:
    for column in ("protocol", "n", "k", "alpha", "beta", "start_red_fraction", "replicates"):
        row.text(column)
    row.text("se_last"), row.text("se_avg")
    for column in (
        "mean_round_last_decision",
        "mean_round_avg_decision",
        "mean_round_first_decision",
        "p_disagreement",
    ):
        row.needs_simulation(column)


@table("sample sizes", "test", "target", "n_for_3_sigma", "n_for_5_sigma")
def sample_sizes(row: Row) -> None:
    name, unit = row.text("test"), row.text("unit")
    variance = _variance(name, unit, row.cells["target"])
    if variance is None:
        samples = re.search(r"n=(\d+)", name)
        critical = re.fullmatch(r"D_1%=([\d.]+) D_0.1%=([\d.]+)", row.cells["abs_tolerance"])
        row.not_covered("target", PROSE)
        if samples and critical:
            n = int(samples[1])
            for share, text in ((0.01, critical[1]), (0.001, critical[2])):
                row.rounded("abs_tolerance", kolmogorov_critical(share) / math.sqrt(n), text=text)
        return
    row.text("target")
    tolerance = float(row.text("abs_tolerance").split()[0])
    for column, sigmas in (("n_for_3_sigma", 3), ("n_for_5_sigma", 5)):
        needed = variance * (sigmas / tolerance) ** 2
        row.near(column, needed, within=1.5, why="rounded up")


def kolmogorov_critical(share: float) -> float:
    """Asymptotic critical value of D sqrt(n), sqrt(-ln(share / 2) / 2) to four digits."""
    return math.sqrt(-math.log(share / 2.0) / 2.0)


def _variance(name: str, unit: str, target: str) -> float | None:
    """Variance of one trial (relative where the tolerance is): what the row's n follows from."""
    coefficient = re.search(r"cv (\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?", name)
    if coefficient:
        return float(coefficient[2] or coefficient[1]) ** 2
    if unit == "independent trials":
        return float(target) * (1.0 - float(target))
    full_delay = re.search(r"lambda\*Delta=([\d.]+)", name)
    if full_delay:
        return theory.full_delay_forks(float(full_delay[1])).sampling_constant ** 2
    return None


@table("published comparison", "row", "paxos_etcd", "nakamoto_bitcoin")
def essay_table(row: Row) -> None:
    row.text("row")
    for column in ("paxos_etcd", "nakamoto_bitcoin", "snow_avalanche"):
        row.not_covered(column, PROSE)


@table("published throughput of Snow", "nodes", "tps_batch20_thousand", "tps_batch40_thousand")
def snow_throughput(row: Row) -> None:
    row.text("nodes")
    for column in ("tps_batch20_thousand", "tps_batch40_thousand"):
        row.not_covered(column, "published measurement, no formula")
