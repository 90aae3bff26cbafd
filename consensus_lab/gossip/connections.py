"""Connections that come and go in the compiled path: the twin of `nakamoto.relay_connections`.

What happens to a node or a partition happens between two events, at the moment that the timeline
says; it changes what nodes remember, and makes them ask their neighbours what they have.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.compiled import compiled, inlined
from consensus_lab.gossip.draws import travel_ns
from consensus_lab.gossip.nodes import is_accepted, is_carried, is_connected, withholds
from consensus_lab.gossip.state import (
    ACCEPTED,
    ASK,
    BRANCH,
    BRANCH_THROUGH,
    BY_INV,
    CHANGED,
    COUNT_BITS,
    COUNT_MASK,
    DOWNLOAD,
    DOWNLOAD_FREE,
    FAST_COMPACT,
    FILLING,
    GETDATA,
    HEIGHT,
    INCARNATION,
    IS_OFF,
    KIND_SHIFT,
    LATENCY_BITS,
    LINK_BITS,
    LINK_MASK,
    OFF_AT,
    ORPHAN_COUNT,
    ORPHANS,
    PARENT,
    PENDING,
    PROCESSOR_FREE,
    REFUSED,
    REQUESTED,
    SLOT,
    TIP,
    UNHEARD,
    UPLOAD,
    UPLOAD_FREE,
)
from consensus_lab.gossip.timeline import CUT, HEAL, OFF, ON
from consensus_lab.gossip.wheel import push
from consensus_lab.gossip.wire import packed, request, through_ns, transfer_ns
from consensus_lab.nakamoto.relay_messages import (
    BRANCH_FIXED_BYTES,
    HEADER_ENTRY_BYTES,
    INVENTORY_ENTRY_BYTES,
    locator_bytes,
)
from consensus_lab.sim.links import PACKET_SIZE_BYTES

_locator_bytes = compiled(locator_bytes)
_NUMBER_SHIFT = LINK_BITS + COUNT_BITS


@inlined
def is_off(state, node):
    """True while the node is off."""
    return len(state.life) > 0 and state.life[node, IS_OFF] != 0


@compiled
def most_pushes(state, links):
    """How many events the next change may push."""
    kind = state.change[state.progress[CHANGED], 1]
    if kind == CUT:
        # Every node that waits for something may ask all its neighbours for it.
        waiting = 0
        for slot in range(len(state.slot_block)):
            for node in range(len(state.node)):
                if state.heard[slot, node] in (REQUESTED, FILLING):
                    waiting += 1
        return waiting * links
    return len(state.link) if kind == HEAL else links * (links + 2)


@compiled
def change(state, wheel, now):
    """Carry out the next change of the timeline, and tell whom it concerns."""
    place = state.progress[CHANGED]
    kind, subject = state.change[place, 1], state.change[place, 2]
    state.progress[CHANGED] = place + 1
    if kind in (HEAL, CUT):
        for node in range(len(state.node)):
            for link in range(state.offset[node], state.offset[node + 1]):
                if state.is_cut[subject, link]:
                    notice(state, wheel, now, kind, node, link)
        return
    if kind == OFF:
        state.life[subject, IS_OFF] = 1
        state.life[subject, INCARNATION] += 1
        forget_all(state, subject)
    else:
        state.life[subject, IS_OFF] = 0
        state.life[subject, OFF_AT] += 1
        ask_all(state, wheel, now, subject)
    for link in range(state.offset[subject], state.offset[subject + 1]):
        neighbour = state.link[link] >> LATENCY_BITS
        notice(state, wheel, now, kind, neighbour, state.reverse[link])


@inlined
def notice(state, wheel, now, kind, node, link):
    """A node learns that its connection over this link of its own is lost, or there again."""
    if state.life[node, IS_OFF] != 0:
        return
    if kind in (HEAL, ON):
        if is_connected(state, link, node, now):
            ask(state, wheel, now, node, link)
    else:
        lose(state, wheel, now, node, state.reverse[link])


@compiled
def lose(state, wheel, now, node, link):
    """Forget what was asked for over a link to this node; if it was anything, ask the others."""
    has_waited = False
    for slot in range(len(state.slot_block)):
        is_asked = state.heard[slot, node] in (REQUESTED, FILLING)
        if state.slot_block[slot] >= 0 and is_asked and state.asked[slot, node] == link:
            state.heard[slot, node] = UNHEARD
            has_waited = True
    if len(state.fast) > 0:
        state.fast[state.reverse[link]] &= ~FAST_COMPACT
        mine, kept = state.fast_source[node], 0
        for place in range(len(mine)):
            if mine[place] < 0 or mine[place] & LINK_MASK != link:
                mine[kept] = mine[place]
                kept += 1
        for place in range(kept, len(mine)):
            mine[place] = -1
    if has_waited:
        ask_all(state, wheel, now, node)


@compiled
def forget_all(state, node):
    """A node goes off: nothing is left but the blocks that it has accepted."""
    begin, end = state.offset[node], state.offset[node + 1]
    for slot in range(len(state.slot_block)):
        if state.heard[slot, node] != ACCEPTED:
            state.heard[slot, node] = UNHEARD
        if len(state.known) > 0:
            for link in range(begin, end):
                state.known[slot, link] = 0
        if len(state.source) > 0:
            state.source[slot, node] = -1
    kept = 0
    for place in range(state.progress[ORPHAN_COUNT]):
        if state.orphan[place, 2] == node:
            state.block[state.slot_block[state.orphan[place, 1]], ORPHANS] -= 1
        else:
            for column in range(3):
                state.orphan[kept, column] = state.orphan[place, column]
            kept += 1
    state.progress[ORPHAN_COUNT] = kept
    row = state.node[node]
    row[UPLOAD_FREE] = row[DOWNLOAD_FREE] = row[PROCESSOR_FREE] = 0
    if len(state.overlay_free) > 0:
        state.overlay_free[node, :] = 0
    state.fast_height[node] = 0
    state.fast_source[node, :] = -1
    if len(state.fast) > 0:
        for link in range(begin, end):
            state.fast[link] &= ~FAST_COMPACT


@compiled
def ask_all(state, wheel, now, node):
    """Ask every neighbour to whom there is a connection what it has beyond this node's chain."""
    for link in range(state.offset[node], state.offset[node + 1]):
        if is_connected(state, link, node, now):
            ask(state, wheel, now, node, link)


@compiled
def ask(state, wheel, now, node, link):
    """Ask the neighbour at the other end of this link of one's own."""
    tip = state.node[node, TIP]
    size = _locator_bytes(state.block[tip, HEIGHT])
    leaves, neighbour = now + transfer_ns(size, state.node[node, UPLOAD]), state.link[link]
    arrives = leaves + travel_ns(state, link, node, neighbour >> LATENCY_BITS, ASK, tip)
    if is_carried(state, link, node, now, arrives):
        push(wheel, arrives, ASK << KIND_SHIFT | tip << _NUMBER_SHIFT | link)


@compiled
def catch_up(state, wheel, now, what):
    """A question for what a neighbour has, or the answer."""
    kind, link = what >> KIND_SHIFT, what & LINK_MASK
    block = (what & ((1 << KIND_SHIFT) - 1)) >> _NUMBER_SHIFT
    node, sender = state.link[link] >> LATENCY_BITS, state.link[state.reverse[link]] >> LATENCY_BITS
    if kind == ASK:
        if not withholds(state, node):
            answer(state, wheel, now, block, node, state.reverse[link])
        return
    if kind == BRANCH:
        size = branch_bytes(state, (what >> LINK_BITS) & COUNT_MASK)
        if state.node[node, DOWNLOAD] > 0 and size > PACKET_SIZE_BYTES:
            through = through_ns(state, now, size, sender, node)
            if through > now:
                push(wheel, through, what + ((BRANCH_THROUGH - BRANCH) << KIND_SHIFT))
                return
    if state.block[block, SLOT] >= 0:
        state.block[block, PENDING] -= 1
    if kind == BRANCH or is_connected(state, link, sender, now):
        take_branch(state, wheel, now, block, sender, node, link)


@inlined
def branch_bytes(state, count):
    """Size of a message that lists so many blocks."""
    entry = INVENTORY_ENTRY_BYTES if state.protocol <= BY_INV else HEADER_ENTRY_BYTES
    return BRANCH_FIXED_BYTES + entry * count


@compiled
def answer(state, wheel, now, theirs, node, link):
    """List what this node's chain has beyond the tip of a neighbour's, if anything."""
    block, tip = state.block, state.node[node, TIP]
    mine = tip
    while mine != theirs:
        if block[mine, HEIGHT] >= block[theirs, HEIGHT]:
            mine = block[mine, PARENT]
        else:
            theirs = block[theirs, PARENT]
    count = block[tip, HEIGHT] - block[mine, HEIGHT]
    if count == 0:
        return
    size, left = branch_bytes(state, count), now
    if state.node[node, UPLOAD] > 0:
        left += transfer_ns(size, state.node[node, UPLOAD])
        if size > PACKET_SIZE_BYTES:
            left += max(0, state.node[node, UPLOAD_FREE] - now)
            state.node[node, UPLOAD_FREE] = left
    arrives = left + travel_ns(state, link, node, state.link[link] >> LATENCY_BITS, BRANCH, tip)
    if is_carried(state, link, node, now, arrives):
        if block[tip, SLOT] >= 0:
            block[tip, PENDING] += 1
        listed = tip << COUNT_BITS | min(count, COUNT_MASK)
        push(wheel, arrives, BRANCH << KIND_SHIFT | listed << LINK_BITS | link)


@compiled
def take_branch(state, wheel, now, tip, sender, node, link):
    """Request what is not here, lowest first, unless the branch has less work than ours."""
    is_behind = state.block[tip, HEIGHT] < state.block[state.node[node, TIP], HEIGHT]
    if is_behind and not withholds(state, node):
        return
    missing, block = 0, tip
    while not is_accepted(state, block, node):
        missing += 1
        block = state.block[block, PARENT]
    for above in range(missing - 1, -1, -1):
        block = tip
        for _ in range(above):
            block = state.block[block, PARENT]
        slot = state.block[block, SLOT]
        heard = state.heard[slot, node]
        if heard >= 0 or heard == REFUSED:
            state.heard[slot, node] = REQUESTED
            state.asked[slot, node] = link
            request(state, wheel, now, block, GETDATA, packed(0, slot, sender, link), node)
