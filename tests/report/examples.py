"""A small protocol with a crash, a restart and a fault, run by the real engine."""

from typing import NamedTuple

from consensus_lab.node import Apply, Note, Persist, Reply, Send, SetTimer
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.process import Host
from consensus_lab.sim.trace import Trace

MS = 1_000_000


class Ask(NamedTuple):
    value: int
    size_bytes: int = 120


class Answer(NamedTuple):
    value: int


class Collector:
    """Asks all others when a client submits, applies when two have answered."""

    def __init__(self, node_id, disk):
        self.node_id = node_id
        self.answers = 0
        self.restarted = bool(disk)

    def start(self, now):
        return [SetTimer("wake", 40 * MS)] if self.node_id == 1 else []

    def timer(self, name, now):
        return [Note("awake", name)]

    def submit(self, command, now):
        self.answers = 0
        return [Send(other, Ask(command)) for other in (2, 3)]

    def receive(self, sender, message, now):
        if isinstance(message, Ask):
            return [Persist((("value", message.value),)), Send(sender, Answer(message.value))]
        self.answers += 1
        if self.answers == 2:
            return [Note("decided", message.value), Apply(1, message.value), Reply("r1", "ok")]
        return []


def run(**link):
    trace = Trace()
    engine = Engine(
        Collector, [1, 2, 3], seed=3, trace=trace, links=Link(MS, **link), hosts=Host(fsync_ns=MS)
    )
    engine.submit(1, 7, at_ns=2 * MS)
    engine.run(until_ns=20 * MS)
    engine.crash(3)
    engine.submit(1, 8)
    engine.at(30 * MS, lambda: engine.restart(3))
    engine.run(until_ns=60 * MS)
    engine.fault("partition", "1 | 2 3")
    return trace
