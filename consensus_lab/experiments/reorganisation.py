"""What happens to the payments of a branch that loses?

Two miners extend the same block.  A node follows the branch that it saw first until the other has
more work; then it walks back and forward again.  Payments of the lost branch are mined again, but
for those whose coins the winning branch spent otherwise, and all that was paid from those.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.payment import Town
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.chain import Chain, Delivery
from consensus_lab.nakamoto.encoding import display_id
from consensus_lab.nakamoto.subsidy import SATOSHI_PER_COIN
from consensus_lab.nakamoto.transaction import Transaction, TransactionOutput
from consensus_lab.nakamoto.utxo import Coin, CoinView
from consensus_lab.nakamoto.validation import (
    apply_transaction,
    check_amounts,
    check_input_scripts,
    spent_coins,
)
from consensus_lab.nakamoto.wallet import OwnedCoin, Payment
from consensus_lab.node import ProtocolViolation

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

PAYMENT_SATOSHI = 10 * SATOSHI_PER_COIN
CONFIRMED, RETURNED, CONFLICTING = "confirmed on both", "mined again", "lost for ever"


class Parameters(ParameterSet):
    """The branches and their payments."""

    depth_blocks: int = parameter(
        3, unit="count", meaning="blocks of the branch that loses", minimum=1, maximum=50
    )
    payments_both: int = parameter(
        2, unit="count", meaning="payments that both branches hold", minimum=0, maximum=50
    )
    payments_once: int = parameter(
        3, unit="count", meaning="payments that only the losing branch holds",
        minimum=0, maximum=50,
    )  # fmt: skip
    payments_double_spent: int = parameter(
        2, unit="count", meaning="payments whose coins the winning branch pays to somebody else",
        minimum=0, maximum=50,
    )  # fmt: skip


class Fate(NamedTuple):
    """What became of a payment that left the chain with its block."""

    transaction: Transaction
    fate: str
    rule: str


class Story(NamedTuple):
    """A fork from beginning to end.

    `change` is the delivery that moved the tip; `fates` follow the order of the lost branch;
    `payments` are named by what they are for; `tips` hold the tip after each delivery.
    """

    town: Town
    blocks: dict[str, Block]
    tips: dict[str, str]
    change: Delivery
    fates: list[Fate]
    payments: dict[bytes, str]


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Fork a chain, let the second branch win, and mine again what came back.

    Returns
    -------
    Result
        `frame`: one row per block from the fork on, in order of delivery: block, parent, height,
        payments in it, the tip after its delivery, whether it is on the chain at the end.
    """
    import pandas

    story = play(parameters, progress)
    chain = story.town.chain
    counts = {fate: sum(one.fate == fate for one in story.fates)
              for fate in (CONFIRMED, RETURNED, CONFLICTING)}  # fmt: skip
    exact = {
        "reorganisations": chain.statistics.reorganisations,
        "reorganisation_depth_blocks": chain.statistics.reorganisation_depth_max,
        "stale_blocks": len(chain.stale_nodes()),
        "payments_confirmed_on_both": counts[CONFIRMED],
        "payments_mined_again": counts[RETURNED],
        "payments_lost": counts[CONFLICTING],
        "coins_spent_twice": coins_spent_twice(chain),
        "satoshi_too_many": chain.utxo.total_satoshi - sum(
            chain.rules.subsidy_satoshi(node.height) for node in chain.active[1:]
        ),
    }  # fmt: skip
    measures = [
        Measure(name, value, value, value, "satoshi" if "satoshi" in name else "count", 1)
        for name, value in exact.items()
    ]
    frame = pandas.DataFrame(_rows(story))
    return Result("reorganisation", parameters, frame, measures, draw=figure, notes=[
        "A payment is lost when its coin was spent otherwise, or when it spends a lost payment.",
        "Nothing is drawn at random but the keys: every value is exact.",
    ])  # fmt: skip


def play(parameters: Parameters, progress: Progress = quiet) -> Story:
    """Build both branches on one block, deliver the second one later, and mine again."""
    double = parameters.payments_double_spent
    n_payments = parameters.payments_both + parameters.payments_once + double
    steps = 2 * parameters.depth_blocks + 3
    town = Town(parameters.seed)
    # One ripe coin per payment.
    town.mine_until_ripe(coinbases=max(1, n_payments))
    names, old, second = _payments(town, parameters)
    fork = town.chain.tip
    blocks: dict[str, Block] = {"fork": town.chain.blocks[fork.block_id]}
    tips: dict[str, str] = {}
    block_names = {fork.block_id: "fork"}

    def deliver(name: str, block: Block) -> Delivery:
        blocks[name] = block
        block_names[block.block_id] = name
        done = town.deliver(block)
        tips[name] = block_names[town.chain.tip.block_id]
        progress(len(tips), steps, "blocks")
        return done

    # Branch A: all payments in its first blocks; what spends another payment comes last.
    parts = _split(old, parameters.depth_blocks)
    for number, part in enumerate(parts, 1):
        deliver(f"A{number}", _block(town, part))
    # Branch B: one block more, of a miner who heard of branch A too late.
    parent, change = fork, None
    for number in range(1, parameters.depth_blocks + 2):
        held = second if number == 1 else []
        change = deliver(f"B{number}", _block(town, held, parent=parent))
        parent = change.node
    assert change is not None
    assert change.disconnected, "the longer branch has won"
    fates = fates_of(town.chain, change)
    fees = {payment.transaction.txid: payment.fee_satoshi for payment in old}
    again = [Payment(one.transaction, fees[one.transaction.txid]) for one in fates
             if one.fate == RETURNED]  # fmt: skip
    deliver(f"B{parameters.depth_blocks + 2}", _block(town, again))
    return Story(town, blocks, tips, change, fates, names)


def _payments(
    town: Town, parameters: Parameters
) -> tuple[dict[bytes, str], list[Payment], list[Payment]]:
    """Names of the payments, those of branch A, and those of branch B."""
    alice, bob = town.wallets["alice"], town.wallets["bob"]
    names: dict[bytes, str] = {}
    old, second = [], []
    kinds = ["both"] * parameters.payments_both + ["once"] * parameters.payments_once
    for kind in kinds + ["double"] * parameters.payments_double_spent:
        coin = alice.spendable()[0]
        payment = alice.pay(bob.address(), PAYMENT_SATOSHI)
        assert payment.transaction.inputs[0].previous == coin.name
        old.append(payment)
        names[payment.transaction.txid] = kind
        if kind == "both":
            second.append(payment)
        if kind == "double":
            second.append(_back_to_alice(town, coin, payment.fee_satoshi))
            names[second[-1].transaction.txid] = "second spend"
    doubled = [one for one in old if names[one.transaction.txid] == "double"]
    if doubled:
        old.append(_paid_on(town, doubled[0]))
        names[old[-1].transaction.txid] = "paid on"
    return names, old, second


def _back_to_alice(town: Town, coin: OwnedCoin, fee_satoshi: int) -> Payment:
    """Alice spends the coin of a payment a second time, to herself."""
    alice = town.wallets["alice"]
    output = TransactionOutput(coin.coin.value_satoshi - fee_satoshi, alice.scripts[0])
    return Payment(alice.sign([coin], (output,)), fee_satoshi)


def _paid_on(town: Town, payment: Payment) -> Payment:
    """Bob pays on what he just got to Mallory, before anybody knows whether it stays his."""
    bob, transaction = town.wallets["bob"], payment.transaction
    got = OwnedCoin(transaction.out_point(0), Coin(transaction.outputs[0], 0, False), 0)
    fee_satoshi = payment.fee_satoshi
    value = transaction.outputs[0].value_satoshi - fee_satoshi
    output = TransactionOutput(value, town.wallets["mallory"].scripts[0])
    return Payment(bob.sign([got], (output,)), fee_satoshi)


def _split(payments: Sequence[Payment], parts: int) -> list[Sequence[Payment]]:
    """As even parts as possible, in order."""
    edges = [len(payments) * number // parts for number in range(parts + 1)]
    return [payments[low:high] for low, high in pairwise(edges)]


def _block(town: Town, payments: Sequence[Payment], **place: Any) -> Block:
    fees = sum(payment.fee_satoshi for payment in payments)
    return town.block([one.transaction for one in payments], fees_satoshi=fees, **place)


def fates_of(chain: Chain, change: Delivery) -> list[Fate]:
    """What becomes of the payments of the blocks that left, judged on the new branch.

    Parameters
    ----------
    chain : Chain
        After the reorganisation.
    change : Delivery
        That made it.
    """
    confirmed = {one.txid for block in change.connected for one in block.transactions}
    view, height = CoinView(chain.utxo), chain.height + 1
    flags = chain.rules.script_flags(height, bytes(32))
    fates = []
    # The old tip left first, but payments return in the order in which they were mined.
    left = [one for block in reversed(change.disconnected) for one in block.transactions[1:]]
    for transaction in left:
        if transaction.txid in confirmed:
            fates.append(Fate(transaction, CONFIRMED, ""))
            continue
        try:
            coins = spent_coins(transaction, view)
            ripe = chain.rules.maturity_blocks
            check_amounts(transaction, coins, height=height, maturity_blocks=ripe)
            check_input_scripts(transaction, coins, flags, chain.scripts)
        except ProtocolViolation as violation:
            fates.append(Fate(transaction, CONFLICTING, violation.rule))
            continue
        apply_transaction(transaction, view, height)
        fates.append(Fate(transaction, RETURNED, ""))
    return fates


def coins_spent_twice(chain: Chain) -> int:
    """Coins that two transactions of the best branch spend; 0 if the ledger is worth anything."""
    spent = [
        item.previous
        for node in chain.active
        for transaction in chain.blocks[node.block_id].transactions[1:]
        for item in transaction.inputs
    ]
    return len(spent) - len(set(spent))


def other_order(story: Story) -> tuple[Chain, list[str]]:
    """A node that sees branch B first: its chain, and its tip after each delivery."""
    named = story.blocks
    later = [named[name] for name in named if name.startswith("A")]
    first = [named[name] for name in named if name.startswith("B")]
    chain = Chain(story.town.chain.rules)
    both = {block.block_id for block in [*first, *later]}
    common = [block for block in story.town.delivered if block.block_id not in both]
    names = {block.block_id: name for name, block in named.items()}
    tips = []
    for block in [*common, *first, *later]:
        chain.deliver(block, now_s=block.header.time_s)
        if block.block_id in both:
            tips.append(names[chain.tip.block_id])
    return chain, tips


def _rows(story: Story) -> list[dict[str, Any]]:
    """One row per block from the fork on."""
    names = {block.block_id: name for name, block in story.blocks.items()}
    nodes, chain = story.town.chain.tree.nodes, story.town.chain
    return [
        {
            "block": name, "parent": names.get(block.header.previous, ""),
            "height": nodes[block.block_id].height, "payments": len(block.transactions) - 1,
            "tip_afterwards": story.tips.get(name, name),
            "is_on_chain": chain.is_active(nodes[block.block_id]),
            "block_id": display_id(block.block_id),
        }
        for name, block in story.blocks.items()
    ]  # fmt: skip


def fates_frame(story: Story) -> pandas.DataFrame:
    """One row per payment of the lost branch: what it is for, its fate, the rule against it."""
    import pandas

    return pandas.DataFrame([
        {"payment": story.payments[one.transaction.txid], "fate": one.fate, "rule": one.rule,
         "txid": display_id(one.transaction.txid)[:16]}
        for one in story.fates
    ])  # fmt: skip


def figure(result: Result) -> Figure:
    """The block tree, and the step from one tip to the other."""
    from consensus_lab.report.chains import Reorganisation, block_tree

    frame, depth = result.frame, result.parameters.depth_blocks
    value = {one.quantity: one.value for one in result.measures}
    new_tip = frame.loc[frame["block"] == f"B{depth + 1}", "block"].item()
    return block_tree(
        frame, reorganisations=[Reorganisation(f"A{depth}", new_tip, f"{new_tip} arrives")],
        title=f"{value['payments_mined_again']} payments are mined again, "
        f"{value['payments_lost']} are lost",
        detail="branch A was seen first; coins paid twice: "
        f"{result.parameters.payments_double_spent}, spent twice: {value['coins_spent_twice']}",
    )  # fmt: skip
