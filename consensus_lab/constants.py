"""Every number of the essay, once, with unit and source.

The essay is "Consensus: Paxos (etcd) vs. Nakamoto (Bitcoin)", state of 10 September 2022.  These
are *published* values: they are what a measurement is held against, never an input to it.  Rules
of a protocol that the essay also states (the block size limit, the 2016 blocks) are marked as
rules: the protocol code takes them from here.
"""

from __future__ import annotations

from typing import NamedTuple

ESSAY = "Consensus: Paxos (etcd) vs. Nakamoto (Bitcoin), 2022-09-10"

# Rules: limits and constants that the protocols enforce.

MEBIBYTE_BYTES = 1 << 20
GIBIBYTE_BYTES = 1 << 30

ETCD_REQUEST_SIZE_BYTES_MAX = 3 * MEBIBYTE_BYTES // 2
"""1.5 MiB, the largest encoded request of an etcd server (etcd `--max-request-bytes`)."""

ETCD_QUOTA_BYTES_DEFAULT = 2 * GIBIBYTE_BYTES
"""2 GiB, the default backend quota (etcd `--quota-backend-bytes`)."""

ETCD_QUOTA_BYTES_MAX = 8 * GIBIBYTE_BYTES
"""8 GiB, the largest quota that etcd recommends for normal environments."""

ETCD_ELECTION_TIMEOUT_MS = 1000
"""Default election timeout: a follower without a heartbeat for that long becomes a candidate."""

ETCD_HEARTBEAT_INTERVAL_MS = 100
"""Default heartbeat interval of etcd (`--heartbeat-interval`)."""

BLOCK_SIZE_BYTES_MAX = 1_000_000
"""1 MB, the limit on a block without its witnesses (Bitcoin)."""

HEADER_SIZE_BYTES = 80
"""A block header: version 4, previous hash 32, merkle root 32, time 4, nBits 4, nonce 4."""

BLOCK_INTERVAL_S = 600.0
"""Target mean time between blocks, seconds; six of them make the essay's 60 minutes."""

RETARGET_INTERVAL_BLOCKS = 2016
"""Blocks between two adjustments of the target (two weeks at the target interval)."""

MEDIAN_TIME_SPAN_BLOCKS = 11
"""A block's time must be later than the median time of that many before it."""

FUTURE_TIME_S_MAX = 2 * 60 * 60
"""A block's time may be at most two hours ahead of the node's clock."""

CONFIRMATIONS_FOR_FINALITY = 6
"""Depth at which the essay calls a Bitcoin transaction final."""

# Published values: what the essay states and our measurements are compared with.

ETCD_CLUSTER_SIZES = (3, 5)
ETCD_FINALITY_MS_MAX = 10.0
ETCD_THROUGHPUT_TPS_MIN = 10_000.0
ETCD_DATABASE_BYTES_MAX = 8e9

ETCD_RELAY_MS_MAX = 10.0
"""The essay's "a few milliseconds" between all peers of a region, taken as below ten."""

BITCOIN_ATTACKER_SHARE_MIN = 0.5
"""Share of the network from which on the essay lets an attacker win."""

BITCOIN_NODES_MIN = 13_870
BITCOIN_FINALITY_MINUTES = 60.0
BITCOIN_THROUGHPUT_TPS = 7.0
BITCOIN_DATABASE_BYTES_MIN = 430e9
BITCOIN_PROPAGATION_MEAN_S = 12.6
"""Mean time for a node to see a new block.  Measured in 2012 (Decker and Wattenhofer 2013)."""

BITCOIN_TRANSACTIONS_PER_BLOCK_MIN = 1500


class EssayRow(NamedTuple):
    """One statement of the essay about both systems.

    Attributes
    ----------
    key : str
        Our name for the row.
    title : str
        What the row is about.
    paxos, nakamoto : str
        The published cells for Paxos (etcd) and Nakamoto (Bitcoin).
    raft : str or None
        For Raft where it is another than for Paxos; empty where nothing is stated.
    """

    key: str
    title: str
    paxos: str
    nakamoto: str
    raft: str | None = None

    @property
    def cells(self) -> tuple[str, str, str]:
        """Published for Paxos, Raft and Nakamoto."""
        return self.paxos, self.paxos if self.raft is None else self.raft, self.nakamoto


ESSAY_TABLE = (
    EssayRow("publication", "Publication", "Leslie Lamport, 1988", "Satoshi Nakamoto, 2008", ""),
    EssayRow(
        "unit_of_consensus", "Unit of consensus", "Any single value", "Block (list of transactions)"
    ),
    EssayRow("payload_limit", "Payload limit", "1.5 MB", "1 MB"),
    EssayRow("database_size", "Database size", "<8 GB", ">430 GB"),
    EssayRow("network", "Network", "Permissioned", "Permissionless"),
    EssayRow("data_replication", "Data replication", "From leader to follower", "Peer-to-peer"),
    EssayRow("sybil_protection", "Sybil protection", "None", "Proof of work"),
    EssayRow("participants", "Number of participants", "Typically 3 or 5", ">13,870 nodes"),
    EssayRow("peer_discovery", "Peer discovery", "Hard-coded membership", "DNS"),
    EssayRow("finality", "Transaction finality", "<10 ms", "60 minutes"),
    EssayRow("throughput", "Transaction throughput", ">10,000 TPS", "7 TPS"),
)
"""The essay's closing table."""

ESSAY_TEXT = (
    EssayRow("failures", "Failures tolerated", "Crash and restart", "Byzantine faults"),
    EssayRow(
        "adversary", "Adversary tolerated", "None: all are honest", "Less than half the network"
    ),
    EssayRow(
        "messages", "Messages per decision", "Leader to followers and back", "No votes; gossip"
    ),
    EssayRow("proposer", "Who proposes", "The leader", "Who finds a proof of work"),
    EssayRow("conflicts", "Conflict resolution", "The leader's log wins", "Longest chain wins"),
    EssayRow("propagation", "Propagation delay", "A few milliseconds", "12.6 s"),
    EssayRow("membership", "Membership change", "Consensus of a quorum", "No consensus needed"),
    EssayRow("identity", "Cost of an identity", "None", "Proof of work"),
)
"""What the essay says of both systems in its text, in our words."""
