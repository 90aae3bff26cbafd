"""The linearizability checker against every order tried one by one, and against the paper."""

import pickle
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab.node import ParameterError
from consensus_lab.sim.history import IMPOSSIBLE, UNKNOWN, Operation
from consensus_lab.sim.linearizability import UndecidedError, check
from consensus_lab.sim.models import (
    KEY_VALUE,
    REGISTER,
    Append,
    CompareAndSwap,
    Delete,
    Get,
    Put,
)


def is_linearizable_by_hand(history, model):
    """The definition: some order of all answered and some pending operations fits."""
    answered = [operation for operation in history if not operation.is_pending]
    pending = [operation for operation in history if operation.is_pending]
    for chosen in range(1 << len(pending)):
        taken = answered + [o for place, o in enumerate(pending) if chosen >> place & 1]
        if any(_fits(order, model) for order in permutations(taken)):
            return True
    return False


def _fits(order, model):
    """True when an order keeps real time and gives every answer."""
    state, latest_call = model.initial, -1
    for operation in order:
        if operation.returned is not None and operation.returned < latest_call:
            return False
        latest_call = max(latest_call, operation.called)
        state = model.step(state, operation.request, operation.response)
        if state is IMPOSSIBLE:
            return False
    return True


def first_bad_return(history, model):
    """When the first return comes that no order explains, or None; by hand."""
    for end in sorted(o.returned for o in history if not o.is_pending):
        prefix = [
            o if not o.is_pending and o.returned <= end else o.unanswered()
            for o in history
            if o.called <= end
        ]
        if not is_linearizable_by_hand(prefix, model):
            return end
    return None


VALUES = st.sampled_from(["a", "b"])
TEXTS = st.sampled_from(["", "a", "b", "ab", "ba", "aa"])
KINDS = st.one_of(
    st.builds(lambda answer: (Get("k"), answer), TEXTS),
    st.builds(lambda value: (Put("k", value), None), VALUES),
    st.builds(lambda value: (Append("k", value), None), VALUES),
    st.builds(lambda old, new, ok: (CompareAndSwap("k", old, new), ok), TEXTS, VALUES,
              st.booleans()),
    st.just((Delete("k"), None)),
)  # fmt: skip


@st.composite
def histories(draw):
    """Up to six operations on one key, each call and return at an instant of its own."""
    count = draw(st.integers(1, 6))
    instants = draw(st.permutations(range(2 * count)))
    history = []
    for place in range(count):
        called, returned = sorted(instants[2 * place : 2 * place + 2])
        request, response = draw(KINDS)
        operation = Operation(place, request, response, called, returned)
        history.append(operation.unanswered() if draw(st.integers(0, 3)) == 0 else operation)
    return history


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_verdict_is_that_of_the_definition(history):
    """Every order tried one by one gives the same verdict, and the same first bad return."""
    verdict = check(history, model=KEY_VALUE)
    bad = first_bad_return(history, KEY_VALUE)
    assert verdict.is_linearizable == (bad is None)
    if verdict.failure is not None:
        failure = verdict.failure
        assert failure.prefix[failure.culprit].returned == bad
        before = [o.unanswered() if o.returned == bad else o for o in failure.prefix]
        assert is_linearizable_by_hand(before, KEY_VALUE)
        order = [before[place] for place in failure.order]
        assert _fits(order, KEY_VALUE), "the order shown is one that fits"
        assert {o for o in before if not o.is_pending} <= set(order)


@pytest.mark.full
@settings(max_examples=20_000, deadline=None)
@given(histories())
def test_the_verdict_is_that_of_the_definition_many_times(history):
    """The same, more often."""
    verdict = check(history, model=KEY_VALUE)
    assert verdict.is_linearizable == (first_bad_return(history, KEY_VALUE) is None)


def op(client, request, response, called, returned=None):
    """Short for an operation."""
    return Operation(client, request, response, called, returned)


def test_a_stale_read_is_refused():
    """A write that returned before a read was called is seen by it (Herlihy & Wing, section 2)."""
    history = [op(1, Put("x", 1), None, 0, 10), op(2, Get("x"), None, 20, 30)]
    verdict = check(history, model=REGISTER)
    assert not verdict.is_linearizable
    assert verdict.failure.culprit == 1


def test_a_read_beside_a_write_may_see_either():
    """Concurrent operations have no order of their own."""
    write = op(1, Put("x", 1), None, 0, 10)
    for seen in (None, 1):
        assert check([write, op(2, Get("x"), seen, 5, 20)], model=REGISTER).is_linearizable


def test_two_reads_may_not_go_back():
    """Once one read saw the write, a later one sees it too, though the write is under way."""
    history = [
        op(1, Put("x", 1), None, 0, 100),
        op(2, Get("x"), 1, 10, 20),
        op(3, Get("x"), None, 30, 40),
    ]
    assert not check(history, model=REGISTER).is_linearizable


def test_a_pending_write_may_take_effect_late_or_never():
    """Its client gave up; nobody knows."""
    write = op(1, Put("x", 1), UNKNOWN, 0)
    late = [write, op(2, Get("x"), None, 10, 20), op(2, Get("x"), 1, 30, 40)]
    assert check(late, model=REGISTER).is_linearizable
    assert check([write, op(2, Get("x"), None, 10, 20)], model=REGISTER).is_linearizable
    back = [write, op(2, Get("x"), 1, 10, 20), op(2, Get("x"), None, 30, 40)]
    assert not check(back, model=REGISTER).is_linearizable


def test_keys_are_independent():
    """A history is linearizable when each object's part is (Herlihy & Wing, theorem 1)."""
    good = [op(1, Put("x", 1), None, 0, 10), op(2, Get("y"), None, 20, 30)]
    assert check(good, model=REGISTER).is_linearizable
    bad = [*good, op(3, Get("x"), None, 20, 30)]
    failure = check(bad, model=REGISTER).failure
    assert failure.key == "x"
    assert len(failure.prefix) == 2


def test_the_earliest_failure_of_several_keys_is_shown():
    """The shortest failing prefix of the whole history."""
    history = [
        op(1, Get("late"), 7, 100, 110),
        op(1, Get("early"), 7, 0, 10),
    ]
    assert check(history, model=REGISTER).failure.key == "early"


def test_lost_appends_are_found_and_shown():
    """An answered append that a later read does not hold."""
    history = [
        op(1, Append("x", "a"), None, 0, 10),
        op(2, Append("x", "b"), None, 20, 30),
        op(1, Get("x"), "b", 40, 50),
        op(1, Get("x"), "ab", 60, 70),
    ]
    failure = check(history, model=KEY_VALUE).failure
    assert len(failure.prefix) == 3
    assert failure.order == (0, 1)
    assert failure.states == ("a", "ab")
    assert [(bar.client, bar.order, bar.is_culprit) for bar in failure.bars()] == [
        (1, 1, False), (1, None, True), (2, 2, False),
    ]  # fmt: skip
    assert "no order explains client 1's get -> 'b'" in failure.describe()


def test_a_long_prefix_can_be_shown_in_part():
    """The culprit and what came last before it, whichever client it was of."""
    history = [op(c, Put("x", c), None, 10 * c, 10 * c + 5) for c in range(50)]
    history.append(op(60, Get("x"), 7, 1000, 1010))
    failure = check(history, model=REGISTER).failure
    assert len(failure.bars()) == 51
    bars = failure.bars(latest=3)
    assert [(bar.client, bar.is_culprit) for bar in bars] == [
        (47, False), (48, False), (49, False), (60, True),
    ]  # fmt: skip


def test_many_pending_writes_do_not_explode():
    """Sixteen clients that gave up cost no more than their requests differ in."""
    history = [op(c, Put("x", c % 4), UNKNOWN, c) for c in range(16)]
    history += [op(50, Get("x"), c % 4, 100 + 10 * c, 105 + 10 * c) for c in range(16)]
    verdict = check(history, model=REGISTER)
    assert verdict.is_linearizable
    history += [op(50, Get("x"), 9, 1000, 1005)]
    assert not check(history, model=REGISTER).is_linearizable


def test_the_search_gives_up_at_its_limit():
    """Undecided is an error of its own, never a verdict."""
    history = [op(c, Append("x", str(c)), None, 0, 100) for c in range(9)]
    history.append(op(9, CompareAndSwap("x", "9", ""), False, 0, 200))
    history.append(op(9, Delete("x"), None, 210, 220))
    history.append(op(9, CompareAndSwap("x", "", "z"), False, 230, 240))
    with pytest.raises(UndecidedError, match="undecided after 100 configurations"):
        check(history, model=KEY_VALUE, configurations_max=100)


def test_a_return_before_its_call_is_refused():
    """The caller's mistake, named."""
    with pytest.raises(ParameterError, match="returned"):
        check([op(1, Get("x"), None, 10, 5)], model=REGISTER)


def test_equal_fields_do_not_make_equal_requests():
    """A pending append and a pending put of the same text are different requests."""
    history = [
        op(2, Put("x", "b"), None, 3, 4),
        op(3, Append("x", "a"), UNKNOWN, 5),
        op(1, Put("x", "a"), UNKNOWN, 6),
        op(4, Get("x"), "a", 2, 9),
    ]
    assert check(history, model=KEY_VALUE).is_linearizable


def test_an_empty_history_is_linearizable():
    """Nothing was seen, so everything is explained."""
    assert check([], model=REGISTER).is_linearizable


def test_a_verdict_survives_a_worker():
    """Swarm workers send verdicts to their parent."""
    history = [op(1, Put("x", 1), UNKNOWN, 0), op(2, Get("x"), 3, 20, 30)]
    verdict = check(history, model=REGISTER)
    copy = pickle.loads(pickle.dumps(verdict))
    assert copy.failure.describe() == verdict.failure.describe()
