"""The compiled path's event queue: a timing wheel that keeps equal times in order of pushing.

Theory of operation.  Time is cut into *buckets* of 2**shift nanoseconds, and 4096 buckets make a
*window*.  Events of the current window lie in its buckets, later ones in one list per window,
very late ones in a single list; when a window begins, its events move to their buckets.  Only the
bucket under the cursor is ever sorted: it becomes the *active* array, from which events are taken
in order.  An event that falls into the active bucket is inserted where it belongs.

Within equal times events come out in the order in which they were pushed: lists are kept in that
order, the sort is stable, and an insertion goes behind its equals.  This is the order of the
message-level engine's counter, which is why both speeds break every tie alike.  The bucket width
changes the speed only.

A binary heap needs about log2(pending) cache-missing swaps per event; here an event is written
once, linked once, and moved once by a sort of a handful.  Links are apart from the events: a list
is walked in little memory, and the events on it can be fetched without waiting for each other.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from typing import NamedTuple

import numpy

from consensus_lab.gossip.compiled import compiled, fetch, inlined

BUCKET_BITS = 12
BUCKETS = 1 << BUCKET_BITS
_MASK = BUCKETS - 1

# Rows of `control`.
SHIFT, CURSOR, IN_BUCKETS, IN_WINDOWS, IN_FAR, FREE, LOW, HIGH, OPENED, FAR_HEAD, FAR_TAIL = range(
    11
)
CONTROL_SIZE = 11

# Columns of `pool` and `active`.
TIME, WHAT = range(2)

SORT_BY_INSERTION_MAX = 48

FETCH_AHEAD = 8
"""How many events of a list ahead their memory is brought near."""


class Wheel(NamedTuple):
    """The queue's arrays; they are changed in place.

    Attributes
    ----------
    control : int64 array
        Counters, indexed by the names above.
    bucket : int32 array
        Newest event of each bucket of the current window, -1 for none.
    window : int32 array of shape (4096, 2)
        Oldest and newest event of each later window.
    pool : int64 array of shape (capacity, 2)
        Waiting events: time, what.
    following : int32 array of that length
        The next event of the same list, -1 for none; for unused rows, the next unused one.
    active, scratch : int64 arrays of shape (capacity, 2)
        The bucket under the cursor, sorted, from `control[LOW]` to `control[HIGH]`; and room to
        sort a large one.
    """

    control: numpy.ndarray
    bucket: numpy.ndarray
    window: numpy.ndarray
    pool: numpy.ndarray
    following: numpy.ndarray
    active: numpy.ndarray
    scratch: numpy.ndarray


def new_wheel(capacity: int, shift: int) -> Wheel:
    """An empty queue for that many waiting events and buckets of 2**shift nanoseconds."""
    control = numpy.zeros(CONTROL_SIZE, numpy.int64)
    control[SHIFT] = shift
    control[FAR_HEAD] = control[FAR_TAIL] = -1
    return Wheel(
        control,
        numpy.full(BUCKETS, -1, numpy.int32),
        numpy.full((BUCKETS, 2), -1, numpy.int32),
        numpy.zeros((capacity, 2), numpy.int64),
        numpy.arange(1, capacity + 1, dtype=numpy.int32),
        numpy.zeros((capacity, 2), numpy.int64),
        numpy.zeros((capacity, 2), numpy.int64),
    )


def grown(wheel: Wheel, capacity: int) -> Wheel:
    """The same queue with room for more waiting events."""
    old = len(wheel.pool)
    pool = numpy.zeros((capacity, 2), numpy.int64)
    pool[:old] = wheel.pool
    # The new rows go behind the free list's end, which is the row number `old`.
    following = numpy.arange(1, capacity + 1, dtype=numpy.int32)
    following[:old] = wheel.following
    active = numpy.zeros((capacity, 2), numpy.int64)
    active[:old] = wheel.active
    return wheel._replace(
        pool=pool, following=following, active=active, scratch=numpy.zeros_like(active)
    )


@inlined
def waiting(wheel):
    """How many events there are."""
    control = wheel.control
    return (
        control[IN_BUCKETS] + control[IN_WINDOWS] + control[IN_FAR] + control[HIGH] - control[LOW]
    )


@inlined
def push(wheel, time, what):
    """Add an event; the caller has made sure that there is room."""
    control = wheel.control
    bucket = time >> control[SHIFT]
    cursor = control[CURSOR]
    if bucket <= cursor:
        _insert(wheel, time, what)
    else:
        pool = wheel.pool
        event = control[FREE]
        control[FREE] = wheel.following[event]
        pool[event, TIME] = time
        pool[event, WHAT] = what
        if bucket >> BUCKET_BITS == cursor >> BUCKET_BITS:
            place = bucket & _MASK
            wheel.following[event] = wheel.bucket[place]
            wheel.bucket[place] = event
            control[IN_BUCKETS] += 1
        else:
            _push_later(wheel, event, (bucket >> BUCKET_BITS) - (cursor >> BUCKET_BITS))


@compiled
def _push_later(wheel, event, windows_ahead):
    """Append to a later window's list, or to the far list."""
    control, pool = wheel.control, wheel.pool
    wheel.following[event] = -1
    if windows_ahead < BUCKETS:
        place = (pool[event, TIME] >> (control[SHIFT] + BUCKET_BITS)) & _MASK
        newest = wheel.window[place, 1]
        if newest < 0:
            wheel.window[place, 0] = event
        else:
            wheel.following[newest] = event
        wheel.window[place, 1] = event
        control[IN_WINDOWS] += 1
    else:
        if control[FAR_TAIL] < 0:
            control[FAR_HEAD] = event
        else:
            wheel.following[control[FAR_TAIL]] = event
        control[FAR_TAIL] = event
        control[IN_FAR] += 1


@compiled
def _insert(wheel, time, what):
    """Into the active bucket, behind its equals."""
    control, active = wheel.control, wheel.active
    low, high = control[LOW], control[HIGH]
    if high == len(active):
        for i in range(low, high):
            active[i - low, TIME] = active[i, TIME]
            active[i - low, WHAT] = active[i, WHAT]
        high -= low
        low = 0
        control[LOW] = 0
    i = high
    while i > low and active[i - 1, TIME] > time:
        active[i, TIME] = active[i - 1, TIME]
        active[i, WHAT] = active[i - 1, WHAT]
        i -= 1
    active[i, TIME] = time
    active[i, WHAT] = what
    control[HIGH] = high + 1


@inlined
def advance(wheel, limit):
    """Open the next bucket with events, but none that begins after `limit`.

    Returns True when the active array holds events.  The cursor never passes the limit's bucket,
    so what is pushed at the limit goes to a bucket that has not been left behind.
    """
    control = wheel.control
    control[LOW] = control[HIGH] = 0
    last = limit >> control[SHIFT]
    while control[CURSOR] < last:
        if control[IN_BUCKETS] == 0:
            end_of_window = control[CURSOR] | _MASK
            if control[IN_WINDOWS] + control[IN_FAR] == 0 or end_of_window >= last:
                control[CURSOR] = last
                return False
            control[CURSOR] = end_of_window + 1
            if control[IN_WINDOWS] == 0:
                _skip_to_far(wheel, last)
            _begin_window(wheel)
        else:
            control[CURSOR] += 1
        place = control[CURSOR] & _MASK
        if wheel.bucket[place] >= 0:
            _open(wheel, place)
            return True
    return False


@compiled
def _skip_to_far(wheel, last):
    """Only far events are left: go to the window of the earliest, but not past `last`."""
    control, pool = wheel.control, wheel.pool
    window = last >> BUCKET_BITS
    event = control[FAR_HEAD]
    while event >= 0:
        window = min(window, pool[event, TIME] >> (control[SHIFT] + BUCKET_BITS))
        event = wheel.following[event]
    control[CURSOR] = max(control[CURSOR], window << BUCKET_BITS)


@compiled
def _begin_window(wheel):
    """Move the new window's events to their buckets, after those that are far no longer."""
    control, pool = wheel.control, wheel.pool
    window = control[CURSOR] >> BUCKET_BITS
    if control[IN_FAR] > 0:
        event = control[FAR_HEAD]
        control[FAR_HEAD] = control[FAR_TAIL] = -1
        control[IN_FAR] = 0
        while event >= 0:
            following = wheel.following[event]
            ahead = (pool[event, TIME] >> (control[SHIFT] + BUCKET_BITS)) - window
            _push_later(wheel, event, ahead)
            event = following
    place = window & _MASK
    event = ahead = wheel.window[place, 0]
    for _ in range(FETCH_AHEAD):
        if ahead >= 0:
            fetch(pool, ahead, 0)
            ahead = wheel.following[ahead]
    wheel.window[place, 0] = wheel.window[place, 1] = -1
    while event >= 0:
        if ahead >= 0:
            fetch(pool, ahead, 0)
            ahead = wheel.following[ahead]
        following = wheel.following[event]
        bucket = (pool[event, TIME] >> control[SHIFT]) & _MASK
        wheel.following[event] = wheel.bucket[bucket]
        wheel.bucket[bucket] = event
        control[IN_BUCKETS] += 1
        control[IN_WINDOWS] -= 1
        event = following


@inlined
def _open(wheel, place):
    """Take a bucket's events out of the pool and sort them by time, oldest push first."""
    control, pool, active = wheel.control, wheel.pool, wheel.active
    event = wheel.bucket[place]
    wheel.bucket[place] = -1
    free = control[FREE]
    count = 0
    while event >= 0:
        active[count, TIME] = pool[event, TIME]
        active[count, WHAT] = pool[event, WHAT]
        count += 1
        following = wheel.following[event]
        wheel.following[event] = free
        free = event
        event = following
    control[FREE] = free
    control[IN_BUCKETS] -= count
    control[HIGH] = count
    control[OPENED] += 1
    for i in range(count // 2):
        j = count - 1 - i
        time, what = active[i, TIME], active[i, WHAT]
        active[i, TIME], active[i, WHAT] = active[j, TIME], active[j, WHAT]
        active[j, TIME], active[j, WHAT] = time, what
    if count <= SORT_BY_INSERTION_MAX:
        _sort_by_insertion(active, count)
    else:
        _sort_by_merging(active, wheel.scratch, count)


@inlined
def _sort_by_insertion(active, count):
    for i in range(1, count):
        time, what = active[i, TIME], active[i, WHAT]
        j = i
        while j > 0 and active[j - 1, TIME] > time:
            active[j, TIME] = active[j - 1, TIME]
            active[j, WHAT] = active[j - 1, WHAT]
            j -= 1
        active[j, TIME] = time
        active[j, WHAT] = what


@compiled
def _sort_by_merging(active, scratch, count):
    """Bottom-up merge sort, stable, for the rare bucket that holds a crowd."""
    width = 1
    while width < count:
        for low in range(0, count, 2 * width):
            middle, high = min(low + width, count), min(low + 2 * width, count)
            i, j = low, middle
            for k in range(low, high):
                if i < middle and (j >= high or active[i, TIME] <= active[j, TIME]):
                    scratch[k, TIME], scratch[k, WHAT] = active[i, TIME], active[i, WHAT]
                    i += 1
                else:
                    scratch[k, TIME], scratch[k, WHAT] = active[j, TIME], active[j, WHAT]
                    j += 1
        for k in range(count):
            active[k, TIME], active[k, WHAT] = scratch[k, TIME], scratch[k, WHAT]
        width *= 2
