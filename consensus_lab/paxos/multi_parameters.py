"""Every number that a Multi-Paxos replica can be set to, with its limits, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from consensus_lab.constants import (
    ETCD_ELECTION_TIMEOUT_MS,
    ETCD_HEARTBEAT_INTERVAL_MS,
    MEBIBYTE_BYTES,
)
from consensus_lab.node import ParameterError
from consensus_lab.paxos.quorum import Quorums

NANOSECONDS_PER_MILLISECOND = 1_000_000
PARTS_PER_MILLION = 1_000_000

MEMBERS_MAX = 101
"""Most acceptors in one configuration: far above any real cluster, a guard for quadratic work."""


@dataclass(frozen=True)
class MultiPaxosParameters:
    """How a replica behaves; the same object for every replica of a cluster.

    Attributes
    ----------
    quorums : Quorums
        The first acceptors and the quorums of the two phases.
    election_timeout_ns : int
        A follower without a heartbeat for this long, up to twice as long, becomes a candidate.
    heartbeat_interval_ns : int
        Between two heartbeats of a leader; below the election timeout.
    pre_vote : bool
        Ask whether a ballot would be promised before beginning it, so that a replica that comes
        back from a partition does not unseat a leader.
    check_quorum : bool
        A leader that hears no phase-2 quorum for an election timeout steps down.
    leader_lease : bool
        The leader answers reads without a round while a quorum has promised to follow no other.
        Safe only while all clocks run within `clock_drift_ppm_max` of true time.
    clock_drift_ppm_max : int
        The bound on how fast or slow any clock runs, parts per million; the lease is shorter by it.
    window_slots : int
        Slots that may be open beyond the chosen prefix (alpha in Paxos Made Simple §3), and so how
        many slots later a reconfiguration takes effect.  The same on every replica, for ever.
    pipeline_batches_max : int
        Accept messages under way at once; 1 means that each waits for the one before.
    batch_count_max, batch_size_bytes_max : int
        Most commands and bytes in one Accept; one command may exceed the bytes alone.
    batch_delay_ns : int
        How long a command may wait for company; 0 sends at once.
    snapshot_entries : int or None
        A replica takes a snapshot and trims its log each so many slots; None is never.
    catch_up_entries : int
        Slots that are kept behind a snapshot for replicas that lag a little.
    learn_count_max : int
        Most slots in one Learn; a candidate that lags by more is brought up to date first.
    queue_count_max : int
        Most client operations that wait at one replica.
    """

    quorums: Quorums
    election_timeout_ns: int = ETCD_ELECTION_TIMEOUT_MS * NANOSECONDS_PER_MILLISECOND
    heartbeat_interval_ns: int = ETCD_HEARTBEAT_INTERVAL_MS * NANOSECONDS_PER_MILLISECOND
    pre_vote: bool = True
    check_quorum: bool = True
    leader_lease: bool = False
    clock_drift_ppm_max: int = 1000
    window_slots: int = 4096
    pipeline_batches_max: int = 256
    batch_count_max: int = 64
    batch_size_bytes_max: int = MEBIBYTE_BYTES
    batch_delay_ns: int = 0
    snapshot_entries: int | None = 10_000
    catch_up_entries: int = 5_000
    learn_count_max: int = 500
    queue_count_max: int = 100_000

    def __post_init__(self) -> None:
        at_least = {
            "election_timeout_ns": 2, "heartbeat_interval_ns": 1, "window_slots": 1,
            "pipeline_batches_max": 1, "batch_count_max": 1, "batch_size_bytes_max": 1,
            "batch_delay_ns": 0, "snapshot_entries": 1, "catch_up_entries": 0,
            "learn_count_max": 1, "queue_count_max": 1,
        }  # fmt: skip
        for name, least in at_least.items():
            value = getattr(self, name)
            if name == "snapshot_entries" and value is None:
                continue
            if not isinstance(value, int) or value < least:
                raise ParameterError(name, value, f"an integer of at least {least}")
        if self.heartbeat_interval_ns >= self.election_timeout_ns:
            allowed = f"below election_timeout_ns, {self.election_timeout_ns}"
            raise ParameterError("heartbeat_interval_ns", self.heartbeat_interval_ns, allowed)
        if not 0 <= self.clock_drift_ppm_max < PARTS_PER_MILLION:
            allowed = f"from 0 to {PARTS_PER_MILLION - 1}"
            raise ParameterError("clock_drift_ppm_max", self.clock_drift_ppm_max, allowed)
        if len(self.quorums.acceptors) > MEMBERS_MAX:
            allowed = f"at most {MEMBERS_MAX} acceptors"
            raise ParameterError("quorums", len(self.quorums.acceptors), allowed)

    @property
    def lease_duration_ns(self) -> int:
        """How long a lease lasts on the leader's clock, counted from the heartbeat's sending.

        An acceptor keeps its grant for an election timeout T on its own clock.  If that runs fast
        by the bound d it lasts T / (1 + d) in truth; a leader's clock that runs slow by d takes
        L / (1 - d) for L.  The lease ends first when L = T (1 - d) / (1 + d).
        """
        drift = self.clock_drift_ppm_max
        return (
            self.election_timeout_ns * (PARTS_PER_MILLION - drift) // (PARTS_PER_MILLION + drift)
        )
