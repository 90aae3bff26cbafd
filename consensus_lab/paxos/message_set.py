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

from consensus_lab.node import Effects, NodeId, ParameterError, Persist, Send
from consensus_lab.paxos.acceptor import Acceptor
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.message_set_trace import Line, Said, Step, told
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
NEVER = BackOff(window_ns=1, is_random=False)


Memory: TypeAlias = tuple[ProposalNumber, ProposalNumber, Value]
"""An acceptor's variables: promised number, accepted number, accepted value."""

Written: TypeAlias = tuple[tuple[str, Any], ...]
"""An acceptor's disk, as sorted pairs."""


class State(NamedTuple):
    """A state of the model, in numbers that the model knows the meaning of.

    Attributes
    ----------
    acceptors : tuple of int
        What each acceptor remembers, in memory and on disk.  The disk is not a part of the
        specification's state; in a correct acceptor it says the same as the memory.
    said : int
        A bit for every message that was ever sent.
    """

    acceptors: tuple[int, ...]
    said: int


class _Move(NamedTuple):
    """A step, and what it changes: the acceptor at `place`, and the messages said."""

    step: Step
    place: int
    remembers: int
    said: int


_NOBODY = -1
"""Place of a move that changes no acceptor."""


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

    What a process may do depends on a few of the messages only: an acceptor on its memory and the
    requests, a proposer on the promises of its ballot.  Each such case is worked out once, by a
    real process, and remembered.
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
        self._remembered: list[tuple[Memory, Written]] = []
        self._remembered_numbers: dict[tuple[Memory, Written], int] = {}
        self._said: list[Said] = []
        self._said_bits: dict[Said, int] = {}
        # Bits of the messages that concern: acceptors, each ballot's proposer, the verdict.
        self._requests = 0
        self._of_ballot = dict.fromkeys(self.ballots, 0)
        self._votes = 0
        self._moves: dict[tuple[str, int, int, int], tuple[_Move, ...]] = {}
        self._verdicts: dict[int, str | None] = {}

    # The model: what `explore` calls.

    def initial(self) -> State:
        """No acceptor has promised anything, and nothing was said."""
        nothing = self._number(((NO_PROPOSAL, NO_PROPOSAL, None), ()))
        return State((nothing,) * len(self.acceptors), 0)

    def successors(self, state: State) -> Iterator[tuple[Step, State]]:
        """Every action of the specification that is enabled."""
        acceptors, said = state
        for move in self._enabled(acceptors, said):
            following = acceptors
            if move.place != _NOBODY:
                place = move.place
                following = (*acceptors[:place], move.remembers, *acceptors[place + 1 :])
            yield move.step, State(following, said | move.said)

    def violation(self, state: State) -> str | None:
        """Two values, each accepted by a phase-2 quorum under one number."""
        votes = state.said & self._votes
        if votes not in self._verdicts:
            self._verdicts[votes] = self._verdict(votes)
        return self._verdicts[votes]

    def key(self, state: State) -> Hashable:
        """The state itself."""
        return state

    def records(self, path: list[Step]) -> list[Line]:
        """The steps as lines of a trace, one millisecond each."""
        return told(path)

    # For whoever looks at single states.

    def said(self, state: State) -> tuple[Said, ...]:
        """Every message that was ever sent, in the order in which the model met them first."""
        return self._heard(state.said)

    def memory(self, state: State) -> tuple[Memory, ...]:
        """The acceptors' variables: promised number, accepted number and value."""
        return tuple(self._remembered[number][0] for number in state.acceptors)

    # The actions of the specification.

    def _enabled(self, acceptors: tuple[int, ...], said: int) -> Iterator[_Move]:
        for ballot in self.ballots:
            yield from self._known("Phase1a", ballot, 0, 0)
            yield from self._known("Phase2a", ballot, 0, said & self._of_ballot[ballot])
        for place, remembers in enumerate(acceptors):
            yield from self._known("answer", place, remembers, said & self._requests)
            if self.crashes:
                yield from self._known("Crash", place, remembers, 0)

    def _known(self, event: str, who: int, remembers: int, heard: int) -> tuple[_Move, ...]:
        at = (event, who, remembers, heard)
        moves = self._moves.get(at)
        if moves is None:
            work = {
                "Phase1a": self._phase1a,
                "Phase2a": self._phase2a,
                "answer": self._answers,
                "Crash": self._crash,
            }
            moves = self._moves[at] = tuple(work[event](who, remembers, self._heard(heard)))
        return moves

    def _phase1a(self, ballot: int, _: int, heard: tuple[Said, ...]) -> Iterator[_Move]:
        """Always possible; a second time it changes nothing."""
        del heard
        proposer, effects = self._proposer(ballot, self.values[0])
        yield self._move("Phase1a", proposer.node_id, (), _messages(effects, Prepare))

    def _phase2a(self, ballot: int, _: int, heard: tuple[Said, ...]) -> Iterator[_Move]:
        """Once per ballot: for every quorum of promises, and every value that they allow."""
        if any(isinstance(said.message, Accept) for said in heard):
            return
        promises: dict[NodeId, list[Said]] = {}
        for said in heard:
            promises.setdefault(said.sender, []).append(said)
        for quorum in self._minimal:
            for choice in product(*(promises.get(acceptor, ()) for acceptor in sorted(quorum))):
                for value in self.values:
                    yield from self._proposals(ballot, value, choice)

    def _proposals(
        self, ballot: ProposalNumber, value: Value, promises: tuple[Said, ...]
    ) -> list[_Move]:
        """What a proposer that wants this value says after these promises."""
        proposer, _ = self._proposer(ballot, value)
        effects: Effects = []
        for sender, message in promises:
            effects += proposer.receive(sender, message, NOW_NS)
        said = _messages(effects, Accept)
        assert len(said) <= 1
        if not said or said[0].value != value:
            return []
        return [self._move("Phase2a", proposer.node_id, promises, said)] * _followed(promises)

    def _answers(self, place: int, remembers: int, heard: tuple[Said, ...]) -> Iterator[_Move]:
        """Phase1b and Phase2b: any request that the acceptor agrees to; a Reject says nothing."""
        for said in heard:
            memory, disk = self._remembered[remembers]
            process, acceptor = self._acceptor(place, disk)
            acceptor.promised, acceptor.accepted_number, acceptor.accepted_value = memory
            effects = process.receive(said.sender, said.message, NOW_NS)
            answers = _messages(effects, Promise, Accepted)
            if answers:
                event = "Phase1b" if isinstance(said.message, Prepare) else "Phase2b"
                number = self._number((_memory(acceptor), _written(disk, effects)))
                move = self._move(event, process.node_id, (said,), answers)
                yield move._replace(place=place, remembers=number)

    def _crash(self, place: int, remembers: int, heard: tuple[Said, ...]) -> Iterator[_Move]:
        """An acceptor loses its memory and starts again from its disk."""
        del heard
        disk = self._remembered[remembers][1]
        process, acceptor = self._acceptor(place, disk)
        move = self._move("Crash", process.node_id, (), [])
        yield move._replace(place=place, remembers=self._number((_memory(acceptor), disk)))

    def _verdict(self, votes: int) -> str | None:
        cast: dict[tuple[ProposalNumber, Value], set[NodeId]] = {}
        for sender, message in self._heard(votes):
            cast.setdefault((message.number, message.value), set()).add(sender)
        is_quorum = self.quorums.phase2.is_quorum
        chosen = sorted({value for (_, value), who in cast.items() if is_quorum(who)})
        return f"{' and '.join(chosen)} are both chosen" if len(chosen) > 1 else None

    # Processes, made for one step.

    def _proposer(self, ballot: ProposalNumber, value: Value) -> tuple[SinglePaxos, Effects]:
        process = self._process(self.group.owner(ballot), {})
        return process, process.submit(Propose(value), NOW_NS)

    def _acceptor(self, place: int, disk: Written) -> tuple[SinglePaxos, Acceptor]:
        process = self._process(self.acceptors[place], dict(disk))
        assert process.acceptor is not None
        return process, process.acceptor

    def _process(self, node_id: NodeId, disk: dict[Hashable, Any]) -> SinglePaxos:
        return self.process_class(node_id, disk, group=self.group, source=_NoSource())

    # Numbers for what acceptors remember, and bits for messages.

    def _move(
        self, event: str, process: NodeId, heard: tuple[Said, ...], messages: list[Any]
    ) -> _Move:
        said = tuple(Said(process, message) for message in messages)
        bits = 0
        for one in said:
            bits |= self._bit(one)
        return _Move(Step(event, process, heard, said), _NOBODY, _NOBODY, bits)

    def _number(self, remembered: tuple[Memory, Written]) -> int:
        number = self._remembered_numbers.setdefault(remembered, len(self._remembered))
        if number == len(self._remembered):
            self._remembered.append(remembered)
        return number

    def _bit(self, said: Said) -> int:
        bit = self._said_bits.get(said)
        if bit is None:
            bit = self._said_bits[said] = 1 << len(self._said)
            self._said.append(said)
            message = said.message
            if isinstance(message, (Prepare, Accept)):
                self._requests |= bit
            if isinstance(message, (Promise, Accept)):
                self._of_ballot[message.number] |= bit
            if isinstance(message, Accepted):
                self._votes |= bit
        return bit

    def _heard(self, bits: int) -> tuple[Said, ...]:
        return tuple(said for place, said in enumerate(self._said) if bits >> place & 1)


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
