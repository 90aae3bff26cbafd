"""How a Raft server is set up; checked when it is built, with etcd's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from consensus_lab.constants import (
    ETCD_ELECTION_TIMEOUT_MS,
    ETCD_HEARTBEAT_INTERVAL_MS,
    MEBIBYTE_BYTES,
)
from consensus_lab.node import ParameterError

NANOSECONDS_PER_MILLISECOND = 1_000_000


class ReadMode(Enum):
    """How a linearizable read makes sure that it sees everything (thesis §6.4).

    READ_INDEX asks a quorum for each batch of reads.  LEASE trusts that no other leader can exist
    while a quorum has answered within the election timeout; it is wrong when clocks drift.
    """

    READ_INDEX = "read-index"
    LEASE = "lease"


@dataclass(frozen=True)
class RaftConfig:
    """Settings of a server; the defaults are those of etcd 3.5 and later.

    Attributes
    ----------
    election_tick : int
        Ticks without a leader after which a follower may campaign; each draws its own timeout
        from election_tick to 2 * election_tick - 1.
    heartbeat_tick : int
        Ticks between two heartbeats of a leader.
    tick_ns : int
        Length of a tick, nanoseconds (100 ms: etcd's heartbeat interval).
    election_timeout_range_ns : (int, int) or None
        Set, election timeouts are drawn from this range to the nanosecond at every reset, as in
        the Raft paper, instead of in whole ticks.
    heartbeat_interval_ns : int or None
        With such a range, the leader's heartbeat interval; by default half the least timeout.
    pre_vote : bool
        Ask before campaigning whether one could win (thesis §9.6).
    check_quorum : bool
        A leader that does not hear from a quorum steps down; who hears a leader ignores
        candidates (thesis §6.2, §4.2.3).
    read_mode : ReadMode
        A lease needs `check_quorum`.
    append_size_bytes_max : int or None
        Entries in one append message; 0 sends one at a time.
    committed_size_bytes_max : int or None
        Entries given to the state machine before it has applied earlier ones; by default as
        `append_size_bytes_max`.
    uncommitted_size_bytes_max : int or None
        A leader refuses proposals beyond that much uncommitted content.
    inflight_messages_max : int
        Appends on their way to one follower.
    inflight_bytes_max : int or None
        Content on its way to one follower.
    forwards_proposals : bool
        A follower passes proposals on to the leader.
    validates_changes : bool
        The leader refuses membership changes that could be invalid when applied.
    steps_down_on_removal : bool
        A leader that is removed or demoted steps down as it applies that.
    snapshot_entries : int or None
        Applied entries after which a server takes a snapshot and compacts its log; None is never.
    catch_up_entries : int
        Entries kept behind a snapshot for slow followers.
    read_retry_ticks : int
        A read round without an answer is asked again after that many ticks.
    snapshot_timeout_ticks : int
        A snapshot without an answer for one to two times that many ticks is taken for lost.
    """

    election_tick: int = ETCD_ELECTION_TIMEOUT_MS // ETCD_HEARTBEAT_INTERVAL_MS
    heartbeat_tick: int = 1
    tick_ns: int = ETCD_HEARTBEAT_INTERVAL_MS * NANOSECONDS_PER_MILLISECOND
    election_timeout_range_ns: tuple[int, int] | None = None
    heartbeat_interval_ns: int | None = None
    pre_vote: bool = True
    check_quorum: bool = True
    read_mode: ReadMode = ReadMode.READ_INDEX
    append_size_bytes_max: int | None = MEBIBYTE_BYTES
    committed_size_bytes_max: int | None = None
    uncommitted_size_bytes_max: int | None = None
    inflight_messages_max: int = 512
    inflight_bytes_max: int | None = None
    forwards_proposals: bool = True
    validates_changes: bool = True
    steps_down_on_removal: bool = True
    snapshot_entries: int | None = 10_000
    catch_up_entries: int = 5_000
    read_retry_ticks: int = 5
    snapshot_timeout_ticks: int = 50

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_limits()
        if self.election_tick <= self.heartbeat_tick:
            raise ParameterError(
                "election_tick", self.election_tick, f"above heartbeat_tick ({self.heartbeat_tick})"
            )
        if self.election_timeout_range_ns is not None:
            low, high = self.election_timeout_range_ns
            if not 0 < low <= high:
                raise ParameterError(
                    "election_timeout_range_ns", (low, high), "two numbers with 0 < low <= high"
                )
            if self.heartbeat_ns >= low:
                raise ParameterError(
                    "heartbeat_interval_ns", self.heartbeat_ns, f"below the least timeout ({low})"
                )
        elif self.heartbeat_interval_ns is not None:
            raise ParameterError(
                "heartbeat_interval_ns", self.heartbeat_interval_ns,
                "None unless election_timeout_range_ns is set",
            )  # fmt: skip
        if self.read_mode is ReadMode.LEASE and not self.check_quorum:
            raise ParameterError("check_quorum", False, "True when read_mode is a lease")

    def _check_counts(self) -> None:
        for name, least in (
            ("election_tick", 2), ("heartbeat_tick", 1), ("tick_ns", 1),
            ("inflight_messages_max", 1), ("catch_up_entries", 0), ("read_retry_ticks", 1),
            ("snapshot_timeout_ticks", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ParameterError(name, value, f"an integer of at least {least}")

    def _check_limits(self) -> None:
        for name, least in (
            ("append_size_bytes_max", 0), ("committed_size_bytes_max", 1),
            ("uncommitted_size_bytes_max", 1), ("inflight_bytes_max", 1),
            ("snapshot_entries", 1), ("heartbeat_interval_ns", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise ParameterError(name, value, f"None or an integer of at least {least}")
        window, message = self.inflight_bytes_max, self.append_size_bytes_max
        if window is not None and (message is None or window < message):
            raise ParameterError(
                "inflight_bytes_max", window, f"at least append_size_bytes_max ({message})"
            )

    @property
    def heartbeat_ns(self) -> int:
        """Time between two heartbeats."""
        if self.heartbeat_interval_ns is not None:
            return self.heartbeat_interval_ns
        if self.election_timeout_range_ns is not None:
            return self.election_timeout_range_ns[0] // 2
        return self.heartbeat_tick * self.tick_ns

    @property
    def applying_bytes_max(self) -> int | None:
        """Bytes that may be with the state machine at a time."""
        if self.committed_size_bytes_max is not None:
            return self.committed_size_bytes_max
        return None if self.append_size_bytes_max is None else max(1, self.append_size_bytes_max)
