"""Closed forms and exact numerical solutions, each with its formula, validity and source.

Rules of this package: no experiment is known here, no randomness outside `monte_carlo`, and a
wrong argument is a `ParameterError`.  Names are flat and imported when first used, so that
`from consensus_lab import theory` costs nothing.

    from consensus_lab import theory
    theory.double_spend_probability(0.1, confirmations=6)

Units.  Times of a proof-of-work chain are counted in mean block intervals of the whole network
unless the name carries a unit: `delay_intervals` is lambda * Delta, the mean number of blocks
that are mined while one block travels.  Shares of hash power and probabilities lie in [0, 1].
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "double_spend": (
        "catch_up_probability",
        "confirmations_needed",
        "double_spend_probability",
        "double_spend_probability_giving_up",
        "double_spend_probability_given_time",
        "double_spend_probability_strict",
        "whitepaper_double_spend_probability",
    ),
    "private_attack": ("private_attack_confirmations_needed", "private_attack_probability"),
    "time_risk": ("reversal_probability_at_time", "time_for_risk_intervals"),
    "finney": ("finney_attack_probability",),
    "majority_attack": ("censorship_probability", "double_spend_within_probability"),
    "finality": (
        "ConfirmationTime",
        "confirmation_time",
        "confirmation_time_quantile_s",
        "confirmed_within_probability",
        "transactions_per_block",
        "transactions_per_second",
    ),
    "forks": (
        "FullDelayForks",
        "blocks_at_height_probability",
        "diameter_stale_bound",
        "equal_miners_stale_first_order",
        "equal_miners_stale_scaled",
        "fork_probability_first_order",
        "fork_probability_discrete",
        "fork_probability_exponential",
        "full_delay_forks",
        "stale_by_share",
        "two_miner_growth",
        "two_miner_stale_fraction",
    ),
    "selfish": (
        "SelfishMiningRates",
        "selfish_mining_rates",
        "selfish_mining_revenue",
        "selfish_mining_sampling_constants",
        "selfish_mining_state_probability",
        "selfish_mining_threshold",
        "withholding_revenue_bound",
    ),
    "selfish_optimal": (
        "OptimalSelfishMining",
        "optimal_selfish_mining",
        "optimal_selfish_mining_revenue",
        "optimal_selfish_mining_threshold",
    ),
    "stubborn": ("STUBBORN_STRATEGIES", "stubborn_mining_revenue", "stubborn_policy"),
    "security_bounds": (
        "guo_ren_closed_bounds",
        "guo_ren_exact_bounds",
        "tolerated_share_pass_seeman_shelat",
        "tolerated_share_ren_zhao",
        "tolerated_share_tight",
    ),
    "gossip_times": (
        "FirstPassage",
        "complete_graph_asynchronous_rumor_time",
        "complete_graph_first_passage",
        "complete_graph_share_time",
        "fanout_everyone_probability",
        "fanout_reached_fraction",
        "harmonic_number",
        "nodes_for_share",
        "random_graph_first_passage_leading_order",
        "random_regular_flooding_leading_order",
        "random_regular_mean_hops",
        "rumor_rounds_leading_order",
    ),
    "raft_election": (
        "ElectionTime",
        "raft_election_time",
        "raft_split_vote_probability",
        "raft_split_vote_probability_bare_majority",
    ),
    "commit_latency": (
        "LatencyLaw",
        "commit_latency_mean",
        "commit_order",
        "commit_latency_quantile",
        "erlang_law",
        "exponential_law",
        "latency_law",
        "lognormal_law",
        "normal_law",
        "order_statistic_mean",
        "order_statistic_quantile",
        "shifted_exponential_law",
        "uniform_law",
    ),
    "quorums": (
        "QuorumAvailability",
        "majority",
        "quorum_availability",
    ),
    "messages": (
        "MessageCount",
        "basic_paxos_messages",
        "hotstuff_messages",
        "pbft_messages",
        "raft_messages",
        "tendermint_messages",
    ),
    "queues": (
        "ClosedLoop",
        "closed_loop",
        "littles_law_latency_s",
        "littles_law_throughput",
        "md1_sojourn",
        "md1_wait",
        "mm1_sojourn",
        "mm1_sojourn_quantile",
        "mm1_wait",
    ),
    "paxos": (
        "LeaderLoad",
        "duelling_proposers_rounds",
        "duelling_proposers_success",
        "leader_load",
        "leader_messages",
        "leader_service_time_s",
    ),
    "snow": (
        "SampleSuccess",
        "SlushOutcome",
        "beta_run_log10_probability",
        "expected_rounds_to_run",
        "sample_majority_probability",
        "sample_success",
        "slush",
    ),
    "stake": ("settlement_failure_probability",),
}

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
