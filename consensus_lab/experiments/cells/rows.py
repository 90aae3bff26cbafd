"""Which function makes which row: three cells each, from the published ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from consensus_lab.experiments.cells import (
    adversary,
    decisions,
    failures,
    joining,
    limits,
    loads,
    membership,
    spreading,
)
from consensus_lab.experiments.clusters import ClusterParameters
from consensus_lab.experiments.networks import NetworkParameters
from consensus_lab.report.table import Cell

PAXOS, RAFT = "multi-paxos", "raft"
RELAY_BLOCKS = 30
Cells = tuple[Cell, Cell, Cell]
Maker = Callable[[str, str, str], Cells]


class Rows:
    """Makes the cells with a table's parameters; what several cells need is run once.

    Parameters
    ----------
    parameters : comparison.Parameters
    """

    def __init__(self, parameters: Any) -> None:
        self.p, self.seed = parameters, parameters.seed

    @cached_property
    def clusters(self) -> dict[str, ClusterParameters]:
        """The cluster of each protocol."""
        p = self.p
        shape = {"n_servers": p.n_servers, "server_geography": p.server_geography}
        return {
            protocol: ClusterParameters.of({**shape, "protocol": protocol, "seed": self.seed})
            for protocol in (PAXOS, RAFT)
        }

    @cached_property
    def race(self) -> Any:
        """Blocks relayed through the network."""
        network = NetworkParameters.of({"n_nodes": self.p.n_nodes, "seed": self.seed})
        size = self.p.block_size_bytes
        return loads.relay_race(network, n_blocks=RELAY_BLOCKS, size_bytes=size)

    @cached_property
    def results(self) -> Any:
        """Finality and throughput of each protocol, and of the chain."""
        p = self.p
        return loads.results(
            {"n_servers": p.n_servers, "server_geography": p.server_geography},
            {"replicates": p.replicates, "seed": self.seed},
            {"block_interval_s": p.block_interval_s, "block_size_bytes": p.block_size_bytes,
             "transaction_size_bytes": p.transaction_size_bytes, "confirmations": p.confirmations},
        )  # fmt: skip

    @cached_property
    def newcomer(self) -> tuple[int, int, float]:
        """What a newcomer to the network knows and finds."""
        return membership.newcomer_finds_peers(seed=self.seed)

    def makers(self) -> dict[str, Maker]:
        """The maker of each row."""
        return {**self._of_the_table(), **self._of_the_text()}

    def _of_the_table(self) -> dict[str, Maker]:
        p, seed = self.p, self.seed
        sizes = {"block_size_bytes": p.block_size_bytes,
                 "transaction_size_bytes": p.transaction_size_bytes}  # fmt: skip
        return {
            "publication": lambda a, b, c: (
                limits.publication("paxos", a), limits.publication("raft", b),
                limits.publication("nakamoto", c)),
            "unit_of_consensus": lambda a, b, c: (
                limits.unit_of_log(a, protocol="paxos"), limits.unit_of_log(b, protocol=RAFT),
                limits.unit_of_nakamoto(c, **sizes)),
            "payload_limit": both(
                limits.payload_of_log, limits.payload_of_bitcoin),
            "database_size": both(
                limits.database_of_log, limits.database_of_bitcoin),
            "network": both(
                membership.permissioned, lambda c: membership.permissionless(c, seed=seed)),
            "data_replication": lambda a, b, c: (
                loads.replication_in_cluster(a, self.clusters[PAXOS], p.replicates),
                loads.replication_in_cluster(b, self.clusters[RAFT], p.replicates),
                loads.replication_in_network(c, self.race)),
            "sybil_protection": both(
                membership.sybil_in_cluster, lambda c: membership.sybil_in_nakamoto(c, seed=seed),
                seed=seed),
            "participants": both(
                failures.participants_of_cluster,
                lambda c: loads.participants_of_network(c, self.race), seed=seed),
            "peer_discovery": both(
                membership.discovery_in_cluster,
                lambda c: membership.discovery_in_bitcoin(c, self.newcomer),
                n_servers=p.n_servers),
            "finality": lambda a, b, c: (
                loads.finality_of_cluster(a, self.results[PAXOS][0]),
                loads.finality_of_cluster(b, self.results[RAFT][0]),
                loads.finality_of_chain(c, self.results[RAFT][0])),
            "throughput": lambda a, b, c: (
                loads.throughput_of_cluster(a, self.results[PAXOS][1]),
                loads.throughput_of_cluster(b, self.results[RAFT][1]),
                loads.throughput_of_chain(c, self.results[RAFT][1])),
        }  # fmt: skip

    def _of_the_text(self) -> dict[str, Maker]:
        p, seed = self.p, self.seed
        n_servers = p.n_servers
        return {
            "failures": both(
                failures.failures_of_cluster,
                lambda c: failures.failures_of_chain(c, seed=seed), seed=seed),
            "adversary": lambda a, b, c: (
                adversary.adversary_of_paxos(a, seed=seed),
                adversary.adversary_of_raft(b, seed=seed),
                adversary.adversary_of_chain(c, seed=seed)),
            "messages": both(
                decisions.messages_of_cluster,
                lambda c: decisions.messages_of_chain(c, self.race),
                n_servers=n_servers, seed=seed),
            "proposer": both(
                decisions.proposer_of_cluster,
                lambda c: decisions.proposer_of_chain(c, self.race),
                n_servers=n_servers, seed=seed),
            "conflicts": both(
                decisions.conflicts_in_cluster,
                lambda c: decisions.conflicts_in_chain(c, seed=seed), seed=seed),
            "propagation": lambda a, b, c: (
                spreading.propagation_in_cluster(a, self.clusters[PAXOS]),
                spreading.propagation_in_cluster(b, self.clusters[RAFT]),
                spreading.propagation_in_network(
                    c, n_nodes=p.n_nodes, block_size_bytes=p.block_size_bytes,
                    replicates=p.replicates, seed=seed)),
            "membership": both(
                joining.change_in_cluster,
                lambda c: joining.change_in_network(c, self.newcomer, seed=seed), seed=seed),
            "identity": both(
                joining.identity_in_cluster,
                lambda c: joining.identity_in_network(c, seed=seed), seed=seed),
        }  # fmt: skip


def both(of_log: Callable[..., Cell], of_chain: Callable[[str], Cell], **more: Any) -> Maker:
    """A maker whose first two cells are the same question to two protocols."""

    def make(paxos: str, raft: str, nakamoto: str) -> Cells:
        return (
            of_log(paxos, protocol=PAXOS, **more), of_log(raft, protocol=RAFT, **more),
            of_chain(nakamoto),
        )  # fmt: skip

    return make
