"""The proposer: gets promises, finds out which value it may propose, asks for its acceptance.

Theory of operation (Paxos Made Simple §2.2, §2.4, §2.5).

    idle --propose--> preparing --quorum of promises--> accepting --chosen--> done
                          ^   \\__ refused or timed out __/  |
                          |                                 |
                          +------- back-off over ----- waiting

*Which value.*  If any promise reports an accepted proposal, the value is that of the
highest-numbered one; only if none does, the proposer is free to use its client's (P2c).

*Which number.*  Above every number that it used or heard of, from its own residue class, and on
disk before it is used: a restarted proposer must not issue a number twice (§2.5).

*When to give up.*  When an acceptor refuses with a higher number, when the proposal takes longer
than the timeout, and, if the group is so set, when its own process promises a higher number to
somebody else (§2.4: "It is probably a good idea to abandon a proposal if some proposer has begun
trying to issue a higher-numbered one").  Giving up is always safe: what was already sent may
still be chosen.

*When to try again.*  After the back-off.  Two proposers that try again at once can overtake each
other for ever; randomness in time, or a single distinguished proposer, ends that (§2.4).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from consensus_lab.node import (
    CancelTimer,
    Disk,
    Effects,
    NodeId,
    Note,
    ParameterError,
    Persist,
    ProtocolViolation,
    Send,
    SetTimer,
)
from consensus_lab.paxos.messages import (
    NO_PROPOSAL,
    Accept,
    Prepare,
    Promise,
    ProposalNumber,
    Reject,
    Value,
    next_number,
)
from consensus_lab.paxos.quorum import Quorums

IDLE, PREPARING, ACCEPTING, WAITING, DONE = "idle", "preparing", "accepting", "waiting", "done"

NUMBER = "number"
"""Key on disk: the highest number that this proposer has issued."""

PROPOSAL_TIMER, BACK_OFF_TIMER = "proposal", "back-off"

DOUBLINGS_MAX = 30
"""The back-off window stops growing after that many failures, whatever its cap."""


class Source(Protocol):
    """Where randomness comes from: `random.Random` fits."""

    def randrange(self, stop: int, /) -> int:
        """A uniform integer from 0 to stop - 1."""
        ...


class BackOff(NamedTuple):
    """How long a proposer waits before it tries again.

    After the k-th failure in a row the window is `window_ns * growth**(k-1)`, at most
    `window_ns_max`.

    Attributes
    ----------
    window_ns : int
        First window; 0 means to try again at once.
    growth : int
        1 keeps the window, 2 doubles it with every failure.
    window_ns_max : int or None
        The largest window.
    is_random : bool
        Wait uniformly between 0 and the window (both included), else the window itself.
    """

    window_ns: int = 0
    growth: int = 1
    window_ns_max: int | None = None
    is_random: bool = True

    def validated(self) -> BackOff:
        """This policy, or a `ParameterError` naming what is wrong with it."""
        if self.window_ns < 0:
            raise ParameterError("window_ns", self.window_ns, "at least 0 nanoseconds")
        if self.growth < 1:
            raise ParameterError("growth", self.growth, "at least 1")
        if self.window_ns_max is not None and self.window_ns_max < self.window_ns:
            raise ParameterError("window_ns_max", self.window_ns_max, "at least window_ns")
        return self

    def delay_ns(self, failures: int, source: Source) -> int:
        """Time to wait after that many failures in a row, nanoseconds."""
        assert failures >= 1
        window: int = self.window_ns * self.growth ** min(failures - 1, DOUBLINGS_MAX)
        if self.window_ns_max is not None:
            window = min(window, self.window_ns_max)
        return source.randrange(window + 1) if self.is_random and window else window


class Proposer:
    """One proposer's state.

    Attributes
    ----------
    phase : str
        One of the constants of this module.
    number : int
        The number of the current or last proposal of this process.
    highest_seen : int
        No number is issued that is not above this.
    own_value : object
        What its client wants; proposed only if no promise reports a value.
    value : object
        What it asked the acceptors to accept; valid while accepting.
    promises : dict of acceptor to (number, value)
        Who promised the current number, and what each reported.
    failures : int
        Proposals given up since the client's value came.
    """

    def __init__(
        self,
        *,
        rank: int,
        proposer_count: int,
        quorums: Quorums,
        back_off: BackOff,
        timeout_ns: int,
        source: Source,
        disk: Disk,
    ) -> None:
        self.rank = rank
        self.proposer_count = proposer_count
        self.quorums = quorums
        self.back_off = back_off
        self.timeout_ns = timeout_ns
        self.source = source
        self.phase = IDLE
        self.number: ProposalNumber = disk.get(NUMBER, NO_PROPOSAL)
        self.highest_seen: ProposalNumber = self.number
        self.own_value: Value = None
        self.value: Value = None
        self.promises: dict[NodeId, tuple[ProposalNumber, Value]] = {}
        self.failures = 0

    @property
    def is_active(self) -> bool:
        """True while a proposal of this process is under way."""
        return self.phase in (PREPARING, ACCEPTING)

    def propose(self, value: Value) -> Effects:
        """Begin with a client's value; ignored while this process is already proposing."""
        if self.phase != IDLE:
            return []
        self.own_value = value
        return self.begin()

    def begin(self) -> Effects:
        """Phase 1a: a new number, on disk first, then Prepare to all acceptors."""
        assert self.own_value is not None
        count = self.proposer_count
        self.number = next_number(self.highest_seen, rank=self.rank, proposer_count=count)
        self.highest_seen = self.number
        self.promises = {}
        self.phase = PREPARING
        prepare = Prepare(self.number)
        return [
            Note("prepare", self.number),
            SetTimer(PROPOSAL_TIMER, self.timeout_ns),
            Persist(((NUMBER, self.number),)),
            *(Send(acceptor, prepare) for acceptor in self.quorums.acceptors),
        ]

    def on_promise(self, sender: NodeId, message: Promise) -> Effects:
        """Count a promise; with a quorum of them go on to phase 2a.

        Raises
        ------
        ProtocolViolation
            For a promise of a process that is no acceptor.
        """
        if sender not in self.quorums.acceptors:
            raise ProtocolViolation("promise-by-no-acceptor", f"process {sender}")
        if self.phase != PREPARING or message.number != self.number:
            return []  # Late: the proposal was given up, or has its quorum already.
        self.promises[sender] = (message.accepted_number, message.accepted_value)
        if not self.quorums.phase1.is_quorum(self.promises):
            return []
        self.value = self.choose_value()
        self.phase = ACCEPTING
        accept = Accept(self.number, self.value)
        return [
            Note("accept", self.number),
            *(Send(acceptor, accept) for acceptor in self.quorums.acceptors),
        ]

    def choose_value(self) -> Value:
        """The highest-numbered reported value, else one's own (P2c; §2.2, phase 2a)."""
        number, value = max(self.promises.values(), key=lambda report: report[0])
        return self.own_value if number == NO_PROPOSAL else value

    def on_reject(self, message: Reject) -> Effects:
        """An acceptor has promised more: remember how much, and give up this proposal."""
        is_mine = self.is_active and message.number == self.number
        return self.overtaken(message.highest) if is_mine else self.noticed(message.highest)

    def noticed(self, number: ProposalNumber) -> Effects:
        """A number of somebody else: the next one has to be above it."""
        self.highest_seen = max(self.highest_seen, number)
        return []

    def overtaken(self, number: ProposalNumber) -> Effects:
        """Somebody began a proposal with this number: give up a lower one (§2.4)."""
        self.noticed(number)
        return self.give_up() if self.is_active and number > self.number else []

    def give_up(self) -> Effects:
        """Abandon the proposal; try again after the back-off."""
        assert self.is_active
        self.failures += 1
        self.promises = {}
        given_up = Note("give-up", self.number)
        delay_ns = self.back_off.delay_ns(self.failures, self.source)
        if delay_ns == 0:
            return [given_up, *self.begin()]
        self.phase = WAITING
        return [given_up, CancelTimer(PROPOSAL_TIMER), SetTimer(BACK_OFF_TIMER, delay_ns)]

    def on_timer(self, name: str) -> Effects:
        """The proposal took too long, or the back-off is over."""
        if name == PROPOSAL_TIMER and self.is_active:
            return self.give_up()
        if name == BACK_OFF_TIMER and self.phase == WAITING:
            return self.begin()
        return []

    def pause(self) -> Effects:
        """Stop proposing, keep the client's value: another process is distinguished now."""
        if self.phase not in (PREPARING, ACCEPTING, WAITING):
            return []
        self.phase = IDLE
        self.promises = {}
        return [CancelTimer(PROPOSAL_TIMER), CancelTimer(BACK_OFF_TIMER)]

    def stop(self) -> Effects:
        """A value is chosen and known: nothing is left to propose."""
        was_waiting = self.phase in (PREPARING, ACCEPTING, WAITING)
        self.phase = DONE
        self.promises = {}
        self.own_value = self.value = None
        return [CancelTimer(PROPOSAL_TIMER), CancelTimer(BACK_OFF_TIMER)] if was_waiting else []
