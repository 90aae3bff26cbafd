"""What can be agreed on at once, and how much of it: found by trying, at the limit and beyond."""

from __future__ import annotations

from typing import Any

from consensus_lab import constants, data
from consensus_lab.kv import KeyValueStore, Put, RequestError, StoreConfig
from consensus_lab.nakamoto.block import Block, check_block_contents
from consensus_lab.nakamoto.header import BlockHeader
from consensus_lab.nakamoto.merkle import merkle_root
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
from consensus_lab.report.table import AGREES, DIFFERS, ENFORCED, FROM_DATA, HOLDS, OPEN, Cell
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.streams import stream

HERE = "consensus_lab.experiments.cells.limits"
SAMPLE_VALUES: tuple[Any, ...] = ("text", b"bytes", 42, ("a", "tuple"), 2.5)
ROUNDING = 0.05
"""Published sizes are rounded to one or two digits (1.5 MiB is written as 1.5 MB)."""

ESSAY_DAY_UNIX_S = 1_662_768_000
"""10 September 2022, 00:00 UTC, the date of the essay's table."""

HISTOGRAM_UNIX_S = 1_451_606_400
"""1 January 2016, 00:00 UTC: the histogram of block sizes is of the months after it."""


def publication(protocol: str, published: str) -> Cell:
    """Who published the protocol and when, from the bibliography in `data/essay`."""
    rows = [r for r in data.rows("essay/publications.csv") if r["protocol"] == protocol]
    first = min(rows, key=lambda row: int(row["year"]))
    text = f"{first['author']}, {first['year']}"
    note = f"{first['title']}; {first['identifier']}"
    verdict = AGREES if text == published else DIFFERS
    return Cell(published, FROM_DATA, verdict, text=text, code="consensus_lab.data:rows", note=note)


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


def unit_of_paxos(published: str) -> Cell:
    """Paxos decides one value of whatever kind: five kinds are proposed, each is chosen."""
    pairs = values_agreed()
    agreed = sum(proposed == chosen for proposed, chosen in pairs)
    kinds = len({type(value) for value in SAMPLE_VALUES})
    return Cell(
        published, ENFORCED, AGREES if agreed == len(pairs) else DIFFERS,
        text=f"one value; {kinds} kinds tried, {agreed} of {len(pairs)} learners agree",
        code=f"{HERE}:values_agreed",
    )  # fmt: skip


def unit_of_nakamoto(published: str, *, block_size_bytes: int, transaction_size_bytes: int) -> Cell:
    """A block holds a list of transactions: how many fit, and how many real ones held."""
    fit = (block_size_bytes - constants.HEADER_SIZE_BYTES) // transaction_size_bytes
    real = [int(row["n_transactions"]) for row in data.rows("bitcoin/real_blocks.csv")]
    return Cell(
        published, ENFORCED, AGREES if fit > 1 else DIFFERS,
        text=f"1 block of up to {fit:,} payments; fullest real block here: {max(real):,}",
        code="consensus_lab.nakamoto.block:check_block_contents",
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


def payload_of_etcd(published: str) -> Cell:
    """The largest request; one byte more is refused."""
    largest = largest_put()
    request = Put("k", "v" * largest).size_bytes
    holds = not is_put_accepted(largest + 1)
    limits = data.rows("etcd/published/limits.csv")
    live = [row for row in limits if "largest_accepted" in row["quantity"]]
    return Cell(
        published, ENFORCED, AGREES if holds and abs(request / 1.5e6 - 1) < ROUNDING else DIFFERS,
        value=float(request), low=float(request), high=float(request), unit="bytes",
        published_value=1.5e6, code=f"{HERE}:largest_put",
        live=f"{int(live[0]['value']):,} bytes of value" if live else "",
        note=f"Largest value with a one-byte key: {largest:,} bytes; one more is refused.",
    )  # fmt: skip


def payload_of_bitcoin(published: str) -> Cell:
    """The largest block; one byte more is refused."""
    limit = constants.BLOCK_SIZE_BYTES_MAX
    at, beyond = block_refusal(limit), block_refusal(limit + 1)
    return Cell(
        published, ENFORCED, AGREES if not at and beyond else DIFFERS,
        value=float(limit), low=float(limit), high=float(limit), unit="bytes",
        published_value=1e6, code=f"{HERE}:block_refusal",
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


def database_of_etcd(published: str) -> Cell:
    """Fill a store to the largest quota: how much it holds when it refuses."""
    held, error = fill(constants.ETCD_QUOTA_BYTES_MAX)
    default, _ = fill(constants.ETCD_QUOTA_BYTES_DEFAULT)
    within = held <= constants.ETCD_QUOTA_BYTES_MAX
    return Cell(
        published, ENFORCED, HOLDS if within else DIFFERS,
        value=float(held), low=float(held), high=float(held), unit="bytes",
        published_value=constants.ETCD_DATABASE_BYTES_MAX, code=f"{HERE}:fill",
        note=f"8 GiB at most, {default / 1e9:.2f} GB at the default quota; then: {error}.",
    )  # fmt: skip


def chain_bytes() -> tuple[float, float, float, int]:
    """Size of the chain on the essay's day (bytes), a bracket around it, and its height.

    The height is that of the last recorded arrival, continued at the measured pace.  The size
    takes every block at the mean of a histogram of early 2016.  The bracket: blocks before that
    year were smaller, at least empty; later ones larger, at most at the limit.
    """
    arrivals = data.rows("bitcoin/block_arrivals.csv")
    first, last = arrivals[0], arrivals[-1]
    span_blocks = int(last["height"]) - int(first["height"])
    pace_s = (int(last["arrival_unix_s"]) - int(first["arrival_unix_s"])) / span_blocks
    height = int(last["height"]) + (ESSAY_DAY_UNIX_S - int(last["arrival_unix_s"])) / pace_s
    periods = data.rows("bitcoin/period_headers.csv")
    early = max(int(row["height"]) for row in periods if int(row["time"]) < HISTOGRAM_UNIX_S)
    sizes = [
        ((float(row["bin_low_bytes"]) + float(row["bin_high_bytes"])) / 2,
         float(row["weight_percent"]))
        for row in data.rows("network/block_size_histogram.csv")
        if row["network"] == "bitcoin"
    ]  # fmt: skip
    mean = sum(size * share for size, share in sizes) / sum(share for _, share in sizes)
    low = mean * (height - early)
    high = mean * early + constants.BLOCK_SIZE_BYTES_MAX * (height - early)
    return mean * height, low, high, int(height)


def database_of_bitcoin(published: str) -> Cell:
    """Blocks mined until the essay's day times their mean size."""
    value, low, high, height = chain_bytes()
    bound = constants.BITCOIN_DATABASE_BYTES_MIN
    return Cell(
        published, FROM_DATA,
        HOLDS if value > bound else OPEN if high > bound else DIFFERS,
        value=value, low=low, high=high, unit="bytes", published_value=bound,
        code=f"{HERE}:chain_bytes",
        note=f"{height:,} blocks at the mean size of early 2016. Not a confidence interval but a "
        "bracket: earlier blocks empty, or later ones full.",
    )  # fmt: skip
