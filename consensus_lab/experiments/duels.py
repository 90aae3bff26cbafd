"""Duels of two Paxos proposers: one chosen by hand that never ends, and random ones that do.

Theory of operation.  Two processes propose at the same moment.  Each is proposer, acceptor and
learner, and gives up as soon as its own acceptor promises a higher number (Paxos Made Simple
§2.4).  Let a message take L.  A proposer that sends its Prepare at s can be overtaken until its
Accept arrives at s + 3L.  The other hears of the Prepare at s + L, gives up, waits u, and its own
Prepare arrives at s + 2L + u: in time to spoil the proposal exactly if u < L.  With u uniform in
[0, B] that happens with probability q = L/B, independently each time, so the number of attempts
until one succeeds is geometric:

    P(k attempts) = q^(k-1) (1 - q),     mean 1 / (1 - L/B);     B <= L: none ever succeeds.

With a window that doubles at every failure of a proposer, the i-th wait of the duel has the
window B 2^floor((i-1)/2), and the mean is 1 + q_1 + q_1 q_2 + ...

*Rounds.*  A simpler model counts a round as lost when the second proposer begins within d of the
first, both then beginning anew.  With starts uniform in [0, B] a round succeeds with probability
(1 - d/B)^2.  Here d is what the processes make of it: 2L, from the arrival of a Prepare until the
arrival of the Accept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from consensus_lab.node import NodeId, Note
from consensus_lab.paxos.election import Timing
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import NO_PROPOSAL, Propose
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.local_steps import NoChance
from consensus_lab.sim.schedule import Schedule, ScheduledRun
from consensus_lab.sim.streams import stream

PROPOSERS = {"P1": 1, "P2": 2}
ACCEPTORS = {"A": 3, "B": 4, "C": 5}
NEVER_NS = 10**15
"""A timeout that no duel reaches."""

PROLOGUE = ("A", "B", "C")
"""P1's Prepare is promised; then P2 begins."""

LIVELOCK = Schedule.of("P1 A B C", "P1 P2 A B C P2 P1 A B C")
"""Each gets its promises, but the other's Prepare reaches the acceptors before its Accept."""

FIELDS_OF_NUMBERS = ("number", "highest", "accepted_number")


class Duel(NamedTuple):
    """How a duel ended.

    Attributes
    ----------
    attempts : int
        Proposals until one succeeded, or until the limit.
    is_decided : bool
    decision_ns : int
        Until a process knew the value, nanoseconds; 0 if none did.
    """

    attempts: int
    is_decided: bool
    decision_ns: int


# The duel that never ends.


def livelock(*, back_off: BackOff | None = None, leader: NodeId | None = None) -> ScheduledRun:
    """P1 and P2 at the point where `LIVELOCK` takes over.

    Parameters
    ----------
    back_off : BackOff, optional
        At once if left out.
    leader : int, optional
        The distinguished proposer; then the other forwards its value.
    """
    group = Group(
        proposers=tuple(PROPOSERS.values()),
        quorums=Quorums(ACCEPTORS.values()),
        learners=tuple(PROPOSERS.values()),
        back_off=back_off or BackOff(),
        distinguished_proposer=leader,
    )

    def make(node_id: NodeId, disk: Any) -> SinglePaxos:
        return SinglePaxos(node_id, disk, group=group, source=NoChance())

    run = ScheduledRun(make, {**PROPOSERS, **ACCEPTORS})
    run.submit("P1", Propose("x"))
    for turn in PROLOGUE:
        run.turn(turn)
    run.submit("P2", Propose("y"))
    return run


def is_decided(run: ScheduledRun) -> bool:
    """Some process knows a chosen value."""
    return any(node.chosen is not None for node in run.nodes.values())  # type: ignore[attr-defined]


def shape(run: ScheduledRun) -> tuple[Any, ...]:
    """Everything that decides what happens next, with numbers relative to the highest promised.

    Processes only compare numbers and go to the next of their own.  So when a shape comes back
    after a cycle of the schedule, with all numbers higher by a multiple of the number of
    proposers, it comes back after every cycle: for ever.
    """
    nodes: dict[NodeId, Any] = run.nodes
    base = max(nodes[acceptor].acceptor.promised for acceptor in ACCEPTORS.values())
    parts: list[Any] = []
    for node_id in sorted(nodes):
        node = nodes[node_id]
        if node.acceptor is not None:
            accepted = _relative(node.acceptor.accepted_number, base)
            parts.append((node.acceptor.promised - base, accepted))
        if node.proposer is not None:
            one = node.proposer
            reports = {who: _relative(report[0], base) for who, report in one.promises.items()}
            parts.append((one.phase, one.number - base, one.highest_seen - base, reports))
        parts.append([(sender, _shifted(m, base)) for sender, m, _ in run.waiting[node_id]])
    return tuple(parts)


def _relative(number: int, base: int) -> int | None:
    return None if number == NO_PROPOSAL else number - base


def _shifted(message: Any, base: int) -> Any:
    fields = [name for name in FIELDS_OF_NUMBERS if name in message._fields]
    moved = {name: _relative(getattr(message, name), base) for name in fields}
    return type(message).__name__, message._replace(**moved)


# Duels in the engine.


def duel(
    seed: int,
    *,
    n_processes: int,
    latency_ns: int,
    back_off: BackOff,
    attempts_max: int,
    election: Timing | None = None,
) -> Duel:
    """Let processes 1 and 2 propose at the same moment until a value is chosen.

    Parameters
    ----------
    seed : int
        Gives the back-offs.
    n_processes : int
        How many processes, each in all roles.
    latency_ns : int
        Of every message.
    back_off : BackOff
        The policy of both.
    attempts_max : int
        Stop after so many proposals.
    election : Timing, optional
        Elect a distinguished proposer.
    """
    group = Group.of_peers(
        range(1, n_processes + 1),
        back_off=back_off,
        abandons_when_overtaken=True,
        timeout_ns=NEVER_NS,
        election=election,
    )
    engine = _engine(group, seed=seed, latency_ns=latency_ns)
    numbers: list[int] = []
    known: list[tuple[int, int]] = []

    def watch(node_id: NodeId, note: Note, now: int) -> None:
        if note.kind == "prepare":
            numbers.append(note.detail)
        elif note.kind == "chosen":
            node: Any = engine.nodes[node_id]
            known.append((node.learner.number, now))

    engine.on_note = watch
    for node_id in (1, 2):
        engine.submit(node_id, Propose(f"value of {node_id}"))
    engine.run(until=lambda: bool(known) or len(numbers) > attempts_max)
    if not known:
        return Duel(len(numbers) - 1, False, 0)
    number, now = known[0]
    # Both begin at once; of the first two proposals only the higher-numbered is an attempt.
    begun = sum(other <= number for other in numbers)
    return Duel(max(1, begun - (0 if election else 1)), True, now)


def round_succeeds(seed: int, *, latency_ns: int, window_ns: int, n_acceptors: int) -> bool:
    """One round: starts uniform in the window, and neither proposal is spoilt by the other.

    Whoever starts later has the higher number, as a proposer that has heard of the other has.
    """
    source = stream(seed, "starts")
    starts = sorted(source.randrange(window_ns + 1) for _ in range(2))
    group = Group(
        proposers=(1, 2),
        quorums=Quorums(range(3, 3 + n_acceptors)),
        learners=(1, 2),
        back_off=BackOff(NEVER_NS, is_random=False),
        timeout_ns=NEVER_NS,
    )
    engine = _engine(group, seed=seed, latency_ns=latency_ns)
    given_up: list[NodeId] = []

    def watch(node_id: NodeId, note: Note, now: int) -> None:
        if note.kind == "give-up":
            given_up.append(node_id)

    engine.on_note = watch
    for node_id, start_ns in zip((1, 2), starts, strict=True):
        engine.submit(node_id, Propose(f"value of {node_id}"), at_ns=start_ns)
    engine.run(until_ns=window_ns + 10 * latency_ns)
    return not given_up


def _engine(group: Group, *, seed: int, latency_ns: int) -> Engine:
    def make(node_id: NodeId, disk: Any) -> SinglePaxos:
        return SinglePaxos(node_id, disk, group=group, source=stream(seed, "node", node_id))

    return Engine(make, group.processes, seed=seed, links=Link(latency_ns))


# Closed forms; see the head of this file.


def round_success_probability(latency_over_window: float) -> float:
    """Chance that a round succeeds: (1 - d/B)^2 with d = 2L; 0 if the window is below d.

    Examples
    --------
    >>> round_success_probability(0.05)
    0.81
    """
    return max(0.0, 1 - 2 * latency_over_window) ** 2


def expected_attempts(latency_over_window: float, *, growth: int = 1) -> float:
    """Mean number of attempts of a duel; infinite where none ever succeeds.

    Parameters
    ----------
    latency_over_window : float
        L/B, with B the first window.
    growth : int
        Factor by which a proposer's window grows with each of its failures.

    Examples
    --------
    >>> expected_attempts(0.5), expected_attempts(1.0)
    (2.0, inf)
    >>> round(expected_attempts(1.0, growth=2), 3)
    3.83
    """
    if growth == 1:
        return 1 / (1 - latency_over_window) if latency_over_window < 1 else float("inf")
    total, chance, wait = 1.0, 1.0, 0
    while chance > 1e-15:
        chance *= min(1.0, latency_over_window / growth ** (wait // 2))
        total += chance
        wait += 1
    return total
