"""What a command and a takeover of a replicated log cost, by counting.

Theory of operation.  Round trips between servers are 2 L and two uniform jitters, whose sum is
triangular.  *Commit*: the leader counts itself, so a quorum of q among n servers takes the
(q-1)-th smallest of n-1 round trips.  *Messages*: an append and its answer for each of n-1
others; Raft as etcd has it tells the followers at once that the entry is committed, and they
answer again, which Multi-Paxos leaves to the next message.  *Takeover*: n-1 followers time out
uniformly in [T, 2T] after their last heartbeat, the first of them at T + T/n on average; it asks
twice (pre-vote, then phase 1) for a phase-1 quorum.  *Rate*: the leader's CPU takes in the command
and handles each of its messages.  *Availability*: servers are down independently.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from consensus_lab import theory
from consensus_lab.paxos.quorum import Quorums, majority
from consensus_lab.theory.commit_latency import LatencyLaw, order_statistic_mean

if TYPE_CHECKING:
    from consensus_lab.experiments.replicated_logs import Parameters

RAFT, MULTI_PAXOS = "raft", "multi-paxos"


class System(NamedTuple):
    """A protocol with the sizes of its quorums; 0 is a majority."""

    name: str
    protocol: str
    phase1: int = 0
    phase2: int = 0

    def quorums(self, n: int) -> Quorums:
        """Its quorums among n servers."""
        usual = majority(n)
        return Quorums(range(1, n + 1), phase1=self.phase1 or usual, phase2=self.phase2 or usual)

    def sizes(self, n: int) -> tuple[int, int]:
        """Servers in a phase-1 and in a phase-2 quorum."""
        return self.phase1 or majority(n), self.phase2 or majority(n)


def round_trip_law(parameters: Parameters) -> LatencyLaw:
    """Round trips: twice the latency and two uniform jitters, whose sum is triangular."""
    least, jitter = 2 * parameters.latency_ms, parameters.jitter_ms

    def quantile(p: float, q: float) -> float:
        extra = math.sqrt(2 * p) if p < 0.5 else 2 - math.sqrt(2 * q)
        return least + jitter * extra

    return LatencyLaw(f"{least:g}+triangular(0,{2 * jitter:g})", quantile)


def commits_expected(parameters: Parameters, system: System, n: int) -> dict[str, float]:
    """The order statistic, and 2(n-1) messages to commit."""
    _, second = system.sizes(n)
    wait_ms = _nearest(parameters, second - 1, n - 1)
    rounds = 2 if system.protocol == RAFT else 1
    return {
        "commit_ms_expected": wait_ms,
        "messages_per_command_expected": rounds * 2 * (n - 1),
        "messages_to_commit_expected": 2 * (n - 1),
    }  # fmt: skip


def _nearest(parameters: Parameters, order: int, of: int) -> float:
    """Mean of the so many-th smallest round trip, ms; none is awaited at 0."""
    if order == 0:
        return 0.0
    return order_statistic_mean(round_trip_law(parameters), order=order, of=of)


def takeovers_expected(parameters: Parameters, system: System, n: int) -> dict[str, float]:
    """First timeout of n-1 survivors, then pre-vote and phase 1; rivals are left out.

    The last heartbeat was sent, on average, half an interval before the crash.  A new Raft leader
    sends its first entry alone, to find where the logs match: the next one commits a round later.
    """
    first, second = system.sizes(n)
    one_way = parameters.latency_ms + parameters.jitter_ms / 2
    timeout = parameters.election_ms * (1 + 1 / n)
    rounds = 2 * _nearest(parameters, first - 1, n - 2)
    new_leader = one_way - parameters.heartbeat_ms / 2 + timeout + rounds
    commit_ms = _nearest(parameters, second - 1, n - 2)
    commit_rounds = 2 if system.protocol == RAFT else 1
    return {
        "takeover_ms_expected": new_leader,
        "first_commit_ms_expected": new_leader + commit_rounds * commit_ms,
    }


def service_us(parameters: Parameters, system: System, n: int) -> float:
    """CPU time of the leader for one command: to take it in, and for each of its messages."""
    messages = commits_expected(parameters, system, n)["messages_per_command_expected"]
    return (1 + messages) * parameters.cpu_us


def throughput_expected(parameters: Parameters, system: System, n: int) -> dict[str, float]:
    """A closed loop of clients around one server, the leader's CPU, and a delay, the network."""
    service_s = service_us(parameters, system, n) / 1e6
    round_trip_s = 2 * (parameters.latency_ms + parameters.jitter_ms / 2) / 1e3
    loop = theory.closed_loop(parameters.clients, think=round_trip_s / service_s)
    return {"tps_expected": loop.throughput / service_s}


def availability_expected(parameters: Parameters, system: System, n: int) -> dict[str, float]:
    """The leader is up and a phase-2 quorum with it, or quorums of both phases are.

    With majorities this is the binomial tail of `theory.quorum_availability`.
    """
    first, second = system.sizes(n)
    down = parameters.down

    def others_up(least: int) -> float:
        return sum(
            math.comb(n - 1, k) * (1 - down) ** k * down ** (n - 1 - k)
            for k in range(max(0, least), n)
        )

    with_leader = (1 - down) * others_up(second - 1)
    return {"available_expected": with_leader + down * others_up(max(first, second))}
