"""What do pre-vote and ReadIndex protect against?

Each switch is shown by what goes wrong without it.  A server that was cut off comes back with a
higher term and unseats a healthy leader, unless it has to ask first.  A leader that was replaced
without noticing answers a read from old data, unless it has to confirm itself with a quorum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab.client import Query, Request
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import ClusterParameters, leader_of, start
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.kv import Get, Put
from consensus_lab.node import NodeId, ParameterError
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.requests import SerializableQuery
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consensus_lab.sim.engine import Engine

CUT_OFF_NS = 10 * NANOSECONDS_PER_SECOND
"""Ten election timeouts: the term of whoever campaigns alone rises by several."""

AFTER_NS = 5 * NANOSECONDS_PER_SECOND


class Parameters(ClusterParameters):
    """The cluster, and how often each story is told."""

    n_servers: int = parameter(
        5, unit="count", meaning="servers; a majority has to agree", minimum=3, maximum=9
    )
    n_trials: int = parameter(
        20, full=200, unit="count", meaning="runs of each story, each with a seed of its own",
        minimum=1,
    )  # fmt: skip

    def check(self) -> None:
        if self.protocol != "raft":
            raise ParameterError("protocol", self.protocol, "raft: the switches are Raft's")


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Tell each story with and without its switch.

    Returns
    -------
    Result
        `frame`: one row per run: story, switch, whether it went wrong.
    """
    import pandas

    stories = {
        ("leader unseated by a returning server", "without pre-vote"):
            lambda p: was_unseated(p, pre_vote=False),
        ("leader unseated by a returning server", "with pre-vote"):
            lambda p: was_unseated(p, pre_vote=True),
        ("stale read from a replaced leader", "serializable read"):
            lambda p: stale_read(p, linearizable=False)[0],
        ("stale read from a replaced leader", "ReadIndex"):
            lambda p: stale_read(p, linearizable=True)[0],
    }  # fmt: skip
    rows, measures = [], []
    for place, ((story, switch), tell) in enumerate(stories.items()):
        progress(place, len(stories), "stories")
        outcomes = [
            tell(parameters.replace(seed=parameters.seed + trial))
            for trial in range(parameters.n_trials)
        ]
        rows += [{"story": story, "switch": switch, "went_wrong": bad} for bad in outcomes]
        name = f"{story}, {switch}".replace(", ", "_").replace(" ", "_")
        share = proportion_interval(sum(outcomes), len(outcomes))
        measures.append(Measure(name, *share, "of runs", len(outcomes)))
    progress(len(stories), len(stories), "stories")
    frame = pandas.DataFrame(rows)
    return Result("raft-switches", parameters, frame, measures, [], figure)


def was_unseated(parameters: ClusterParameters, *, pre_vote: bool) -> bool:
    """Whether a healthy leader lost its office to a server that came back from a partition.

    Check-quorum is off: its lease would keep the leader in office by other means.
    """
    config = RaftConfig(pre_vote=pre_vote, check_quorum=False)
    engine, leader = start(parameters, raft=config)
    lonely = next(server for server in engine.processes if server != leader)
    others = [server for server in engine.processes if server != lonely]
    term = engine.nodes[leader].core.term
    isolate(engine, [lonely], others)
    engine.run(until_ns=engine.now + CUT_OFF_NS)
    join(engine, [lonely], others)
    engine.run(until_ns=engine.now + AFTER_NS)
    return leader_of(engine) != leader or engine.nodes[leader].core.term != term


def stale_read(
    parameters: ClusterParameters, *, linearizable: bool, trace: Trace | None = None
) -> tuple[bool, list[Any]]:
    """Whether a replaced leader answers a read with the old value, and all answers it gave.

    The leader is cut off with its client, the others elect another and take a new value; then
    the client reads at the old leader.  Check-quorum is off: the old leader does not notice.
    """
    config = RaftConfig(pre_vote=False, check_quorum=False)
    engine, old = start(parameters, raft=config, trace=trace)
    answers: dict[Any, Any] = {}
    engine.on_reply = lambda server, effect, now: answers.setdefault(
        effect.request_id, effect.result
    )
    others = [server for server in engine.processes if server != old]
    _put(engine, old, "before", answers)
    isolate(engine, [old], others)
    new = _new_leader(engine, others)
    _put(engine, new, "after", answers)
    kind = Query if linearizable else SerializableQuery
    engine.submit(old, kind("read", Get("key")))
    engine.run(until_ns=engine.now + AFTER_NS)
    read = answers.get("read")
    return read is not None and read.value == "before", [read] if read is not None else []


def _put(engine: Engine, server: NodeId, value: str, answers: dict[Any, Any]) -> None:
    engine.submit(server, Request(value, Put("key", value)))
    engine.run(until=lambda: value in answers, until_ns=engine.now + AFTER_NS)
    assert value in answers, f"the put of {value!r} was not answered"


def _new_leader(engine: Engine, servers: list[NodeId]) -> NodeId:
    def leaders() -> list[NodeId]:
        return [server for server in servers if engine.nodes[server].core.is_leader]

    engine.run(until=lambda: bool(leaders()), until_ns=engine.now + CUT_OFF_NS)
    return leaders()[0]


def isolate(engine: Engine, some: list[NodeId], others: list[NodeId]) -> None:
    """Cut every link between the two groups, both ways."""
    engine.fault("partition", (tuple(some), tuple(others)))
    engine.links.block(some, others)
    engine.links.block(others, some)


def join(engine: Engine, some: list[NodeId], others: list[NodeId]) -> None:
    """Take one such cut back."""
    engine.fault("heal", (tuple(some), tuple(others)))
    engine.links.unblock(some, others)
    engine.links.unblock(others, some)


def figure(result: Result) -> Figure:
    """Share of runs in which it went wrong, by story and switch."""
    from consensus_lab.report.bars import bars

    labels = [m.quantity.replace("_", " ") for m in result.measures]
    return bars(
        labels, [m.value for m in result.measures],
        low=[m.low for m in result.measures], high=[m.high for m in result.measures],
        x_label="share of runs in which it went wrong", is_share=True,
        title="Each switch ends what it is there for",
        detail=f"{result.parameters.n_trials} runs each, 95 % intervals, "
        f"{result.parameters.n_servers} servers, seed {result.parameters.seed}",
    )  # fmt: skip
