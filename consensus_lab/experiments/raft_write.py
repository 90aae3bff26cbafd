"""What happens, step by step, when a client writes one key to an etcd cluster?

The essay tells it in ten steps, from the start as followers to the applied entry.  Here a real run
of three servers is searched for the event of each step; a step that does not happen is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab.client import Request
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import ClusterParameters, leader_of, start
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.kv import Put
from consensus_lab.node import ParameterError
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.messages import Role
from consensus_lab.sim.trace import Record, Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MS = 1_000_000
AFTER_NS = 200 * MS
"""How long after the write the run goes on: the next heartbeat tells followers to apply."""


class Parameters(ClusterParameters):
    """The cluster, and what is written to it."""

    n_servers: int = parameter(
        3, unit="count", meaning="servers; a majority has to agree", minimum=2, maximum=9
    )
    key: str = parameter("foo", meaning="the key that is put")
    value: str = parameter("bar", meaning="the value that is put")

    def check(self) -> None:
        if self.protocol != "raft":
            raise ParameterError("protocol", self.protocol, "raft: the steps are Raft's")


class Step(NamedTuple):
    """One step of the essay, and how its event is recognised in the trace."""

    number: int
    text: str
    is_it: Callable[[Record, dict[str, Any]], bool]


def _is_role(record: Record, role: Role) -> bool:
    change = record.detail
    return record.event == "note" and record.kind == "role" and change.role is role


def _is_message(record: Record, event: str, kind: str) -> bool:
    return record.event == event and record.kind == kind


STEPS = (
    Step(1, "every server starts as a follower", lambda r, _: r.event == "start"),
    Step(2, "no heartbeat for the election timeout: a follower becomes candidate",
         lambda r, _: _is_role(r, Role.CANDIDATE)),
    Step(3, "the candidate sends MsgVote to its peers",
         lambda r, c: _is_message(r, "send", "MsgVote") and r.node == c["leader"]),
    Step(4, "a follower whose log is not ahead grants its vote",
         lambda r, c: _is_message(r, "send", "MsgVoteResp") and r.node != c["leader"]
         and not r.detail.reject),
    Step(5, "with the votes of a quorum the candidate becomes leader",
         lambda r, c: _is_role(r, Role.LEADER) and r.node == c["leader"]),
    Step(6, "a client hands its request to a follower, which passes it on to the leader",
         lambda r, c: r.event == "submit" and r.node == c["server"]),
    Step(7, "the forwarded proposal (MsgProp) reaches the leader",
         lambda r, c: _is_message(r, "receive", "MsgProp") and r.node == c["leader"]),
    Step(8, "the leader sends MsgApp with the entry to its peers",
         lambda r, c: _is_message(r, "send", "MsgApp") and r.node == c["leader"]
         and bool(r.detail.entries) and c["written"](r)),
    Step(9, "a follower's log matches: it takes the entry, and answers when it is on disk",
         lambda r, c: _is_message(r, "send", "MsgAppResp") and r.node != c["leader"]
         and not r.detail.reject and c["written"](r)),
    Step(10, "committed by a quorum: the entry is applied to the store",
         lambda r, c: r.event == "apply" and isinstance(r.detail.command, Request)),
)  # fmt: skip


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Write one key through a follower and find the ten steps in the trace.

    Returns
    -------
    Result
        `frame`: one row per step: number, time (ms), server, event, message, what it is.
    """
    import pandas

    trace, leader, begin_ns = written_trace(parameters)
    rows = [
        {
            "step": step.number, "time_ms": record.time_ns / MS, "server": record.node,
            "event": record.event, "message": record.kind, "what": step.text,
        }
        for step, record in found_steps(trace, leader=leader, begin_ns=begin_ns)
    ]  # fmt: skip
    progress(1, 1, "writes")
    took = rows[-1]["time_ms"] - begin_ns / MS
    election = rows[4]["time_ms"] - rows[1]["time_ms"]
    result = Result("raft-write", parameters, pandas.DataFrame(rows), [
        Measure("election_ms", election, election, election, "ms", 1),
        Measure("submitted_to_first_apply_ms", took, took, took, "ms", 1),
    ], [], figure)  # fmt: skip
    result.notes += [
        f"{row['step']:2}. {row['time_ms']:10.3f} ms  server {row['server']}  {row['what']}"
        for row in rows
    ]
    return result


def written_trace(parameters: Parameters) -> tuple[Trace, int, int]:
    """The trace of an election and one write through a follower; who leads; when it began."""
    trace = Trace()
    # etcd 3.4, which the essay describes, campaigns without asking first.
    engine, leader = start(parameters, trace=trace, raft=RaftConfig(pre_vote=False))
    engine.run(until_ns=engine.now + AFTER_NS)
    assert leader_of(engine) == leader, "nothing disturbs the leader"
    follower = leader % parameters.n_servers + 1
    begin_ns = engine.now
    engine.submit(follower, Request("write", Put(parameters.key, parameters.value)))
    engine.run(until_ns=begin_ns + AFTER_NS)
    return trace, leader, begin_ns


def found_steps(trace: Trace, *, leader: int, begin_ns: int) -> list[tuple[Step, Record]]:
    """The first event of each step, in order of time; an assertion names one that is missing.

    What happens in one instant is in no order: a role's note stands behind the messages it causes.
    """
    servers = {r.node for r in trace if r.event == "start"}
    context = {
        "leader": leader, "server": leader % len(servers) + 1,
        "written": lambda record: record.time_ns >= begin_ns,
    }  # fmt: skip
    found: list[tuple[Step, Record]] = []
    time_ns = 0
    for step in STEPS:
        hits = (r for r in trace if r.time_ns >= time_ns and step.is_it(r, context))
        record = next(hits, None)
        assert record is not None, f"step {step.number} did not happen: {step.text}"
        time_ns = record.time_ns
        found.append((step, record))
    return found


def figure(result: Result) -> Figure:
    """The write as a space-time diagram, its steps in front of the labels."""
    from consensus_lab.report.space_time import space_time

    trace, leader, begin_ns = written_trace(result.parameters)
    steps = found_steps(trace, leader=leader, begin_ns=begin_ns)
    marks = [
        Record(record.time_ns, record.node, "note", "step", detail=step.number)
        for step, record in steps[1:]
    ]
    # Sorted by time alone, which keeps the order within an instant.
    marked = sorted([*trace, *marks], key=lambda record: record.time_ns)
    roles = {2: "2 candidate", 5: "5 leader", 10: "10 applied"}

    def say(record: Record) -> str:
        return roles.get(record.detail, str(record.detail)) if record.kind == "step" else ""

    return space_time(
        marked, names={i: f"server {i}" for i in range(1, result.parameters.n_servers + 1)},
        notes=("step",), say=say, begin_ns=steps[1][1].time_ns - MS, end_ns=begin_ns + 2 * MS,
        kinds=("MsgVote", "MsgVoteResp", "MsgProp", "MsgApp", "MsgAppResp"),
        without=("durable", "persist", "timer"),
        title="The essay's ten steps of a write, as they happened",
        detail=f"server {leader} leads; seed {result.parameters.seed}; step 1 is the start",
    )  # fmt: skip
