"""Servers for tests: a core from a list of terms, and a cluster whose network the test controls."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from consensus_lab.node import Send
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.entries import NONE, ConfState, Entry, HardState
from consensus_lab.raft.log import RaftLog
from consensus_lab.raft.messages import MsgHup, MsgProp
from consensus_lab.raft.ready import RawNode

ROUNDS_MAX = 1000


def entries_of(terms: Iterable[int], *, first: int = 1) -> tuple[Entry, ...]:
    """Entries with those terms, from an index on."""
    return tuple(Entry(term, first + place) for place, term in enumerate(terms))


def settings(**changes: Any) -> RaftConfig:
    """Plain Raft: no pre-vote, no check of the quorum, no limits."""
    plain: dict[str, Any] = {
        "election_tick": 10,
        "pre_vote": False,
        "check_quorum": False,
        "append_size_bytes_max": None,
        "steps_down_on_removal": False,
    }
    return RaftConfig(**{**plain, **changes})


def make_core(
    node_id: int = 1,
    *,
    voters: Sequence[int] = (1, 2, 3),
    learners: Sequence[int] = (),
    terms: Iterable[int] = (),
    term: int | None = None,
    vote: int = NONE,
    commit: int = 0,
    seed: int = 0,
    **changes: Any,
) -> RaftCore:
    """A follower whose log on disk has entries of those terms."""
    entries = entries_of(terms)
    last_term = entries[-1].term if entries else 0
    core = RaftCore(
        node_id,
        settings(**changes),
        random.Random(seed),
        log=RaftLog(entries),
        hard_state=HardState(last_term if term is None else term, vote, commit),
        conf_state=ConfState(tuple(voters), learners=tuple(learners)),
    )
    core.has_changed = False
    return core


def settle(core: RaftCore) -> list[Send]:
    """Write, apply and acknowledge all that the core wants; what it sends to others."""
    raw = RawNode(core)
    sent: list[Send] = []
    for _ in range(ROUNDS_MAX):
        ready = raw.ready()
        sent.extend(ready.messages)
        raw.advance()
        if not raw.has_ready:
            return sent
    raise AssertionError("the core never comes to rest")


def messages(sends: Iterable[Send], kind: type) -> list[Any]:
    """The messages of one type, in order."""
    return [send.message for send in sends if type(send.message) is kind]


def elect(core: RaftCore) -> list[Send]:
    """Make a core the leader of its next term with everybody's votes; what it then sends."""
    from consensus_lab.raft.messages import MsgVoteResp

    core.step(MsgHup())
    settle(core)
    for voter in core.voters:
        if voter != core.node_id and not core.is_leader:
            core.step(MsgVoteResp(voter, core.term))
    assert core.is_leader
    return settle(core)


def propose(core: RaftCore, data: Any) -> None:
    """Propose a command."""
    from consensus_lab.raft.entries import proposed

    core.step(MsgProp(core.node_id, 0, (proposed(data),)))


class Cluster:
    """Cores with a network that delivers everything between connected ones, in order.

    Attributes
    ----------
    cores : dict
    cut : set of (sender, receiver)
        Links that lose everything.
    """

    def __init__(self, cores: Iterable[RaftCore]) -> None:
        self.cores = {core.node_id: core for core in cores}
        self.cut: set[tuple[int, int]] = set()

    def isolate(self, node_id: int) -> None:
        """Cut all links of a node."""
        for other in self.cores:
            self.cut |= {(node_id, other), (other, node_id)}

    def heal(self) -> None:
        """Restore all links."""
        self.cut.clear()

    def run(self) -> None:
        """Deliver until nothing is on its way."""
        for _ in range(ROUNDS_MAX):
            moving = []
            for core in self.cores.values():
                moving += [(core.node_id, send) for send in settle(core)]
            if not moving:
                return
            for sender, send in moving:
                if (sender, send.to) not in self.cut and send.to in self.cores:
                    self.cores[send.to].step(send.message)
        raise AssertionError("the cluster never comes to rest")

    def campaign(self, node_id: int) -> None:
        """Let a node campaign, and deliver what follows."""
        self.cores[node_id].step(MsgHup())
        self.run()

    def tick(self, node_id: int, count: int = 1) -> None:
        """Let time pass at one node, and deliver what follows."""
        for _ in range(count):
            self.cores[node_id].tick()
        self.run()


def terms_of(core: RaftCore) -> list[int]:
    """The terms of all entries in a log."""
    return [entry.term for entry in core.log.entries]
