"""The timing wheel is a stable priority queue, whatever the bucket width."""

import heapq

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from consensus_lab.gossip.wheel import HIGH, LOW, TIME, WHAT, advance, grown, new_wheel, push

NEVER = 1 << 61
entry = njit(error_model="numpy", _nrt=False)


@entry
def push_one(wheel, time, what):
    """An entry point for Python."""
    push(wheel, time, what)


@entry
def pop_one(wheel, limit, out):
    """The next event before the limit, into `out`; its second entry is -1 for none."""
    out[1] = -1
    if wheel.control[LOW] < wheel.control[HIGH] or advance(wheel, limit):
        time = wheel.active[wheel.control[LOW], TIME]
        if time < limit:
            out[0], out[1] = time, wheel.active[wheel.control[LOW], WHAT]
            wheel.control[LOW] += 1


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    shift=st.integers(0, 30),
    rounds=st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([0, 3, 1000, 10**7, 10**10, 10**14])),
        max_size=12,
    ),
    seed=st.integers(0, 10**6),
)
def test_events_come_out_by_time_then_by_order_of_pushing(shift, rounds, seed):
    """Against heapq with a counter: bursts, ties, far futures, pushes at the limit and now."""
    random = numpy.random.default_rng(seed)
    wheel, heap, now, number = new_wheel(64, shift), [], 0, 0
    out = numpy.zeros(2, numpy.int64)
    for burst, spread in [*rounds, (0, 0)]:
        for delay in random.integers(0, spread + 1, burst).tolist():
            if len(heap) + 8 > len(wheel.pool):
                wheel = grown(wheel, 2 * len(wheel.pool))
            push_one(wheel, now + delay, number)
            heapq.heappush(heap, (now + delay, number))
            number += 1
        limit = now + spread // 2 if (burst, spread) != (0, 0) else NEVER
        while heap and heap[0][0] < limit:
            pop_one(wheel, limit, out)
            assert tuple(out.tolist()) == heapq.heappop(heap)
            now = int(out[0])
        pop_one(wheel, limit, out)
        assert out[1] == -1
        now = max(now, min(limit, 1 << 55))


def test_a_crowd_in_one_bucket_is_sorted_stably():
    """More than insertion sort takes: merge sort, still in order of pushing among equals."""
    wheel = new_wheel(2000, 40)
    times = numpy.random.default_rng(1).integers(1 << 41, (1 << 41) + 50, 1000).tolist()
    for number, time in enumerate(times):
        push_one(wheel, time, number)
    out = numpy.zeros(2, numpy.int64)
    popped = []
    for _ in times:
        pop_one(wheel, NEVER, out)
        popped.append(tuple(out.tolist()))
    assert popped == sorted((time, number) for number, time in enumerate(times))
