"""What clients ask of the key-value store, how large it is on the wire, and how it is refused.

Rules of this file: plain values.  Sizes are those of etcd's protocol-buffer encoding of a request
in its log (etcd-io/etcd `api/etcdserverpb`): with a key of one byte a value of 1,572,839 bytes is
the largest that the default limit of 1.5 MiB lets through, one byte more is refused (measured on
etcd 3.4.23).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from consensus_lab.constants import MEBIBYTE_BYTES
from consensus_lab.node import ProtocolViolation

TRANSPORT_OVERHEAD_BYTES = MEBIBYTE_BYTES // 2
"""What gRPC lets through beyond the request limit (etcd server/etcdserver/api/v3rpc)."""

REQUEST_ID_BYTES = 10
"""A request's identity as a protobuf varint: of a large 64-bit number, as etcd's are."""
REQUEST_HEADER_BYTES = REQUEST_ID_BYTES + 4
"""Header of a request in the log: its identity, in two nested fields."""

VERSION_OVERHEAD_BYTES = 256
"""What the quota charges for every version of a key besides its bytes (etcd `kvOverhead`)."""

Text: TypeAlias = bytes | str


class RequestError(ProtocolViolation):
    """A request that is refused; `rule` is etcd's text, `code` its gRPC code."""

    def __init__(self, rule: str, code: str) -> None:
        super().__init__(rule)
        self.code = code

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return RequestError, (self.rule, self.code)

    def again(self) -> RequestError:
        """A new error of the same kind: each that is raised carries a traceback of its own."""
        return RequestError(self.rule, self.code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequestError) and other.rule == self.rule

    def __hash__(self) -> int:
        return hash(self.rule)


REQUEST_TOO_LARGE = RequestError("etcdserver: request is too large", "INVALID_ARGUMENT")
TOO_MANY_OPERATIONS = RequestError(
    "etcdserver: too many operations in txn request", "INVALID_ARGUMENT"
)
DUPLICATE_KEY = RequestError("etcdserver: duplicate key given in txn request", "INVALID_ARGUMENT")
EMPTY_KEY = RequestError("etcdserver: key is not provided", "INVALID_ARGUMENT")
NO_SPACE = RequestError("etcdserver: mvcc: database space exceeded", "RESOURCE_EXHAUSTED")
COMPACTED = RequestError(
    "etcdserver: mvcc: required revision has been compacted", "OUT_OF_RANGE"
)
FUTURE_REVISION = RequestError(
    "etcdserver: mvcc: required revision is a future revision", "OUT_OF_RANGE"
)


def text_length(text: Text) -> int:
    """Bytes of a key or value."""
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode())


def _varint(value: int) -> int:
    return (value.bit_length() + 6) // 7 or 1


def _field(content_bytes: int) -> int:
    """Bytes of a field with that much content: tag, length, content."""
    if content_bytes < 128:  # The length takes one byte.
        return 2 + content_bytes
    return 1 + _varint(content_bytes) + content_bytes


def _text_field(text: Text) -> int:
    """Bytes of a text field; an empty one is not encoded."""
    length = text_length(text)
    return _field(length) if length else 0


class Put(NamedTuple):
    """Set a key."""

    key: Text
    value: Text

    @property
    def message_bytes(self) -> int:
        """Bytes of the client's message."""
        return _text_field(self.key) + _text_field(self.value)

    @property
    def size_bytes(self) -> int:
        """Bytes in the log."""
        return REQUEST_HEADER_BYTES + _field(self.message_bytes)


class Delete(NamedTuple):
    """Remove a key, if it is there."""

    key: Text

    @property
    def message_bytes(self) -> int:
        """Bytes of the client's message."""
        return _text_field(self.key)

    @property
    def size_bytes(self) -> int:
        """Bytes in the log."""
        return REQUEST_HEADER_BYTES + _field(self.message_bytes)


class Get(NamedTuple):
    """Read a key: a query by itself, or an operation in a transaction."""

    key: Text

    @property
    def message_bytes(self) -> int:
        """Bytes of the client's message."""
        return _text_field(self.key)

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return REQUEST_HEADER_BYTES + _field(self.message_bytes)


Operation: TypeAlias = Put | Delete | Get


class Compare(NamedTuple):
    """A condition of a transaction: a property of a key equals, is below or above a value.

    Attributes
    ----------
    target : str
        "value", "version", "create_revision" or "mod_revision"; a missing key has 0 in all but
        its value, which equals nothing.
    relation : str
        "=", "!=", "<" or ">".
    """

    key: Text
    target: str
    relation: str
    operand: Any

    @property
    def message_bytes(self) -> int:
        """Bytes in the transaction's message."""
        operand = self.operand
        size = _text_field(operand) if isinstance(operand, (bytes, str)) else 1 + _varint(operand)
        return 4 + _text_field(self.key) + size


class Transaction(NamedTuple):
    """If all conditions hold, do `success`, else `failure`; all at one revision."""

    compare: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()

    @property
    def message_bytes(self) -> int:
        """Bytes of the client's message."""
        size = sum([_field(condition.message_bytes) for condition in self.compare])
        for operations in (self.success, self.failure):
            size += sum([_field(_field(operation.message_bytes)) for operation in operations])
        return size

    @property
    def size_bytes(self) -> int:
        """Bytes in the log."""
        return REQUEST_HEADER_BYTES + _field(self.message_bytes)


class Compact(NamedTuple):
    """Forget all versions of keys that were superseded at or before that revision."""

    revision: int
    size_bytes: int = REQUEST_HEADER_BYTES + 12


class DisarmAlarm(NamedTuple):
    """An operator has made room: take puts again."""

    size_bytes: int = REQUEST_HEADER_BYTES + 4


Command: TypeAlias = Put | Delete | Transaction | Compact | DisarmAlarm


class KeyValue(NamedTuple):
    """A key as it stands.

    Attributes
    ----------
    create_revision, mod_revision : int
        When it was created and last changed.
    version : int
        How often it was set since it was created.
    """

    key: Text
    value: Text
    create_revision: int
    mod_revision: int
    version: int


class PutResult(NamedTuple):
    """The revision at which a put took effect."""

    revision: int


class DeleteResult(NamedTuple):
    """The revision after a delete, and how many keys it removed."""

    revision: int
    deleted: int


class GetResult(NamedTuple):
    """The store's revision at the read, and the key if it is there."""

    revision: int
    item: KeyValue | None

    @property
    def value(self) -> Text | None:
        """The value, or None for a missing key."""
        return None if self.item is None else self.item.value


class TransactionResult(NamedTuple):
    """Whether the conditions held, and what the operations gave."""

    revision: int
    succeeded: bool
    results: tuple[Any, ...]


def version_bytes(key: Text, value: Text) -> int:
    """What one version of a key takes of the quota."""
    return VERSION_OVERHEAD_BYTES + text_length(key) + text_length(value)


def put_cost(command: Any) -> int:
    """What a command may add to the database; of a transaction the dearer branch counts."""
    if isinstance(command, Put):
        return version_bytes(*command)
    if isinstance(command, Transaction):
        return max(_puts_cost(command.success), _puts_cost(command.failure))
    return 0


def _puts_cost(operations: Iterable[Operation]) -> int:
    return sum([version_bytes(*op) for op in operations if isinstance(op, Put)])
