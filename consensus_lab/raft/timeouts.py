"""How time comes to a node: in ticks as in etcd, or as drawn timeouts as in the Raft paper.

Theory of operation.  The core counts ticks.  With `Ticks` a timer goes off each `tick_ns` and the
core does the rest; election timeouts are whole ticks, redrawn when the role or term changes
(etcd-io/raft).  With `Timeouts` the core's count is only told whether the least timeout has
passed; an election timeout is drawn from a continuous range each time a leader is heard or a vote
given (Raft §5.2, §9.3).  A refused candidate's higher term is taken over, but the timer runs on:
who could win must not be held up by who cannot (unlike etcd, whose count starts anew).

The first tick comes after a random part of `tick_ns`, for nodes do not start in step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.node import CancelTimer, Effects, SetTimer
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.entries import NONE
from consensus_lab.raft.messages import MsgBeat, MsgCheckQuorum, MsgHup, MsgSnapStatus
from consensus_lab.raft.progress import SNAPSHOT

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore, RandomSource


class Ticks:
    """A tick each `tick_ns`."""

    __slots__ = ("_first_ns", "_next", "_only_next")

    def __init__(self, config: RaftConfig, random_source: RandomSource) -> None:
        self._first_ns = 1 + random_source.randrange(config.tick_ns)
        self._next = SetTimer("tick", config.tick_ns)
        self._only_next: Effects = [self._next]  # Handed out often; nobody changes effects.

    def start(self, now: int) -> Effects:
        """The first tick."""
        del now
        return [SetTimer("tick", self._first_ns)]

    def fire(self, core: RaftCore, name: str, now: int) -> None:
        """A tick."""
        del name, now
        core.tick()

    def again(self, core: RaftCore, name: str, now: int, effects: Effects) -> Effects:
        """Add the next tick."""
        del core, name, now
        if not effects:
            return self._only_next
        effects.append(self._next)
        return effects


class Timeouts:
    """Election timeouts from a continuous range, and heartbeats at an interval of their own."""

    __slots__ = (
        "_config", "_heard_ns", "_high_ns", "_low_ns", "_random_source", "_term", "_was_leader",
    )  # fmt: skip

    def __init__(self, config: RaftConfig, random_source: RandomSource) -> None:
        assert config.election_timeout_range_ns is not None
        self._low_ns, self._high_ns = config.election_timeout_range_ns
        self._config = config
        self._random_source = random_source
        self._heard_ns = 0
        self._term = 0
        self._was_leader = False

    def start(self, now: int) -> Effects:
        """The first election timeout."""
        self._heard_ns = now
        return [self._drawn()]

    def _drawn(self) -> SetTimer:
        span = self._high_ns - self._low_ns
        delay_ns = self._low_ns + (self._random_source.randrange(span + 1) if span else 0)
        return SetTimer("election", delay_ns)

    def before(self, core: RaftCore, now: int) -> None:
        """Tell the core whether the least timeout has passed; 0 would mean "just now"."""
        self._term = core.term
        passed = now - self._heard_ns >= self._low_ns
        core.election_elapsed = self._config.election_tick if passed else 1

    def after(self, core: RaftCore, now: int, effects: Effects) -> Effects:
        """Set the timers anew when the core has heard a leader, voted or changed its role."""
        if core.is_leader != self._was_leader:
            self._was_leader = core.is_leader
            if core.is_leader:
                self._heard_ns = now
                timers: Effects = [
                    CancelTimer("election"),
                    SetTimer("heartbeat", self._config.heartbeat_ns),
                    SetTimer("quorum", self._low_ns),
                ]
            else:
                timers = [CancelTimer("heartbeat"), CancelTimer("quorum"), self._reset(now)]
        elif core.election_elapsed == 0 and not core.is_leader:
            if core.term > self._term and core.vote == NONE and core.lead == NONE:
                return effects  # A candidate was refused; nobody was heard.
            timers = [self._reset(now)]
        else:
            return effects
        return [*effects, *timers]

    def _reset(self, now: int) -> SetTimer:
        self._heard_ns = now
        return self._drawn()

    def fire(self, core: RaftCore, name: str, now: int) -> None:
        """A timeout has passed."""
        self.before(core, now)
        if name == "election":
            if not core.is_leader:
                core.election_elapsed = 0
                if core.is_promotable:
                    core.step(MsgHup())
        elif name == "heartbeat":
            core.step(MsgBeat())
        elif core.is_leader:
            if self._config.check_quorum:
                core.step(MsgCheckQuorum())
            core.lead_transferee = 0
            self._heard_ns = now  # A leader that has its quorum is heard by itself.

    def again(self, core: RaftCore, name: str, now: int, effects: Effects) -> Effects:
        """Set the timer that went off again."""
        if self._was_leader and core.is_leader:
            interval = self._config.heartbeat_ns if name == "heartbeat" else self._low_ns
            return effects if name == "election" else [*effects, SetTimer(name, interval)]
        return self.after(core, now, effects)


class SnapshotWatch:
    """Gives up on snapshots that were not acknowledged in time.

    In etcd the transport reports a snapshot that could not be sent; a simulated network says
    nothing, so the leader assumes the loss after a while and probes again.
    """

    __slots__ = ("_next_look_ns", "_pending", "_timeout_ns")

    def __init__(self, config: RaftConfig) -> None:
        self._timeout_ns = config.snapshot_timeout_ticks * config.tick_ns
        self._next_look_ns = 0
        self._pending: dict[int, int] = {}

    def look(self, core: RaftCore, now: int) -> None:
        """On a leader, from time to time: report what was pending at the last look and still is."""
        if now < self._next_look_ns:
            return
        self._next_look_ns = now + self._timeout_ns
        before, self._pending = self._pending, {}
        for node_id, member in core.peers:
            if member.state is SNAPSHOT:
                if before.get(node_id) == member.pending_snapshot:
                    core.step(MsgSnapStatus(node_id, reject=True))
                else:
                    self._pending[node_id] = member.pending_snapshot
