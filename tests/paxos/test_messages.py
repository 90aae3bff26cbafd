"""Proposal numbers are unique per proposer and always rise; sizes count values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.node import CONTROL_SIZE_BYTES, message_kind, message_size
from consensus_lab.paxos.messages import (
    NO_PROPOSAL,
    Accept,
    Prepare,
    Promise,
    next_number,
    value_size_bytes,
)


@given(st.integers(-1, 10**6), st.integers(1, 9), st.data())
def test_the_next_number_is_the_least_above_of_its_proposer(above, count, data):
    rank = data.draw(st.integers(0, count - 1))
    number = next_number(above, rank=rank, proposer_count=count)
    candidates = [n for n in range(above + 1, above + 1 + count) if n % count == rank]
    assert [number] == candidates


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=30))
def test_no_two_proposers_ever_issue_the_same_number(requests):
    issued: dict[int, int] = {}
    for rank, jump in requests:
        number = next_number(jump - 1, rank=rank, proposer_count=4)
        assert issued.setdefault(number, rank) == rank


def test_a_message_is_as_large_as_the_value_in_it():
    assert message_size(Prepare(1)) == CONTROL_SIZE_BYTES
    assert message_size(Accept(1, "é" * 10)) == CONTROL_SIZE_BYTES + 20
    assert message_size(Promise(3, NO_PROPOSAL, None)) == CONTROL_SIZE_BYTES
    assert message_size(Promise(3, 1, b"12345")) == CONTROL_SIZE_BYTES + 5
    assert message_kind(Prepare(1)) == "Prepare"


def test_a_value_that_states_its_size_is_believed():
    class Stated(str):
        size_bytes = 4096

    assert value_size_bytes(Stated("x")) == 4096
    assert value_size_bytes(12345) == 5
