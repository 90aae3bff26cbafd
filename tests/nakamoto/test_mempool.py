"""Memory pool: what is taken, what leaves, and what a miner gets from it."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from consensus_lab.nakamoto.block import WEIGHT_MAX
from consensus_lab.nakamoto.block_selection import RESERVED_WEIGHT, select
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.mempool import Mempool, PoolUpdate
from consensus_lab.nakamoto.mempool_entry import MempoolOptions, fee_rate
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from consensus_lab.node import ParameterError, ProtocolViolation

ANYONE = b"\x51"
START_S = 1_700_000_000
COINS = 12
MATURITY = 2
RULES = replace(REGTEST, maturity_blocks=MATURITY)


class Bench:
    """A chain with mature coins that anyone may spend, and a pool on it."""

    def __init__(self, **options: int) -> None:
        self.chain = Chain(RULES)
        self.pool = Mempool(self.chain, MempoolOptions(**options))
        self.tags = itertools.count()
        for _ in range(COINS + MATURITY):
            self.mine()
        self.coins = [
            self.chain.blocks[self.chain.active[height].block_id].coinbase.out_point(0)
            for height in range(1, COINS + 1)
        ]

    def mine(self, *transactions: Transaction, parent=None, fees: int = 0) -> PoolUpdate:
        """A block with these payments on the tip, or on another block."""
        now_s = START_S + 600 * next(self.tags)
        block = mine(
            block_template(
                self.chain, script_pubkey=ANYONE, now_s=now_s, transactions=transactions,
                fees_satoshi=fees, parent=parent, tag=now_s.to_bytes(8, "big"),
            )
        )  # fmt: skip
        return self.pool.update(self.chain.deliver(block, now_s=now_s))

    def spend(self, *names: OutPoint, fee: int = 1000, parts: int = 1, padding: int = 0, **fields):
        """A payment of all that those coins are worth, less the fee, in equal parts."""
        sequence = fields.pop("sequence", 0xFFFFFFFF)
        coins = [self.pool.coin(name) for name in names]
        value = sum(coin.value_satoshi for coin in coins) - fee
        outputs = [TransactionOutput(value // parts, ANYONE)] * (parts - 1)
        outputs.append(TransactionOutput(value - value // parts * (parts - 1), ANYONE))
        if padding:
            outputs.append(TransactionOutput(0, b"\x6a" + bytes(padding)))
        inputs = tuple(TransactionInput(name, sequence=sequence) for name in names)
        return Transaction(inputs, tuple(outputs), **fields)


def refused(pool: Mempool, transaction: Transaction) -> str:
    """The rule that a payment breaks."""
    before = list(pool.entries)
    with pytest.raises(ProtocolViolation) as caught:
        pool.accept(transaction)
    assert list(pool.entries) == before or caught.value.rule == "mempool full"
    return caught.value.rule


def check_sums(pool: Mempool) -> None:
    """Every sum that the pool keeps equals the one computed from scratch."""
    assert pool.size_bytes == sum(entry.size_bytes for entry in pool)
    for entry in pool:
        ancestors = [entry, *pool.ancestors(entry)]
        descendants = [entry, *pool.descendants(entry)]
        assert entry.ancestor_fee_satoshi == sum(e.fee_satoshi for e in ancestors)
        assert entry.ancestor_size_bytes == sum(e.size_bytes for e in ancestors)
        assert entry.descendant_fee_satoshi == sum(e.fee_satoshi for e in descendants)
        assert entry.descendant_size_bytes == sum(e.size_bytes for e in descendants)
        for item in entry.transaction.inputs:
            assert (item.previous in pool.chain.utxo) != (item.previous.txid in entry.parents)


def test_the_first_of_two_payments_of_one_coin_stays() -> None:
    bench = Bench()
    first = bench.spend(bench.coins[0])
    bench.pool.accept(first)
    assert refused(bench.pool, bench.spend(bench.coins[0], fee=90_000)) == "txn-mempool-conflict"
    assert refused(bench.pool, first) == "txn-already-in-mempool"
    assert first.txid in bench.pool


def test_a_child_needs_its_parent_in_the_chain_or_in_the_pool() -> None:
    bench = Bench()
    parent = bench.spend(bench.coins[0], parts=2)
    entry = bench.pool.accept(parent)
    child = bench.spend(parent.out_point(0), parent.out_point(1))
    other = Bench()
    assert refused(other.pool, child) == "bad-txns-inputs-missingorspent"
    other.pool.accept(parent)
    other.pool.accept(child)
    assert bench.pool.accept(child).parents == {entry.txid: None}
    outside = Transaction((TransactionInput(OutPoint(parent.txid, 2)),), child.outputs)
    assert refused(bench.pool, outside) == "bad-txns-inputs-missingorspent"
    check_sums(bench.pool)


def test_refusals_carry_bitcoin_cores_names() -> None:
    bench = Bench()
    coin, height = bench.coins[0], bench.chain.height
    blank = bench.spend(coin)
    young = bench.chain.blocks[bench.chain.tip.block_id].coinbase.out_point(0)
    too_much = replace(blank, outputs=(TransactionOutput(10**10, ANYONE),))
    wrong = {
        "bad-txns-vout-empty": replace(blank, outputs=()),
        "bad-txns-in-belowout": too_much,
        "min relay fee not met": bench.spend(coin, fee=10),
        "non-final": bench.spend(coin, lock_time=height + 1, sequence=0),
        "non-BIP68-final": bench.spend(coin, sequence=height + 1),
        "bad-txns-premature-spend-of-coinbase": bench.spend(young),
        "bad-txns-too-many-sigops": replace(blank, outputs=(TransactionOutput(1, b"\xac" * 4001),)),
        "coinbase": bench.chain.blocks[bench.chain.tip.block_id].coinbase,
    }
    assert {rule: refused(bench.pool, item) for rule, item in wrong.items()} == {
        rule: rule for rule in wrong
    }
    failing = bench.spend(coin)
    inputs = (failing.inputs[0]._replace(script_sig=b"\x6a"),)
    assert "script" in refused(bench.pool, replace(failing, inputs=inputs))
    # At the edge they are taken: lock time of this height, relative lock of the coin's age.
    bench.pool.accept(bench.spend(coin, lock_time=height, sequence=0))
    bench.pool.accept(bench.spend(bench.coins[1], sequence=height - 1))


def test_families_are_bounded_in_both_directions() -> None:
    bench = Bench(ancestors_max=4, descendants_max=5)
    name = bench.coins[0]
    for _ in range(4):
        name = bench.pool.accept(bench.spend(name)).transaction.out_point(0)
    assert refused(bench.pool, bench.spend(name)) == "too-long-mempool-chain"
    many = bench.pool.accept(bench.spend(bench.coins[1], parts=6)).transaction
    for index in range(4):
        bench.pool.accept(bench.spend(many.out_point(index)))
    assert refused(bench.pool, bench.spend(many.out_point(4))) == "too-long-mempool-chain"
    check_sums(bench.pool)


def test_a_full_pool_evicts_the_lowest_fee_rate_and_raises_the_floor() -> None:
    bench = Bench(size_bytes_max=700)
    poor = bench.spend(bench.coins[0], fee=500, padding=200)
    rich = bench.spend(bench.coins[1], fee=5000, padding=200)
    bench.pool.accept(poor)
    bench.pool.accept(rich)
    middle = bench.spend(bench.coins[2], fee=1500, padding=200)
    bench.pool.accept(middle)
    assert list(bench.pool.entries) == [rich.txid, middle.txid]
    assert bench.pool.fee_rate_floor == fee_rate(500, poor.virtual_size_bytes) + 1000
    assert refused(bench.pool, poor) == "mempool min fee not met"
    # Above the floor but still the cheapest: in and out at once.
    cheap = bench.spend(bench.coins[3], fee=1000, padding=200)
    assert refused(bench.pool, cheap) == "mempool full"
    check_sums(bench.pool)
    bench.mine(rich, middle, fees=6500)
    assert bench.pool.fee_rate_floor == 1000


def test_a_rich_child_protects_its_parent_from_eviction() -> None:
    bench = Bench(size_bytes_max=1000)
    parent = bench.pool.accept(bench.spend(bench.coins[0], fee=300, padding=200)).transaction
    child = bench.pool.accept(bench.spend(parent.out_point(0), fee=9000, padding=200)).transaction
    lonely = bench.spend(bench.coins[1], fee=600, padding=200)
    bench.pool.accept(lonely)
    bench.pool.accept(bench.spend(bench.coins[2], fee=3000, padding=200))
    assert lonely.txid not in bench.pool
    assert parent.txid in bench.pool and child.txid in bench.pool


def test_a_block_confirms_payments_and_removes_rivals_with_their_descendants() -> None:
    bench = Bench()
    stays = bench.pool.accept(bench.spend(bench.coins[0])).transaction
    parent = bench.pool.accept(bench.spend(bench.coins[1])).transaction
    child = bench.pool.accept(bench.spend(parent.out_point(0))).transaction
    loser = bench.spend(bench.coins[2], fee=2000)
    winner = bench.spend(bench.coins[2], fee=7000)
    bench.pool.accept(loser)
    doomed = bench.pool.accept(bench.spend(loser.out_point(0))).transaction
    update = bench.mine(parent, winner)
    assert update.confirmed == (parent.txid,)
    assert update.returned == ()
    assert update.removed == tuple(sorted((loser.txid, doomed.txid)))
    assert list(bench.pool.entries) == [stays.txid, child.txid]
    assert bench.pool.entries[child.txid].parents == {}
    check_sums(bench.pool)


def test_a_reorganisation_returns_payments_and_judges_them_anew() -> None:
    bench = Bench()
    fork = bench.chain.tip
    returns = bench.spend(bench.coins[0])
    both = bench.spend(bench.coins[1])
    loses = bench.spend(bench.coins[2], fee=2000)
    rival = bench.spend(bench.coins[2], fee=3000)
    bench.mine(returns, both, loses)
    child = bench.pool.accept(bench.spend(returns.out_point(0))).transaction
    # A payment of the coinbase that matured with the block which is about to be lost.
    ripe = bench.chain.blocks[bench.chain.active[-MATURITY].block_id].coinbase.out_point(0)
    of_young_coin = bench.pool.accept(bench.spend(ripe)).transaction
    grandchild = bench.pool.accept(bench.spend(loses.out_point(0))).transaction
    bench.mine(both, rival, parent=fork)
    branch = max(fork.children, key=lambda node: node.sequence or 0)
    update = bench.mine(parent=branch)
    assert bench.chain.statistics.reorganisations == 1
    assert update.returned == (returns.txid,)
    assert update.removed == (grandchild.txid,)
    assert list(bench.pool.entries) == [returns.txid, child.txid, of_young_coin.txid]
    assert list(bench.pool.entries[child.txid].parents) == [returns.txid]
    check_sums(bench.pool)


def test_a_coinbase_that_a_reorganisation_makes_young_again_is_not_spent() -> None:
    bench = Bench()
    fork = bench.chain.active[-3]
    lost = bench.chain.blocks[bench.chain.active[-MATURITY].block_id].coinbase.out_point(0)
    payment = bench.pool.accept(bench.spend(lost)).transaction
    bench.mine(parent=fork)
    branch = fork.children[-1]
    bench.mine(parent=branch)
    update = bench.mine(parent=branch.children[-1])
    assert update.removed == (payment.txid,)
    assert len(bench.pool) == 0


def test_packages_are_chosen_by_fee_rate_and_parents_stand_first() -> None:
    bench = Bench()
    parent = bench.pool.accept(bench.spend(bench.coins[0], fee=100)).transaction
    middle = bench.pool.accept(bench.spend(bench.coins[1], fee=2000)).transaction
    child = bench.pool.accept(bench.spend(parent.out_point(0), fee=9000)).transaction
    low = bench.pool.accept(bench.spend(bench.coins[2], fee=200)).transaction
    chosen = select(bench.pool)
    assert chosen.transactions == (parent, child, middle, low)
    assert chosen.fees_satoshi == 11_300
    two = RESERVED_WEIGHT + parent.weight + child.weight
    assert select(bench.pool, weight_max=two).transactions == (parent, child)
    # One unit less: the package does not fit, the next ones do.
    assert select(bench.pool, weight_max=two - 1).transactions[0] == middle
    with pytest.raises(ParameterError, match="weight_max"):
        select(bench.pool, weight_max=WEIGHT_MAX + 1)


def test_a_package_is_ranked_anew_when_its_ancestors_are_chosen() -> None:
    bench = Bench()
    parent = bench.pool.accept(bench.spend(bench.coins[0], fee=100, parts=2)).transaction
    second = bench.pool.accept(bench.spend(parent.out_point(1), fee=3000)).transaction
    between = bench.pool.accept(bench.spend(bench.coins[1], fee=2500)).transaction
    first = bench.pool.accept(bench.spend(parent.out_point(0), fee=9000)).transaction
    # With its parent to pay for, `second` would rank below `between`; alone it ranks above.
    assert select(bench.pool).transactions == (parent, first, second, between)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_life_of_a_pool(seed: int) -> None:
    """Sums stay right, and whatever is selected makes a valid block."""
    source = random.Random(seed)
    bench = Bench(size_bytes_max=3000)
    names = list(bench.coins)
    for _ in range(120):
        known = [name for name in names if bench.pool.coin(name) is not None]
        if source.random() < 0.8 and known:
            spent = source.sample(known, min(len(known), source.randrange(1, 3)))
            payment = bench.spend(
                *spent, fee=source.randrange(100, 5000), parts=source.randrange(1, 4),
                padding=source.choice((0, 50)),
            )  # fmt: skip
            try:
                bench.pool.accept(payment)
                names += [payment.out_point(i) for i in range(3) if i < len(payment.outputs)]
            except ProtocolViolation:
                pass
        else:
            chosen = select(bench.pool, weight_max=source.randrange(5000, 12_000))
            parent = source.choice(bench.chain.active[-3:])
            if parent is bench.chain.tip:
                before = bench.chain.height
                bench.mine(*chosen.transactions, fees=chosen.fees_satoshi)
                assert bench.chain.height == before + 1
            else:
                while not bench.chain.is_active(parent) or parent is not bench.chain.tip:
                    bench.mine(parent=parent)
                    parent = max(parent.children, key=lambda node: node.sequence or 0)
        check_sums(bench.pool)
        assert bench.pool.size_bytes <= 3000
    assert bench.chain.statistics.reorganisations > 0
