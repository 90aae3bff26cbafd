"""Sizes of entries against a protocol-buffer encoder of a few lines."""

import copy
import pickle

from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.raft.entries import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfChangeV1,
    Entry,
    EntryType,
    conf_change_of,
    entries_size,
    payloads_size,
    proposed,
    varint_size,
)


def varint(value):
    """Seven bits to a byte, low ones first."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    """A field of wire type 0; etcd's generated code writes these always."""
    return bytes([field << 3]) + varint(value)


def content(field, data):
    """A field of wire type 2."""
    return bytes([field << 3 | 2]) + varint(len(data)) + data


@given(st.integers(0, (1 << 64) - 1))
def test_varint_size(value):
    """Against the encoding."""
    assert varint_size(value) == len(varint(value))


@given(
    term=st.integers(0, 1 << 40), index=st.integers(0, 1 << 40),
    data=st.one_of(st.none(), st.binary(max_size=300)),
)  # fmt: skip
def test_entry_size(term, index, data):
    """raftpb.Entry: type 1, term 2, index 3, and data 4 where there is any."""
    encoded = number(1, 0) + number(2, term) + number(3, index)
    if data is not None:
        encoded += content(4, data)
    entry = Entry(term, index, data)
    assert entry.size_bytes == len(encoded)
    assert entry.payload_bytes == len(data or b"")
    assert proposed(data).taken(term, index) == entry


@given(st.lists(st.integers(1, 1 << 30), max_size=5))
def test_conf_change_size(ids):
    """raftpb.ConfChangeV2: transition 1, then changes 2 of type 1 and node 2."""
    singles = tuple(ConfChangeSingle(ConfChangeType.REMOVE_NODE, node_id) for node_id in ids)
    encoded = number(1, 0)
    for node_id in ids:
        encoded += content(2, number(1, 1) + number(2, node_id))
    assert ConfChange(singles).size_bytes == len(encoded)


def test_conf_change_v1_size():
    """raftpb.ConfChange: identity 1, type 2, node 3."""
    change = ConfChangeV1(ConfChangeSingle(ConfChangeType.ADD_NODE, 300))
    assert change.size_bytes == len(number(1, 0) + number(2, 0) + number(3, 300))
    entry = Entry(1, 1, change, EntryType.CONF_CHANGE)
    assert conf_change_of(entry) == ConfChange((change.change,))
    assert conf_change_of(Entry(1, 1, None, EntryType.CONF_CHANGE_V2)).leaves_joint


def test_entries_survive_copies_and_pickles():
    """Workers and snapshots pass them on."""
    entry = Entry(3, 4, "data")
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert copy.deepcopy(entry) == entry
    assert type(copy.copy(entry)) is Entry


def test_sums():
    """Of whole entries, and of their contents."""
    entries = (Entry(1, 1, b"abc"), Entry(1, 2))
    assert entries_size(entries) == 11 + 6
    assert payloads_size(entries) == 3
