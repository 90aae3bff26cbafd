"""RaftNodes under random inputs: nothing is left undone, and state machines agree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab.client import Query, Request
from consensus_lab.kv import Delete, Get, Put
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.requests import (
    Campaign,
    ChangeMembership,
    TransferLeadership,
)
from tests.raft.network import SECOND, Network, change

COMMANDS = st.sampled_from([Put("a", "1"), Put("b", "2"), Delete("a"), Put("a", "x" * 300)])
CHANGES = st.sampled_from(["v4", "r4", "l3", "v3", "r2 v2", "v4 l2", "r1", "v1", ""])
INPUTS = st.one_of(
    st.tuples(st.just("deliver"), st.integers(0, 30)),
    st.tuples(st.just("deliver"), st.integers(0, 30)),
    st.tuples(st.just("deliver"), st.integers(0, 30)),
    st.tuples(st.just("drop"), st.integers(0, 30)),
    st.tuples(st.just("double"), st.integers(0, 30)),
    st.tuples(st.just("tick"), st.integers(1, 4)),
    st.tuples(st.just("tick"), st.integers(1, 4)),
    st.tuples(st.just("campaign"), st.integers(1, 4)),
    st.tuples(st.just("crash"), st.integers(1, 4)),
    st.tuples(st.just("put"), st.tuples(st.integers(1, 4), COMMANDS)),
    st.tuples(st.just("read"), st.integers(1, 4)),
    st.tuples(st.just("change"), st.tuples(st.integers(1, 4), CHANGES)),
    st.tuples(st.just("move"), st.tuples(st.integers(1, 4), st.integers(1, 4))),
)


def act(network, step, argument, number):
    """Do one thing, if it can be done."""
    way = network.on_the_way
    if step in ("deliver", "drop", "double"):
        if not way:
            return
        position = argument % len(way)
        if step == "double":
            way.append(way[position])
        elif step == "drop":
            way.pop(position)
        else:
            network.deliver(position)
    elif step == "tick":
        network.fire(argument, "tick")
    elif step == "campaign":
        network.submit(argument, Campaign())
    elif step == "crash":
        network.crash(argument)
        network.start(argument)
    elif step == "put":
        network.submit(argument[0], Request(number, argument[1]))
    elif step == "read":
        network.submit(argument, Query(number, Get("a")))
    elif step == "change":
        network.submit(argument[0], ChangeMembership(number, change(argument[1])))
    else:
        network.submit(argument[0], TransferLeadership(number, argument[1]))


def nothing_is_left_undone(node, disk):
    """After every input all that the core wants has become effects."""
    core, log = node.core, node.core.log
    assert not core.has_changed
    assert not core.messages
    assert not core.after_append
    assert not core.read_states
    assert not core.refused
    assert log.snapshot is None
    assert log.applied == log.applying == log.committed
    assert log.stable == log.handed_out == log.last_index
    assert disk["hard_state"][:2] == (core.term, core.vote) if "hard_state" in disk else True
    assert core.term == 0 or "hard_state" in disk
    for index in range(log.first_index, log.last_index + 1):
        assert disk["entry", index] == log.entries[index - log.first_index]
    assert ("entry", log.last_index + 1) not in disk


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(inputs=st.lists(INPUTS, max_size=120), seed=st.integers(0, 1000))
def test_nothing_is_left_undone_and_state_machines_agree(inputs, seed):
    """Whatever arrives in whatever order: the flag that makes quiet inputs cheap misses nothing,
    the disk holds the log, and no two nodes ever apply different things at one index.
    """
    config = RaftConfig(
        snapshot_entries=6, catch_up_entries=seed % 3, inflight_messages_max=1 + seed % 4,
        append_size_bytes_max=(0, 100, None)[seed % 3], pre_vote=seed % 2 == 0,
        check_quorum=seed % 5 != 0,
    )  # fmt: skip
    network = Network((1, 2, 3, 4), members=(1, 2, 3), config=config)
    network.submit(1, Campaign())
    network.run()
    chosen = {}
    for number, (step, argument) in enumerate(inputs):
        act(network, step, argument, number)
        for node_id, node in network.nodes.items():
            nothing_is_left_undone(node, network.disks[node_id])
            for apply in network.applied[node_id]:
                assert chosen.setdefault(apply.index, apply.command) == apply.command
    for _ in range(3):
        network.pass_time(SECOND)
    leading = [node for node in network.nodes.values() if node.core.is_leader]
    assert len({node.core.term for node in leading}) == len(leading)
