"""The story of a Raft cluster as a list of actions: played, and taken back by playing it again.

Theory of operation.  Everything that a reader does to the cluster (a step in time, a crash, a
cut, a proposal) is an `Action`, and the story is the list of them.  The run is a function of the
parameters, their seed and that list.  To go back the last action is dropped and the rest is
played from the start: the trace is then, to the byte, the one that was there before.

A step leads to the next moment at which something can be seen: a message other than a heartbeat
leaves or arrives, a role changes, an entry is applied.  Where nothing but heartbeats happens it
ends after `STEP_NS_MAX`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from consensus_lab.client import Request
from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    ClusterParameters,
    factory,
    host_of,
    leader_of,
    links_of,
)
from consensus_lab.experiments.raft_switches import isolate, join
from consensus_lab.kv import Put
from consensus_lab.node import NodeId, ParameterError
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.disk import HARD_STATE, read_log
from consensus_lab.raft.entries import EMPTY_HARD_STATE, Entry
from consensus_lab.raft.log import RaftLog
from consensus_lab.raft.messages import Role
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.trace import Record, Trace

if TYPE_CHECKING:
    from consensus_lab.report.logs import ServerLog

STEP_NS_MAX = NANOSECONDS_PER_SECOND
"""One step at most: the least election timeout of etcd, ten ticks of 100 ms."""

MOMENT_NS = 50_000
"""What happens within this time is one moment: arrivals that only CPU time sets apart."""

WAIT_MS_MAX = 600_000
ACTIONS_MAX = 10_000

HEARTBEATS = ("MsgHeartbeat", "MsgHeartbeatResp")

ROLE_NAMES = {
    Role.FOLLOWER: "follower", Role.PRE_CANDIDATE: "asks first", Role.CANDIDATE: "candidate",
    Role.LEADER: "leader",
}  # fmt: skip

KINDS = ("step", "wait", "crash", "restart", "cut", "heal", "propose")


class Action(NamedTuple):
    """One thing that a reader does.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    servers : tuple of int
        Whom it concerns; for a cut, those that are separated from all others.
    ms : int
        How long to wait, milliseconds of simulated time.
    """

    kind: str
    servers: tuple[NodeId, ...] = ()
    ms: int = 0

    def __str__(self) -> str:
        who = " ".join(map(str, self.servers))
        return " ".join(filter(None, (self.kind, who, f"{self.ms} ms" if self.ms else "")))


class RaftStory:
    """A cluster that is moved on, hurt and healed by hand.

    Parameters
    ----------
    parameters : ClusterParameters, optional
        Of the cluster; three servers in one region by default.
    actions : str or iterable of Action
        Played at once; as a text in the words of `as_program`: "wait 3000 ms, propose, 2 steps".
    raft : RaftConfig, optional
        By default as in the essay: no pre-vote.

    Attributes
    ----------
    actions : list of Action
        What was done so far.
    trace : Trace
        What happened.

    Examples
    --------
    >>> story = RaftStory(actions="wait 3000 ms, propose, 1 step")
    >>> before = story.trace.digest()
    >>> story.do(Action("crash", (story.leader(),)))
    >>> story.back()
    >>> story.trace.digest() == before
    True
    """

    def __init__(
        self,
        parameters: ClusterParameters | None = None,
        *,
        actions: str | Iterable[Action] = (),
        raft: RaftConfig | None = None,
    ) -> None:
        self.parameters = parameters or ClusterParameters()
        if self.parameters.protocol != "raft":
            raise ParameterError("protocol", self.parameters.protocol, "raft")
        self.raft = raft or RaftConfig(pre_vote=False)
        self._begin()
        for action in from_program(actions) if isinstance(actions, str) else actions:
            self.do(action)

    def _begin(self) -> None:
        parameters = self.parameters
        self.actions: list[Action] = []
        self.trace = Trace()
        self.engine = Engine(
            factory(parameters, raft=self.raft), range(1, parameters.n_servers + 1),
            seed=parameters.seed, links=links_of(parameters), hosts=host_of(parameters),
            trace=self.trace,
        )  # fmt: skip
        self._cuts: list[tuple[list[NodeId], list[NodeId]]] = []
        self._proposals = 0

    # Doing and taking back.

    def do(self, action: Action) -> None:
        """Carry out one action and note it.

        Raises
        ------
        ParameterError
            For an unknown kind or server, or what is impossible now: to crash a server that is
            down, to restart one that is up, to heal what is whole.  Nothing has then happened.
        """
        self._check(action)
        getattr(self, f"_{action.kind}")(action)
        self.actions.append(action)

    def step(self) -> None:
        """Go on to the next moment at which something can be seen."""
        self.do(Action("step"))

    def back(self) -> None:
        """Take the last action back: play all others again from the start."""
        again = self.actions[:-1]
        self._begin()
        for action in again:
            self.do(action)

    def begin_again(self) -> None:
        """Take everything back."""
        self._begin()

    def _check(self, action: Action) -> None:
        engine, kind, servers = self.engine, action.kind, action.servers
        if kind not in KINDS:
            raise ParameterError("kind", kind, "one of " + ", ".join(KINDS))
        if len(self.actions) >= ACTIONS_MAX:
            raise ParameterError("actions", len(self.actions), f"at most {ACTIONS_MAX}")
        for server in servers:
            if server not in engine.processes:
                raise ParameterError("server", server, f"one of {sorted(engine.processes)}")
            is_up = engine.processes[server].is_alive
            if is_up and kind == "restart":
                raise ParameterError("server to restart", server, "one that is down")
            if not is_up and kind in ("crash", "propose"):
                to = "crash" if kind == "crash" else "propose at"
                raise ParameterError(f"server to {to}", server, "one that is up")
        if kind in ("crash", "restart") and not servers:
            raise ParameterError(f"server to {kind}", "none", "at least one")
        if kind == "cut" and not 0 < len(set(servers)) < len(engine.processes):
            raise ParameterError("servers to cut off", servers, "some of them, not all")
        if kind == "heal" and not self._cuts:
            raise ParameterError("network to heal", "a whole one", "one that is cut")
        if kind == "propose" and not servers and not engine.nodes:
            raise ParameterError("server to propose at", "none", "one that is up")
        if kind == "wait" and not 0 < action.ms <= WAIT_MS_MAX:
            raise ParameterError("ms", action.ms, f"from 1 to {WAIT_MS_MAX}")

    def _step(self, action: Action) -> None:
        del action
        engine, records = self.engine, self.trace.records
        seen = len(records)

        def is_something_to_see() -> bool:
            nonlocal seen
            fresh, seen = records[seen:], len(records)
            return any(map(is_visible, fresh))

        end_ns = engine.now + STEP_NS_MAX
        engine.run(until=is_something_to_see, until_ns=end_ns)
        engine.run(until_ns=min(engine.now + MOMENT_NS, end_ns))

    def _wait(self, action: Action) -> None:
        self.engine.run(until_ns=self.engine.now + action.ms * NANOSECONDS_PER_MS)

    def _crash(self, action: Action) -> None:
        for server in action.servers:
            self.engine.crash(server)

    def _restart(self, action: Action) -> None:
        for server in action.servers:
            self.engine.restart(server)

    def _cut(self, action: Action) -> None:
        some = sorted(set(action.servers))
        others = [server for server in self.engine.processes if server not in some]
        isolate(self.engine, some, others)
        self._cuts.append((some, others))

    def _heal(self, action: Action) -> None:
        del action
        for some, others in self._cuts:
            join(self.engine, some, others)
        self._cuts = []

    def _propose(self, action: Action) -> None:
        """A client puts the next number, at the servers named or at the leader."""
        up = sorted(self.engine.nodes)
        for server in action.servers or (self.leader() or up[0],):
            self._proposals += 1
            put = Put("x", str(self._proposals))
            self.engine.submit(server, Request(("story", self._proposals), put))
        self.engine.run(until_ns=self.engine.now + MOMENT_NS)

    # Looking.

    @property
    def now_ms(self) -> float:
        """Simulated time, milliseconds."""
        return self.engine.now / NANOSECONDS_PER_MS

    def leader(self) -> NodeId | None:
        """Who leads the newest term, or None."""
        leaders = [
            (node.core.term, server)
            for server, node in self.engine.nodes.items()
            if node.core.is_leader
        ]
        return max(leaders)[1] if leaders else leader_of(self.engine)

    def cut_off(self) -> list[list[NodeId]]:
        """The groups that are separated from all others now."""
        return [some for some, _ in self._cuts]

    def servers(self) -> list[ServerLog]:
        """Each server's role, term and log as they are now; of one that is down, its disk's."""
        from consensus_lab.report.logs import ServerLog

        found = []
        for server, process in sorted(self.engine.processes.items()):
            disk = read_log(process.disk, applying_bytes_max=None)
            if process.is_alive:
                core = process.node.core
                role, term, log = ROLE_NAMES[core.role], core.term, core.log
            else:
                state = process.disk.get(HARD_STATE, EMPTY_HARD_STATE)
                role, term, log = "down", state.term, disk
                log.committed = max(log.committed, min(state.commit, log.last_index))
            entries = tuple((entry.term, entry_text(entry)) for entry in log.entries)
            found.append(ServerLog(
                server, role, term, entries, first_index=log.first_index,
                committed=log.committed, on_disk=_common_prefix(log, disk),
            ))  # fmt: skip
        return found

    def window_begin_ns(self, *, messages: int) -> int:
        """When the last so many messages that can be seen began to leave."""
        sent = [r.time_ns for r in self.trace if r.event == "send" and is_visible(r)]
        sent = sent[-messages:]
        marks = [r.time_ns for r in self.trace if is_visible(r) or r.event in _DEEDS]
        if not marks:
            return 0
        return min(sent[:1] + marks[-1:])


def _common_prefix(log: RaftLog, disk: RaftLog) -> int:
    """The last index up to which the disk holds what the log holds; writes take their time."""
    index = min(disk.last_index, log.last_index)
    while index > log.base_index and disk.term(index) != log.term(index):
        index -= 1
    return index


_DEEDS = ("start", "submit", "crash", "restart", "fault")


def is_visible(record: Record) -> bool:
    """Whether a step may end with this record."""
    if record.event in ("send", "receive", "drop"):
        return record.kind not in HEARTBEATS and record.node != record.peer
    if record.event == "note":
        return record.kind == "role"
    return record.event in ("apply", "reply")


def entry_text(entry: Entry) -> str:
    """What an entry's box says: `x=3` for a put, a dot for the empty entry that opens a term."""
    if entry.data is None:
        return "·"
    command = getattr(entry.data, "command", entry.data)
    return f"{command.key}={command.value}" if isinstance(command, Put) else str(command)[:8]


def record_text(record: Record) -> str:
    """The label of a mark in the diagram: new roles, what is put, what is applied."""
    if record.event == "note":
        change = record.detail
        if change.role is Role.FOLLOWER and change.lead:
            return f"follows {change.lead}"
        return f"{ROLE_NAMES[change.role]}, term {change.term}"
    if record.event in ("submit", "apply"):
        request = record.detail if record.event == "submit" else record.detail.command
        command = getattr(request, "command", request)
        return f"{command.key}={command.value}" if isinstance(command, Put) else ""
    return ""


def as_program(actions: Sequence[Action]) -> str:
    """The actions in few words, steps counted: what a teacher writes down to tell it again.

    >>> as_program([Action("step"), Action("step"), Action("crash", (2,))])
    '2 steps, crash 2'
    """
    words: list[str] = []
    steps = 0
    for action in [*actions, None]:
        if action is not None and action.kind == "step":
            steps += 1
            continue
        if steps:
            words.append(f"{steps} step{'s' if steps > 1 else ''}")
            steps = 0
        if action is not None:
            words.append(str(action))
    return ", ".join(words)


def from_program(text: str) -> list[Action]:
    """The actions of such words.

    Raises
    ------
    ParameterError
        Naming the words that are not understood.

    Examples
    --------
    >>> from_program("wait 5 ms, 2 steps, cut 1 2")[1:]
    [Action(kind='step', servers=(), ms=0), ..., Action(kind='cut', servers=(1, 2), ms=0)]
    """
    actions: list[Action] = []
    for clause in filter(None, (part.strip() for part in text.split(","))):
        steps, wait = _STEPS.fullmatch(clause), _WAIT.fullmatch(clause)
        kind, *servers = clause.split()
        if steps:
            actions += [Action("step")] * min(int(steps[1]), ACTIONS_MAX + 1)
        elif wait:
            actions.append(Action("wait", ms=int(wait[1])))
        elif kind in _DEEDS_OF_A_READER and all(word.isdecimal() for word in servers):
            actions.append(Action(kind, tuple(map(int, servers))))
        else:
            allowed = "'3 steps', 'wait 50 ms', or one of {} and numbers of servers"
            raise ParameterError("action", clause, allowed.format(", ".join(_DEEDS_OF_A_READER)))
    return actions


_STEPS, _WAIT = re.compile(r"(\d+) steps?"), re.compile(r"wait (\d+) ms")
_DEEDS_OF_A_READER = ("propose", "crash", "restart", "cut", "heal")
