"""A wallet pays, gets change and signs; what is forged, changed or spent twice is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from consensus_lab.nakamoto.address import REGTEST_FORMAT
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.script import push
from consensus_lab.nakamoto.transaction import TransactionOutput
from consensus_lab.nakamoto.wallet import DUST_SATOSHI, InsufficientFunds, Wallet
from consensus_lab.node import ParameterError, ProtocolViolation

COIN = 100_000_000
MATURITY = 100
START_S = 1_700_000_000
NOW_S = START_S + 10**7


class Town:
    """A chain, a miner's wallet with one mature coin, and two other wallets."""

    def __init__(self) -> None:
        self.chain = Chain(REGTEST)
        self.miner, self.alice, self.bob = (
            Wallet(name * 16, address_format=REGTEST_FORMAT) for name in (b"m", b"a", b"b")
        )
        for _ in range(MATURITY):
            self.mine()

    def mine(self, *payments, parent=None):
        """Mine a block with these payments and tell the wallets; returns its delivery."""
        template = block_template(
            self.chain,
            script_pubkey=self.miner.scripts[0],
            now_s=START_S + 600 * self.chain.height,
            transactions=[payment.transaction for payment in payments],
            fees_satoshi=sum(payment.fee_satoshi for payment in payments),
            parent=parent,
            tag=len(self.chain.tree.nodes).to_bytes(4, "little"),
        )
        return self.deliver(mine(template))

    def deliver(self, block):
        """Deliver a block and tell the wallets what left and what joined."""
        done = self.chain.deliver(block, now_s=NOW_S)
        for wallet in (self.miner, self.alice, self.bob):
            for left in done.disconnected:
                wallet.disconnect(left, height=self.chain.tree.nodes[left.block_id].height)
            for joined in done.connected:
                wallet.connect(joined, height=self.chain.tree.nodes[joined.block_id].height)
        return done

    def failure(self, *payments):
        """Mine a block that must fail; returns the rule and its detail."""
        done = self.mine(*payments)
        assert len(done.invalid) == 1
        return done.invalid[0].violation


@pytest.fixture
def town():
    """A new town."""
    return Town()


def test_a_payment_destroys_a_coin_and_makes_two(town):
    """The essay's example: A has 50, pays 10, and keeps the rest less the fee."""
    assert len(town.miner.spendable()) == 1
    payment = town.miner.pay(town.alice.address(), 10 * COIN)
    assert [output.value_satoshi for output in payment.transaction.outputs] == [
        10 * COIN,
        40 * COIN - payment.fee_satoshi,
    ]
    town.mine(payment)
    assert town.alice.balance_satoshi == 10 * COIN
    # The miner lost 10, got the fee back, and a new subsidy.
    assert town.miner.balance_satoshi == MATURITY * 50 * COIN - 10 * COIN + 50 * COIN
    back = town.alice.pay(town.bob.address(), 3 * COIN)
    town.mine(back)
    assert town.bob.balance_satoshi == 3 * COIN
    assert town.alice.balance_satoshi == 7 * COIN - back.fee_satoshi


def test_fees_pay_for_the_size(town):
    """At n satoshi per byte the fee is at least n times the size, and not much more."""
    for rate in (1, 7, 50):
        payment = town.miner.pay(town.alice.address(), COIN, fee_rate_satoshi_per_byte=rate)
        size = payment.transaction.size_bytes
        assert rate * size <= payment.fee_satoshi <= rate * (size + 4)
        town.mine(payment)


def test_change_below_dust_goes_to_the_miner(town):
    """A coin that costs more than it is worth is not made."""
    available = town.miner.spendable()[0].coin.value_satoshi
    payment = town.miner.pay(town.alice.address(), available - 500)
    assert len(payment.transaction.outputs) == 1
    assert payment.fee_satoshi == 500
    town.mine(payment)


def test_coins_in_a_payment_are_set_aside_until_released(town):
    """A wallet does not double-spend by accident."""
    payment = town.miner.pay(town.alice.address(), COIN)
    with pytest.raises(InsufficientFunds):
        town.miner.pay(town.bob.address(), COIN)
    town.miner.release(payment.transaction)
    assert town.miner.pay(town.bob.address(), COIN)


def test_several_coins_are_combined(town):
    """More than any coin holds takes several, each signed by itself."""
    for _ in range(4):
        town.mine()
    payment = town.miner.pay(town.alice.address(), 170 * COIN)
    assert len(payment.transaction.inputs) == 4
    town.mine(payment)
    assert town.alice.balance_satoshi == 170 * COIN


def test_a_reorganisation_takes_the_payment_back(town):
    """What a block brought is gone with it, until the payment is mined again."""
    fork = town.chain.tip
    payment = town.miner.pay(town.alice.address(), COIN)
    town.mine(payment)
    assert town.alice.balance_satoshi == COIN
    town.mine(parent=fork)
    town.mine(parent=town.chain.tree.nodes[fork.children[1].block_id])
    assert town.alice.balance_satoshi == 0
    # The payment is waiting to be mined again, so its coin is not free.
    assert payment.transaction.inputs[0].previous not in {
        owned.name for owned in town.miner.spendable()
    }
    town.mine(payment)
    assert town.alice.balance_satoshi == COIN


def test_a_changed_payment_is_refused(town):
    """The essay's forgery: "A pays B 100" becomes "A pays C 10,000"."""
    payment = town.miner.pay(town.alice.address(), COIN)
    stolen = TransactionOutput(COIN, town.bob.scripts[0])
    changed = replace(payment.transaction, outputs=(stolen, payment.transaction.outputs[1]))
    violation = town.failure(payment._replace(transaction=changed))
    assert violation.rule == "block-script-verify-flag-failed"
    assert "false/empty top stack element" in violation.detail
    assert town.bob.balance_satoshi == 0


def test_a_payment_with_a_foreign_key_is_refused(town):
    """A thief's own key does not hash to the owner's address."""
    payment = town.miner.pay(town.alice.address(), COIN)
    item = payment.transaction.inputs[0]
    signature = item.script_sig[: 1 + item.script_sig[0]]
    forged = item._replace(script_sig=signature + push(town.bob.public_keys[0]))
    changed = replace(payment.transaction, inputs=(forged,))
    violation = town.failure(payment._replace(transaction=changed))
    assert violation.detail == "Script failed an OP_EQUALVERIFY operation"


def test_a_double_spend_is_refused_in_one_block_and_in_the_next(town):
    """Both payments are signed properly; only one can be mined."""
    first = town.miner.pay(town.alice.address(), COIN)
    town.miner.release(first.transaction)
    second = town.miner.pay(town.bob.address(), COIN)
    assert town.failure(first, second).rule == "bad-txns-inputs-missingorspent"
    town.mine(first)
    assert town.failure(second).rule == "bad-txns-inputs-missingorspent"
    assert (town.alice.balance_satoshi, town.bob.balance_satoshi) == (COIN, 0)


def test_a_young_coinbase_cannot_be_spent(town):
    """Mature at 100 blocks, not at 99."""
    young = [o for o in town.miner._coins.values() if o.coin.height == town.chain.height - 98]
    outputs = (TransactionOutput(COIN, town.alice.scripts[0]),)
    payment = town.miner.pay(town.alice.address(), COIN)
    early = payment._replace(transaction=town.miner.sign(young, outputs), fee_satoshi=0)
    violation = town.failure(early)
    assert violation.rule == "bad-txns-premature-spend-of-coinbase"
    assert "after 99 blocks" in violation.detail


def test_mistakes_of_the_user_are_named(town):
    """Amounts, addresses, seeds."""
    with pytest.raises(InsufficientFunds, match="value_satoshi"):
        town.alice.pay(town.bob.address(), COIN)
    with pytest.raises(ParameterError, match="value_satoshi"):
        town.miner.pay(town.bob.address(), DUST_SATOSHI - 1)
    with pytest.raises(ParameterError, match="fee_rate"):
        town.miner.pay(town.bob.address(), COIN, fee_rate_satoshi_per_byte=-1)
    with pytest.raises(ProtocolViolation, match="bad-address"):
        town.miner.pay("1BitcoinEaterAddressDontSendf59kuF", COIN)
    with pytest.raises(ParameterError, match="seed"):
        Wallet(b"short")
    with pytest.raises(ParameterError, match="key_count"):
        Wallet(b"s" * 16, key_count=0)
    error = pickle.loads(pickle.dumps(InsufficientFunds(5, 3)))
    assert str(error) == str(InsufficientFunds(5, 3))


def test_the_same_seed_gives_the_same_signatures():
    """Deterministic nonces: two runs make identical payments."""
    first, second = (Town().miner.pay(b"\x51", COIN).transaction for _ in range(2))
    assert first.serialize() == second.serialize()
