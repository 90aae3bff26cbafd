"""One running node as the engine sees it: its disk, its clock, its queue of effects, its timers.

Theory of operation.  The effects of a node form one first-in first-out stream.  A `Persist` joins
the disk's queue, and everything after it in the stream waits until it is durable.  The disk
writes one batch at a time, and a batch takes all that has queued up since the last (group
commit), so a busy node pays one fsync for many writes.  A crash empties the stream; what was
being written is lost, or a prefix of it survives when the fault says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any

from consensus_lab.node import NodeId, ParameterError, Persist
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import keyed_draw

PARTS_PER_MILLION = 1_000_000


class Cores:
    """The cores of a machine that several nodes share; work takes them in the order it comes.

    Parameters
    ----------
    count : int
        How many pieces of work are done at the same time.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ParameterError("cores", count, "at least 1")
        self._free_ns = [0] * count  # A heap: when each core is through.

    def work(self, ready_ns: int, cost_ns: int) -> int:
        """When work is done that is ready then: on the core that is free first."""
        done_ns = max(ready_ns, self._free_ns[0]) + cost_ns
        heapreplace(self._free_ns, done_ns)
        return done_ns


@dataclass(frozen=True)
class Host:
    """What a node's machine costs, all in integer nanoseconds; the default is free and instant.

    Attributes
    ----------
    receive_ns : int
        CPU time to handle one input: a message from a peer or a client's command.
    send_ns : int
        CPU time per message sent to another node; messages leave one after the other.
    kilobyte_ns : int
        CPU time per 1000 bytes of a message, handled or sent.
    fsync_ns : int
        Time for one durable write, however many `Persist` effects it holds.
    fsync_jitter_ns : int
        Each write takes up to this much longer, uniformly.
    disk_bytes_per_s : int or None
        Sequential write speed; None means that bytes take no time.
    cores : Cores or None
        Shared with the other hosts that name the same; None is a core of its own.
    """

    receive_ns: int = 0
    send_ns: int = 0
    kilobyte_ns: int = 0
    fsync_ns: int = 0
    fsync_jitter_ns: int = 0
    disk_bytes_per_s: int | None = None
    cores: Cores | None = None

    def __post_init__(self) -> None:
        for name in ("receive_ns", "send_ns", "kilobyte_ns", "fsync_ns", "fsync_jitter_ns"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ParameterError(name, value, "an integer of at least 0 nanoseconds")
        if self.disk_bytes_per_s is not None and self.disk_bytes_per_s <= 0:
            raise ParameterError("disk_bytes_per_s", self.disk_bytes_per_s, "above 0, or None")

    @property
    def has_cpu_cost(self) -> bool:
        """True when handling or sending takes time."""
        return bool(self.receive_ns or self.send_ns or self.kilobyte_ns)

    @property
    def has_disk_cost(self) -> bool:
        """True when a durable write takes time."""
        return bool(self.fsync_ns or self.fsync_jitter_ns or self.disk_bytes_per_s)


class Clock:
    """A node's own clock: the simulated time, offset and running fast or slow.

    Attributes
    ----------
    drift_ppm : int
        Parts per million that it gains on simulated time.
    """

    __slots__ = ("_local_base", "_true_base", "drift_ppm")

    def __init__(self) -> None:
        self.drift_ppm = 0
        self._true_base = 0
        self._local_base = 0

    def set(self, now: int, *, offset_ns: int | None = None, drift_ppm: int | None = None) -> None:
        """From now on run at that drift; with an offset, jump to `now + offset_ns` first."""
        local = self.local(now) if offset_ns is None else now + offset_ns
        self._true_base, self._local_base = now, local
        if drift_ppm is not None:
            if drift_ppm <= -PARTS_PER_MILLION:
                raise ParameterError("drift_ppm", drift_ppm, f"above -{PARTS_PER_MILLION}")
            self.drift_ppm = drift_ppm

    def local(self, now: int) -> int:
        """What the clock shows at simulated time `now`."""
        elapsed = now - self._true_base
        return self._local_base + elapsed + elapsed * self.drift_ppm // PARTS_PER_MILLION

    def true_delay(self, local_delay_ns: int) -> int:
        """Simulated time until this clock has moved on by that much."""
        rate = PARTS_PER_MILLION + self.drift_ppm
        return -(-local_delay_ns * PARTS_PER_MILLION // rate)


class Timer:
    """One named timer: when it is due, and the time of its one entry in the engine's heap."""

    __slots__ = ("due_ns", "entry_ns")

    def __init__(self) -> None:
        self.due_ns: int | None = None
        self.entry_ns: int | None = None


class Process:
    """A node with its machine.  The engine owns it; faults and checks may look at it."""

    __slots__ = (
        "bytes_sent", "clock", "cpu_free_ns", "disk", "has_cost", "has_disk_cost", "host",
        "incarnation", "is_alive", "latencies", "messages_sent", "node", "node_id", "stream",
        "timers", "true_clock", "write_count", "writing",
    )  # fmt: skip

    def __init__(self, node_id: NodeId, host: Host) -> None:
        self.node_id = node_id
        self.node: Any = None  # A Node, or None while down.
        self.is_alive = False
        self.incarnation = 0
        self.disk: dict[Hashable, Any] = {}
        self.stream: deque[Any] = deque()  # Effects that wait for the disk.
        self.writing = 0  # Persists in the write that is under way.
        self.write_count = 0
        self.cpu_free_ns = 0
        self.clock = Clock()
        self.true_clock = True
        self.timers: dict[str, Timer] = {}
        self.messages_sent = 0
        self.bytes_sent = 0
        self.latencies: dict[NodeId, tuple[Process, int]] = {}  # Of plain links, as met.
        self.use(host)

    def use(self, host: Host) -> None:
        """From now on run on that machine."""
        self.host = host
        self.has_cost = host.has_cpu_cost
        self.has_disk_cost = host.has_disk_cost

    def local(self, now: int) -> int:
        """What this node's clock shows."""
        return now if self.true_clock else self.clock.local(now)

    def work(self, now: int, cost_ns: int) -> int:
        """When CPU work that comes now is done: after this node's earlier work, on a free core."""
        ready_ns, cores = max(now, self.cpu_free_ns), self.host.cores
        done_ns = ready_ns + cost_ns if cores is None else cores.work(ready_ns, cost_ns)
        self.cpu_free_ns = done_ns
        return done_ns

    def write(self, persist: Persist) -> None:
        """Make one batch of writes durable."""
        disk = self.disk
        for key, value in persist.writes:
            if value is None:
                disk.pop(key, None)
            else:
                disk[key] = value

    def queued_persists(self) -> list[Persist]:
        """What waits for the disk, oldest first."""
        return [effect for effect in self.stream if type(effect) is Persist]

    def begin_write(self, key: int) -> int:
        """Start writing all that waits; returns how long it takes, nanoseconds.

        `key` is the disk's own, from which each write's jitter is drawn by its number.
        """
        batch = self.queued_persists()
        self.writing = len(batch)
        self.write_count += 1
        host = self.host
        took = host.fsync_ns
        if host.fsync_jitter_ns:
            draw = keyed_draw(
                key, sender=self.node_id, receiver=self.node_id, kind=0,
                identity=self.write_count, attempt=self.incarnation,
            )  # fmt: skip
            took += draw * (host.fsync_jitter_ns + 1) >> 64
        if host.disk_bytes_per_s:
            size = sum(persist.size_bytes for persist in batch)
            took += size * NANOSECONDS_PER_SECOND // host.disk_bytes_per_s
        return took

    def lose_memory(self, *, keep_unsynced: int) -> None:
        """Crash: all that is not durable is gone, but for a prefix of what was being written."""
        for persist in self.queued_persists()[:keep_unsynced]:
            self.write(persist)
        self.stream.clear()
        self.timers.clear()
        self.writing = 0
        self.is_alive = False
        self.incarnation += 1
        self.node = None
