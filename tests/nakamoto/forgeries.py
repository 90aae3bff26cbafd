"""Forgeries: one way after the other to break a rule of consensus, for a block or a payment.

Each function gets a world and a parent and returns a block that is mined properly and wrong
somewhere.  Nothing here says which rule it breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.block import COMMITMENT_HEADER, Block
from consensus_lab.nakamoto.encoding import NULL_ID, hash160, sha256
from consensus_lab.nakamoto.header import nbits_to_target
from consensus_lab.nakamoto.merkle import merkle_root
from consensus_lab.nakamoto.miner import mine
from consensus_lab.nakamoto.script import pay_to_script_hash, pay_to_witness, push
from consensus_lab.nakamoto.transaction import (
    NULL_INDEX,
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from tests.nakamoto.block_world import BlockWorld, is_ripe, mine_changed

Forgery = Callable[[BlockWorld, bytes], Block | None]
FAR_AHEAD_S = 3 * 60 * 60
NULL_OUT_POINT = OutPoint(NULL_ID, NULL_INDEX)


def _remined(block: Block, transactions: tuple[Transaction, ...]) -> Block:
    """The block with other transactions, root and proof of work made right."""
    root = merkle_root([transaction.txid for transaction in transactions]).root
    return mine_changed(replace(block, transactions=transactions), merkle_root=root)


def _with_payment(
    world: BlockWorld, parent: bytes, change: Callable[[Transaction], Transaction | None]
) -> Block | None:
    """A block with one payment, changed after it was signed."""
    payments = world.payments(parent, 1)
    changed = change(payments[0]) if payments else None
    return mine(world.template(parent, (changed,))) if changed else None


def _change_coinbase(block: Block, **changes: object) -> Block:
    """The block with another coinbase."""
    coinbase = replace(block.coinbase, **changes)  # type: ignore[arg-type]
    return _remined(block, (coinbase, *block.transactions[1:]))


def _block(world: BlockWorld, parent: bytes, payments: int = 1) -> Block:
    """An honest block that the world does not remember."""
    return mine(world.template(parent, world.payments(parent, payments)))


def overpaid_coinbase(world: BlockWorld, parent: bytes) -> Block:
    return mine(world.template(parent, world.payments(parent, 2), excess_satoshi=1))


def double_spend(world: BlockWorld, parent: bytes) -> Block | None:
    """Two payments of one coin."""
    payments = world.payments(parent, 1)
    if not payments:
        return None
    name = payments[0].inputs[0].previous
    again = world.payment([(name, world.coins[parent][name])])
    return mine(world.template(parent, (*payments, again))) if again else None


def child_before_parent(world: BlockWorld, parent: bytes) -> Block | None:
    """A payment that spends one that stands behind it."""
    for _ in range(20):
        payments = world.payments(parent, 3)
        ids = [payment.txid for payment in payments]
        for payment in payments:
            if any(item.previous.txid in ids for item in payment.inputs):
                return mine(world.template(parent, payments[::-1]))
    return None


def missing_coin(world: BlockWorld, parent: bytes) -> Block | None:
    def change(payment: Transaction) -> Transaction:
        first = payment.inputs[0]
        name = OutPoint(first.previous.txid, first.previous.output_index + 7)
        return replace(payment, inputs=(first._replace(previous=name), *payment.inputs[1:]))

    return _with_payment(world, parent, change)


def immature_coinbase(world: BlockWorld, parent: bytes) -> Block | None:
    """Spends the youngest coinbase there is."""
    height = world.heights[parent] + 1
    coins = world.coins[parent]
    unripe = [name for name in sorted(coins) if not is_ripe(coins[name], height)]
    if not unripe:
        return None
    name = max(unripe, key=lambda item: coins[item].height)
    payment = world.payment([(name, coins[name])])
    return mine(world.template(parent, (payment,))) if payment else None


def _with_outputs(
    world: BlockWorld, parent: bytes, change: Callable[[int], tuple[int, ...]]
) -> Block | None:
    """A signed payment whose outputs have other amounts; `change` gets what there is to spend."""
    payments = world.payments(parent, 1)
    if not payments:
        return None
    names = [item.previous for item in payments[0].inputs]
    coins = [world.coins[parent][name] for name in names]
    values = change(sum(coin.value_satoshi for coin in coins))
    outputs = tuple(TransactionOutput(value, world.guard()) for value in values)
    blank = Transaction(tuple(TransactionInput(name) for name in names), outputs)
    return mine(world.template(parent, (world.owner.sign(blank, coins),)))


def too_much_out(world: BlockWorld, parent: bytes) -> Block | None:
    return _with_outputs(world, parent, lambda value: (value + 1,))


def negative_output(world: BlockWorld, parent: bytes) -> Block | None:
    return _with_outputs(world, parent, lambda value: (-1, value))


def huge_output(world: BlockWorld, parent: bytes) -> Block | None:
    return _with_outputs(world, parent, lambda value: (21_000_000 * 10**8 + 1,))


def overflowing_outputs(world: BlockWorld, parent: bytes) -> Block | None:
    """The value overflow of 2010: each amount possible, the sum not."""
    return _with_outputs(world, parent, lambda value: (21_000_000 * 10**8, 21_000_000 * 10**8))


def no_outputs(world: BlockWorld, parent: bytes) -> Block | None:
    return _with_outputs(world, parent, lambda value: ())


def changed_output(world: BlockWorld, parent: bytes) -> Block | None:
    """The essay's forgery: pay somebody else than was signed for."""

    def change(payment: Transaction) -> Transaction:
        first = payment.outputs[0]
        other = first._replace(value_satoshi=first.value_satoshi - 1)
        return replace(payment, outputs=(other, *payment.outputs[1:]))

    return _with_payment(world, parent, change)


def changed_signature(world: BlockWorld, parent: bytes) -> Block | None:
    """One bit of the scripts flipped."""

    def change(payment: Transaction) -> Transaction | None:
        first = payment.inputs[0]
        if first.witness:
            element = bytearray(first.witness[1] or b"\x00")
            element[world.random.randrange(len(element))] ^= 1 << world.random.randrange(8)
            witness = (first.witness[0], bytes(element), *first.witness[2:])
            return replace(payment, inputs=(first._replace(witness=witness), *payment.inputs[1:]))
        script = bytearray(first.script_sig)
        if not script:
            return None
        script[world.random.randrange(len(script))] ^= 1 << world.random.randrange(8)
        item = first._replace(script_sig=bytes(script))
        return replace(payment, inputs=(item, *payment.inputs[1:]))

    return _with_payment(world, parent, change)


def stolen_coin(world: BlockWorld, parent: bytes) -> Block | None:
    """Signed by a key that is not the owner's."""

    def change(payment: Transaction) -> Transaction:
        thief = keys.public_key(b"\x07" * 32)
        script = push(keys.sign(b"\x07" * 32, payment.txid) + b"\x01") + push(thief)
        item = payment.inputs[0]._replace(script_sig=script, witness=())
        return replace(payment, inputs=(item, *payment.inputs[1:]))

    return _with_payment(world, parent, change)


def same_input_twice(world: BlockWorld, parent: bytes) -> Block | None:
    return _with_payment(
        world, parent, lambda payment: replace(payment, inputs=payment.inputs[:1] * 2)
    )


def null_input(world: BlockWorld, parent: bytes) -> Block | None:
    null = TransactionInput(OutPoint(NULL_ID, NULL_INDEX))
    return _with_payment(
        world, parent, lambda payment: replace(payment, inputs=(*payment.inputs, null))
    )


def locked_by_height(world: BlockWorld, parent: bytes) -> Block | None:
    return _locked(world, parent, lock_time=world.heights[parent] + 1, sequence=0xFFFFFFFE)


def locked_by_time(world: BlockWorld, parent: bytes) -> Block | None:
    lock_time = world.blocks[parent].header.time_s + 20_000
    return _locked(world, parent, lock_time=lock_time, sequence=0)


def locked_around_the_median(world: BlockWorld, parent: bytes) -> Block | None:
    """Between the median and the block's own time: the median decides (BIP 113)."""
    lock_time = world.median_time_s(parent) + world.random.randrange(-2, 600)
    return _locked(world, parent, lock_time=lock_time, sequence=0)


def perhaps_locked_by_age(world: BlockWorld, parent: bytes) -> Block | None:
    """A relative lock of some blocks or some time, which may or may not have passed."""
    amount = world.random.randrange(300)
    flag = world.random.choice((0, 1 << 22))
    return _locked(world, parent, lock_time=0, sequence=flag | amount)


def _locked(world: BlockWorld, parent: bytes, *, lock_time: int, sequence: int) -> Block | None:
    """A block with one payment that is locked."""
    payments = world.payments(parent, 1)
    if not payments:
        return None
    names = [item.previous for item in payments[0].inputs]
    spent = [(name, world.coins[parent][name]) for name in names]
    payment = world.payment(spent, lock_time=lock_time, sequence=sequence)
    return mine(world.template(parent, (payment,))) if payment else None


def wrong_root(world: BlockWorld, parent: bytes) -> Block:
    return mine_changed(_block(world, parent), merkle_root=b"\x11" * 32)


def repeated_leaf(world: BlockWorld, parent: bytes) -> Block | None:
    """CVE-2012-2459: the same root with the last transaction twice."""
    for count in (2, 4, 3):
        block = _block(world, parent, count)
        if len(block.transactions) % 2 and len(block.transactions) > 1:
            doubled = (*block.transactions, block.transactions[-1])
            return replace(block, transactions=doubled)
    return None


def no_coinbase(world: BlockWorld, parent: bytes) -> Block | None:
    block = _block(world, parent)
    return _remined(block, block.transactions[1:]) if len(block.transactions) > 1 else None


def two_coinbases(world: BlockWorld, parent: bytes) -> Block:
    block = _block(world, parent)
    second = replace(block.coinbase, lock_time=1)
    return _remined(block, (*block.transactions, second))


def wrong_height(world: BlockWorld, parent: bytes) -> Block:
    template = world.template(parent)
    return mine(replace(template, height=template.height + 1))


def long_coinbase(world: BlockWorld, parent: bytes) -> Block:
    block = _block(world, parent)
    item = block.coinbase.inputs[0]
    script = item.script_sig.ljust(101, b"\x00")
    return _change_coinbase(block, inputs=(item._replace(script_sig=script),))


def high_hash(world: BlockWorld, parent: bytes) -> Block:
    """A nonce that does not meet the target."""
    block = _block(world, parent)
    target = nbits_to_target(block.header.nbits)
    assert target is not None
    nonce = block.header.nonce
    while int.from_bytes(block.block_id, "little") <= target:
        nonce += 1
        block = replace(block, header=replace(block.header, nonce=nonce))
    return block


def other_target(world: BlockWorld, parent: bytes) -> Block:
    return mine_changed(_block(world, parent), nbits=0x207FFFFE)


def impossible_target(world: BlockWorld, parent: bytes) -> Block:
    """A target easier than allowed, negative, or zero."""
    block = _block(world, parent)
    nbits = world.random.choice((0x217FFFFF, 0x20800001, 0x00000000))
    return replace(block, header=replace(block.header, nbits=nbits))


def too_old(world: BlockWorld, parent: bytes) -> Block:
    return mine_changed(_block(world, parent), time_s=world.blocks[parent].header.time_s - 100_000)


def old_version(world: BlockWorld, parent: bytes) -> Block:
    return mine_changed(_block(world, parent), version=world.random.choice((-1, 0, 1, 2, 3)))


def uncommitted_witness(world: BlockWorld, parent: bytes) -> Block:
    """A witness without the coinbase output that should commit to it."""
    block = _block(world, parent, 0)
    item = block.coinbase.inputs[0]._replace(witness=(bytes(32),))
    return _change_coinbase(block, inputs=(item,))


def wrong_commitment(world: BlockWorld, parent: bytes) -> Block:
    """A commitment that does not fit, with or without the reserved value that it needs."""
    block = _block(world, parent, 0)
    reserved = world.random.choice(((bytes(32),), (bytes(31),), ()))
    item = block.coinbase.inputs[0]._replace(witness=reserved)
    output = TransactionOutput(0, COMMITMENT_HEADER + b"\x22" * 32)
    outputs = (*block.coinbase.outputs, output)
    return _change_coinbase(block, inputs=(item,), outputs=outputs)


def two_commitments(world: BlockWorld, parent: bytes) -> Block | None:
    """A right and a wrong one, in either order: the last one counts."""
    for _ in range(20):
        block = _block(world, parent, 3)
        if block.coinbase.has_witness:
            wrong = TransactionOutput(0, COMMITMENT_HEADER + b"\x22" * 32)
            outputs = list(block.coinbase.outputs)
            outputs.insert(world.random.choice((1, 2)), wrong)
            return _change_coinbase(block, outputs=tuple(outputs))
    return None


def hidden_signature_operations(world: BlockWorld, parent: bytes) -> Block | None:
    """Scripts behind hashes, whose operations count though they are not run (BIP 16, BIP 141)."""
    payments = world.payments(parent, 1)
    if not payments:
        return None
    # 198 multisignatures of 20 keys each, in a branch that is not taken.
    script = b"\x00\x63" + b"\xae" * 198 + b"\x68\x51"
    is_witness = world.random.random() < 0.5
    if is_witness:
        guard, count = pay_to_witness(0, sha256(script)), world.random.choice((20, 21))
        item = TransactionInput(NULL_OUT_POINT, witness=(script,))
    else:
        guard, count = pay_to_script_hash(hash160(script)), world.random.choice((5, 6))
        item = TransactionInput(NULL_OUT_POINT, push(script))
    names = [item.previous for item in payments[0].inputs]
    coins = [world.coins[parent][name] for name in names]
    share = sum(coin.value_satoshi for coin in coins) // (count + 1)
    inputs = tuple(TransactionInput(name) for name in names)
    outputs = (TransactionOutput(share, guard),) * count
    funding = world.owner.sign(Transaction(inputs, outputs), coins)
    spending = Transaction(
        tuple(item._replace(previous=funding.out_point(place)) for place in range(count)),
        (TransactionOutput(share, b"\x51"),),
    )
    return mine(world.template(parent, (funding, spending)))


def many_signature_operations(world: BlockWorld, parent: bytes) -> Block:
    block = _block(world, parent, 0)
    output = TransactionOutput(0, b"\xac" * world.random.choice((19_999, 20_000, 20_001)))
    return _change_coinbase(block, outputs=(*block.coinbase.outputs, output))


def too_large(world: BlockWorld, parent: bytes) -> Block:
    """Within a few bytes of the megabyte, on either side of it."""
    block = _block(world, parent, 0)
    room = 1_000_000 - block.base_size_bytes - 8 - 5
    output = TransactionOutput(0, b"\x6a" * (room + world.random.choice((0, 1))))
    return _change_coinbase(block, outputs=(*block.coinbase.outputs, output))


def unknown_parent(world: BlockWorld, parent: bytes) -> Block:
    return mine_changed(_block(world, parent, 0), previous=b"\x33" * 32)


def empty_block(world: BlockWorld, parent: bytes) -> Block:
    return _remined(_block(world, parent, 0), ())


FORGERIES: tuple[Forgery, ...] = (
    overpaid_coinbase, double_spend, child_before_parent, missing_coin, immature_coinbase,
    too_much_out, negative_output, huge_output, overflowing_outputs, no_outputs, changed_output,
    changed_signature, stolen_coin, same_input_twice, null_input, locked_by_height,
    locked_by_time, locked_around_the_median, perhaps_locked_by_age, wrong_root, repeated_leaf,
    no_coinbase, two_coinbases, wrong_height, long_coinbase, high_hash, other_target,
    impossible_target, too_old, old_version, uncommitted_witness, wrong_commitment,
    two_commitments, hidden_signature_operations, many_signature_operations, too_large,
    unknown_parent, empty_block,
)  # fmt: skip


def too_new(world: BlockWorld, parent: bytes, *, now_s: int) -> Block:
    """Three hours ahead of the judge's clock."""
    return mine_changed(_block(world, parent), time_s=now_s + FAR_AHEAD_S)
