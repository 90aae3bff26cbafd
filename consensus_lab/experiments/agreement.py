"""How do processes agree on one value, step by step, and what does it cost?

One undisturbed decision of single-decree Paxos: a proposer prepares, acceptors promise, the
proposer asks to accept, acceptors accept, learners learn.  Delays are counted in one-way message
trips, and held with the number of messages against closed forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import NodeId, ParameterError
from consensus_lab.paxos.group import BY_ACCEPTORS, BY_PROPOSER, Group
from consensus_lab.paxos.messages import Propose
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.streams import stream
from consensus_lab.sim.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NANOSECONDS_PER_MS = 1_000_000
PROPOSER = 1
DELAYS_MAX = 20
"""The run ends after so many message delays; an undisturbed decision takes five."""

PHASES = {
    "Prepare": "1a: asks for promises", "Promise": "1b: promises, reports what it accepted",
    "Accept": "2a: asks to accept the value", "Accepted": "2b: has accepted the value",
    "Learn": "a quorum accepted: the value is chosen",
}  # fmt: skip


class Parameters(ParameterSet):
    """Who takes part, and how far apart they are."""

    n_processes: int = parameter(
        3, unit="count", meaning="processes, each proposer, acceptor and learner", minimum=2,
        maximum=15,
    )  # fmt: skip
    crashed: int = parameter(
        0, unit="count", meaning="processes that are down all the time", minimum=0
    )
    latency_ms: float = parameter(
        10.0, unit="ms", meaning="one-way latency of every message", minimum=0.001, maximum=10_000
    )
    value: str = parameter("foo", meaning="the value that process 1 proposes")
    informing: str = parameter(
        BY_PROPOSER, choices=(BY_PROPOSER, BY_ACCEPTORS),
        meaning="who tells the learners that a value is accepted",
    )  # fmt: skip

    def check(self) -> None:
        """Refuse more crashes than the quorums stand."""
        most = self.group().quorums.failures_tolerated
        if self.crashed > most:
            raise ParameterError("crashed", self.crashed, f"at most {most}: a quorum has to be up")

    def group(self) -> Group:
        """The group of processes 1, 2, ..."""
        ids = range(1, self.n_processes + 1)
        return Group.of_peers(
            ids, informing=self.informing, timeout_ns=(DELAYS_MAX + 1) * self.latency_ns
        )

    @property
    def latency_ns(self) -> int:
        """The latency in nanoseconds."""
        return round(self.latency_ms * NANOSECONDS_PER_MS)

    @property
    def alive(self) -> list[NodeId]:
        """The processes that are up: the last ones crash."""
        return list(range(1, self.n_processes - self.crashed + 1))


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Let process 1 propose its value and follow every message.

    Returns
    -------
    Result
        `frame`: one row per message: when it was sent and received (ms), between whom, and what
        it is in the protocol.
    """
    from consensus_lab.report.traces import message_frame

    trace, known_ns = decision(parameters)
    frame = message_frame(trace)
    frame = frame[frame["sender"] != frame["receiver"]].reset_index(drop=True)
    for column in ("sent", "arrived"):
        frame[f"{column}_ms"] = frame.pop(f"{column}_ns") / NANOSECONDS_PER_MS
    frame["what"] = frame["kind"].map(PHASES)
    progress(1, 1, "decisions")
    counts = {
        "delays_until_proposer_knows": known_ns[PROPOSER] / parameters.latency_ns,
        "delays_until_all_know": max(known_ns.values()) / parameters.latency_ns,
        "messages": len(frame),
    }
    measures = [Measure(name, n, n, n, "count", 1) for name, n in counts.items()]
    references = [
        Published(name, value, "count", "closed form")
        for name, value in closed_forms(parameters).items()
    ]
    notes = [parameters.group().quorums.remark]
    return Result("agreement", parameters, frame, measures, references, figure, notes=notes)


def decision(parameters: Parameters) -> tuple[Trace, dict[NodeId, int]]:
    """The trace of one decision, and when each live process knew the value, nanoseconds.

    The trace begins when the client asks; a process that is down crashes before that.
    """
    trace = Trace()
    group = parameters.group()

    def make(node_id: NodeId, disk: Any) -> SinglePaxos:
        source = stream(parameters.seed, "process", node_id)
        return SinglePaxos(node_id, disk, group=group, source=source)

    engine = Engine(
        make, group.processes, seed=parameters.seed, links=Link(parameters.latency_ns), trace=trace
    )
    for node_id in sorted(set(group.processes) - set(parameters.alive)):
        engine.crash(node_id)
    known: dict[NodeId, int] = {}

    def watch(node_id: NodeId, effect: Any, now: int) -> None:
        assert effect.command == parameters.value, "nothing else was proposed"
        known.setdefault(node_id, now)

    engine.on_apply = watch
    engine.submit(PROPOSER, Propose(parameters.value))
    engine.run(until_ns=DELAYS_MAX * parameters.latency_ns)
    assert sorted(known) == parameters.alive, "an undisturbed decision reaches everybody"
    return trace, known


def closed_forms(parameters: Parameters) -> dict[str, float]:
    """Delays and messages of one decision, by counting (Paxos Made Simple §2.2, §2.3).

    With n processes of which c are down: n-1 Prepare, n-1 Accept, n-1-c Promise.  Told by the
    proposer, learners cost n-1-c Accepted and n-1 Learn, and know one delay after it; told by
    every acceptor, they cost (n-c)(n-1) Accepted and know as soon as the proposer.
    """
    others = parameters.n_processes - 1
    answering = others - parameters.crashed
    asked = 2 * others + answering
    if parameters.informing == BY_PROPOSER:
        return {
            "delays_until_proposer_knows": 4, "delays_until_all_know": 5,
            "messages": asked + answering + others,
        }  # fmt: skip
    return {
        "delays_until_proposer_knows": 4, "delays_until_all_know": 4,
        "messages": asked + (answering + 1) * others,
    }  # fmt: skip


def transcript(parameters: Parameters) -> str:
    """The decision as text, one line per event, for notebooks."""
    from consensus_lab.report.traces import transcript as lines

    trace, _ = decision(parameters)
    return lines(trace, without=("start", "timer", "durable", "note"))


def figure(result: Result) -> Figure:
    """The decision as a space-time diagram."""
    from consensus_lab.report.space_time import space_time

    parameters = result.parameters
    assert isinstance(parameters, Parameters)
    trace, _ = decision(parameters)
    known, everywhere = (
        result.measure(f"delays_until_{who}").value for who in ("proposer_knows", "all_know")
    )
    last_ns = round(everywhere * parameters.latency_ns)
    return space_time(
        trace, names={i: f"process {i}" for i in range(1, parameters.n_processes + 1)},
        scale="linear", without=("start", "timer", "durable", "persist", "reply"),
        end_ns=last_ns + parameters.latency_ns // 4,
        title=f"The proposer knows after {known:g} message delays, all know after {everywhere:g}",
        detail=f"{parameters.n_processes} processes, {parameters.crashed} down; "
        f"{result.measure('messages').value:g} messages; {parameters.latency_ms:g} ms per message",
    )  # fmt: skip
