"""What can be agreed on at once, and how much of it: found by trying, at the limit and beyond."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise, zip_longest
from typing import Any

from consensus_lab import constants, data
from consensus_lab.client import Request
from consensus_lab.experiments.clusters import ClusterParameters, leader_of, start
from consensus_lab.kv import KeyValueStore, Put, PutResult, RequestError, StoreConfig
from consensus_lab.nakamoto.block import Block, check_block_contents
from consensus_lab.nakamoto.header import BlockHeader
from consensus_lab.nakamoto.merkle import merkle_root
from consensus_lab.nakamoto.network_rules import MAINNET
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from consensus_lab.node import ProtocolViolation
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import Propose
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.raft.node import RaftNode
from consensus_lab.report.table import DIFFERS, ENFORCED, FROM_DATA, OPEN, WITHIN, Cell
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.streams import stream

HERE = "consensus_lab.experiments.cells.limits"
TABLE = "notebooks/00_comparison_table.ipynb"
SAMPLE_VALUES: tuple[Any, ...] = ("text", b"bytes", 42, ("a", "tuple"), 2.5)
ESSAY_DAY_UNIX_S = 1_662_768_000
"""10 September 2022, 00:00 UTC, the date of the essay's table."""

GENESIS_UNIX_S = MAINNET.genesis.header.time_s


def publication(protocol: str, published: str) -> Cell:
    """Who published the protocol and when, from the bibliography in `data/essay`."""
    rows = [r for r in data.rows("essay/publications.csv") if r["protocol"] == protocol]
    first = min(rows, key=lambda row: int(row["year"]))
    text = f"{first['author']}, {first['year']}"
    note = f"{first['title']}; {first['identifier']}"
    if published:
        verdict = WITHIN if text == published else DIFFERS
    else:
        verdict, note = OPEN, f"The essay's table names Paxos alone. {note}"
    return Cell(
        published, FROM_DATA, verdict, text=text, code=f"{HERE}:publication", notebook=TABLE,
        note=note,
    )  # fmt: skip


def values_agreed() -> list[tuple[Any, Any]]:
    """Pairs of proposed and chosen values, one run of single-decree Paxos for each."""
    pairs = []
    group = Group.of_peers((1, 2, 3))
    for seed, value in enumerate(SAMPLE_VALUES):
        engine = Engine(
            lambda i, disk, seed=seed: SinglePaxos(
                i, disk, group=group, source=stream(seed, "proposer", i)
            ),
            group.processes, seed=seed, links=Link(250_000),
        )  # fmt: skip
        engine.submit(1, Propose(value))
        engine.run(until_ns=10**10)
        pairs += [(value, node.chosen) for node in engine.nodes.values()]
    return pairs


class AnyCommand:
    """A state machine that keeps whatever the log gives it."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def check(self, command: Any) -> None:
        """Everything is allowed."""

    def apply(self, index: int, command: Any) -> Any:
        """Keep it."""
        self.commands.append(command)
        return index

    def read(self, query: Any) -> Any:
        """All so far."""
        return tuple(self.commands)

    def snapshot(self) -> Any:
        """All so far."""
        return tuple(self.commands)


def values_replicated() -> list[tuple[Any, Any]]:
    """Pairs of proposed and applied values, each put into the log of three Raft servers."""
    machines = {server: AnyCommand() for server in (1, 2, 3)}
    engine = Engine(
        lambda i, disk: RaftNode(
            i, disk, members=(1, 2, 3), machine=machines[i],
            random_source=stream(1, "server", i),
        ),
        machines, seed=1, links=Link(250_000),
    )  # fmt: skip
    engine.run(until=lambda: leader_of(engine) is not None)
    for number, value in enumerate(SAMPLE_VALUES):
        engine.submit(1, Request(number, value), engine.now + number * 10**9)
    engine.run(until_ns=engine.now + 10**10)
    return [
        (proposed, applied)
        for machine in machines.values()
        for proposed, applied in zip_longest(SAMPLE_VALUES, machine.commands)
    ]


def unit_of_log(published: str, *, protocol: str) -> Cell:
    """One value of whatever kind is decided: five kinds are proposed, each is chosen."""
    found = values_agreed if protocol == "paxos" else values_replicated
    pairs = found()
    agreed = sum(proposed == chosen for proposed, chosen in pairs)
    kinds = len({type(value) for value in SAMPLE_VALUES})
    notebook = "01_agreement_in_paxos" if protocol == "paxos" else "10_raft_write"
    return Cell(
        published, ENFORCED, WITHIN if agreed == len(pairs) else DIFFERS,
        text=f"one value; {kinds} kinds tried, {agreed} of {len(pairs)} learners agree",
        code=f"{HERE}:{found.__name__}", notebook=f"notebooks/{notebook}.ipynb",
    )  # fmt: skip


def unit_of_nakamoto(published: str, *, block_size_bytes: int, transaction_size_bytes: int) -> Cell:
    """A block holds a list of transactions: how many fit, and how many real ones held."""
    fit = (block_size_bytes - constants.HEADER_SIZE_BYTES) // transaction_size_bytes
    real = [int(row["n_transactions"]) for row in data.rows("bitcoin/real_blocks.csv")]
    return Cell(
        published, ENFORCED, WITHIN if fit > 1 else DIFFERS,
        text=f"1 block of up to {fit:,} payments; fullest real block here: {max(real):,}",
        code="consensus_lab.nakamoto.block:check_block_contents",
        notebook="notebooks/14_payment.ipynb",
        note="The essay's mean is more than "
        f"{constants.BITCOIN_TRANSACTIONS_PER_BLOCK_MIN:,} transactions per block.",
    )  # fmt: skip


def is_put_accepted(value_size_bytes: int) -> bool:
    """Whether a put of so long a value under a one-byte key is accepted."""
    try:
        KeyValueStore().check(Put("k", "v" * value_size_bytes))
    except RequestError:
        return False
    return True


def largest_put() -> int:
    """The longest value that a put with a one-byte key may have, by bisection, bytes."""
    low, high = 0, 4 * constants.MEBIBYTE_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_put_accepted(middle) else (low, middle)
    return low


def padded_block(size_bytes: int) -> Block:
    """A block of exactly that size, made of a coinbase with one long output script."""
    null = OutPoint(bytes(32), 0xFFFFFFFF)
    block = _block_with_script(null, 100_000)
    script_size = size_bytes - (block.base_size_bytes - 100_000)
    return _block_with_script(null, script_size)


def _block_with_script(null: OutPoint, script_size: int) -> Block:
    outputs = (TransactionOutput(0, b"\x6a" * script_size),)
    inputs = (TransactionInput(null, b"\x01\x01", 0xFFFFFFFF),)
    coinbase = Transaction(version=1, inputs=inputs, outputs=outputs, lock_time=0)
    root = merkle_root([coinbase.txid]).root
    header = BlockHeader(1, bytes(32), root, 0, 0x207FFFFF, 0)
    return Block(header, (coinbase,))


def block_refusal(size_bytes: int) -> str:
    """The rule that a block of that size breaks; empty when it is accepted."""
    try:
        check_block_contents(padded_block(size_bytes))
    except ProtocolViolation as violation:
        return violation.rule
    return ""


def answer_through_log(protocol: str, value_size_bytes: int) -> str:
    """What a cluster says to a put of so long a value under a one-byte key: "" or an error."""
    engine, leader = start(ClusterParameters.of({"protocol": protocol}))
    answers: list[Any] = []
    engine.on_reply = lambda node_id, effect, now: answers.append(effect.result)
    engine.submit(leader, Request("put", Put("k", "v" * value_size_bytes)))
    engine.run(until=lambda: bool(answers), until_ns=engine.now + 60 * 10**9)
    assert answers, "a put is answered"
    return "" if isinstance(answers[0], PutResult) else str(answers[0].reason)


def payload_of_log(published: str, *, protocol: str) -> Cell:
    """The largest request that the store takes; one byte more is refused, also by the cluster."""
    largest = largest_put()
    request = float(Put("k", "v" * largest).size_bytes)
    at, beyond = (answer_through_log(protocol, size) for size in (largest, largest + 1))
    return Cell(
        published, ENFORCED, WITHIN if not at and beyond else DIFFERS,
        value=request, low=request, high=request, unit="bytes", published_value=1.5e6,
        code=f"{HERE}:largest_put", notebook=TABLE,
        note=f"Largest value with a one-byte key: {largest:,} bytes; one more: {beyond}. "
        + ("The limit is the store's: Paxos itself has none." if protocol != "raft" else ""),
    )  # fmt: skip


def payload_of_bitcoin(published: str) -> Cell:
    """The largest block; one byte more is refused."""
    limit = constants.BLOCK_SIZE_BYTES_MAX
    at, beyond = block_refusal(limit), block_refusal(limit + 1)
    return Cell(
        published, ENFORCED, WITHIN if not at and beyond else DIFFERS,
        value=float(limit), low=float(limit), high=float(limit), unit="bytes",
        published_value=1e6, code=f"{HERE}:block_refusal",
        notebook="notebooks/15_mining_a_block.ipynb",
        note=f"A block of {limit + 1:,} bytes without witnesses is refused: {beyond}.",
    )  # fmt: skip


def fill(quota_bytes: int, value_size_bytes: int = 1_000_000) -> tuple[int, str]:
    """Put values until the store refuses; its size then (bytes) and the error's text."""
    store = KeyValueStore(StoreConfig(quota_bytes=quota_bytes))
    value = "v" * value_size_bytes
    for number in range(quota_bytes // value_size_bytes + 1):
        result = store.apply(number + 1, Put(f"key{number}", value))
        if isinstance(result, RequestError):
            return store.database_bytes, str(result)
    raise AssertionError("the quota was never reached")


def puts_until_full(protocol: str, *, quota_bytes: int = 16 * constants.MEBIBYTE_BYTES) -> int:
    """Puts of 1,000,000 bytes that a cluster answers until its quota is full."""
    config = StoreConfig(quota_bytes=quota_bytes)
    engine, leader = start(ClusterParameters.of({"protocol": protocol}), store=config)
    answers: list[Any] = []
    engine.on_reply = lambda node_id, effect, now: answers.append(effect.result)
    value = "v" * 1_000_000
    while not answers or isinstance(answers[-1], PutResult):
        count = len(answers)
        engine.submit(leader, Request(count, Put(f"key{count}", value)))
        engine.run(until=lambda: len(answers) > count, until_ns=engine.now + 60 * 10**9)  # noqa: B023
        assert len(answers) > count, "a put is answered"
    return len(answers) - 1


def database_of_log(published: str, *, protocol: str) -> Cell:
    """Fill a store to the largest quota: how much it holds when it refuses."""
    held, error = fill(constants.ETCD_QUOTA_BYTES_MAX)
    default, _ = fill(constants.ETCD_QUOTA_BYTES_DEFAULT)
    puts = puts_until_full(protocol)
    return Cell(
        published, ENFORCED, WITHIN if held <= constants.ETCD_QUOTA_BYTES_MAX else DIFFERS,
        value=float(held), low=float(held), high=float(held), unit="bytes",
        published_value=constants.ETCD_DATABASE_BYTES_MAX, code=f"{HERE}:fill", notebook=TABLE,
        note=f"8 GiB at most, {default / 1e9:.2f} GB at the default quota; then: {error}. With a "
        f"quota of 16 MiB the cluster takes {puts} puts of 1 MB.",
    )  # fmt: skip


def chain_bytes() -> tuple[float, float, float, int]:
    """Size of the chain on the essay's day (bytes), a bracket around it, and its height.

    The height is that of the last recorded arrival, continued at the measured pace.  Heights and
    days are joined by the first headers of the difficulty periods.  Between two samples of the
    mean block size the blocks are taken as the mean of both (the estimate), or as the smaller or
    the larger one (the bracket); before the first sample as empty, or as large as that.
    """
    arrivals = data.rows("bitcoin/block_arrivals.csv")
    first, last = arrivals[0], arrivals[-1]
    span_blocks = int(last["height"]) - int(first["height"])
    pace_s = (int(last["arrival_unix_s"]) - int(first["arrival_unix_s"])) / span_blocks
    height = int(last["height"]) + (ESSAY_DAY_UNIX_S - int(last["arrival_unix_s"])) / pace_s
    known = [(0, GENESIS_UNIX_S)] + [
        (int(row["height"]), int(row["time"])) for row in data.rows("bitcoin/period_headers.csv")
    ]
    known += [(int(row["height"]), int(row["arrival_unix_s"])) for row in (first, last)]
    known.append((round(height), ESSAY_DAY_UNIX_S))
    samples = [(GENESIS_UNIX_S, 0.0)] + [
        (_unix_s(row["date"]), float(row["block_size_bytes_mean"]))
        for row in data.rows("network/block_size_samples.csv")
    ]
    samples = [sample for sample in samples if sample[0] <= ESSAY_DAY_UNIX_S]
    samples.append((ESSAY_DAY_UNIX_S, samples[-1][1]))
    sums = [0.0, 0.0, 0.0]
    for (begin_s, size), (end_s, next_size) in pairwise(samples):
        blocks = _height_at(known, end_s) - _height_at(known, begin_s)
        sizes = ((size + next_size) / 2, min(size, next_size), max(size, next_size))
        sums = [total + blocks * one for total, one in zip(sums, sizes, strict=True)]
    return sums[0], sums[1], sums[2], int(height)


def _unix_s(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())


def _height_at(known: list[tuple[int, int]], time_s: int) -> float:
    """The height at a time, between the known ones in proportion."""
    for (low, begin_s), (high, end_s) in pairwise(known):
        if time_s <= end_s:
            return low + (high - low) * (time_s - begin_s) / (end_s - begin_s)
    return float(known[-1][0])


def database_of_bitcoin(published: str) -> Cell:
    """Blocks mined until the essay's day times their mean size."""
    value, low, high, height = chain_bytes()
    return Cell(
        published, FROM_DATA, WITHIN, value=value, low=low, high=high, unit="bytes",
        published_value=constants.BITCOIN_DATABASE_BYTES_MIN, code=f"{HERE}:chain_bytes",
        notebook=TABLE,
        note=f"{height:,} blocks at mean sizes sampled from 2013 to 2022. Not a confidence "
        "interval but a bracket: between two samples all as the smaller, or all as the larger.",
    )  # fmt: skip
