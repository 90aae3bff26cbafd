"""Plans of a swarm: which servers, which network, which faults and when, drawn from a seed.

Rules of this file: draws, runs nothing; every draw comes from the plan's own stream.

Theory of operation (swarm testing, Groce et al., ISSTA 2012).  Each kind of fault is left out of
about half of the plans, because faults hide each other: a cluster that never has a leader never
loses a committed write.  Some faults strike whoever leads at that moment, because that is where
they hurt; the plan names their time, the run finds the leader.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from consensus_lab.node import NodeId, ParameterError
from consensus_lab.sim import faults as fault_kinds
from consensus_lab.sim.clients import Workload
from consensus_lab.sim.faults import Fault
from consensus_lab.sim.links import Link
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream

MILLISECOND_NS = 1_000_000
LEADER_FAULTS = ("crash", "isolate", "mute", "deaf")
SERVERS_MAX = 7


class LeaderFault(NamedTuple):
    """From `at_ns` to `until_ns` whoever leads at `at_ns` is down, or cut off one or both ways.

    Attributes
    ----------
    kind : str
        "crash", "isolate" (both ways), "mute" (cannot send) or "deaf" (cannot receive).
    at_ns, until_ns : int
    burst : int
        So many commands are handed to the leader just then: a tail that may never be committed.
    probes : int
        So many times afterwards it and another are asked for a key: where stale reads show.
    slowed_ns : int
        Before it is struck its clock runs at a quarter speed for so long, and goes on to do so.
    """

    kind: str
    at_ns: int
    until_ns: int
    burst: int = 0
    probes: int = 0
    slowed_ns: int = 0


class Change(NamedTuple):
    """At that time a client asks for these members."""

    at_ns: int
    members: tuple[NodeId, ...]


@dataclass(frozen=True)
class Plan:
    """One run of a swarm.

    Attributes
    ----------
    seed : int
        Gives every chance of the run.
    servers : tuple of int
        All that may ever take part.
    members : tuple of int
        The first voters.
    link, host : Link, Host
        Network and machines while no fault makes them worse.
    faults : tuple of Fault
    leader_faults : tuple of LeaderFault
    changes : tuple of Change
        Membership changes.
    workload : Workload
    calm_ns, end_ns : int
        When the faults end, and when the cluster must have answered the last reads.
    timeout_ns : int
        The election timeout that protocols should use.
    """

    seed: int
    servers: tuple[NodeId, ...]
    members: tuple[NodeId, ...]
    link: Link
    host: Host
    faults: tuple[Fault, ...] = ()
    leader_faults: tuple[LeaderFault, ...] = ()
    changes: tuple[Change, ...] = ()
    workload: Workload = field(default=Workload())
    calm_ns: int = 10_000 * MILLISECOND_NS
    end_ns: int = 60_000 * MILLISECOND_NS
    timeout_ns: int = 100 * MILLISECOND_NS


def draw_plan(seed: int, *, servers_max: int = SERVERS_MAX, has_changes: bool = True) -> Plan:
    """The plan of a seed.

    Parameters
    ----------
    seed : int
    servers_max : int
        From 1 to 7.
    has_changes : bool
        Whether the plan may change the membership.

    Examples
    --------
    >>> draw_plan(1) == draw_plan(1)
    True
    """
    if not 1 <= servers_max <= SERVERS_MAX:
        raise ParameterError("servers_max", servers_max, f"from 1 to {SERVERS_MAX}")
    source = stream(seed, "swarm", "plan")
    # Small odd clusters are the interesting ones; the others come too.
    sizes = [size for size in (1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7) if size <= servers_max]
    servers = tuple(range(1, source.choice(sizes) + 1))
    changing = has_changes and len(servers) > 1 and source.random() < 0.4
    members = _some(source, servers, least=1) if changing and source.random() < 0.5 else servers
    calm_ns = source.randrange(3_000, 10_000) * MILLISECOND_NS
    return Plan(
        seed=seed,
        servers=servers,
        members=members,
        link=_draw_link(source),
        host=_draw_host(source),
        faults=tuple(_draw_faults(source, servers, calm_ns)),
        leader_faults=tuple(_draw_leader_faults(source, calm_ns)),
        changes=tuple(_draw_changes(source, servers, calm_ns)) if changing else (),
        workload=_draw_workload(source, calm_ns),
        calm_ns=calm_ns,
        end_ns=calm_ns + 60_000 * MILLISECOND_NS,
    )


def _some(source: random.Random, ids: tuple[int, ...], *, least: int) -> tuple[int, ...]:
    """A sorted part of the ids, at least so many."""
    return tuple(sorted(source.sample(ids, source.randint(least, len(ids)))))


def _ms(source: random.Random, low: int, high: int) -> int:
    """A time between two numbers of milliseconds, nanoseconds."""
    return source.randrange(low * MILLISECOND_NS, high * MILLISECOND_NS + 1)


def _draw_link(source: random.Random) -> Link:
    """From a quiet machine room to a bad radio link."""
    bad = source.random() < 0.5
    return Link(
        latency_ns=_ms(source, 1, 10),
        jitter_ns=_ms(source, 0, 10) if source.random() < 0.7 else 0,
        loss=source.choice((0.0, 0.01, 0.05, 0.2)) if bad else 0.0,
        duplicate=source.choice((0.0, 0.02, 0.2)) if bad else 0.0,
        reorder=source.choice((0.0, 0.05, 0.3)) if bad else 0.0,
        reorder_ns=_ms(source, 5, 100),
    )


def _draw_host(source: random.Random) -> Host:
    """From an instant disk to a slow one whose every write takes another time."""
    fsync_ns = source.choice((0, MILLISECOND_NS, 5 * MILLISECOND_NS))
    return Host(fsync_ns=fsync_ns, fsync_jitter_ns=fsync_ns * source.randrange(4))


def _draw_workload(source: random.Random, calm_ns: int) -> Workload:
    clients_count = source.randint(2, 6)
    think_ns_max = _ms(source, 20, 200)
    return Workload(
        clients_count=clients_count,
        operations_count=min(40, max(8, 2 * calm_ns // think_ns_max)),
        keys_count=source.randint(1, 4),
        think_ns_max=think_ns_max,
        timeout_ns=_ms(source, 100, 800),
        attempts_max=source.randint(1, 5),
        weights=(("get", 5), ("put", 4), ("cas", 3), ("delete", 1)),
    )


def _draw_times(source: random.Random, calm_ns: int, every_ms: int) -> Iterable[int]:
    """Times before the calm, on average so many milliseconds apart."""
    time = 0
    while True:
        time += 1 + int(source.expovariate(1.0) * every_ms * MILLISECOND_NS)
        if time >= calm_ns:
            return
        yield time


def _draw_faults(source: random.Random, servers: tuple[NodeId, ...], calm_ns: int) -> list[Fault]:
    """Each kind of fault is in about half of the plans."""
    drawn: list[Fault] = []
    for kind in (_crashes, _power_cuts, _partitions, _troubles, _slow_disks, _clocks):
        if source.random() < 0.5:
            every_ms = source.choice((300, 1_000, 3_000))
            for at_ns in _draw_times(source, calm_ns, every_ms):
                drawn += kind(source, servers, at_ns, calm_ns)
    return drawn


def _until(source: random.Random, at_ns: int, calm_ns: int) -> int:
    """When a fault that begins then ends: mostly soon, never after the calm."""
    return min(calm_ns, at_ns + _ms(source, 1, source.choice((50, 500, 3_000))))


def _crashes(
    source: random.Random, servers: tuple[NodeId, ...], at_ns: int, calm_ns: int
) -> list[Fault]:
    keep = source.choice((0, 0, 1, 2))
    restart_ns = _until(source, at_ns, calm_ns)
    return [fault_kinds.Crash(source.choice(servers), at_ns, restart_ns, keep)]


def _power_cuts(
    source: random.Random, servers: tuple[NodeId, ...], at_ns: int, calm_ns: int
) -> list[Fault]:
    """Several servers stop at once and come back one by one."""
    return [
        fault_kinds.Crash(server, at_ns, _until(source, at_ns, calm_ns))
        for server in _some(source, servers, least=1)
    ]


def _partitions(
    source: random.Random, servers: tuple[NodeId, ...], at_ns: int, calm_ns: int
) -> list[Fault]:
    """Two groups that do not hear each other, in one direction only or in both."""
    one = _some(source, servers, least=1)
    other = tuple(server for server in servers if server not in one)
    until_ns = _until(source, at_ns, calm_ns)
    if source.random() < 0.3:
        return [fault_kinds.Partition(one, other, at_ns, until_ns)]
    return fault_kinds.partition(one, other, at_ns=at_ns, until_ns=until_ns)


def _troubles(
    source: random.Random, servers: tuple[NodeId, ...], at_ns: int, calm_ns: int
) -> list[Fault]:
    return [
        fault_kinds.Trouble(
            at_ns,
            _until(source, at_ns, calm_ns),
            loss=source.choice((0.0, 0.1, 0.5)),
            duplicate=source.choice((0.0, 0.1, 0.5)),
            reorder=source.choice((0.0, 0.2, 0.5)),
            reorder_ns=_ms(source, 5, 300),
            jitter_ns=_ms(source, 0, 50),
        )
    ]


def _slow_disks(
    source: random.Random, servers: tuple[NodeId, ...], at_ns: int, calm_ns: int
) -> list[Fault]:
    until_ns = _until(source, at_ns, calm_ns)
    return [fault_kinds.SlowDisk(source.choice(servers), _ms(source, 10, 300), at_ns, until_ns)]


def _clocks(
    source: random.Random, servers: tuple[NodeId, ...], at_ns: int, calm_ns: int
) -> list[Fault]:
    """Clocks that jump by up to a second, or run up to a third too fast or too slow."""
    return [
        fault_kinds.ClockFault(
            source.choice(servers), at_ns, source.choice((0, _ms(source, 0, 1_000))),
            source.randint(-300_000, 300_000),
        )
    ]  # fmt: skip


def _draw_leader_faults(source: random.Random, calm_ns: int) -> list[LeaderFault]:
    if source.random() < 0.3:
        return []
    every_ms = source.choice((400, 1_000, 3_000))
    # Some plans do nothing but cut off leaders whose clocks are slow: what leases fear.
    fears_clocks = source.random() < 0.2
    drawn = []
    for at_ns in _draw_times(source, calm_ns, every_ms):
        is_slowed = fears_clocks or source.random() < 0.2
        slowed_ns = _ms(source, 100, 500) if is_slowed else 0
        lasts_ns = _ms(source, 1, source.choice((100, 500, 3_000)))
        drawn.append(
            LeaderFault(
                kind="isolate" if fears_clocks else source.choice(LEADER_FAULTS),
                at_ns=at_ns,
                until_ns=min(calm_ns, at_ns + slowed_ns + lasts_ns),
                burst=source.choice((0, 0, 3, 20)),
                probes=20 if fears_clocks else source.choice((0, 20)),
                slowed_ns=slowed_ns,
            )
        )
    return drawn


def _draw_changes(source: random.Random, servers: tuple[NodeId, ...], calm_ns: int) -> list[Change]:
    every_ms = source.choice((300, 1_000, 3_000))
    return [
        Change(at_ns, _some(source, servers, least=1))
        for at_ns in _draw_times(source, calm_ns, every_ms)
    ]
