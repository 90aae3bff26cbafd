"""The message-level engine: a heap of events, and nodes that know nothing of it.

Theory of operation.  Handling an event (see `loop`) hands one input to one node and carries out
the effects that come back (see `node` for their contract, `links` for the network, `process` for
disk, CPU and clock).  Nothing here knows a protocol.

A timer has at most one live entry in the heap.  Setting it to a later time only notes the time;
the old entry, when it comes up, moves itself.  A follower that resets its election timer with
each heartbeat thus costs one entry per timeout, not one per heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heappush
from typing import Any

from consensus_lab.node import (
    CONTROL_SIZE_BYTES,
    Apply,
    CancelTimer,
    Disk,
    Effects,
    Message,
    Node,
    NodeId,
    Note,
    ParameterError,
    Persist,
    Reply,
    Send,
    SetTimer,
    Unapply,
    message_kind,
    message_size,
)
from consensus_lab.sim.links import Link, Links
from consensus_lab.sim.loop import Check, EventLoop
from consensus_lab.sim.process import Host, Process, Timer
from consensus_lab.sim.streams import derive_seed
from consensus_lab.sim.trace import Record, Trace

# Kinds of event: places in the loop's handlers.
_DELIVER, _TIMER, _SUBMIT, _TAKE, _DURABLE, _REACH = range(1, 7)

# Effects that keep their place behind a write that is under way.
_IN_STREAM = frozenset({Send, Apply, Unapply, Reply})
# Effects that only a trace and a hook see: name in the trace, attribute that holds the hook.
_WATCHED = {
    Apply: ("apply", "on_apply"), Unapply: ("unapply", "on_unapply"),
    Reply: ("reply", "on_reply"), Note: ("note", "on_note"),
}  # fmt: skip

BYTES_PER_KILOBYTE = 1000

Hook = Callable[[NodeId, Any, int], None]


class Engine(EventLoop):
    """Runs nodes against a simulated network, disk, CPU and clock.

    Parameters
    ----------
    make_node : callable (node_id, disk) -> Node
        Called for each node at the start with an empty disk and after each crash with what was
        durable.
    node_ids : iterable of int
        Who takes part.
    seed : int
        Gives every chance of the run.
    links : Links or Link, optional
        The network; a single `Link` stands between every two nodes.
    hosts : Host or mapping of node to Host, optional
        What machines cost.
    trace : Trace, optional
        Records what happens; without one nothing is kept and runs are faster.
    invariants : iterable of callable (engine, node_id), optional
        Called after every event with the node that it touched; they raise when broken.

    Attributes
    ----------
    now, events : int
        Simulated nanoseconds since the start; how many events have been handled.
    processes : dict of node to Process
        Disk, clock, and `messages_sent` and `bytes_sent` (without those to itself) of each.
    on_apply, on_unapply, on_reply, on_note : callable (node_id, effect, now) or None
        Hooks for whoever watches the run.
    """

    def __init__(
        self,
        make_node: Callable[[NodeId, Disk], Node],
        node_ids: Iterable[NodeId],
        *,
        seed: int,
        links: Links | Link | None = None,
        hosts: Host | Mapping[NodeId, Host] | None = None,
        trace: Trace | None = None,
        invariants: Iterable[Check] = (),
    ) -> None:
        handlers = (
            self._deliver, self._timer, self._submit, self._take, self._durable, self._reach,
        )  # fmt: skip
        super().__init__(handlers, invariants)
        self._carry_out: dict[type, Callable[[Process, Any], None]] = {
            Send: self._send, Persist: self._persist,
            SetTimer: self._set_timer, CancelTimer: self._cancel_timer,
            **dict.fromkeys(_WATCHED, self._show),
        }  # fmt: skip
        self.make_node = make_node
        self.seed = seed
        self.links = links if isinstance(links, Links) else Links(links or Link(0))
        self.links.seed(seed)
        self.trace = trace
        nobody: Hook | None = None
        self.on_apply = self.on_unapply = self.on_reply = self.on_note = nobody
        ids = list(node_ids)
        if len(set(ids)) != len(ids):
            raise ParameterError("node_ids", ids, "without duplicates")
        costs = hosts if isinstance(hosts, Mapping) else dict.fromkeys(ids, hosts or Host())
        self.processes = {i: Process(i, costs.get(i, Host())) for i in ids}
        self._disk_key = derive_seed(seed, "disk")
        self._number = 0
        for process in self.processes.values():
            self._boot(process, "start")

    @property
    def nodes(self) -> dict[NodeId, Node]:
        """The nodes that are up now."""
        return {i: p.node for i, p in self.processes.items() if p.node is not None}

    @property
    def disks(self) -> dict[NodeId, dict[Any, Any]]:
        """What is durable at each node now."""
        return {i: process.disk for i, process in self.processes.items()}

    def submit(self, node_id: NodeId, command: Any, at_ns: int | None = None) -> None:
        """A client hands a command to a node, now or at that time; lost if the node is down."""
        process = self._process(node_id)
        time = self.now if at_ns is None else max(at_ns, self.now)
        self._push(time, _SUBMIT, process, command)

    def inject(self, sender: NodeId, node_id: NodeId, message: Message) -> None:
        """A message from outside the run arrives at a node now."""
        self._push(self.now, _DELIVER, self._process(node_id), sender, message, 0)

    def crash(self, node_id: NodeId, *, keep_unsynced: int = 0) -> None:
        """Stop a node: its memory is gone, and all writes but the first few that are under way."""
        process = self._process(node_id)
        if not process.is_alive:
            return
        process.lose_memory(keep_unsynced=keep_unsynced)
        self.links.forget(node_id)
        self._record(node_id, "crash")

    def restart(self, node_id: NodeId) -> None:
        """Start a crashed node from what was durable."""
        process = self._process(node_id)
        if not process.is_alive:
            self._boot(process, "restart")

    def set_clock(
        self, node_id: NodeId, *, offset_ns: int | None = None, drift_ppm: int | None = None
    ) -> None:
        """Make a node's clock jump, or run fast or slow, from now on."""
        process = self._process(node_id)
        process.clock.set(self.now, offset_ns=offset_ns, drift_ppm=drift_ppm)
        process.true_clock = False

    def fault(self, kind: str, detail: Any = None) -> None:
        """Leave a mark in the trace for something done to the network as a whole."""
        self._record(None, "fault", kind, detail=detail)

    # How one event is handled: `(process, a, b, c)` as it was pushed.

    def _deliver(self, process: Process, sender: NodeId, message: Message, number: int) -> None:
        if not process.is_alive:
            return
        node_id = process.node_id
        if self.links.blocked and (sender, node_id) in self.links.blocked:
            self._record(node_id, "drop", message, sender, number)
        elif process.has_cost:
            host = process.host
            cost = host.receive_ns + message_size(message) * host.kilobyte_ns // BYTES_PER_KILOBYTE
            self._queue_for_cpu(process, cost, ("receive", sender, message, number))
        else:
            if self.trace is not None:
                self._record(node_id, "receive", message, sender, number)
            now = self.now if process.true_clock else process.clock.local(self.now)
            effects = process.node.receive(sender, message, now)
            if effects:
                self._perform(process, effects)

    def _submit(self, process: Process, command: Any, _b: Any, _c: Any) -> None:
        work = ("submit", None, command, None)
        if not process.is_alive:
            self._record(process.node_id, "drop", "submit", detail=command)
        elif process.has_cost:
            self._queue_for_cpu(process, process.host.receive_ns, work)
        else:
            self._take(process, work, process.incarnation, None)

    def _queue_for_cpu(self, process: Process, cost_ns: int, work: tuple[Any, ...]) -> None:
        self._push(process.work(self.now, cost_ns), _TAKE, process, work, process.incarnation)

    def _take(self, process: Process, work: tuple[Any, ...], incarnation: int, _c: Any) -> None:
        """Hand over an input whose CPU time has passed, or a message to oneself."""
        if process.incarnation != incarnation:
            return
        event, sender, content, number = work
        if event == "receive":
            self._record(process.node_id, "receive", content, sender, number)
            effects = process.node.receive(sender, content, process.local(self.now))
        else:
            self._record(process.node_id, "submit", "submit", detail=content)
            effects = process.node.submit(content, process.local(self.now))
        self._perform(process, effects)

    def _timer(self, process: Process, name: str, incarnation: int, _c: Any) -> None:
        timer = process.timers.get(name) if process.incarnation == incarnation else None
        if timer is None or timer.entry_ns != self.now:
            return
        timer.entry_ns = None
        if timer.due_ns is None:
            return
        if timer.due_ns > self.now:
            timer.entry_ns = timer.due_ns
            self._push(timer.due_ns, _TIMER, process, name, incarnation)
            return
        timer.due_ns = None
        if self.trace is not None:
            self._record(process.node_id, "timer", name)
        self._perform(process, process.node.timer(name, process.local(self.now)))

    def _reach(self, process: Process, sender: NodeId, message: Message, number: int) -> None:
        """The last byte is at the receiver's line; the message is through when the line is."""
        through = self.links.received(sender, process.node_id, message, self.now)
        if through > self.now:
            self._push(through, _DELIVER, process, sender, message, number)
        else:
            self._deliver(process, sender, message, number)

    def _durable(self, process: Process, incarnation: int, _b: Any, _c: Any) -> None:
        """A batch is on disk: release what waited for it, and begin the next one."""
        if process.incarnation != incarnation:
            return
        stream = process.stream
        count, process.writing = process.writing, 0
        while stream:
            if type(stream[0]) is not Persist:
                effect = stream.popleft()
                self._carry_out[type(effect)](process, effect)
            elif count:
                count -= 1
                process.write(stream.popleft())
                self._record(process.node_id, "durable")
            else:
                break
        if stream:
            self._begin_write(process)

    # How effects are carried out.

    def _perform(self, process: Process, effects: Effects) -> None:
        """Each in its turn: at once, or behind the write that is under way."""
        stream, carry_out = process.stream, self._carry_out
        for effect in effects:
            kind = type(effect)
            assert kind in carry_out, f"not an effect: {effect!r}"
            if stream and kind in _IN_STREAM:
                stream.append(effect)
            else:
                carry_out[kind](process, effect)

    def _persist(self, process: Process, effect: Persist) -> None:
        if self.trace is not None:
            self._record(process.node_id, "persist", detail=effect)
        if process.stream or process.has_disk_cost:
            process.stream.append(effect)
            if not process.writing:
                self._begin_write(process)
        else:
            process.write(effect)
            if self.trace is not None:
                self._record(process.node_id, "durable")

    def _begin_write(self, process: Process) -> None:
        took = process.begin_write(self._disk_key)
        self._push(self.now + took, _DURABLE, process, process.incarnation)

    def _show(self, process: Process, effect: Any) -> None:
        """To the engine it is nothing but news for whoever watches."""
        event, hook_name = _WATCHED[type(effect)]
        if self.trace is not None:
            kind, detail = (effect.kind, effect.detail) if event == "note" else ("", effect)
            self._record(process.node_id, event, kind, detail=detail)
        hook: Hook | None = getattr(self, hook_name)
        if hook is not None:
            hook(process.node_id, effect, self.now)

    def _send(self, process: Process, effect: Send) -> None:
        to, message = effect
        sender = process.node_id
        number = 0
        if self.trace is not None:
            self._number += 1
            number = self._number
            self._record(sender, "send", message, to, number)
        if to == sender:
            work = ("receive", sender, message, number)
            self._push(self.now, _TAKE, process, work, process.incarnation)
            return
        process.messages_sent += 1
        process.bytes_sent += getattr(message, "size_bytes", CONTROL_SIZE_BYTES)
        if self.links.is_plain and not process.has_cost:
            receiver, latency = process.latencies.get(to) or self._route(process, to)
            if receiver is not None:
                self._counter += 1
                event = (self.now + latency, self._counter, _DELIVER, receiver, sender,
                         message, number)  # fmt: skip
                heappush(self._heap, event)
                return
        self._send_over_links(process, to, message, number)

    def _send_over_links(self, process: Process, to: NodeId, message: Message, number: int) -> None:
        sender = process.node_id
        receiver = self.processes.get(to)
        ready = self.now
        if process.has_cost:
            host = process.host
            cost = host.send_ns + message_size(message) * host.kilobyte_ns // BYTES_PER_KILOBYTE
            ready = process.work(ready, cost)
        left = self.links.leave(sender, message, ready)
        arrivals = self.links.travel(sender, to, message, left) if receiver is not None else ()
        if not arrivals:
            self._record(to, "drop", message, sender, number)
            return
        kind = _REACH if self.links.line(to).download_bytes_per_s else _DELIVER
        for arrival in arrivals:
            self._push(arrival, kind, receiver, sender, message, number)

    def _route(self, process: Process, to: NodeId) -> tuple[Process | None, int]:
        """The receiver and latency of a plain link, kept for the next message on it."""
        receiver = self.processes.get(to)
        if receiver is None:
            return None, 0
        latency = self.links.link(process.node_id, to).latency_ns
        route = process.latencies[to] = (receiver, latency)
        return route

    def _set_timer(self, process: Process, effect: SetTimer) -> None:
        timer = process.timers.get(effect.name)
        if timer is None:
            timer = process.timers[effect.name] = Timer()
        delay = effect.delay_ns
        if not process.true_clock:
            delay = process.clock.true_delay(delay)
        due = timer.due_ns = self.now + delay
        if timer.entry_ns is None or due < timer.entry_ns:
            timer.entry_ns = due
            self._push(due, _TIMER, process, effect.name, process.incarnation)

    def _cancel_timer(self, process: Process, effect: CancelTimer) -> None:
        timer = process.timers.get(effect.name)
        if timer is not None:
            timer.due_ns = None

    # Small things.

    def _boot(self, process: Process, event: str) -> None:
        process.is_alive = True
        process.cpu_free_ns = self.now
        process.node = self.make_node(process.node_id, dict(process.disk))
        self._record(process.node_id, event)
        self._perform(process, process.node.start(process.local(self.now)))

    def _process(self, node_id: NodeId) -> Process:
        if node_id not in self.processes:
            raise ParameterError("node_id", node_id, f"one of {sorted(self.processes)}")
        return self.processes[node_id]

    def _record(
        self,
        node_id: NodeId | None,
        event: str,
        what: Any = "",
        peer: NodeId | None = None,
        number: int | None = None,
        detail: Any = None,
    ) -> None:
        """Add to the trace; `what` is a name, or a message that is also kept as the detail."""
        if self.trace is None:
            return
        if not isinstance(what, str):
            what, detail = message_kind(what), what
        self.trace.add(Record(self.now, node_id, event, what, peer, number, detail))
