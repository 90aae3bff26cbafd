"""Keyed draws in the compiled path: the same numbers as `chance` and `sim.streams` give."""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import numpy

from consensus_lab.gossip.chance import JITTER_DRAW_BITS, MILLION
from consensus_lab.gossip.compiled import compiled, inlined
from consensus_lab.gossip.state import LATENCY_MASK

_MIX_STEP = numpy.uint64(0x9E3779B97F4A7C15)
_MIX_1 = numpy.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = numpy.uint64(0x94D049BB133111EB)
_30, _27, _31, _32 = numpy.uint64(30), numpy.uint64(27), numpy.uint64(31), numpy.uint64(32)
_JITTER_SHIFT = numpy.uint64(64 - JITTER_DRAW_BITS)


@inlined
def mix64(word):
    """`sim.streams.mix64` on unsigned words."""
    word = word + _MIX_STEP
    word = (word ^ (word >> _30)) * _MIX_1
    word = (word ^ (word >> _27)) * _MIX_2
    return word ^ (word >> _31)


@compiled
def lacks_transactions(key, threshold, node, block):
    """The keyed draw whether a node lacks transactions of a block; see `chance.lacks`."""
    who = numpy.uint64(node)
    word = mix64(mix64(mix64(key) ^ (who << _32) ^ who) ^ numpy.uint64(block))
    return mix64(word) < threshold


@compiled
def jitter_ns(state, link, sender, receiver, kind, block):
    """How much longer than its link's latency a message takes; see `chance.jitter_ns`."""
    ends = (numpy.uint64(sender) << _32) ^ numpy.uint64(receiver)
    word = mix64(mix64(state.jitter_key ^ numpy.uint64(kind)) ^ ends)
    word = mix64(mix64(word ^ numpy.uint64(block)))
    width = (state.link[link] & LATENCY_MASK) * state.jitter // MILLION
    return numpy.int64(word >> _JITTER_SHIFT) * width >> JITTER_DRAW_BITS


@inlined
def travel_ns(state, link, sender, receiver, kind, block):
    """How long a message travels over a link."""
    latency = state.link[link] & LATENCY_MASK
    if state.jitter > 0:
        latency += jitter_ns(state, link, sender, receiver, kind, block)
    return latency
