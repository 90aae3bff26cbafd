"""How fast the ledger is: headers, a real block with all its signatures, a whole regtest chain.

    python benchmarks/ledger.py [REFERENCE_FOLDER]

The real block needs the folder of reference data (or CONSENSUS_LAB_REFERENCE).  Nothing is
cached between the measured steps but what a node itself would have cached.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.block import check_block, parse_block
from consensus_lab.nakamoto.block_tree import BlockTree
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.encoding import parse_id
from consensus_lab.nakamoto.header import BlockHeader, parse_header
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import MAINNET, REGTEST
from consensus_lab.nakamoto.pow import search_nonce
from consensus_lab.nakamoto.transaction import OutPoint, TransactionOutput
from consensus_lab.nakamoto.utxo import Coin, UtxoSet
from consensus_lab.nakamoto.validation import BlockPlace, check_block_context, connect_block
from consensus_lab.nakamoto.wallet import Wallet

HEADERS = 20_000
REGTEST_BLOCKS = 2_000
FAR_FUTURE_S = 1 << 32


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def report(name: str, times: tuple[float, float], promised_s: float) -> None:
    """One line: what, how long, and what was promised."""
    wall, cpu = times
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verdict = "ok" if min(wall, cpu) <= promised_s else "TOO SLOW"
    print(
        f"{name}: {wall:.2f} s wall, {cpu:.2f} s CPU, promised {promised_s:g} s: {verdict}; "
        f"peak memory {memory_mb:.0f} MB"
    )


def make_headers(count: int) -> bytes:
    """A chain of headers without transactions, 80 bytes each."""
    previous, pieces = REGTEST.genesis.header, []
    for number in range(count):
        header = search_nonce(
            BlockHeader(
                4,
                previous.block_id,
                number.to_bytes(32, "big"),
                previous.time_s + 600,
                previous.nbits,
                0,
            )
        )
        assert header is not None
        pieces.append(header.serialize())
        previous = header
    return b"".join(pieces)


def verify_headers(data: bytes) -> None:
    """Parse, hash, check work, link, target, median time and version of every header."""
    tree = BlockTree(REGTEST)
    for start in range(0, len(data), 80):
        tree.add_header(parse_header(data[start : start + 80]), now_s=FAR_FUTURE_S)
    assert len(tree.nodes) == len(data) // 80 + 1


def validate_real_block(folder: Path) -> None:
    """Block 300025: from its bytes to every one of its 1427 scripts, fees to the satoshi."""
    facts = json.loads((folder / "block_300025_prevouts.json").read_text())
    block = parse_block((folder / "block_300025.raw").read_bytes())
    own = {transaction.txid for transaction in block.transactions}
    coins = {}
    for txid, index, value, script in facts["prevouts"]:
        name = OutPoint(parse_id(txid), index)
        if name.txid not in own:
            coins[name] = Coin(TransactionOutput(value, bytes.fromhex(script)), 0, False)
    place = BlockPlace(facts["height"], block.header.time_s - 1, lambda _: 0)
    check_block(block, target_max=MAINNET.retarget.target_max)
    check_block_context(block, place, MAINNET)
    done = connect_block(block, UtxoSet(coins), place, MAINNET)
    assert done.fees_satoshi == facts["expected"]["fees_sat"]


def build_chain(count: int) -> Chain:
    """Mine so many blocks, each with a payment once there is money; then validate all anew."""
    chain = Chain(REGTEST)
    miner, shop = Wallet(b"m" * 16), Wallet(b"s" * 16)
    blocks = []
    for number in range(count):
        payments = []
        if miner.spendable() and chain.rules.subsidy_satoshi(chain.height) > 100_000:
            payments.append(miner.pay(shop.scripts[0], 50_000))
        template = block_template(
            chain,
            script_pubkey=miner.scripts[0],
            now_s=1_700_000_000 + 600 * number,
            transactions=[payment.transaction for payment in payments],
            fees_satoshi=sum(payment.fee_satoshi for payment in payments),
        )
        block = mine(template)
        done = chain.deliver(block, now_s=FAR_FUTURE_S)
        assert done.connected == (block,)
        for wallet in (miner, shop):
            wallet.connect(block, height=chain.height)
        blocks.append(block.serialize())
    keys.verify.cache_clear()
    fresh = Chain(REGTEST)
    for data in blocks:
        fresh.deliver(parse_block(data), now_s=FAR_FUTURE_S)
    assert fresh.tip.block_id == chain.tip.block_id
    return chain


def main(arguments: list[str]) -> None:
    """Run everything once."""
    headers = make_headers(HEADERS)
    report(f"{HEADERS} headers verified", timed(lambda: verify_headers(headers)), 1.0)
    reference = arguments[0] if arguments else os.environ.get("CONSENSUS_LAB_REFERENCE", "")
    folder = Path(reference) / "bitcoin" / "blocks"
    if folder.is_dir():
        keys.verify.cache_clear()
        report(
            "block 300025 (1427 inputs) validated", timed(lambda: validate_real_block(folder)), 2.0
        )
    else:
        print("block 300025: not measured, give the folder of reference data")
    keys.verify.cache_clear()
    name = f"regtest chain of {REGTEST_BLOCKS} blocks built, mined, validated twice"
    report(name, timed(lambda: build_chain(REGTEST_BLOCKS)), 60.0)


if __name__ == "__main__":
    main(sys.argv[1:])
