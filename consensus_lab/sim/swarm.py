"""A swarm: many short runs, each with other faults, each checked after every event.

Rules of this file: a protocol comes in as a `SwarmProtocol`; nothing here names one.

Theory of operation (simulation testing, as in FoundationDB and TigerBeetle).  A seed gives a
`swarm_plan.Plan`: how many servers, how good the network and the disks are, which kinds of faults
this run has, and when.  Faults rage until `calm_ns`; then all is repaired, clients may finish for
half of the time that is left, and the cluster, asked at every server, must answer a read of every
key before `end_ns`; otherwise it is stuck.  The history of all clients must be linearizable.  A
plan and a protocol give one run, to the byte.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from consensus_lab.node import Disk, Node, NodeId
from consensus_lab.sim import faults as fault_kinds
from consensus_lab.sim.clients import Clients, Dialect
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.history import Operation
from consensus_lab.sim.invariants import AppliedInOrder, InvariantViolation
from consensus_lab.sim.linearizability import Failure, UndecidedError, check
from consensus_lab.sim.models import Get, Put
from consensus_lab.sim.streams import stream
from consensus_lab.sim.swarm_plan import Change, LeaderFault, Plan
from consensus_lab.sim.trace import Trace

EVENTS_MAX = 5_000_000
"""A run with more events than that is reported as endless."""
SLOW_CLOCK_PPM = -750_000
"""A quarter of true speed: slower than any clock that a lease could be built for."""
CONFIGURATIONS_MAX = 500_000


class SwarmProtocol(NamedTuple):
    """What a swarm needs to know of a protocol.

    Attributes
    ----------
    name : str
    make_node : callable (plan) -> callable (node_id, disk) -> Node
    invariants : callable () -> list of invariants
        Fresh ones for every run.
    reconfigure : callable (node, number, members) -> command
        What to hand to that node for the plan's change of that number.
    is_leader : callable (node) -> bool
    may_be_stuck : callable (nodes) -> bool
        True in a state, named by the protocol's own documents, that nothing can leave any more.
    dialect : Dialect
    model : Model
        What the clients' operations mean.
    """

    name: str
    make_node: Callable[[Plan], Callable[[NodeId, Disk], Node]]
    invariants: Callable[[], list[Any]]
    reconfigure: Callable[[Any, int, tuple[NodeId, ...]], Any]
    is_leader: Callable[[Any], bool]
    may_be_stuck: Callable[[dict[NodeId, Any]], bool]
    dialect: Dialect
    model: Any


class Outcome(NamedTuple):
    """What came of a run.

    Attributes
    ----------
    seed : int
    failure : str or None
        What went wrong; its first word names the kind.
    detail : str
        More of it, several lines.
    history_failure : Failure or None
        The shortest failing prefix, when the history was not linearizable.
    events, answered, pending : int
        Events of the run; operations that were answered, and that were not.
    digest : str
        Over the trace when there was one, else over the history and the counts.
    """

    seed: int
    failure: str | None
    detail: str
    history_failure: Failure | None
    events: int
    answered: int
    pending: int
    digest: str


class _Run:
    """One run under way."""

    def __init__(
        self,
        plan: Plan,
        protocol: SwarmProtocol,
        make_node: Callable[[NodeId, Disk], Node],
        trace: Trace | None,
    ) -> None:
        self.plan = plan
        self.protocol = protocol
        self.trace = trace
        self.source = stream(plan.seed, "swarm", "run")
        self.asked = 0
        self.drifting = {f.node for f in plan.faults if isinstance(f, fault_kinds.ClockFault)}
        applied = AppliedInOrder()
        self.engine = Engine(
            make_node, plan.servers, seed=plan.seed, links=plan.link,
            hosts=plan.host, trace=trace, invariants=protocol.invariants(),
        )  # fmt: skip
        applied.attach(self.engine)
        self.clients = Clients(
            self.engine, workload=plan.workload, dialect=protocol.dialect, seed=plan.seed
        )
        fault_kinds.install(self.engine, plan.faults)
        for fault in plan.leader_faults:
            self.engine.at(fault.at_ns, partial(self._aim_at_leader, fault))
        for number, change in enumerate(plan.changes):
            self.engine.at(change.at_ns, partial(self._change, number, change))

    def leader(self) -> NodeId:
        """Who leads now; of several one, of none anybody."""
        nodes = self.engine.nodes
        leading = [i for i in sorted(nodes) if self.protocol.is_leader(nodes[i])]
        return self.source.choice(leading or list(self.plan.servers))

    def _aim_at_leader(self, fault: LeaderFault) -> None:
        """Find the leader; strike it now, or when its slow clock has done its work."""
        engine, leader = self.engine, self.leader()
        if fault.slowed_ns:
            engine.set_clock(leader, drift_ppm=SLOW_CLOCK_PPM)
            self.drifting.add(leader)
        strike_ns = min(engine.now + fault.slowed_ns, fault.until_ns)
        engine.at(strike_ns, partial(self._strike, fault, leader))

    def _strike(self, fault: LeaderFault, leader: NodeId) -> None:
        engine = self.engine
        engine.fault("leader-" + fault.kind, leader)
        for number in range(fault.burst):
            self._ask(Put(f"burst{number}", f"{engine.now};"), leader)
        key = f"k{self.source.randrange(self.plan.workload.keys_count)}"
        self._probe(leader, key, fault.probes)
        if fault.kind == "crash":
            engine.crash(leader)
            engine.at(fault.until_ns, lambda: engine.restart(leader))
            return
        others = tuple(server for server in self.plan.servers if server != leader)
        if fault.kind in ("isolate", "mute"):
            engine.links.block((leader,), others)
            engine.at(fault.until_ns, lambda: engine.links.unblock((leader,), others))
        if fault.kind in ("isolate", "deaf"):
            engine.links.block(others, (leader,))
            engine.at(fault.until_ns, lambda: engine.links.unblock(others, (leader,)))

    def _ask(self, request: Any, node_id: NodeId) -> None:
        """Call once, apart from the clients; unanswered writes to a key of its own cost nothing."""
        self.asked += 1
        self.clients.ask(request, node_id=node_id, request_id=("asked", self.asked))

    def _probe(self, leader: NodeId, key: str, left: int) -> None:
        """Read a key at the struck leader and elsewhere, write it elsewhere, and again later."""
        if left == 0:
            return
        engine, source = self.engine, self.source
        others = [server for server in self.plan.servers if server != leader] or [leader]
        if left % 4 == 0:
            self._ask(Put(key, f"probe{self.asked};"), source.choice(others))
        self._ask(Get(key), leader)
        self._ask(Get(key), source.choice(others))
        later_ns = engine.now + 1 + source.randrange(self.plan.timeout_ns // 4)
        engine.at(later_ns, partial(self._probe, leader, key, left - 1))

    def _change(self, number: int, change: Change) -> None:
        leader = self.leader()
        node = self.engine.nodes.get(leader)
        if node is not None:
            command = self.protocol.reconfigure(node, number, change.members)
            self.engine.submit(leader, command)

    def go(self) -> str | None:
        """Run to the end; what went wrong, or None."""
        plan, engine = self.plan, self.engine
        self.clients.start()
        engine.run(until_ns=plan.calm_ns, events_max=EVENTS_MAX)
        self._repair()
        # A client may back off for long and keep to servers that were removed and never hear of it:
        # that is its bad luck, and no reason to ask nobody else.
        patience_ns = (plan.calm_ns + plan.end_ns) // 2
        engine.run(until_ns=patience_ns, until=lambda: self.clients.is_done, events_max=EVENTS_MAX)
        if not self._reads_every_key() and not self.protocol.may_be_stuck(engine.nodes):
            return "stuck: no answer after all faults were repaired"
        return None

    def _repair(self) -> None:
        """Everybody is up, all clocks run at the same rate, the network is as on a quiet day."""
        engine = self.engine
        for server in self.plan.servers:
            engine.restart(server)
        for server in sorted(self.drifting):
            engine.set_clock(server, drift_ppm=0)

    def _reads_every_key(self) -> bool:
        """Ask for every key until all are answered; False when the time is over first."""
        engine, plan = self.engine, self.plan
        wanted = {f"k{number}" for number in range(plan.workload.keys_count)}
        operations = self.clients.operations
        while wanted and engine.now < plan.end_ns and engine.events < EVENTS_MAX:
            first = self.asked + 1
            for key in sorted(wanted):
                for server in plan.servers:
                    self._ask(Get(key), server)
            engine.run(until_ns=engine.now + 20 * plan.timeout_ns)
            asked = [operations["asked", number] for number in range(first, self.asked + 1)]
            wanted -= {o.request.key for o in asked if not o.is_pending}
        return not wanted


def run_plan(plan: Plan, protocol: SwarmProtocol, *, trace: Trace | None = None) -> Outcome:
    """Run a plan with every check, and judge what the clients saw.

    Parameters
    ----------
    plan : Plan
    protocol : SwarmProtocol
    trace : Trace, optional
        Records the run; the digest is then the trace's.

    Returns
    -------
    Outcome
        Errors of the protocol are part of it, never raised.
    """
    make_node = protocol.make_node(plan)
    run: _Run | None = None
    failure: str | None = None
    detail = ""
    try:
        run = _Run(plan, protocol, make_node, trace)
        failure = run.go()
    except InvariantViolation as violation:
        failure = f"invariant: {violation}"
    except Exception as error:  # Whatever a broken protocol raises is a finding.
        failure = f"error: {type(error).__name__}: {error}"
        detail = traceback.format_exc()
    history = run.clients.history() if run is not None else []
    bad: Failure | None = None
    if failure is None:
        failure, bad = _judge(history, protocol.model)
        detail = "" if bad is None else bad.describe()
    events = run.engine.events if run is not None else 0
    answered = sum(not operation.is_pending for operation in history)
    return Outcome(
        plan.seed, failure, detail, bad, events, answered, len(history) - answered,
        trace.digest() if trace is not None else _digest(history, events, failure),
    )  # fmt: skip


def _judge(history: list[Operation], model: Any) -> tuple[str | None, Failure | None]:
    """What the history says: a failure in words, and its shortest prefix."""
    try:
        bad = check(history, model=model, configurations_max=CONFIGURATIONS_MAX).failure
    except UndecidedError as error:
        return f"undecided: {error}", None
    return (None if bad is None else "history: not linearizable"), bad


def _digest(history: list[Operation], events: int, failure: str | None) -> str:
    """SHA-256 over what the clients saw, the number of events and the failure."""
    total = hashlib.sha256()
    for operation in history:
        total.update(repr(operation).encode())
    total.update(repr((events, failure)).encode())
    return total.hexdigest()
