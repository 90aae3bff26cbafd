"""Commands that look at a node and change nothing."""

from __future__ import annotations

from consensus_lab.raft.progress import describe_progress
from tests.conformance.etcd_raft.datadriven import Argument
from tests.conformance.etcd_raft.describe import describe_entries
from tests.conformance.etcd_raft.environment import Environment, ReplayedNode


def raft_log(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Print the log on a node's disk."""
    print_log(env, env.first_node(arguments))


def print_log(env: Environment, node: ReplayedNode) -> None:
    """Print the log on a node's disk."""
    storage = node.storage
    if storage.entries:
        env.print(describe_entries(tuple(storage.entries)))
    else:
        env.print(
            f"log is empty: first index={storage.first_index}, "
            f"last index={storage.last_index}"
        )


def raft_state(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Print what every node takes itself for."""
    del arguments
    for node in env.nodes:
        core = node.core
        voter = "(Voter)" if core.node_id in core.voters else "(Non-Voter)"
        env.print(
            f"{core.node_id}: {core.role.value} {voter} Term:{core.term} Lead:{core.lead}\n"
        )


def status(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Print a leader's view of its followers."""
    core = env.first_node(arguments).core
    if core.is_leader:
        env.print(describe_progress(core.progress))
