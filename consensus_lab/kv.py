"""The key-value store of the essay's etcd: what a replicated log of commands adds up to.

Rules of this file: a deterministic state machine.  It knows nothing of logs, terms or networks;
every replica that applies the same commands in the same order holds the same bytes.

Theory of operation (etcd v3).  Every write that is applied gets the next *revision*; a key knows
the revision that created it, the one that changed it last, and how often it was changed.  Old
values stay on disk until a compaction, so the database grows with every put.  When a put would
take it to the quota, a NOSPACE alarm is raised on all members: puts are refused from then on,
reads and deletes still work, until a compaction has made room and the alarm is disarmed.

Limits are checked where etcd checks them: the size of a request and its number of operations
before it is proposed, the quota when it is applied, so that all replicas agree.

Errors are values of `RequestError`, with etcd's texts and gRPC codes: raised by `check`, returned
as the result by `apply`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from consensus_lab.constants import (
    ETCD_QUOTA_BYTES_DEFAULT,
    ETCD_QUOTA_BYTES_MAX,
    ETCD_REQUEST_SIZE_BYTES_MAX,
)
from consensus_lab.kv_requests import (
    COMPACTED,
    DUPLICATE_KEY,
    EMPTY_KEY,
    FUTURE_REVISION,
    NO_SPACE,
    REQUEST_HEADER_BYTES,
    REQUEST_TOO_LARGE,
    TOO_MANY_OPERATIONS,
    TRANSPORT_OVERHEAD_BYTES,
    VERSION_OVERHEAD_BYTES,
    Command,
    Compact,
    Compare,
    Delete,
    DeleteResult,
    DisarmAlarm,
    Get,
    GetResult,
    KeyValue,
    Operation,
    Put,
    PutResult,
    RequestError,
    Text,
    Transaction,
    TransactionResult,
    put_cost,
    text_length,
    version_bytes,
)
from consensus_lab.node import ParameterError

__all__ = [
    "Command", "Compact", "Compare", "Delete", "DeleteResult", "DisarmAlarm", "Get", "GetResult",
    "KeyValue", "KeyValueStore", "Operation", "Put", "PutResult", "RequestError", "StoreConfig",
    "StoreSnapshot", "Transaction", "TransactionResult",
]  # fmt: skip

TRANSACTION_OPERATIONS_MAX = 128
"""Operations in one transaction, and comparisons (etcd `--max-txn-ops`)."""


KEYED = frozenset({Put, Delete, Get})
"""Requests that name one key."""


class StoreSnapshot(NamedTuple):
    """The whole store, immutable."""

    revision: int
    compacted_revision: int
    items: tuple[KeyValue, ...]
    superseded: tuple[tuple[int, int], ...]
    database_bytes: int
    has_alarm: bool

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire and on disk."""
        return max(self.database_bytes, REQUEST_HEADER_BYTES)


@dataclass(frozen=True)
class StoreConfig:
    """Limits of a store.

    Attributes
    ----------
    request_bytes_max : int
        Largest request, encoded.
    quota_bytes : int
        Database size at which puts are refused; 8 GiB is the most that etcd supports.
    transaction_operations_max : int
    """

    request_bytes_max: int = ETCD_REQUEST_SIZE_BYTES_MAX
    quota_bytes: int = ETCD_QUOTA_BYTES_DEFAULT
    transaction_operations_max: int = TRANSACTION_OPERATIONS_MAX

    def __post_init__(self) -> None:
        for name, most in (
            ("request_bytes_max", None),
            ("quota_bytes", ETCD_QUOTA_BYTES_MAX),
            ("transaction_operations_max", None),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1 or (most is not None and value > most):
                limit = "" if most is None else f" to {most}"
                raise ParameterError(name, value, f"an integer from 1{limit}")


_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda own, other: bool(own == other),
    "!=": lambda own, other: bool(own != other),
    "<": lambda own, other: bool(own < other),
    ">": lambda own, other: bool(own > other),
}


class KeyValueStore:
    """The store.

    Parameters
    ----------
    config : StoreConfig, optional

    Attributes
    ----------
    revision : int
        Of the last applied write; 1 for an empty store, as in etcd.
    database_bytes : int
        What the quota counts: all versions of all keys that are not compacted away.
    has_alarm : bool
        NOSPACE: puts are refused.

    Examples
    --------
    >>> store = KeyValueStore()
    >>> store.apply(1, Put("foo", "bar"))
    PutResult(revision=2)
    >>> store.read(Get("foo")).value
    'bar'
    """

    def __init__(self, config: StoreConfig | None = None) -> None:
        self.config = config or StoreConfig()
        self.revision = 1
        self.compacted_revision = 0
        self.database_bytes = 0
        self.has_alarm = False
        self._items: dict[Text, KeyValue] = {}
        self._version_bytes: dict[Text, int] = {}  # Of the current version of each key.
        # Versions that are no longer current: (revision that superseded them, bytes), oldest first.
        self._superseded: deque[tuple[int, int]] = deque()
        self._commands: dict[type, Callable[[Any], Any]] = {
            Put: self._apply_put,
            Delete: self._apply_delete,
            Transaction: self._apply_transaction,
            Compact: self._compact,
            DisarmAlarm: self._disarm,
        }

    def __len__(self) -> int:
        return len(self._items)

    # The contract of a replicated state machine.

    def check(self, command: Any) -> None:
        """Refuse what must not even be proposed.

        Raises
        ------
        RequestError
            Too large, too many operations, an empty key, or puts while the alarm is on.
        """
        is_large = command.size_bytes > self.config.request_bytes_max
        if is_large:
            self._check_transport(command)
        if type(command) is Transaction:
            self._check_transaction(command)
        elif type(command) in KEYED and not command.key:
            raise EMPTY_KEY.again()
        if is_large:
            raise REQUEST_TOO_LARGE.again()
        if self.has_alarm and put_cost(command) > 0:
            raise NO_SPACE.again()

    def apply(self, index: int, command: Any) -> Any:
        """Apply a committed command; a refusal is returned, not raised, and changes nothing."""
        del index
        try:
            return self._commands[type(command)](command)
        except RequestError as error:
            return error

    def read(self, query: Any) -> GetResult:
        """Answer a query from the present state."""
        return GetResult(self.revision, self._items.get(query.key))

    def snapshot(self) -> StoreSnapshot:
        """The whole state as an immutable value; the same for equal stores."""
        return StoreSnapshot(
            self.revision,
            self.compacted_revision,
            tuple(self._items.values()),
            tuple(self._superseded),
            self.database_bytes,
            self.has_alarm,
        )

    def restore(self, snapshot: StoreSnapshot) -> None:
        """Become what the snapshot says."""
        self.revision = snapshot.revision
        self.compacted_revision = snapshot.compacted_revision
        self._items = {item.key: item for item in snapshot.items}
        self._version_bytes = {
            item.key: version_bytes(item.key, item.value) for item in snapshot.items
        }
        self._superseded = deque(snapshot.superseded)
        self.database_bytes = snapshot.database_bytes
        self.has_alarm = snapshot.has_alarm

    # Commands.

    def _apply_put(self, command: Put) -> PutResult:
        key, value = command
        size_bytes = version_bytes(key, value)
        self._reserve(size_bytes)
        self.revision += 1
        self._set(key, value, size_bytes)
        return PutResult(self.revision)

    def _apply_delete(self, command: Delete) -> DeleteResult:
        if command.key not in self._items:
            return DeleteResult(self.revision, 0)
        self.revision += 1
        self._remove(command.key)
        return DeleteResult(self.revision, 1)

    def _apply_transaction(self, command: Transaction) -> TransactionResult:
        succeeded = all(self._holds(condition) for condition in command.compare)
        operations = command.success if succeeded else command.failure
        self._reserve(put_cost(command))
        before = self.revision
        writes = any(
            isinstance(operation, Put)
            or (isinstance(operation, Delete) and operation.key in self._items)
            for operation in operations
        )
        if writes:
            self.revision = before + 1
        results = tuple([self._operate(operation) for operation in operations])
        return TransactionResult(self.revision, succeeded, results)

    def _operate(self, operation: Operation) -> PutResult | DeleteResult | GetResult:
        """One operation of a transaction, at the transaction's revision."""
        if isinstance(operation, Put):
            self._set(*operation, version_bytes(*operation))
            return PutResult(self.revision)
        if isinstance(operation, Delete):
            deleted = operation.key in self._items
            if deleted:
                self._remove(operation.key)
            return DeleteResult(self.revision, int(deleted))
        return self.read(operation)

    def _compact(self, command: Compact) -> PutResult:
        if command.revision > self.revision:
            raise FUTURE_REVISION.again()
        if command.revision <= self.compacted_revision:
            raise COMPACTED.again()
        self.compacted_revision = command.revision
        while self._superseded and self._superseded[0][0] <= command.revision:
            self.database_bytes -= self._superseded.popleft()[1]
        return PutResult(self.revision)

    def _disarm(self, command: DisarmAlarm) -> PutResult:
        del command
        self.has_alarm = False
        return PutResult(self.revision)

    # State.

    def _reserve(self, cost: int) -> None:
        """Refuse a put for which there is no room, and raise the alarm (etcd `quota.go`)."""
        full = self.has_alarm or self.database_bytes + cost >= self.config.quota_bytes
        if full and cost > 0:
            self.has_alarm = True
            raise NO_SPACE.again()

    def _set(self, key: Text, value: Text, size_bytes: int) -> None:
        """Add a version of that size; the one before is history."""
        old = self._items.get(key)
        revision = self.revision
        if old is None:
            item = KeyValue(key, value, revision, revision, 1)
        else:
            item = KeyValue(key, value, old.create_revision, revision, old.version + 1)
            self._superseded.append((revision, self._version_bytes[key]))
        self._items[key] = item
        self._version_bytes[key] = size_bytes
        self.database_bytes += size_bytes

    def _remove(self, key: Text) -> None:
        """A delete leaves a tombstone, which a compaction removes with the value."""
        del self._items[key]
        tombstone_bytes = VERSION_OVERHEAD_BYTES + text_length(key)
        self.database_bytes += tombstone_bytes
        self._superseded.append((self.revision, self._version_bytes.pop(key) + tombstone_bytes))

    def _holds(self, condition: Compare) -> bool:
        item = self._items.get(condition.key)
        if condition.target == "value":
            if item is None:
                return False
            return _RELATIONS[condition.relation](item.value, condition.operand)
        own = 0 if item is None else getattr(item, condition.target)
        return _RELATIONS[condition.relation](own, condition.operand)

    def _check_transport(self, command: Any) -> None:
        """A message far over the limit does not even get through gRPC."""
        most = self.config.request_bytes_max + TRANSPORT_OVERHEAD_BYTES
        if command.message_bytes > most:
            text = f"grpc: received message larger than max ({command.message_bytes} vs. {most})"
            raise RequestError(text, "RESOURCE_EXHAUSTED")

    def _check_transaction(self, command: Transaction) -> None:
        most = self.config.transaction_operations_max
        if max(len(command.compare), len(command.success), len(command.failure)) > most:
            raise TOO_MANY_OPERATIONS.again()
        for operations in (command.success, command.failure):
            if not all(operation.key for operation in operations):
                raise EMPTY_KEY.again()
            puts = [operation.key for operation in operations if isinstance(operation, Put)]
            deletes = {operation.key for operation in operations if isinstance(operation, Delete)}
            if len(set(puts)) < len(puts) or deletes.intersection(puts):
                raise DUPLICATE_KEY.again()
        for condition in command.compare:
            if not condition.key:
                raise EMPTY_KEY.again()
