"""Lamport's model of Paxos, with our own acceptors and proposers in the place of its actions.

Theory of operation.  The TLA+ specification "Paxos" (Lamport, in tlaplus/Examples,
specifications/Paxos and PaxosHowToWinATuringAward) abstracts from a network: there is one set of
messages, to which messages are added and from which none is ever removed.  A message may thus be
received any number of times, in any order, or never.  A state is the acceptors' variables and the
message set; a proposer ("leader of ballot b") has no variables, what it may do next follows from
the set.  Published counts for fixed sizes of this model are the yardstick: an explorer that finds
other numbers of states explores something else.

    Phase1a(b)     the proposer of ballot b sends Prepare b
    Phase1b(a)     acceptor a answers some Prepare of the set with a Promise
    Phase2a(b, v)  the proposer of b, having the Promises of some quorum, sends Accept b, v;
                   once per ballot
    Phase2b(a)     acceptor a answers some Accept of the set with Accepted

Here each action is carried out by `SinglePaxos` processes, the class that engine and notebooks
run.  An acceptor is started from its variables (they are all on its disk) and receives the
message.  A proposer is started from nothing, asked to propose one of the values, and receives the
promises of one quorum; a proposer that the set shows to have sent its Accept does nothing more.
What the specification leaves out is left out here as well: a Reject only informs, and learners
take no part; which values are chosen is read off the set.

The specification has no crash.  With `crashes` an acceptor may also at any time start again from
its disk.  Where everything that matters is on disk that leads to no new state.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import product
from typing import Any, NamedTuple, TypeAlias

from consensus_lab.node import Effects, NodeId, ParameterError, Persist, Send, message_kind
from consensus_lab.paxos.acceptor import Acceptor
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import (
    NO_PROPOSAL,
    Accept,
    Accepted,
    Prepare,
    Promise,
    ProposalNumber,
    Propose,
    Value,
)
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.paxos.single import SinglePaxos

NOW_NS = 0
STEP_NS = 1_000_000
NEVER = BackOff(window_ns=1, is_random=False)


class Said(NamedTuple):
    """A message of the set, with who sent it (a proposer's are told apart by their number)."""

    sender: NodeId
    message: Any


Memory: TypeAlias = tuple[ProposalNumber, ProposalNumber, Value]
"""An acceptor's variables: promised number, accepted number, accepted value."""

Written: TypeAlias = tuple[tuple[str, Any], ...]
"""An acceptor's disk, as sorted pairs."""


class State(NamedTuple):
    """A state of the model.

    Attributes
    ----------
    memory : tuple of Memory
        Of each acceptor: promised number, accepted number and value.
    disks : tuple of Written
        What each acceptor has on disk; not a part of the specification's state, and in a correct
        acceptor a function of the memory.
    said : frozenset of Said
        Every message that was ever sent.
    """

    memory: tuple[Memory, ...]
    disks: tuple[Written, ...]
    said: frozenset[Said]


class Line(NamedTuple):
    """One line of a counterexample, with the fields of the simulator's trace records."""

    time_ns: int
    node: NodeId
    event: str
    kind: str = ""
    peer: NodeId | None = None
    number: int | None = None
    detail: Any = None


class Step(NamedTuple):
    """One action: who does what, on which messages, and what it says."""

    event: str
    process: NodeId
    heard: tuple[Said, ...]
    said: tuple[Said, ...]


class _NoSource:
    """Nothing is drawn at random in this model."""

    def randrange(self, stop: int, /) -> int:
        """Never called with a window that has a choice."""
        return 0


class MessageSet:
    """The model, in the form that the explorer takes.

    Parameters
    ----------
    acceptor_count, value_count, ballot_count : int
        Sizes; ballots are 0 .. ballot_count - 1, one proposer each.
    quorums : Quorums, optional
        Of acceptors 1 .. acceptor_count; majorities if left out.
    process_class : type, optional
        What is explored: `SinglePaxos`, or a broken variant.
    crashes : bool
        Acceptors may start again from their disks.

    Notes
    -----
    An exploration's `transitions`, and one for the initial state, are what TLC reports as "states
    generated": Phase2a counts once for every quorum and promise that allow it.
    """

    def __init__(
        self,
        *,
        acceptor_count: int,
        value_count: int,
        ballot_count: int,
        quorums: Quorums | None = None,
        process_class: type[SinglePaxos] = SinglePaxos,
        crashes: bool = False,
    ) -> None:
        sizes = {
            "acceptor_count": acceptor_count,
            "value_count": value_count,
            "ballot_count": ballot_count,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ParameterError(name, size, "at least 1")
        self.acceptors = tuple(range(1, acceptor_count + 1))
        self.values = tuple(f"v{number + 1}" for number in range(value_count))
        self.ballots = tuple(range(ballot_count))
        proposers = tuple(acceptor_count + 1 + ballot for ballot in self.ballots)
        self.quorums = quorums or Quorums(self.acceptors)
        self.group = Group(proposers=proposers, quorums=self.quorums, learners=(), back_off=NEVER)
        self.process_class = process_class
        self.crashes = crashes
        self.bounds_reached: set[str] = set()
        self._minimal = self.quorums.phase1.minimal(self.acceptors)
        self._answers: dict[Hashable, tuple[Memory, Written, tuple[Said, ...]]] = {}
        self._proposals: dict[Hashable, tuple[Said, ...]] = {}

    # The model: what `explore` calls.

    def initial(self) -> State:
        """No acceptor has promised anything, and nothing was said."""
        nothing: Memory = (NO_PROPOSAL, NO_PROPOSAL, None)
        count = len(self.acceptors)
        return State((nothing,) * count, ((),) * count, frozenset())

    def successors(self, state: State) -> Iterator[tuple[Step, State]]:
        """Every action of the specification that is enabled."""
        heard = sorted(state.said, key=repr)
        for ballot in self.ballots:
            yield from self._begin(state, ballot)
            yield from self._propose(state, ballot, heard)
        for place in range(len(self.acceptors)):
            yield from self._answer(state, place, heard)
            if self.crashes:
                yield from self._crash(state, place)

    def violation(self, state: State) -> str | None:
        """Two values, each accepted by a phase-2 quorum under one number."""
        votes: dict[tuple[ProposalNumber, Value], set[NodeId]] = {}
        for sender, message in state.said:
            if isinstance(message, Accepted):
                votes.setdefault((message.number, message.value), set()).add(sender)
        is_quorum = self.quorums.phase2.is_quorum
        chosen = sorted({value for (_, value), who in votes.items() if is_quorum(who)})
        return f"{' and '.join(chosen)} are both chosen" if len(chosen) > 1 else None

    def key(self, state: State) -> Hashable:
        """The state itself."""
        return state

    def records(self, path: list[Step]) -> list[Line]:
        """The steps as lines of a trace, one millisecond each.

        A message of the set is drawn to everybody who receives it later in the path.
        """
        lines: list[Line] = []
        arrivals: dict[Said, list[tuple[NodeId, int]]] = {}
        numbers = iter(range(1, len(path) * len(self.group.processes) + 1))
        for step in reversed(path):
            at = {said: next(numbers) for said in step.heard}
            lines += [_line(step.process, "note", step.event)]
            for said in step.said:
                told = arrivals.pop(said, [])
                lines += [_line(said.sender, "send", said.message, to, n) for to, n in told]
            for said, number in at.items():
                arrivals.setdefault(said, []).append((step.process, number))
                lines += [_line(step.process, "receive", said.message, said.sender, number)]
            if step.event == "Crash":
                lines += [_line(step.process, event) for event in ("restart", "crash")]
            lines.append(_END)
        return _timed(lines)

    # The actions of the specification.

    def _begin(self, state: State, ballot: ProposalNumber) -> Iterator[tuple[Step, State]]:
        """Phase1a: always possible; a second time it changes nothing."""
        proposer, effects = self._proposer(ballot, self.values[0])
        said = tuple(Said(proposer.node_id, m) for m in _messages(effects, Prepare))
        yield self._step(state, "Phase1a", proposer.node_id, (), said)

    def _propose(
        self, state: State, ballot: ProposalNumber, heard: list[Said]
    ) -> Iterator[tuple[Step, State]]:
        """Phase2a: for every quorum whose promises are in the set, and every value it allows."""
        promises: dict[NodeId, list[Said]] = {}
        for said in heard:
            if isinstance(said.message, Accept) and said.message.number == ballot:
                return
            if isinstance(said.message, Promise) and said.message.number == ballot:
                promises.setdefault(said.sender, []).append(said)
        for quorum in self._minimal:
            for choice in product(*(promises.get(acceptor, ()) for acceptor in sorted(quorum))):
                for value in self.values:
                    said_now = self._proposal(ballot, value, choice)
                    if said_now and said_now[0].message.value == value:
                        who = self.group.owner(ballot)
                        step = self._step(state, "Phase2a", who, choice, said_now)
                        yield from [step] * _followed(choice)

    def _proposal(
        self, ballot: ProposalNumber, value: Value, promises: tuple[Said, ...]
    ) -> tuple[Said, ...]:
        """What a proposer that wants this value says after these promises."""
        at = (ballot, value, promises)
        if at not in self._proposals:
            proposer, _ = self._proposer(ballot, value)
            effects: Effects = []
            for sender, message in promises:
                effects += proposer.receive(sender, message, NOW_NS)
            said = tuple(Said(proposer.node_id, m) for m in _messages(effects, Accept))
            assert len(said) <= 1
            self._proposals[at] = said
        return self._proposals[at]

    def _answer(self, state: State, place: int, heard: list[Said]) -> Iterator[tuple[Step, State]]:
        """Phase1b and Phase2b: any Prepare or Accept of the set that the acceptor agrees to."""
        for said in heard:
            if not isinstance(said.message, (Prepare, Accept)):
                continue
            memory, disk, answer = self._reaction(state, place, said)
            if answer:
                event = "Phase1b" if isinstance(said.message, Prepare) else "Phase2b"
                who = self.acceptors[place]
                step, following = self._step(state, event, who, (said,), answer)
                yield step, _remember(following, place, memory, disk)

    def _reaction(
        self, state: State, place: int, said: Said
    ) -> tuple[Memory, Written, tuple[Said, ...]]:
        """What an acceptor in this state does with a message; a Reject counts as no answer."""
        at = (place, state.memory[place], state.disks[place], said)
        if at not in self._answers:
            process, acceptor = self._acceptor(place, dict(state.disks[place]))
            acceptor.promised, acceptor.accepted_number, acceptor.accepted_value = state.memory[
                place
            ]
            effects = process.receive(said.sender, said.message, NOW_NS)
            answers = {Said(process.node_id, m) for m in _messages(effects, Promise, Accepted)}
            disk = _written(state.disks[place], effects)
            self._answers[at] = _memory(acceptor), disk, tuple(sorted(answers, key=repr))
        return self._answers[at]

    def _crash(self, state: State, place: int) -> Iterator[tuple[Step, State]]:
        """An acceptor loses its memory and starts again from its disk."""
        _, acceptor = self._acceptor(place, dict(state.disks[place]))
        step, following = self._step(state, "Crash", self.acceptors[place], (), ())
        yield step, _remember(following, place, _memory(acceptor), state.disks[place])

    # Processes, made for one step.

    def _proposer(self, ballot: ProposalNumber, value: Value) -> tuple[SinglePaxos, Effects]:
        process = self._process(self.group.owner(ballot), {})
        return process, process.submit(Propose(value), NOW_NS)

    def _acceptor(self, place: int, disk: dict[Hashable, Any]) -> tuple[SinglePaxos, Acceptor]:
        process = self._process(self.acceptors[place], disk)
        assert process.acceptor is not None
        return process, process.acceptor

    def _process(self, node_id: NodeId, disk: dict[Hashable, Any]) -> SinglePaxos:
        return self.process_class(node_id, disk, group=self.group, source=_NoSource())

    def _step(
        self,
        state: State,
        event: str,
        process: NodeId,
        heard: tuple[Said, ...],
        said: tuple[Said, ...],
    ) -> tuple[Step, State]:
        following = state._replace(said=state.said.union(said))
        return Step(event, process, heard, said), following


_END = Line(0, 0, "end")


def _line(
    process: NodeId, event: str, what: Any = "", peer: NodeId | None = None, number: int = 0
) -> Line:
    if isinstance(what, str):
        return Line(0, process, event, what)
    return Line(0, process, event, message_kind(what), peer, number, what)


def _timed(lines: list[Line]) -> list[Line]:
    """Lines that were written from the last step to the first, put in order and given a time."""
    timed: list[Line] = []
    time_ns = 0
    for line in reversed(lines):
        if line is _END:
            time_ns += STEP_NS
        else:
            timed.append(line._replace(time_ns=time_ns))
    return timed


def _messages(effects: Effects, *kinds: type) -> list[Any]:
    """Different messages of these kinds among the effects, in order."""
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    return list(dict.fromkeys(message for message in sent if isinstance(message, kinds)))


def _followed(promises: tuple[Said, ...]) -> int:
    """How many promises report the highest accepted number; 1 if none reports any.

    The specification asks for *some* such promise, and TLC counts a transition for each.
    """
    numbers = [said.message.accepted_number for said in promises]
    highest = max(numbers)
    return 1 if highest == NO_PROPOSAL else numbers.count(highest)


def _memory(acceptor: Acceptor) -> Memory:
    return acceptor.promised, acceptor.accepted_number, acceptor.accepted_value


def _written(disk: Written, effects: Effects) -> Written:
    """The disk after the writes among the effects."""
    pairs = dict(disk)
    for effect in effects:
        if isinstance(effect, Persist):
            pairs.update((str(key), value) for key, value in effect.writes)
    return tuple(sorted(pairs.items()))


def _remember(state: State, place: int, memory: Memory, disk: Written) -> State:
    """The state with one acceptor's variables replaced."""
    memories, disks = list(state.memory), list(state.disks)
    memories[place], disks[place] = memory, disk
    return state._replace(memory=tuple(memories), disks=tuple(disks))
