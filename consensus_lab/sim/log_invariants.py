"""Invariants of logs with terms: the safety properties of Raft (Fig. 3), after every event.

Rules of this file: it imports no protocol and looks at nodes by attributes only, through a `view`
that gives, for a node, an object with `term`, `vote`, `is_leader`, `log` (`base_index`,
`base_term`, `last_index`, `last_term`, `committed`, `entries` of (term, index, data ...), and
`term(index)`) and `configuration` (`voters`, `outgoing`); and through `durable`, which gives the
same of a disk: `term`, `vote` and `holds(index, term)`.

Theory of operation.  History variables stand for what the whole cluster has seen: the leader of
each term, every entry ever written, every index ever committed.  Each rule of Raft's Figure 3 is
then a comparison of one node with the history, and only what changed since the last look is
compared:

* election safety: at most one leader per term, elected by votes that are on disk, a majority of
  each half of its configuration (§5.2, §6);
* leader append-only (§5.3);
* log matching: an entry is known by (index, term); whoever writes it again writes the same
  content after the same previous term; by induction equal entries have equal prefixes (§5.3);
* a leader counts replicas of entries of its own term only (§5.4.2);
* leader completeness: a leader's log holds what was committed in earlier terms (§5.4);
* state-machine safety: nobody commits another entry at an index (§5.4.3); what is committed first
  is on the disks of a majority of each half of the configuration;
* term, vote and commit index never go back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab.node import NodeId
from consensus_lab.sim.invariants import require

if TYPE_CHECKING:
    from consensus_lab.sim.engine import Engine
    from consensus_lab.sim.process import Process


class Committed(NamedTuple):
    """A committed index: the term of its entry, and the term in which it became committed.

    `entry_term` is None while nobody knows it: an entry can be appended, committed and compacted
    within one event.
    """

    entry_term: int | None
    in_term: int


class _Memory:
    """What a node looked like when it was last looked at, in its present life."""

    def __init__(self, incarnation: int, core: Any) -> None:
        self.incarnation = incarnation
        self.signature: Any = None
        self.term = core.term
        self.vote = core.vote
        self.committed = core.log.base_index
        self.scanned = (core.log.base_index, core.log.base_term)
        self.terms: dict[int, int] = {}
        self.led: tuple[int, int, int] | None = None
        self.halves = _halves(core)


def _halves(core: Any) -> tuple[frozenset[NodeId], ...]:
    """The sets of voters of which each must agree by majority."""
    configuration = core.configuration
    return tuple(frozenset(half) for half in (configuration.voters, configuration.outgoing) if half)


def is_majority_of_each(nodes: Iterable[NodeId], halves: Iterable[frozenset[NodeId]]) -> bool:
    """True when the nodes include a majority of every half (joint consensus, Raft §6).

    Examples
    --------
    >>> is_majority_of_each({1, 2}, [frozenset({1, 2, 3})])
    True
    >>> is_majority_of_each({1, 2}, [frozenset({1, 2, 3}), frozenset({2, 4, 5})])
    False
    """
    present = frozenset(nodes)
    return all(2 * len(present & half) > len(half) for half in halves)


class LogInvariants:
    """All rules above, as one invariant for an engine.

    Parameters
    ----------
    view : callable (node) -> core
        See the rules of this file.
    durable : callable (disk) -> durable state
        See the rules of this file.

    Attributes
    ----------
    leaders : dict of term to node
    committed : list of Committed
        Index 1 first.
    entries : dict of (index, term) to (data, previous term)
        Every entry ever seen in a log.
    """

    def __init__(self, *, view: Callable[[Any], Any], durable: Callable[[Any], Any]) -> None:
        self.view = view
        self.durable = durable
        self.leaders: dict[int, NodeId] = {}
        self.committed: list[Committed] = []
        self.entries: dict[tuple[int, int], tuple[Any, int | None]] = {}
        self.promised: dict[NodeId, tuple[int, NodeId]] = {}
        self._memories: dict[NodeId, _Memory] = {}
        self._on_disks = 0

    def __call__(self, engine: Engine, node_id: NodeId) -> None:
        """Compare that node with the history."""
        process = engine.processes[node_id]
        if process.node is None:
            return
        core = self.view(process.node)
        log = core.log
        memory = self._memories.get(node_id)
        if memory is None or memory.incarnation != process.incarnation:
            memory = self._memories[node_id] = _Memory(process.incarnation, core)
        signature = (
            core.term, core.vote, core.is_leader, log.committed, log.last_index, log.last_term,
            log.base_index, core.configuration, not process.stream,
        )  # fmt: skip
        if signature == memory.signature:
            return
        memory.signature = signature
        self._check_term_and_vote(process, core, memory)
        self._check_log(node_id, log, memory)
        self._check_commit(engine, node_id, core, memory)
        if core.is_leader:
            self._check_leader(engine, node_id, core, memory)
        memory.halves = _halves(core)

    def _check_term_and_vote(self, process: Process, core: Any, memory: _Memory) -> None:
        """Within a life, and against what was promised before a crash (Raft §5.1, §5.2)."""
        node_id, now = process.node_id, (core.term, core.vote)
        before = (memory.term, memory.vote)
        _require_promise_kept(node_id, before, now)
        memory.term, memory.vote = now
        if not process.stream:
            _require_promise_kept(node_id, self.promised.get(node_id, (0, 0)), now)
            self.promised[node_id] = now

    def _check_log(self, node_id: NodeId, log: Any, memory: _Memory) -> None:
        """Log matching: enter what is new in this log into the history, or find it there."""
        if memory.terms.get(log.base_index) != log.base_term:
            memory.terms.clear()  # Perhaps a snapshot took the place of another log.
        memory.terms[log.base_index] = log.base_term
        index, term = memory.scanned
        if index < log.base_index or log.term(index) != term:
            # Rewritten behind the mark: look again at all that may have changed.
            index = max(log.base_index, min(memory.committed, log.last_index))
        previous = log.term(index)
        for entry in log.entries[index - log.base_index :]:
            found = (entry.data, previous)
            known = self.entries.setdefault((entry.index, entry.term), found)
            if known is not found:
                self._match(node_id, entry, found, known)
            require(
                previous is None or entry.term >= previous, "log matching", node_id,
                f"entry {entry.index} has term {entry.term} after {previous}",
            )  # fmt: skip
            previous = memory.terms[entry.index] = entry.term
        memory.scanned = (log.last_index, log.last_term)

    def _match(
        self, node_id: NodeId, entry: Any, found: tuple[Any, int | None],
        known: tuple[Any, int | None],
    ) -> None:  # fmt: skip
        """The entry was seen before: the same content after the same previous term."""
        where = f"entry {entry.index} of term {entry.term}"
        same = found[0] is known[0] or found[0] == known[0]
        require(same, "log matching", node_id, f"{where} holds {found[0]!r} and {known[0]!r}")
        if found[1] is None or found[1] == known[1]:
            return
        if known[1] is None:
            self.entries[entry.index, entry.term] = known[0], found[1]
            return
        detail = f"{where} follows terms {found[1]} and {known[1]}"
        require(False, "log matching", node_id, detail)

    def _check_commit(self, engine: Engine, node_id: NodeId, core: Any, memory: _Memory) -> None:
        """The commit index only grows, over entries that everybody commits."""
        log, before = core.log, memory.committed
        now = log.committed
        require(now >= before, "commit never goes back", node_id, f"from {before} to {now}")
        require(now <= log.last_index, "commit within the log", node_id, f"{now}")
        # What was committed before must still be there; one entry stands for its prefix.
        for index in range(max(before, 1), now + 1):
            term = log.term(index) if index >= log.base_index else memory.terms.get(index)
            self._check_committed(node_id, core, index, term)
        if len(self.committed) > self._on_disks:
            self._on_disks = len(self.committed)
            self._check_on_disks(engine, node_id, core, memory)
        memory.committed = now

    def _check_committed(self, node_id: NodeId, core: Any, index: int, term: int | None) -> None:
        """The first to commit an index decides what is there; a snapshot may hide its term."""
        committed = self.committed
        if index > len(committed):
            require(index == len(committed) + 1, "commit in order", node_id, f"{index}")
            committed.append(Committed(term, core.term))
        known = committed[index - 1]
        if known.entry_term is None:
            committed[index - 1] = known._replace(entry_term=term)
        elif term is not None:
            detail = f"index {index} has term {term}, committed was {known.entry_term}"
            require(term == known.entry_term, "state-machine safety", node_id, detail)

    def _check_on_disks(self, engine: Engine, node_id: NodeId, core: Any, memory: _Memory) -> None:
        """What is newly committed is on a majority of disks, of each half (Raft §5.3, §6)."""
        index = len(self.committed)
        term = self.committed[-1].entry_term
        if core.is_leader and term is not None:
            detail = f"index {index} of term {term} in term {core.term}, by counting"
            require(term == core.term, "commits its own term", node_id, detail)
        holders = [
            other for other, disk in engine.disks.items() if self.durable(disk).holds(index, term)
        ]
        # A change of membership may have been applied in this very event, before or after.
        agrees = any(
            is_majority_of_each(holders, halves) for halves in (_halves(core), memory.halves)
        )
        detail = (
            f"commits index {index} of term {term}, which is on the disks of {sorted(holders)}; "
            f"voters are {[sorted(half) for half in _halves(core)]}"
        )
        require(agrees, "committed is durable on a quorum", node_id, detail)

    def _check_leader(self, engine: Engine, node_id: NodeId, core: Any, memory: _Memory) -> None:
        log, term = core.log, core.term
        known = self.leaders.setdefault(term, node_id)
        detail = f"leads term {term}, so does node {known}"
        require(known == node_id, "election safety", node_id, detail)
        led = memory.led
        if led is None or led[0] != term:
            self._check_votes(engine, node_id, core, memory)
            self._check_completeness(node_id, core)
        else:
            _, last_index, last_term = led
            held = log.term(last_index) == last_term or last_index < log.base_index
            detail = f"entry {last_index} of term {last_term} is gone"
            require(held and log.last_index >= last_index, "leader append-only", node_id, detail)
        memory.led = (term, log.last_index, log.last_term)

    def _check_votes(self, engine: Engine, node_id: NodeId, core: Any, memory: _Memory) -> None:
        """A new leader's votes are on disk, a majority of each half (Raft §5.2, §6)."""
        term = core.term
        voters = []
        for other, disk in engine.disks.items():
            durable = self.durable(disk)
            # Who has gone on to a later term may have voted before.
            if durable.term > term or (durable.term, durable.vote) == (term, node_id):
                voters.append(other)
        agrees = any(
            is_majority_of_each(voters, halves) for halves in (_halves(core), memory.halves)
        )
        detail = f"leads term {term} with votes on the disks of {sorted(voters)} only"
        require(agrees, "elected by a durable quorum", node_id, detail)

    def _check_completeness(self, node_id: NodeId, core: Any) -> None:
        """Leader completeness (Raft §5.4): all that was committed in earlier terms is here."""
        log, index = core.log, len(self.committed)
        while index > log.base_index and self.committed[index - 1].in_term >= core.term:
            index -= 1
        if index <= log.base_index:
            return
        term = self.committed[index - 1].entry_term
        if term is None:
            return
        detail = f"leads term {core.term} without the committed entry {index} of term {term}"
        require(log.term(index) == term, "leader completeness", node_id, detail)


def _require_promise_kept(
    node_id: NodeId, before: tuple[int, NodeId], now: tuple[int, NodeId]
) -> None:
    """Terms never go back, and a term has one vote."""
    detail = f"(term, vote) from {before} to {now}"
    require(now[0] >= before[0], "term never goes back", node_id, detail)
    if now[0] == before[0] and before[1]:
        require(now[1] == before[1], "one vote per term", node_id, detail)
