"""The few messages that a client of etcd needs, encoded and decoded by hand.

Rules of this file: bytes and values only, no connection; a field that is not named here is
skipped, as the encoding wants it.

Theory of operation.  A protocol-buffers message is a row of fields, each a key (field number times
eight plus wire type) and a value: type 0 a variable-length integer, type 2 bytes after their
count, types 1 and 5 eight and four bytes.  Field numbers are those of etcd's `rpc.proto` and
`kv.proto` (etcd-io/etcd, folder `api`).
"""

from __future__ import annotations

from typing import NamedTuple

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
STATUS = "/etcdserverpb.Maintenance/Status"

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


class Status(NamedTuple):
    """What a server says about itself.

    `leader_id` is 0 while it knows of none; `term` and `log_index` are those of its Raft log.
    """

    member_id: int
    leader_id: int
    term: int
    log_index: int
    version: str


def varint(value: int) -> bytes:
    """An unsigned integer, seven bits to a byte, the lowest first.

    Examples
    --------
    >>> varint(300).hex()
    'ac02'
    """
    assert value >= 0, value
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field(number: int, value: bytes | int) -> bytes:
    """One field: its key and its value."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def put_request(key: bytes, value: bytes) -> bytes:
    """A `PutRequest`."""
    return field(1, key) + field(2, value)


def range_request(key: bytes, *, serializable: bool = False) -> bytes:
    """A `RangeRequest` for one key; a serializable one is answered without asking the others."""
    return field(1, key) + (field(7, 1) if serializable else b"")


def fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The values of each field in their order.

    Raises
    ------
    ValueError
        When the bytes are no message.

    Examples
    --------
    >>> fields(put_request(b"k", b"v") + field(9, 300))
    {1: [b'k'], 2: [b'v'], 9: [300]}
    """
    found: dict[int, list[int | bytes]] = {}
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        number, wire_type = key >> 3, key & 7
        value: int | bytes
        if wire_type == _VARINT:
            value, place = _read_varint(message, place)
        elif wire_type in (_BYTES, _EIGHT_BYTES, _FOUR_BYTES):
            size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire_type, 0)
            if wire_type == _BYTES:
                size, place = _read_varint(message, place)
            value = message[place : place + size]
            if len(value) < size:
                raise ValueError(f"field {number} ends before its {size} bytes")
            place += size
        else:
            raise ValueError(f"field {number} has the unknown wire type {wire_type}")
        found.setdefault(number, []).append(value)
    return found


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    """An integer and the place behind it."""
    value = shift = 0
    while True:
        if place >= len(message):
            raise ValueError("the message ends within an integer")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place


def _integer(found: dict[int, list[int | bytes]], number: int) -> int:
    """The field's value; 0, which is not sent, when it is absent."""
    value = found.get(number, [0])[-1]
    assert isinstance(value, int), number
    return value


def _bytes(found: dict[int, list[int | bytes]], number: int) -> bytes:
    value = found.get(number, [b""])[-1]
    assert isinstance(value, bytes), number
    return value


def read_status(message: bytes) -> Status:
    """A `StatusResponse`."""
    found = fields(message)
    header = fields(_bytes(found, 1))
    return Status(
        member_id=_integer(header, 2),
        leader_id=_integer(found, 4),
        term=_integer(found, 6),
        log_index=_integer(found, 5),
        version=_bytes(found, 2).decode(),
    )


def read_value(message: bytes) -> bytes | None:
    """The value in a `RangeResponse` for one key, or None when there is no such key."""
    pairs = fields(message).get(2, [])
    if not pairs:
        return None
    assert isinstance(pairs[0], bytes)
    return _bytes(fields(pairs[0]), 5)
