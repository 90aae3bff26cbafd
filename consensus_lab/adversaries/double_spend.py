"""Double spending: one coin is paid to a merchant and, in another history, back to its owner.

Rules of this file: Nodes around an honest `FullNode`, which keeps speaking for them in public.

Theory of operation.  The merchant hands over the goods when it sees the payment under z blocks.

- *Race* (z = 0): the payment is told to the merchant alone and the second spend to everybody
  else, at the same moment.  A node keeps what it heard first, and so does the next block's miner.
- *Finney attack* (z = 0; Hal Finney, 2011): a block with the second spend is mined first and held
  back; then comes the payment, and as soon as the goods are here, the block.
- *Private chain* (any z; Nakamoto 2008 section 11): from the block before the payment on the
  attacker mines a branch of its own with the second spend.  Once the goods are here it publishes
  the branch as soon as that is longer than the public one, or gives up when it is too far behind.

The last two are one attack: `premined_blocks` says how far the branch has to be before the payment
is told.  Nodes stay with the branch that they saw first, so the branch has to be strictly longer;
with one block mined in advance that is as likely as drawing level without (Rosenfeld 2014).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from consensus_lab.adversaries.private_branch import PrivateBranch
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import Found, TransactionMessage
from consensus_lab.nakamoto.transaction import Transaction, TransactionOutput
from consensus_lab.nakamoto.wallet import Wallet
from consensus_lab.node import Effects, Message, NodeId, Note, ParameterError, Send

GIVE_UP_DEFICIT = 30
"""Blocks behind at which a private chain is given up; from there 30 % of the hash power would
catch up once in 10^11 attempts."""


class Defraud(NamedTuple):
    """Command: pay that payee, and see to it that the coin comes back."""

    payee: str | bytes
    value_satoshi: int
    fee_rate_satoshi_per_byte: int = 10


class Delivered(NamedTuple):
    """Command: the goods are here, the payment may go."""


class Conflict(NamedTuple):
    """A payment and a second spend of the same coins, back to their owner, with the same fee."""

    payment: Transaction
    second: Transaction
    fee_satoshi: int


def conflicting_pair(wallet: Wallet, command: Defraud) -> Conflict:
    """Sign two payments of the same coins.

    Raises
    ------
    InsufficientFunds
        When the wallet's coins do not suffice.
    """
    owned = {coin.name: coin for coin in wallet.spendable()}
    payment, fee = wallet.pay(
        command.payee,
        command.value_satoshi,
        fee_rate_satoshi_per_byte=command.fee_rate_satoshi_per_byte,
    )
    coins = [owned[item.previous] for item in payment.inputs]
    value = sum(one.coin.value_satoshi for one in coins) - fee
    second = wallet.sign(coins, (TransactionOutput(value, wallet.scripts[0]),))
    assert second.txid != payment.txid
    return Conflict(payment, second, fee)


def tell(transaction: Transaction, peers: Iterable[NodeId]) -> Effects:
    """Send a payment to these, unasked."""
    data = transaction.serialize()
    return [Send(peer, TransactionMessage(data)) for peer in sorted(peers)]


class RaceSpender:
    """Tells the merchant one thing and everybody else another.

    Parameters
    ----------
    node : FullNode
        Its public face.
    merchants : iterable of int
        Peers that hear of the payment; all other peers hear of the second spend.
    """

    def __init__(self, node: FullNode, *, merchants: Iterable[NodeId]) -> None:
        self.node, self.node_id = node, node.node_id
        self.merchants = frozenset(merchants)
        strangers = self.merchants - node.peers.keys()
        if strangers or not self.merchants:
            raise ParameterError("merchants", sorted(self.merchants), f"peers of {self.node_id}")
        self.conflict: Conflict | None = None

    def start(self, now: int) -> Effects:
        """As the honest node."""
        return self.node.start(now)

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """As the honest node."""
        return self.node.receive(sender, message, now)

    def timer(self, name: str, now: int) -> Effects:
        """As the honest node."""
        return self.node.timer(name, now)

    def submit(self, command: Any, now: int) -> Effects:
        """Tell both at once."""
        if not isinstance(command, Defraud):
            return self.node.submit(command, now)
        self.conflict = conflict = conflicting_pair(self.node.ledger.wallet, command)
        # Its own miner, if any, works for the second spend.
        self.node.pool.accept(conflict.second)
        others = self.node.peers.keys() - self.merchants
        effects = tell(conflict.payment, self.merchants) + tell(conflict.second, others)
        return [*effects, Note("paid", conflict.payment.txid)]


class DoubleSpender:
    """Mines a history of its own in which the payment never happened.

    Parameters
    ----------
    node : FullNode
        Its public face.
    premined_blocks : int
        Blocks that the private branch must be ahead before the payment is told.
    give_up_deficit : int
        Blocks behind the public chain at which the branch is given up.

    Attributes
    ----------
    conflict : Conflict or None
        Payment and second spend, once commanded.
    branch : PrivateBranch or None
        While it is being mined.
    outcome : str
        "released" or "given up" at the end of an attack.
    """

    def __init__(
        self, node: FullNode, *, premined_blocks: int = 0, give_up_deficit: int = GIVE_UP_DEFICIT
    ) -> None:
        if premined_blocks < 0:
            raise ParameterError("premined_blocks", premined_blocks, "0 or more")
        # Who mines nothing in advance begins level with the public chain.
        least = 0 if premined_blocks else 1
        if give_up_deficit < least:
            raise ParameterError("give_up_deficit", give_up_deficit, f"at least {least}")
        self.node, self.node_id = node, node.node_id
        self.premined_blocks = premined_blocks
        self.give_up_deficit = give_up_deficit
        self.conflict: Conflict | None = None
        self.branch: PrivateBranch | None = None
        self.is_paid = False
        self.has_goods = False
        self.outcome = ""

    def start(self, now: int) -> Effects:
        """As the honest node."""
        return self.node.start(now)

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Listen to the public chain, and compare."""
        return [*self.node.receive(sender, message, now), *self._decide(now)]

    def timer(self, name: str, now: int) -> Effects:
        """As the honest node."""
        return self.node.timer(name, now)

    def submit(self, command: Any, now: int) -> Effects:
        """Begin, mine in private while an attack is on, or learn that the goods are here."""
        if isinstance(command, Defraud):
            if self.branch is not None:
                raise ParameterError("command", command, "given when no attack is under way")
            self.conflict = conflicting_pair(self.node.ledger.wallet, command)
            self.is_paid = self.has_goods = False
            self.outcome = ""
            self.branch = PrivateBranch(self.node)
        elif isinstance(command, Delivered):
            self.has_goods = True
        elif isinstance(command, Found) and self.branch is not None:
            self._mine(self.branch, now)
        else:
            return self.node.submit(command, now)
        return self._decide(now)

    def _mine(self, branch: PrivateBranch, now: int) -> None:
        """The second spend stands in the first block."""
        assert self.conflict is not None
        if branch.blocks:
            branch.mine(now=now)
        else:
            fee = self.conflict.fee_satoshi
            branch.mine([self.conflict.second], fees_satoshi=fee, now=now)

    def _decide(self, now: int) -> Effects:
        """Pay, publish, give up, or wait."""
        if self.branch is None:
            return []
        if not self.is_paid:
            if self.node.chain.tip is not self.branch.fork:
                # The public chain went on: what was mined in advance is worthless.
                self.branch = PrivateBranch(self.node)
            return self._pay() if len(self.branch.blocks) >= self.premined_blocks else []
        if self.has_goods and self.branch.lead > 0:
            effects = self.branch.publish(now)
            self.branch, self.outcome = None, "released"
            return effects
        if -self.branch.lead >= self.give_up_deficit:
            self.branch, self.outcome = None, "given up"
            return [Note("given up", self.node.chain.height)]
        return []

    def _pay(self) -> Effects:
        """Only now the merchant and the network hear of the payment."""
        assert self.conflict is not None
        self.is_paid = True
        payment = self.conflict.payment
        return [*tell(payment, self.node.peers), Note("paid", payment.txid)]
