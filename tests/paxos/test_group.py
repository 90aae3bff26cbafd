"""A group's mistakes are refused by name, and each policy says who hears what."""

from __future__ import annotations

import pytest

from consensus_lab.constants import ETCD_REQUEST_SIZE_BYTES_MAX
from consensus_lab.node import ParameterError
from consensus_lab.paxos.election import Timing
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import Propose
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.quorum import Quorums
from tests.paxos.processes import P1, A, B, C, L, apart, process


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"proposers": (1, 1)}, "proposers"),
        ({"proposers": ()}, "proposers"),
        ({"learners": (1, 1)}, "learners"),
        ({"informing": "telepathy"}, "informing"),
        ({"informing": "distinguished"}, "distinguished_learners"),
        ({"informing": "distinguished", "distinguished_learners": (9,)}, "distinguished_learners"),
        ({"distinguished_learners": (1,)}, "distinguished_learners"),
        ({"distinguished_proposer": 9}, "distinguished_proposer"),
        ({"distinguished_proposer": 1, "election": Timing(1, 2)}, "distinguished_proposer"),
        ({"election": Timing(0, 2)}, "interval_ns"),
        ({"election": Timing(5, 5)}, "timeout_ns"),
        ({"back_off": BackOff(-1)}, "window_ns"),
        ({"back_off": BackOff(1, growth=0)}, "growth"),
        ({"back_off": BackOff(5, window_ns_max=4)}, "window_ns_max"),
        ({"timeout_ns": 0}, "timeout_ns"),
        ({"ask_ns": -1}, "ask_ns"),
        ({"value_size_bytes_max": 0}, "value_size_bytes_max"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_by_name(settings, parameter):
    whole = {"proposers": (1, 2, 3), "quorums": Quorums((1, 2, 3)), "learners": (1, 2, 3)}
    with pytest.raises(ParameterError) as refused:
        Group(**{**whole, **settings})
    assert refused.value.parameter == parameter
    assert refused.value.allowed


@pytest.mark.parametrize(
    ("node_id", "command", "parameter"),
    [
        (A, Propose("x"), "node_id"),
        (P1, "x", "command"),
        (P1, Propose(None), "value"),
        (P1, Propose(["unhashable"]), "value"),
        (P1, Propose(b"0" * (ETCD_REQUEST_SIZE_BYTES_MAX + 1)), "value"),
    ],
    ids=["no proposer", "no Propose", "None", "unhashable", "too large"],
)
def test_a_wrong_submission_is_refused_by_name(node_id, command, parameter):
    node = process(node_id)
    with pytest.raises(ParameterError) as refused:
        node.submit(command, 0)
    assert refused.value.parameter == parameter


def test_the_largest_value_is_accepted():
    value = b"0" * ETCD_REQUEST_SIZE_BYTES_MAX
    assert process(P1).submit(Propose(value), 0)


def test_a_process_without_a_role_is_refused():
    with pytest.raises(ParameterError, match="node_id"):
        process(99)


def test_acceptors_tell_whom_the_policy_names():
    assert apart().hears_accepted(P1) == (P1,)
    assert apart(informing="acceptors").hears_accepted(P1) == (P1, L)
    told = Group.of_peers((1, 2, 3), informing="distinguished", distinguished_learners=(2,))
    assert told.hears_accepted(3) == (2, 3)
    assert told.hears_learn(2) == (1, 3)


def test_a_number_belongs_to_one_proposer():
    group = Group.of_peers((7, 8, 9))
    assert [group.owner(number) for number in range(4)] == [7, 8, 9, 7]
    assert apart().processes == (1, 2, A, B, C, L)
