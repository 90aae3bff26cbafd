"""RaftNode says what the interface says that etcd's corpus certifies: the same inputs to a node and
to a core driven by Ready and advance give the same messages on every link.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab.node import Send
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.entries import NONE, ConfState, proposed
from consensus_lab.raft.log import RaftLog
from consensus_lab.raft.messages import MsgHup, MsgProp, ProposalDropped
from consensus_lab.raft.requests import Campaign
from tests.raft.helpers import settle
from tests.raft.network import Network, put

NODES = (1, 2, 3)


class Cores:
    """The same nodes as bare cores, driven by Ready and advance."""

    def __init__(self, config: RaftConfig) -> None:
        self.cores = {}
        for node_id in NODES:
            source = random.Random(node_id)
            self.cores[node_id] = RaftCore(
                node_id, config, source, log=RaftLog(applying_bytes_max=config.applying_bytes_max),
                conf_state=ConfState(NODES),
            )  # fmt: skip
            source.randrange(config.tick_ns)  # The node draws the phase of its first tick.
        self.on_the_way: list[tuple[int, Send]] = []

    def after(self, node_id: int) -> None:
        """Do what the node wants."""
        self.on_the_way += [(node_id, send) for send in settle(self.cores[node_id])]

    def step(self, node_id: int, message: object) -> None:
        """Hand over a message."""
        try:
            self.cores[node_id].step(message)
        except ProposalDropped:
            return
        self.after(node_id)


def named(on_the_way):
    """With the types' names, for tuples of different types with equal values are equal."""
    return [
        (sender, send.to, type(send.message).__name__, send.message) for sender, send in on_the_way
    ]


def per_link(on_the_way):
    """What is on its way, link by link in order."""
    return sorted(named(on_the_way), key=lambda item: item[:2])


INPUTS = st.one_of(
    st.tuples(st.just("deliver"), st.integers(0, 50)),
    st.tuples(st.just("deliver"), st.integers(0, 50)),
    st.tuples(st.just("drop"), st.integers(0, 50)),
    st.tuples(st.just("tick"), st.sampled_from(NODES)),
    st.tuples(st.just("campaign"), st.sampled_from(NODES)),
    st.tuples(st.just("put"), st.sampled_from(NODES)),
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    inputs=st.lists(INPUTS, min_size=20, max_size=150),
    pre_vote=st.booleans(), check_quorum=st.booleans(),
    window=st.sampled_from((1, 3, 256)), size=st.sampled_from((0, 60, None)),
)  # fmt: skip
def test_both_ways_of_driving_a_core_say_the_same(inputs, pre_vote, check_quorum, window, size):
    """Elections, replication, rejections, full windows, paging, lost and overtaken messages."""
    config = RaftConfig(
        pre_vote=pre_vote, check_quorum=check_quorum, inflight_messages_max=window,
        append_size_bytes_max=size, snapshot_entries=None,
    )  # fmt: skip
    network, cores = Network(NODES, config=config), Cores(config)
    for number, (step, argument) in enumerate(inputs):
        if step in ("deliver", "drop"):
            if not network.on_the_way:
                continue
            item = named(network.on_the_way)[argument % len(network.on_the_way)]
            position = named(network.on_the_way).index(item)
            _, send = cores.on_the_way.pop(named(cores.on_the_way).index(item))
            if step == "drop":
                network.on_the_way.pop(position)
            else:
                network.deliver(position)
                cores.step(send.to, send.message)
        elif step == "tick":
            network.fire(argument, "tick")
            cores.cores[argument].tick()
            cores.after(argument)
        elif step == "campaign":
            network.submit(argument, Campaign())
            cores.step(argument, MsgHup())
        elif cores.cores[argument].lead != NONE:
            network.submit(argument, put(number))
            cores.step(argument, MsgProp(argument, 0, (proposed(put(number)),)))
        assert per_link(network.on_the_way) == per_link(cores.on_the_way)
        for node_id in NODES:
            ours, theirs = network.nodes[node_id].core, cores.cores[node_id]
            assert ours.hard_state() == theirs.hard_state()
            assert ours.soft_state() == theirs.soft_state()
            assert ours.log.entries == theirs.log.entries
            assert {k: str(v) for k, v in ours.progress.items()} == {
                k: str(v) for k, v in theirs.progress.items()
            }
