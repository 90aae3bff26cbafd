"""The message-level engine: a heap of events, and nodes that know nothing of it.

Theory of operation.  An event is a tuple `(time, counter, kind, process, a, b)`.  The heap gives
the earliest; the counter makes equal times come out in the order in which they were scheduled, so
a run is one fixed sequence.  Handling an event hands one input to one node and carries out the
effects that come back (see `node` for their contract, `links` for the network, `process` for disk,
CPU and clock).  Nothing here knows a protocol.

A timer has at most one live entry in the heap.  Setting it to a later time only notes the time;
the old entry, when it comes up, moves itself.  A follower that resets its election timer with
each heartbeat thus costs one entry per timeout, not one per heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from typing import Any

from consensus_lab.node import (
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
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Link, Links
from consensus_lab.sim.process import Host, Process, Timer
from consensus_lab.sim.streams import derive_seed, keyed_draw
from consensus_lab.sim.trace import Record, Trace

# Kinds of event, most frequent first.
_DELIVER, _TIMER, _SUBMIT, _HANDLE, _DURABLE, _RECEIVING, _CALL = range(7)

BYTES_PER_KILOBYTE = 1000

Check = Callable[["Engine", NodeId], None]
Hook = Callable[[NodeId, Any, int], None]


class Engine:
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
    now : int
        Simulated nanoseconds since the start.
    events : int
        How many have been handled.
    messages_sent, bytes_sent : dict
        Per node, messages and bytes handed to the network (not those to itself).
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
        self.make_node = make_node
        self.seed = seed
        self.links = links if isinstance(links, Links) else Links(links or Link(0))
        self.links.seed(seed)
        self.trace = trace
        self.invariants = tuple(invariants)
        self.now = 0
        self.events = 0
        self.on_apply: Hook | None = None
        self.on_unapply: Hook | None = None
        self.on_reply: Hook | None = None
        self.on_note: Hook | None = None
        ids = list(node_ids)
        if len(set(ids)) != len(ids):
            raise ParameterError("node_ids", ids, "without duplicates")
        costs = hosts if isinstance(hosts, Mapping) else dict.fromkeys(ids, hosts or Host())
        self.processes = {i: Process(i, costs.get(i, Host())) for i in ids}
        self.messages_sent = dict.fromkeys(ids, 0)
        self.bytes_sent = dict.fromkeys(ids, 0)
        self._disk_key = derive_seed(seed, "disk")
        self._heap: list[tuple[Any, ...]] = []
        self._counter = 0
        self._number = 0
        for process in self.processes.values():
            self._boot(process, "start")

    # What a user of the engine calls.

    @property
    def nodes(self) -> dict[NodeId, Node]:
        """The nodes that are up now."""
        return {i: p.node for i, p in self.processes.items() if p.node is not None}

    @property
    def disks(self) -> dict[NodeId, dict[Any, Any]]:
        """What is durable at each node now."""
        return {i: process.disk for i, process in self.processes.items()}

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Call a function at that time, or now if it has passed."""
        self._push(max(time_ns, self.now), _CALL, None, action, None)

    def submit(self, node_id: NodeId, command: Any, at_ns: int | None = None) -> None:
        """A client hands a command to a node, now or at that time; lost if the node is down."""
        process = self._process(node_id)
        time = self.now if at_ns is None else max(at_ns, self.now)
        self._push(time, _SUBMIT, process, command, None)

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

    def set_host(self, node_id: NodeId, host: Host) -> None:
        """Change what a node's machine costs from now on (a slow disk, a busy CPU)."""
        process = self._process(node_id)
        process.host = host
        process.has_cost = host.has_cpu_cost

    def fault(self, kind: str, detail: Any = None) -> None:
        """Leave a mark in the trace for something done to the network as a whole."""
        self._record(None, "fault", kind, detail=detail)

    def run(
        self,
        *,
        until_ns: int | None = None,
        until: Callable[[], bool] | None = None,
        events_max: int | None = None,
    ) -> int:
        """Handle events until the time, the condition or the count is reached or none is left.

        Parameters
        ----------
        until_ns : int, optional
            Events after this time stay; `now` is then this time.
        until : callable, optional
            Asked after every event.
        events_max : int, optional
            Handle at most so many.

        Returns
        -------
        int
            Events handled by this call.
        """
        heap, handle, invariants = self._heap, self._handle, self.invariants
        horizon = until_ns if until_ns is not None else 1 << 200
        left = events_max if events_max is not None else 1 << 200
        before = self.events
        while heap and left > 0 and heap[0][0] <= horizon:
            time, _, kind, process, a, b = heappop(heap)
            self.now = time
            self.events += 1
            left -= 1
            handle(kind, process, a, b)
            if invariants and process is not None:
                for check in invariants:
                    check(self, process.node_id)
            if until is not None and until():
                return self.events - before
        if until_ns is not None and left > 0:
            self.now = max(self.now, until_ns)
        return self.events - before

    # How one event is handled.

    def _handle(self, kind: int, process: Any, a: Any, b: Any) -> None:
        if kind == _DELIVER:
            if process.is_alive:
                self._input(process, a, b)
        elif kind == _TIMER:
            self._timer(process, a, b)
        elif kind == _SUBMIT:
            self._submit(process, a)
        elif kind == _HANDLE:
            if process.incarnation == b:
                self._take(process, a)
        elif kind == _DURABLE:
            if process.incarnation == a:
                self._durable(process, b)
        elif kind == _RECEIVING:
            self._receiving(process, a, b)
        else:
            a()

    def _input(self, process: Process, sender: NodeId, envelope: tuple[Message, int]) -> None:
        message, number = envelope
        node_id = process.node_id
        if self.links.blocked and (sender, node_id) in self.links.blocked:
            self._record(node_id, "drop", message, sender, number)
            return
        if process.has_cost:
            host = process.host
            cost = host.receive_ns + message_size(message) * host.kilobyte_ns // BYTES_PER_KILOBYTE
            self._queue_for_cpu(process, cost, ("receive", sender, message, number))
            return
        if self.trace is not None:
            self._record(node_id, "receive", message, sender, number)
        effects = process.node.receive(sender, message, self._local(process))
        if effects:
            self._perform(process, effects)

    def _submit(self, process: Process, command: Any) -> None:
        if not process.is_alive:
            self._record(process.node_id, "drop", "submit", detail=command)
        elif process.has_cost:
            self._queue_for_cpu(process, process.host.receive_ns, ("submit", None, command, None))
        else:
            self._take(process, ("submit", None, command, None))

    def _queue_for_cpu(self, process: Process, cost_ns: int, work: tuple[Any, ...]) -> None:
        process.cpu_free_ns = max(self.now, process.cpu_free_ns) + cost_ns
        self._push(process.cpu_free_ns, _HANDLE, process, work, process.incarnation)

    def _take(self, process: Process, work: tuple[Any, ...]) -> None:
        """Hand over an input whose CPU time has passed."""
        event, sender, content, number = work
        node = process.node
        if event == "receive":
            self._record(process.node_id, "receive", content, sender, number)
            effects = node.receive(sender, content, self._local(process))
        else:
            self._record(process.node_id, "submit", "submit", detail=content)
            effects = node.submit(content, self._local(process))
        self._perform(process, effects)

    def _timer(self, process: Process, name: str, incarnation: int) -> None:
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
        self._perform(process, process.node.timer(name, self._local(process)))

    def _receiving(self, process: Process, sender: NodeId, envelope: tuple[Message, int]) -> None:
        """The last byte is at the receiver's line; the message is through when the line is."""
        through = self.links.received(sender, process.node_id, envelope[0], self.now)
        if through > self.now:
            self._push(through, _DELIVER, process, sender, envelope)
        elif process.is_alive:
            self._input(process, sender, envelope)

    def _durable(self, process: Process, count: int) -> None:
        """A batch is on disk: release what waited for it, and begin the next one."""
        stream = process.stream
        process.writing = 0
        while stream:
            if type(stream[0]) is not Persist:
                self._release(process, stream.popleft())
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
        stream = process.stream
        effect: Any
        for effect in effects:
            kind = type(effect)
            if kind is SetTimer:
                self._set_timer(process, effect)
            elif kind is CancelTimer:
                timer = process.timers.get(effect.name)
                if timer is not None:
                    timer.due_ns = None
            elif kind is Note:
                self._note(process, effect)
            elif stream:
                stream.append(effect)
                if kind is Persist:
                    self._record(process.node_id, "persist", detail=effect)
            elif kind is Persist:
                self._record(process.node_id, "persist", detail=effect)
                if process.host.has_disk_cost:
                    stream.append(effect)
                    self._begin_write(process)
                else:
                    process.write(effect)
                    self._record(process.node_id, "durable")
            else:
                self._release(process, effect)

    def _release(self, process: Process, effect: Any) -> None:
        kind = type(effect)
        if kind is Send:
            self._send(process, effect.to, effect.message)
        elif kind is Apply:
            self._watched(process, "apply", self.on_apply, effect)
        elif kind is Reply:
            self._watched(process, "reply", self.on_reply, effect)
        elif kind is Unapply:
            self._watched(process, "unapply", self.on_unapply, effect)
        else:
            raise AssertionError(f"not an effect: {effect!r}")

    def _watched(self, process: Process, event: str, hook: Hook | None, effect: Any) -> None:
        if self.trace is not None:
            self._record(process.node_id, event, detail=effect)
        if hook is not None:
            hook(process.node_id, effect, self.now)

    def _note(self, process: Process, note: Note) -> None:
        if self.trace is not None:
            self._record(process.node_id, "note", note.kind, detail=note.detail)
        if self.on_note is not None:
            self.on_note(process.node_id, note, self.now)

    def _send(self, process: Process, to: NodeId, message: Message) -> None:
        number = 0
        sender = process.node_id
        if self.trace is not None:
            self._number += 1
            number = self._number
            self._record(sender, "send", message, to, number)
        if to == sender:
            work = ("receive", sender, message, number)
            self._push(self.now, _HANDLE, process, work, process.incarnation)
            return
        receiver = self.processes.get(to)
        size = message_size(message)
        self.messages_sent[sender] += 1
        self.bytes_sent[sender] += size
        ready = self.now
        if process.has_cost:
            host = process.host
            cost = host.send_ns + size * host.kilobyte_ns // BYTES_PER_KILOBYTE
            ready = process.cpu_free_ns = max(ready, process.cpu_free_ns) + cost
        left = self.links.leave(sender, message, ready)
        arrivals = self.links.travel(sender, to, message, left) if receiver is not None else ()
        if not arrivals:
            self._record(to, "drop", message, sender, number)
            return
        kind = _RECEIVING if self.links.line(to).download_bytes_per_s else _DELIVER
        for arrival in arrivals:
            self._push(arrival, kind, receiver, sender, (message, number))

    def _set_timer(self, process: Process, effect: SetTimer) -> None:
        timer = process.timers.get(effect.name)
        if timer is None:
            timer = process.timers[effect.name] = Timer()
        delay = effect.delay_ns
        if not process.true_clock:
            delay = process.clock.true_delay(delay)
        due = self.now + delay
        timer.due_ns = due
        if timer.entry_ns is None or due < timer.entry_ns:
            timer.entry_ns = due
            self._push(due, _TIMER, process, effect.name, process.incarnation)

    def _begin_write(self, process: Process) -> None:
        if process.writing:
            return
        batch = process.queued_persists()
        process.writing = len(batch)
        process.writes += 1
        host = process.host
        took = host.fsync_ns
        if host.fsync_jitter_ns:
            draw = keyed_draw(
                self._disk_key, sender=process.node_id, receiver=process.node_id, kind=0,
                identity=process.writes, attempt=process.incarnation,
            )  # fmt: skip
            took += draw * (host.fsync_jitter_ns + 1) >> 64
        if host.disk_bytes_per_s:
            size = sum(persist.size_bytes for persist in batch)
            took += size * NANOSECONDS_PER_SECOND // host.disk_bytes_per_s
        self._push(self.now + took, _DURABLE, process, process.incarnation, len(batch))

    # Small things.

    def _boot(self, process: Process, event: str) -> None:
        process.is_alive = True
        process.cpu_free_ns = self.now
        process.node = self.make_node(process.node_id, dict(process.disk))
        self._record(process.node_id, event)
        self._perform(process, process.node.start(self._local(process)))

    def _local(self, process: Process) -> int:
        return self.now if process.true_clock else process.clock.local(self.now)

    def _process(self, node_id: NodeId) -> Process:
        if node_id not in self.processes:
            raise ParameterError("node_id", node_id, f"one of {sorted(self.processes)}")
        return self.processes[node_id]

    def _push(self, time: int, kind: int, process: Process | None, a: Any, b: Any) -> None:
        self._counter += 1
        heappush(self._heap, (time, self._counter, kind, process, a, b))

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
        if isinstance(what, str):
            self.trace.add(Record(self.now, node_id, event, what, peer, number, detail))
        else:
            kind = message_kind(what)
            self.trace.add(Record(self.now, node_id, event, kind, peer, number, what))
