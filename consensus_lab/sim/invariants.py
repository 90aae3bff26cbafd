"""Invariants: what must hold after every event, whatever went wrong before.

Rules of this file: nothing here knows a protocol; a node is looked at, never changed.  What is
particular to logs with terms stands in `log_invariants`, to slots with ballots in
`slot_invariants`.

Theory of operation.  An invariant is a callable `(engine, node_id)` that the engine calls after
each event with the node that was touched.  It keeps what it has seen (history variables, as in a
TLA+ specification), compares, and raises `InvariantViolation` at the first event that breaks the
rule: long before a client could notice.  It looks only at what has changed.

What a node has *promised* matters across crashes: once the stream of its effects is empty,
everything in its memory was told to others or may have been, and must survive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from consensus_lab.node import Apply, NodeId

if TYPE_CHECKING:
    from consensus_lab.sim.engine import Engine


class InvariantViolation(AssertionError):
    """A rule was broken: `rule` names it, `detail` says how, at `node_id`."""

    def __init__(self, rule: str, node_id: NodeId, detail: str) -> None:
        self.rule = rule
        self.node_id = node_id
        self.detail = detail
        super().__init__(f"{rule}: node {node_id}: {detail}")

    def __reduce__(self) -> tuple[type, tuple[str, NodeId, str]]:
        return InvariantViolation, (self.rule, self.node_id, self.detail)


def require(holds: bool, rule: str, node_id: NodeId, detail: str) -> None:
    """Raise `InvariantViolation` unless the condition holds; not where `detail` costs much."""
    if not holds:
        raise InvariantViolation(rule, node_id, detail)


class AppliedInOrder:
    """State-machine safety: no two nodes apply different commands at one index (Raft §5.4.3).

    Within one life a node applies each index once and in order.  `attach` takes the engine's
    `on_apply` hook; a hook that was there before is still called.

    Attributes
    ----------
    commands : dict of index to command
        The one log of all nodes, as applied so far.
    """

    def __init__(self) -> None:
        self.commands: dict[int, Any] = {}
        self._last: dict[tuple[NodeId, int], int] = {}
        self._engine: Engine | None = None
        self._next_hook: Callable[[NodeId, Any, int], None] | None = None

    def attach(self, engine: Engine) -> None:
        """Watch that engine from now on."""
        self._engine = engine
        self._next_hook = engine.on_apply
        engine.on_apply = self._applied

    def _applied(self, node_id: NodeId, effect: Apply, now: int) -> None:
        if self._next_hook is not None:
            self._next_hook(node_id, effect, now)
        assert self._engine is not None
        life = (node_id, self._engine.processes[node_id].incarnation)
        index, command = effect.index, effect.command
        last = self._last.get(life, 0)
        require(index > last, "applied in order", node_id, f"index {index} after {last}")
        self._last[life] = index
        known = self.commands.setdefault(index, command)
        if known is not command and known != command:
            detail = f"applies {command!r} at index {index}, another node applied {known!r}"
            raise InvariantViolation("state-machine safety", node_id, detail)


class EqualStates:
    """Replicas that have applied the same prefix are in the same state.

    Parameters
    ----------
    state : callable (node) -> (applied, machine)
        How far a node has applied, and its state machine.

    The states of a window of recent indexes are kept; a replica that is further behind is not
    compared until it has caught up.
    """

    WINDOW = 4096

    def __init__(self, state: Callable[[Any], tuple[int, Any]]) -> None:
        self.state = state
        self.snapshots: dict[int, Any] = {}
        self._last: dict[NodeId, tuple[int, int]] = {}

    def __call__(self, engine: Engine, node_id: NodeId) -> None:
        """Compare the state of that node if it has applied something."""
        process = engine.processes[node_id]
        if process.node is None:
            return
        applied, machine = self.state(process.node)
        mark = (process.incarnation, applied)
        if applied == 0 or self._last.get(node_id) == mark:
            return
        self._last[node_id] = mark
        snapshot = machine.snapshot()
        known = self.snapshots.setdefault(applied, snapshot)
        if known != snapshot:
            detail = f"after index {applied} it holds {snapshot!r}, another node held {known!r}"
            raise InvariantViolation("equal states", node_id, detail)
        if len(self.snapshots) > self.WINDOW:
            del self.snapshots[next(iter(self.snapshots))]


class Promised:
    """What a node has promised to others: a pair that never goes back, across crashes too.

    Parameters
    ----------
    rule : str
        What is broken when it does.
    promise : callable (node) -> comparable
        The promise as it stands in the node's memory.
    """

    def __init__(self, rule: str, promise: Callable[[Any], Any]) -> None:
        self.rule = rule
        self.promise = promise
        self.given: dict[NodeId, Any] = {}

    def __call__(self, engine: Engine, node_id: NodeId) -> None:
        """Note the promise once nothing waits for the disk; compare with the last one."""
        process = engine.processes[node_id]
        if process.node is None or process.stream:
            return
        promise = self.promise(process.node)
        given = self.given.get(node_id)
        if promise == given:
            return
        if given is not None:
            detail = f"it had promised {given!r} and is back at {promise!r}"
            require(promise >= given, self.rule, node_id, detail)
        self.given[node_id] = promise
