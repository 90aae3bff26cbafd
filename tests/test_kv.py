"""The key-value store: revisions, transactions, and etcd's limits to the byte."""

import csv
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus_lab import kv_requests as requests
from consensus_lab.kv import (
    Compact,
    Compare,
    Delete,
    DeleteResult,
    DisarmAlarm,
    Get,
    KeyValue,
    KeyValueStore,
    Put,
    PutResult,
    RequestError,
    StoreConfig,
    Transaction,
)
from consensus_lab.node import ParameterError

LARGEST_VALUE_BYTES = 1_572_839
"""Of a put with a one-byte key, measured on etcd 3.4.23 (see the limits of the corpus)."""


def refused(store, command):
    """Why a command must not be proposed; None when it may."""
    try:
        store.check(command)
    except RequestError as error:
        return error
    return None


def apply_all(store, *commands):
    """Apply commands; the result of each."""
    return [store.apply(index, command) for index, command in enumerate(commands, 1)]


# Reading and writing.


def test_every_write_gets_the_next_revision():
    """A put of the same value too; a delete of a missing key is no write."""
    store = KeyValueStore()
    results = apply_all(store, Put("a", "1"), Put("a", "1"), Delete("b"), Delete("a"))
    assert results == [PutResult(2), PutResult(3), DeleteResult(3, 0), DeleteResult(4, 1)]
    assert store.read(Get("a")) == (4, None)


def test_a_key_knows_its_history():
    """Created, last changed, how often; anew after a delete."""
    store = KeyValueStore()
    apply_all(store, Put("a", "1"), Put("b", "1"), Put("a", "2"))
    assert store.read(Get("a")).item == KeyValue("a", "2", 2, 4, 2)
    apply_all(store, Delete("a"), Put("a", "3"))
    assert store.read(Get("a")).item == KeyValue("a", "3", 6, 6, 1)


def test_a_transaction_is_one_revision():
    """If the conditions hold one branch, else the other; reads see the writes before them."""
    store = KeyValueStore()
    store.apply(1, Put("a", "1"))
    swap = Transaction(
        (Compare("a", "value", "=", "1"), Compare("b", "version", "=", 0)),
        (Put("a", "2"), Put("b", "2"), Get("a")),
        (Get("a"),),
    )
    first, second = apply_all(store, swap, swap)
    assert (first.revision, first.succeeded) == (3, True)
    assert first.results[2].value == "2"
    assert (second.revision, second.succeeded) == (3, False)
    assert second.results[0].value == "2"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (Compare("a", "value", "=", "1"), True), (Compare("a", "value", "!=", "1"), False),
        (Compare("a", "value", "<", "2"), True), (Compare("a", "value", ">", "0"), True),
        (Compare("none", "value", "=", ""), False), (Compare("none", "version", "=", 0), True),
        (Compare("a", "create_revision", "=", 2), True), (Compare("a", "version", ">", 0), True),
        (Compare("a", "mod_revision", "<", 2), False),
    ],
)  # fmt: skip
def test_conditions(condition, holds):
    """Value, version and revisions; a missing key has revision 0 and no value at all."""
    store = KeyValueStore()
    store.apply(1, Put("a", "1"))
    assert store.apply(2, Transaction((condition,))).succeeded is holds


# Limits.


def test_the_request_limit_to_the_byte():
    """1.5 MiB of encoded request: the largest value passes, one byte more does not."""
    store = KeyValueStore()
    assert refused(store, Put(b"k", b"x" * LARGEST_VALUE_BYTES)) is None
    error = refused(store, Put(b"k", b"x" * (LARGEST_VALUE_BYTES + 1)))
    assert error == requests.REQUEST_TOO_LARGE
    assert error.code == "INVALID_ARGUMENT"


def test_the_transport_limit_to_the_byte():
    """gRPC refuses a message of 2 MiB and one byte before etcd sees it."""
    store = KeyValueStore()
    overhead = Put(b"k", b"x" * 2_000_000).message_bytes - 2_000_000
    largest = Put(b"k", b"x" * (2 * 1024 * 1024 - overhead))
    assert refused(store, largest) == requests.REQUEST_TOO_LARGE
    error = refused(store, largest._replace(value=largest.value + b"x"))
    assert error.rule == "grpc: received message larger than max (2097153 vs. 2097152)"
    assert error.code == "RESOURCE_EXHAUSTED"


def test_the_operation_limit():
    """128 operations pass, 129 do not, in either branch or in the conditions."""
    store = KeyValueStore()
    gets = tuple(Get(f"k{n}") for n in range(129))
    assert refused(store, Transaction(success=gets[:128])) is None
    many = [Transaction(success=gets), Transaction(failure=gets)]
    many.append(Transaction(tuple(Compare(get.key, "version", "=", 0) for get in gets)))
    for transaction in many:
        assert refused(store, transaction) == requests.TOO_MANY_OPERATIONS


@pytest.mark.parametrize(
    "command",
    [
        Put("", "v"), Delete(""), Get(""), Transaction(success=(Put("", "v"),)),
        Transaction((Compare("", "version", "=", 0),)),
    ],
)  # fmt: skip
def test_a_key_must_be_given(command):
    """In whatever request."""
    assert refused(KeyValueStore(), command) == requests.EMPTY_KEY


@pytest.mark.parametrize("second", [Put("a", "2"), Delete("a")])
def test_a_transaction_writes_a_key_once(second):
    """Two puts of one key, or a put and a delete, are refused."""
    store = KeyValueStore()
    assert refused(store, Transaction(success=(Put("a", "1"), second))) == requests.DUPLICATE_KEY
    assert refused(store, Transaction((), (Put("a", "1"),), (second,))) is None


@pytest.mark.parametrize(
    "changes",
    [{"quota_bytes": 8 * 2**30 + 1}, {"quota_bytes": 0}, {"request_bytes_max": -1}],
)
def test_limits_are_checked(changes):
    """Up to 8 GiB; the parameter is named."""
    with pytest.raises(ParameterError) as caught:
        StoreConfig(**changes)
    assert caught.value.parameter in changes


# The quota.


def full_store():
    """A store of 10 kB that has refused a put."""
    store = KeyValueStore(StoreConfig(quota_bytes=10_000))
    count = 0
    while store.apply(count, Put("key", "x" * 1000)) != requests.NO_SPACE:
        count += 1
    assert count == 7  # Each takes 1,259 bytes; the eighth would reach the quota.
    return store


def test_a_full_quota_refuses_puts_but_not_reads_and_deletes():
    """NOSPACE, as etcd has it; nothing is lost."""
    store = full_store()
    assert store.has_alarm
    assert store.revision == 8
    assert refused(store, Put("other", "")) == requests.NO_SPACE
    assert store.apply(9, Put("other", "")) == requests.NO_SPACE
    assert refused(store, Transaction(success=(Put("o", "1"),))) == requests.NO_SPACE
    assert refused(store, Get("key")) is None
    assert store.read(Get("key")).value == "x" * 1000
    assert refused(store, Delete("key")) is None
    assert store.apply(10, Delete("key")) == DeleteResult(9, 1)


def test_compaction_makes_room_and_the_alarm_is_disarmed():
    """Old versions are history until then; the alarm stays on until it is disarmed."""
    store = full_store()
    before = store.database_bytes
    assert store.apply(9, Compact(store.revision)) == PutResult(store.revision)
    assert store.database_bytes == before - 6 * 1259
    assert store.apply(10, Put("key", "y")) == requests.NO_SPACE
    store.apply(11, DisarmAlarm())
    assert store.apply(12, Put("key", "y")) == PutResult(9)


def test_compaction_of_the_past_and_the_future():
    """etcd's two errors."""
    store = KeyValueStore()
    apply_all(store, Put("a", "1"), Compact(2))
    assert store.apply(3, Compact(2)) == requests.COMPACTED
    assert store.apply(4, Compact(9)) == requests.FUTURE_REVISION


def test_a_transactions_dearer_branch_counts():
    """It is refused although the cheap branch would be taken (etcd quota.go, costTxn)."""
    store = KeyValueStore(StoreConfig(quota_bytes=2_000))
    dear = Transaction((), (Put("a", ""),), (Put("a", "x" * 3000),))
    assert store.apply(1, dear) == requests.NO_SPACE


# As a replicated state machine.

KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.text("xyz", max_size=4)
PUTS, DELETES, GETS = (
    st.builds(Put, KEYS, VALUES), st.builds(Delete, KEYS), st.builds(Get, KEYS),
)  # fmt: skip
BRANCH = st.lists(
    st.one_of(PUTS, DELETES, GETS), max_size=3, unique_by=lambda operation: operation.key
).map(tuple)
CONDITIONS = st.lists(
    st.builds(Compare, KEYS, st.just("version"), st.sampled_from("=<>"), st.integers(0, 3)),
    max_size=2,
).map(tuple)
COMMANDS = st.one_of(
    PUTS, DELETES, st.builds(Transaction, CONDITIONS, BRANCH, BRANCH),
    st.builds(Compact, st.integers(1, 20)), st.just(DisarmAlarm()),
)  # fmt: skip


@pytest.mark.slow
@given(commands=st.lists(COMMANDS, max_size=30), cut=st.integers(0, 30))
def test_a_restored_snapshot_goes_on_the_same(commands, cut):
    """Replicas that restore and replicas that applied everything are equal, byte for byte."""
    store = KeyValueStore(StoreConfig(quota_bytes=4_000))
    other = KeyValueStore(StoreConfig(quota_bytes=4_000))
    for index, command in enumerate(commands):
        if index == cut:
            other.restore(pickle.loads(pickle.dumps(store.snapshot())))
        result = store.apply(index, command)
        if index >= cut:
            assert other.apply(index, command) == result
    if len(commands) > cut:
        assert other.snapshot() == store.snapshot()


@pytest.mark.slow
@given(commands=st.lists(COMMANDS, max_size=30))
def test_the_database_size_is_what_all_versions_take(commands):
    """Never more than the quota; a refused command changes nothing but the alarm."""
    store = KeyValueStore(StoreConfig(quota_bytes=3_000))
    for index, command in enumerate(commands):
        before = store.snapshot()
        result = store.apply(index, command)
        if isinstance(result, RequestError):
            assert store.snapshot()._replace(has_alarm=before.has_alarm) == before
        current = sum(
            requests.version_bytes(item.key, item.value) for item in store.snapshot().items
        )
        history = sum(size for _, size in store.snapshot().superseded)
        assert store.database_bytes == current + history
        tombstones = sum(isinstance(c, (Delete, Transaction)) for c in commands)
        assert store.database_bytes <= 3_000 + 3 * 257 * tombstones


@given(text=st.one_of(st.binary(max_size=300), st.text(max_size=100)))
def test_sizes_count_encoded_bytes(text):
    """Text counts as UTF-8."""
    encoded = text if isinstance(text, bytes) else text.encode()
    assert requests.text_length(text) == len(encoded)
    assert Put("k", text).size_bytes == Put("k", encoded).size_bytes


# Against measurements of real etcd.


def measured_limits():
    """The corpus' table of limits, or a skip that says where to get it."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    path = Path(reference or "nowhere") / "etcd" / "limits.csv"
    if not path.is_file():
        pytest.skip("set CONSENSUS_LAB_REFERENCE to a folder that holds etcd/limits.csv")
    with path.open() as file:
        return {row["quantity"]: row for row in csv.DictReader(file)}


def test_limits_and_error_names_as_measured():
    """Every limit that real etcd showed, with its error."""
    limits = measured_limits()
    store = KeyValueStore()

    def value(name):
        return int(limits[name]["value"])

    largest = value("largest_accepted_put_value_with_1_byte_key")
    assert refused(store, Put(b"k", b"x" * largest)) is None
    row = limits["first_refused_put_value_with_1_byte_key"]
    error = refused(store, Put(b"k", b"x" * int(row["value"])))
    assert (error.rule, error.code) == (row["error_message"], row["error_code"])
    row = limits["first_refused_txn"]
    gets = tuple(Get(f"k{n}") for n in range(int(row["value"])))
    error = refused(store, Transaction(success=gets))
    assert (error.rule, error.code) == (row["error_message"], row["error_code"])
    assert refused(store, Transaction(success=gets[: value("largest_txn")])) is None
    assert store.config.request_bytes_max == value("default_max_request_bytes")
    assert store.config.quota_bytes == value("default_quota_backend_bytes")
    full = limits["put_over_quota_16MiB_after_15_puts_of_1000000_bytes"]
    assert requests.NO_SPACE.rule == full["error_message"]
    assert requests.NO_SPACE.code == full["error_code"]
