"""Blocks: Merkle trees, whole real blocks, and every coin that they spend."""

from __future__ import annotations

import random
from typing import Any

from consensus_lab.nakamoto.block import Block, check_block
from consensus_lab.nakamoto.encoding import display_id, parse_id
from consensus_lab.nakamoto.header import parse_header
from consensus_lab.nakamoto.merkle import merkle_proof, merkle_root, verify_merkle_proof
from consensus_lab.nakamoto.network_rules import MAINNET
from consensus_lab.nakamoto.transaction import OutPoint, TransactionOutput
from consensus_lab.nakamoto.utxo import Coin, UtxoSet
from consensus_lab.nakamoto.validation import BlockPlace, check_block_context, connect_block
from tests.conformance.bitcoin.corpus import Corpus, CorpusFile, Judge, find_block
from tests.conformance.bitcoin.tally import NotCovered, Tally, expect

PROOFS_PER_BLOCK_MAX = 32


def _judge_merkle_blocks(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Merkle trees of real blocks."""
    for facts in file.content:
        with tally.case("Merkle blocks", f"{file.name}, height {facts.get('height')}"):
            _judge_merkle(facts, find_block(corpus, facts.get("block_id", "")))


def _judge_merkle(facts: dict[str, Any], block: Block | None) -> None:
    """Root and proofs from the published identities; the whole block where the folder has it."""
    leaves = [parse_id(txid) for txid in facts["txids"]]
    tree = merkle_root(leaves)
    expect(display_id(tree.root), facts["merkle_root"], "root")
    assert not tree.has_duplicate_pair, "equal neighbours in a real block"
    places = range(len(leaves))
    if len(leaves) > PROOFS_PER_BLOCK_MAX:
        places = sorted(random.Random(len(leaves)).sample(places, PROOFS_PER_BLOCK_MAX))
    for place in places:
        proof = merkle_proof(leaves, place)
        assert verify_merkle_proof(tree.root, leaves[place], proof), f"proof {place} fails"
        wrong = bytes((leaves[place][0] ^ 1,)) + leaves[place][1:]
        assert not verify_merkle_proof(tree.root, wrong, proof), f"proof {place} proves too much"
    if len(leaves) % 2 and len(leaves) > 1:  # CVE-2012-2459.
        twin = merkle_root([*leaves, leaves[-1]])
        expect((twin.root, twin.has_duplicate_pair), (tree.root, True), "repeated last leaf")
    if facts.get("header_hex"):
        header = parse_header(bytes.fromhex(facts["header_hex"]))
        expect(display_id(header.merkle_root), facts["merkle_root"], "root in the header")
        expect(display_id(header.block_id), facts["block_id"], "identity")
    if facts.get("n_tx") is not None:
        expect(len(leaves), facts["n_tx"], "count")
    if facts.get("subsidy_sat") is not None:
        expect(MAINNET.subsidy_satoshi(facts["height"]), facts["subsidy_sat"], "subsidy")
    if block is not None:
        expect([item.txid for item in block.transactions], leaves, "identities")
        if facts.get("size_bytes") is not None:
            expect(block.size_bytes, facts["size_bytes"], "size")
        if facts.get("coinbase_out_sat") is not None:
            paid = block.coinbase.value_out_satoshi
            expect(paid, facts["coinbase_out_sat"], "coinbase")


def _judge_block(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """A whole block: its bytes, and every rule that needs no coins."""
    data, block = file.content
    with tally.case("whole blocks", file.name):
        expect(block.serialize(), data, "bytes")
        expect(block.size_bytes, len(data), "size")
        check_block(block, target_max=MAINNET.retarget.target_max)
        anchor = corpus.anchors.get(display_id(block.block_id))
        if anchor is not None:
            check_block_context(block, _place(block, anchor.height), MAINNET)


def _place(block: Block, height: int) -> BlockPlace:
    """Where it stands; its own time is the only one known, and the median is below it."""
    median_time_s = block.header.time_s - 1
    return BlockPlace(height, median_time_s, lambda _: 0)


def _judge_spent_outputs(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """A block with every coin that it spends: amounts, fees, and every script."""
    facts = file.content
    with tally.case("blocks with their coins", file.name):
        names = [OutPoint(parse_id(row[0]), int(row[1])) for row in facts["prevouts"]]
        block = _block_that_spends(names, corpus)
        coins = {
            name: Coin(_spent_output(row), 0, False)
            for name, row in zip(names, facts["prevouts"], strict=True)
        }
        check_block(block, target_max=MAINNET.retarget.target_max)
        # Coins that the block makes itself are not there before it.
        own = {transaction.txid for transaction in block.transactions}
        utxo = UtxoSet({name: coin for name, coin in coins.items() if name.txid not in own})
        place = _place(block, int(facts["height"]))
        check_block_context(block, place, MAINNET)
        fees = connect_block(block, utxo, place, MAINNET).fees_satoshi
        paid = block.coinbase.value_out_satoshi
        ours = {
            "n_inputs": len(names),
            "total_in_sat": sum(coin.value_satoshi for coin in coins.values()),
            "total_out_sat_without_coinbase": sum(
                item.value_out_satoshi for item in block.transactions[1:]
            ),
            "fees_sat": fees,
            "subsidy_sat": MAINNET.subsidy_satoshi(int(facts["height"])),
            "coinbase_out_sat": paid,
        }
        for key, value in ours.items():
            if key in facts.get("expected", {}):
                expect(value, facts["expected"][key], key)


def _spent_output(row: list[Any]) -> TransactionOutput:
    """Amount and script of a spent coin, in whichever order the columns stand."""
    script, value = (row[2], row[3]) if isinstance(row[2], str) else (row[3], row[2])
    return TransactionOutput(int(value), bytes.fromhex(script))


def _block_that_spends(names: list[OutPoint], corpus: Corpus) -> Block:
    """The block of the folder whose inputs are these, in this order."""
    for file in corpus.of_kind("block"):
        block: Block = file.content[1]
        spent = [item.previous for tx in block.transactions[1:] for item in tx.inputs]
        if spent == names:
            return block
    raise NotCovered("the block that spends them is not in the folder")


JUDGES: dict[str, tuple[Judge, ...]] = {
    "merkle blocks": (_judge_merkle_blocks,),
    "block": (_judge_block,),
    "spent outputs": (_judge_spent_outputs,),
}
