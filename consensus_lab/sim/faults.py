"""Faults: what goes wrong in a run, and when, as data.

A schedule is a list of faults.  `install` hands them to an engine, which carries each out at its
time.  A fault that lasts has a begin and an end, and leaves things as they were.  Every fault
marks the trace.  Nothing here knows a protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from consensus_lab.node import NodeId, ParameterError

if TYPE_CHECKING:
    from consensus_lab.sim.engine import Engine


class Crash(NamedTuple):
    """A node stops at `at_ns`; the first `keep_unsynced` writes under way survive all the same.

    With `restart_ns` it starts again at that time, from what was durable.
    """

    node: NodeId
    at_ns: int
    restart_ns: int | None = None
    keep_unsynced: int = 0


class Partition(NamedTuple):
    """Messages from `senders` to `receivers` are lost from `at_ns` to `until_ns`.

    One direction only: for a symmetric partition use `partition`, which gives both.
    """

    senders: tuple[NodeId, ...]
    receivers: tuple[NodeId, ...]
    at_ns: int
    until_ns: int


class Trouble(NamedTuple):
    """All links lose, double, delay or reorder messages from `at_ns` to `until_ns`."""

    at_ns: int
    until_ns: int
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ns: int = 0
    jitter_ns: int = 0


class SlowDisk(NamedTuple):
    """A node's durable writes take `fsync_ns` from `at_ns` to `until_ns`."""

    node: NodeId
    fsync_ns: int
    at_ns: int
    until_ns: int


class ClockFault(NamedTuple):
    """From `at_ns` on a node's clock is off by `offset_ns` and gains `drift_ppm`."""

    node: NodeId
    at_ns: int
    offset_ns: int = 0
    drift_ppm: int = 0


Fault: TypeAlias = Crash | Partition | Trouble | SlowDisk | ClockFault


def partition(
    one: Iterable[NodeId], other: Iterable[NodeId], *, at_ns: int, until_ns: int
) -> list[Fault]:
    """A symmetric partition between two groups of nodes."""
    left, right = tuple(sorted(one)), tuple(sorted(other))
    return [Partition(left, right, at_ns, until_ns), Partition(right, left, at_ns, until_ns)]


def install(engine: Engine, faults: Iterable[Fault]) -> None:
    """Hand a schedule to an engine.

    Raises
    ------
    ParameterError
        For a node that is not there, or an end before its begin.
    """
    for fault in faults:
        _check(engine, fault)
        _INSTALL[type(fault)](engine, fault)


def _check(engine: Engine, fault: Fault) -> None:
    named: list[NodeId] = []
    if isinstance(fault, Partition):
        named = [*fault.senders, *fault.receivers]
    elif not isinstance(fault, Trouble):
        named = [fault.node]
    for node in named:
        if node not in engine.processes:
            raise ParameterError("node", node, f"one of {sorted(engine.processes)}")
    end = getattr(fault, "until_ns", getattr(fault, "restart_ns", None))
    if end is not None and end < fault.at_ns:
        raise ParameterError("until_ns", end, f"at least {fault.at_ns}, the begin of the fault")


def _crash(engine: Engine, fault: Crash) -> None:
    keep = fault.keep_unsynced
    engine.at(fault.at_ns, lambda: engine.crash(fault.node, keep_unsynced=keep))
    if fault.restart_ns is not None:
        engine.at(fault.restart_ns, lambda: engine.restart(fault.node))


def _partition(engine: Engine, fault: Partition) -> None:
    def begin() -> None:
        engine.fault("partition", fault)
        engine.links.block(fault.senders, fault.receivers)

    def end() -> None:
        engine.fault("heal", fault)
        engine.links.unblock(fault.senders, fault.receivers)

    engine.at(fault.at_ns, begin)
    engine.at(fault.until_ns, end)


def _trouble(engine: Engine, fault: Trouble) -> None:
    links = engine.links

    def begin() -> None:
        engine.fault("trouble", fault)
        links.troubles.append(fault)
        links.changed()

    def end() -> None:
        engine.fault("calm", fault)
        links.troubles.remove(fault)
        links.changed()

    engine.at(fault.at_ns, begin)
    engine.at(fault.until_ns, end)


def _slow_disk(engine: Engine, fault: SlowDisk) -> None:
    process = engine.processes[fault.node]
    usual = process.host

    def begin() -> None:
        engine.fault("slow-disk", fault)
        process.use(replace(usual, fsync_ns=fault.fsync_ns))

    def end() -> None:
        engine.fault("disk-well", fault)
        process.use(usual)

    engine.at(fault.at_ns, begin)
    engine.at(fault.until_ns, end)


def _clock(engine: Engine, fault: ClockFault) -> None:
    def begin() -> None:
        engine.fault("clock", fault)
        offset, drift = fault.offset_ns, fault.drift_ppm
        engine.set_clock(fault.node, offset_ns=offset, drift_ppm=drift)

    engine.at(fault.at_ns, begin)


_INSTALL: dict[type, Callable[..., None]] = {
    Crash: _crash,
    Partition: _partition,
    Trouble: _trouble,
    SlowDisk: _slow_disk,
    ClockFault: _clock,
}
