"""When is a payment money, and which copies of it does everybody refuse?

A coin is mined, grows ripe, is paid with change, signed and buried under blocks.  Then others try
what the essay says nobody can do: forge the signature, alter the amounts, spend the coin again.
Every attempt stands in a block with a real proof of work and is refused by the name of its rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.block_tree import BlockNode
from consensus_lab.nakamoto.chain import Chain, Delivery
from consensus_lab.nakamoto.encoding import display_id, sha256
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import COINBASE_MATURITY_BLOCKS, REGTEST
from consensus_lab.nakamoto.script import push
from consensus_lab.nakamoto.sighash import ALL, SignatureHasher
from consensus_lab.nakamoto.subsidy import SATOSHI_PER_COIN
from consensus_lab.nakamoto.transaction import Transaction, TransactionOutput
from consensus_lab.nakamoto.wallet import DUST_SATOSHI, OwnedCoin, Payment, Wallet

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

START_S = 1_700_000_000
SPACING_S = 600
PEOPLE = ("alice", "bob", "mallory", "miner")


class Parameters(ParameterSet):
    """The payment, and how deep it is buried."""

    payment_satoshi: int = parameter(
        10 * SATOSHI_PER_COIN, unit="satoshi", meaning="what Alice pays Bob, out of 50 coins",
        minimum=DUST_SATOSHI, maximum=49 * SATOSHI_PER_COIN,
    )  # fmt: skip
    fee_rate_satoshi_per_byte: int = parameter(
        10, unit="satoshi/byte", meaning="what the miner gets", minimum=0, maximum=10_000
    )
    n_confirmations: int = parameter(
        6, unit="count", meaning="blocks that bury the payment, its own included",
        minimum=1, maximum=1000,
    )  # fmt: skip


class Town:
    """One chain and the wallets of a few people; whoever mines tells all of them.

    Parameters
    ----------
    seed : int
        Gives everybody's keys.
    """

    def __init__(self, seed: int = 1) -> None:
        self.chain = Chain(REGTEST)
        self.wallets = {
            name: Wallet(sha256(f"{name} {seed}".encode()), address_format=REGTEST.address_format)
            for name in PEOPLE
        }
        # Every block that was delivered, in order, the refused ones included.
        self.delivered: list[Block] = []

    def block(
        self, transactions: Sequence[Transaction] = (), *, fees_satoshi: int = 0,
        miner: str = "miner", parent: BlockNode | None = None,
    ) -> Block:  # fmt: skip
        """Mine a block on the tip, or on another parent, without delivering it."""
        height = (parent or self.chain.tip).height + 1
        template = block_template(
            self.chain, script_pubkey=self.wallets[miner].scripts[0],
            now_s=START_S + SPACING_S * height, transactions=transactions,
            fees_satoshi=fees_satoshi, parent=parent,
            tag=len(self.delivered).to_bytes(4, "little"),
        )  # fmt: skip
        return mine(template)

    def deliver(self, block: Block) -> Delivery:
        """Hand a block to the chain, and what left and joined to the wallets."""
        self.delivered.append(block)
        done = self.chain.deliver(block, now_s=block.header.time_s)
        if done.invalid:
            return done  # What left came back: the wallets need not hear of it.
        nodes = self.chain.tree.nodes
        for wallet in self.wallets.values():
            for left in done.disconnected:
                wallet.disconnect(left, height=nodes[left.block_id].height)
            for joined in done.connected:
                wallet.connect(joined, height=nodes[joined.block_id].height)
        return done

    def mine(self, *payments: Payment, miner: str = "miner") -> Delivery:
        """Mine the next block with these payments, and deliver it."""
        fees = sum(payment.fee_satoshi for payment in payments)
        transactions = [payment.transaction for payment in payments]
        return self.deliver(self.block(transactions, fees_satoshi=fees, miner=miner))

    def mine_until_ripe(self, *, coinbases: int = 1) -> None:
        """Alice mines the first blocks, the miner the others until hers may be spent."""
        for number in range(COINBASE_MATURITY_BLOCKS + coinbases - 1):
            self.mine(miner="alice" if number < coinbases else "miner")

    def coins_of(self, name: str) -> float:
        """What somebody could spend in the next block, in coins."""
        owned = self.wallets[name].spendable()
        return sum(one.coin.value_satoshi for one in owned) / SATOSHI_PER_COIN


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Mine, wait, pay, bury, and try every forgery.

    Returns
    -------
    Result
        `frame`: one row per delivered block, in order: height, what it is, whether it joined the
        chain, the rule that it broke, the detail, what Alice and Bob could spend afterwards (coin).
    """
    import pandas

    town, payment, rows = play(parameters, progress)
    frame = pandas.DataFrame(rows)
    attempts = frame[~frame["joined"]]
    fee, size = payment.fee_satoshi, payment.transaction.size_bytes
    place = town.chain.active[frame.loc[frame["what"] == "payment", "height"].item()]
    exact = {
        "fee_satoshi": (fee, "satoshi"),
        "fee_rate_satoshi_per_byte": (fee / size, "satoshi/byte"),
        "confirmations": (town.chain.confirmations(place), "count"),
        "attempts": (len(attempts), "count"),
        "attempts_refused_by_name": (int(attempts["rule"].astype(bool).sum()), "count"),
        "supply_coin": (town.chain.utxo.total_satoshi / SATOSHI_PER_COIN, "coin"),
    }
    measures = [Measure(name, value, value, value, unit, 1) for name, (value, unit) in
                exact.items()]  # fmt: skip
    return Result("payment", parameters, frame, measures, draw=figure, notes=[
        "Nothing is drawn at random but the keys: every value is exact.",
        "Blocks are mined at the difficulty of Bitcoin Core's regression test network.",
    ])  # fmt: skip


def play(
    parameters: Parameters, progress: Progress = quiet
) -> tuple[Town, Payment, list[dict[str, Any]]]:
    """The whole story; returns the town, Alice's payment and a row per delivered block."""
    town, rows = Town(parameters.seed), []
    steps = COINBASE_MATURITY_BLOCKS + parameters.n_confirmations

    def note(done: Delivery, what: str) -> None:
        violation = done.invalid[0].violation if done.invalid else None
        rows.append({
            "height": done.node.height, "what": what, "joined": violation is None,
            "rule": violation.rule if violation else "",
            "detail": _words(violation) if violation else "",
            "alice_coins": town.coins_of("alice"), "bob_coins": town.coins_of("bob"),
        })  # fmt: skip
        progress(min(town.chain.height, steps), steps, "blocks")

    note(town.mine(miner="alice"), "Alice's subsidy")
    early = _spend(town, _owned(town, "alice")[:1])
    note(_attempt(town, early), "spent before it is ripe")
    while not town.wallets["alice"].spendable():
        note(town.mine(), "subsidy")
    coin = town.wallets["alice"].spendable()[0]
    payment = town.wallets["alice"].pay(
        town.wallets["bob"].address(), parameters.payment_satoshi,
        fee_rate_satoshi_per_byte=parameters.fee_rate_satoshi_per_byte,
    )  # fmt: skip
    for what, transactions in forgeries(town, payment, coin).items():
        note(_attempt(town, *transactions), what)
    note(town.deliver(town.block(fees_satoshi=1)), "miner pays himself 1 satoshi too much")
    note(town.mine(payment), "payment")
    note(_attempt(town, payment.transaction), "the same payment in another block")
    for _ in range(parameters.n_confirmations - 1):
        note(town.mine(), "subsidy")
    note(_attempt(town, _spend(town, [coin])), "the coin spent again, after it was buried")
    return town, payment, rows


def forgeries(town: Town, payment: Payment, coin: OwnedCoin) -> dict[str, list[Transaction]]:
    """What Mallory, or Alice herself, may try instead of the payment, each as a block's content.

    Parameters
    ----------
    town : Town
        Where Mallory has a wallet.
    payment : Payment
        Signed, not yet confirmed.
    coin : OwnedCoin
        What it spends.
    """
    real, mallory = payment.transaction, town.wallets["mallory"]
    first, *others = real.outputs
    more = first._replace(value_satoshi=first.value_satoshi + 1)
    stolen = first._replace(script_pubkey=mallory.scripts[0])
    wrong_key = mallory.sign([coin], (stolen, *others))
    owners_key = town.wallets["alice"].public_keys[0]
    digest = SignatureHasher(wrong_key).legacy(0, coin.coin.output.script_pubkey, ALL)
    forged = push(keys.sign(sha256(b"a guess"), digest) + bytes((ALL,))) + push(owners_key)
    item = wrong_key.inputs[0]._replace(script_sig=forged)
    too_much = (TransactionOutput(coin.coin.value_satoshi + 1, mallory.scripts[0]),)
    return {
        "amount altered after signing": [replace(real, outputs=(more, *others))],
        "payee altered after signing": [replace(real, outputs=(stolen, *others))],
        "signed with Mallory's key": [wrong_key],
        "Alice's key, signature of a guessed one": [replace(wrong_key, inputs=(item,))],
        "more paid than there is": [town.wallets["alice"].sign([coin], too_much)],
        "the coin spent twice in one block": [real, _spend(town, [coin])],
    }


def _owned(town: Town, name: str) -> list[OwnedCoin]:
    """Somebody's coins, ripe or not, found in the ledger as anybody could."""
    script = town.wallets[name].scripts[0]
    coins = town.chain.utxo.coins()
    return [
        OwnedCoin(out, coin, 0) for out, coin in coins.items()
        if coin.output.script_pubkey == script
    ]  # fmt: skip


def _spend(town: Town, coins: list[OwnedCoin]) -> Transaction:
    """Alice pays these coins back to herself, properly signed."""
    alice = town.wallets["alice"]
    value = sum(one.coin.value_satoshi for one in coins)
    return alice.sign(coins, (TransactionOutput(value, alice.scripts[0]),))


def _attempt(town: Town, *transactions: Transaction) -> Delivery:
    """Deliver a block with these; the miner takes no fee, so that nothing else is wrong."""
    return town.deliver(town.block(transactions))


def _words(violation: Exception) -> str:
    """The detail of a violation, cut where a table would burst."""
    detail = str(getattr(violation, "detail", ""))
    return detail if len(detail) <= 100 else detail[:97] + "..."


def core_verdicts(blocks: Iterable[Block]) -> pandas.DataFrame | None:
    """What Bitcoin Core's own engine says to the same blocks; None when it is not installed.

    Parameters
    ----------
    blocks : iterable of Block
        On regtest, in the order of delivery.

    Returns
    -------
    DataFrame
        One row per block: its identity, whether Core took it, the rule that it broke, the height
        and identity of Core's tip afterwards.
    """
    import pandas

    from consensus_lab.live.bitcoin import CoreEngine
    from consensus_lab.node import ParameterError

    rows = []
    try:
        with CoreEngine() as engine:
            for block in blocks:
                verdict = engine.deliver(block.serialize())
                rules = [verdict.rule] if verdict.rule else [one.rule for one in verdict.failures]
                rows.append({
                    "block": display_id(block.block_id), "joined": not rules,
                    "rule": str(rules[0]) if rules else "", "tip_height": verdict.height,
                    "tip": display_id(verdict.tip_id),
                })  # fmt: skip
    except ParameterError:
        return None  # The optional package is not there: the caller says so and goes on.
    return pandas.DataFrame(rows)


def figure(result: Result) -> Figure:
    """What Alice and Bob could spend after each block around the payment."""
    import pandas

    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["joined"]]
    paid = frame.loc[frame["what"] == "payment", "height"].item()
    near = frame[frame["height"] >= paid - 6]
    parts = [
        pandas.DataFrame({"height": near["height"], "who": name.title(),
                          "coins": near[f"{name}_coins"]})
        for name in ("alice", "bob")
    ]  # fmt: skip
    parameters, refused = result.parameters, int((~result.frame["joined"]).sum())
    return curve_with_band(
        pandas.concat(parts), x="height", y="coins", group="who",
        x_label="height of the chain (blocks)", y_label="can be spent in the next block (coin)",
        title=f"Paid at height {paid}; {refused} forgeries changed nothing",
        detail=f"ripe after {COINBASE_MATURITY_BLOCKS} blocks, payment "
        f"{parameters.payment_satoshi / SATOSHI_PER_COIN:g} coin, fee "
        f"{result.measure('fee_satoshi').value:,} satoshi, {parameters.n_confirmations} "
        "confirmations",
    )  # fmt: skip
