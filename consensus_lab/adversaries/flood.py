"""Denial of service: payments without need, announcements of nothing, blocks of rubbish.

Rules of this file: a Node around an honest `FullNode`; what it tells is well-formed, so that only
the rules of the node that hears it can stop it.

Theory of operation (essay, "DoS attack").  Proof of work rewards who behaves and does nothing
against who does not; nodes protect themselves.  A payment has to pay for being relayed; a full
pool lets the cheapest go and asks more of newcomers; a peer may tell and ask so much per second;
and who sends what cannot be valid is banned.  Each of these makes one of the following dear or
short: a *flood* of valid payments from the attacker to himself, *made-up announcements* of
payments that do not exist, and *invalid blocks* under a real header, whose proof of work was paid
for by somebody else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from consensus_lab.nakamoto.encoding import sha256
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import BlockMessage, Inv, TransactionMessage
from consensus_lab.nakamoto.transaction import OutPoint, TransactionOutput
from consensus_lab.nakamoto.wallet import DUST_SATOSHI, OwnedCoin
from consensus_lab.node import Effects, Message, NodeId, Note, ParameterError, Send

PAYMENT_SIZE_BYTES = 192
"""One input, one output; a signature may make it a byte shorter."""


class Prepare(NamedTuple):
    """Command: cut the largest coin into so many, each of which can pay once."""

    coins: int


class Spam(NamedTuple):
    """Command: tell everybody so many payments to oneself."""

    payments: int
    fee_rate_satoshi_per_byte: int


class Announce(NamedTuple):
    """Command: announce that many payments that do not exist, in each of so many messages."""

    messages: int
    items: int


class Rubbish(NamedTuple):
    """Command: send so many invalid blocks of that size."""

    blocks: int
    size_bytes: int


class Flooder:
    """Tells too much.

    Parameters
    ----------
    node : FullNode
        Its public face.

    Attributes
    ----------
    payments_told, fees_satoshi : int
        Payments of all floods, and what they offer to miners.
    """

    def __init__(self, node: FullNode) -> None:
        self.node, self.node_id = node, node.node_id
        self.payments_told = 0
        self.fees_satoshi = 0
        self._taken: set[OutPoint] = set()
        self._made_up = 0

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
        """Flood, by one of its means."""
        if isinstance(command, Prepare):
            return self._prepare(command)
        if isinstance(command, Spam):
            return self._spam(command)
        if isinstance(command, Announce):
            return self._announce(command)
        if isinstance(command, Rubbish):
            return self._rubbish(command)
        return self.node.submit(command, now)

    def _to_all(self, message: Message) -> Effects:
        return [Send(peer, message) for peer in self.node.peers]

    def _prepare(self, command: Prepare) -> Effects:
        """One payment with many outputs; it pays its fee as anybody's."""
        wallet = self.node.ledger.wallet
        coin, script = wallet.spendable()[0], wallet.scripts[0]
        fee = (PAYMENT_SIZE_BYTES + 34 * command.coins) * 10
        value = (coin.coin.value_satoshi - fee) // command.coins
        if value < DUST_SATOSHI:
            raise ParameterError("coins", command.coins, "coins that are worth spending")
        outputs = tuple(TransactionOutput(value, script) for _ in range(command.coins))
        payment = wallet.sign([coin], outputs)
        self._taken.add(coin.name)
        self.node.pool.accept(payment)
        return self._to_all(TransactionMessage(payment.serialize()))

    def _spam(self, command: Spam) -> Effects:
        """Each coin to oneself, until none is left."""
        effects: Effects = []
        free = [one for one in self.node.ledger.wallet.spendable() if one.name not in self._taken]
        for coin in free[: command.payments]:
            self._taken.add(coin.name)
            effects += self._to_all(self._self_payment(coin, command.fee_rate_satoshi_per_byte))
        return effects or [Note("spent out")]

    def _self_payment(self, coin: OwnedCoin, fee_rate: int) -> TransactionMessage:
        wallet = self.node.ledger.wallet
        fee = PAYMENT_SIZE_BYTES * fee_rate
        output = TransactionOutput(coin.coin.value_satoshi - fee, wallet.scripts[0])
        self.payments_told += 1
        self.fees_satoshi += fee
        return TransactionMessage(wallet.sign([coin], (output,)).serialize())

    def _announce(self, command: Announce) -> Effects:
        """Identities of nothing, never the same twice."""
        effects: Effects = []
        for _ in range(command.messages):
            begin, self._made_up = self._made_up, self._made_up + command.items
            names = range(begin, self._made_up)
            txids = tuple(sha256(b"made up %d" % number) for number in names)
            effects += self._to_all(Inv(txids))
        return effects

    def _rubbish(self, command: Rubbish) -> Effects:
        """The tip's header over transactions that it does not commit to, padded to the size."""
        chain = self.node.chain
        tip = chain.blocks[chain.tip.block_id]
        coinbase = tip.transactions[0]
        room = max(0, command.size_bytes - len(tip.header.serialize()) - coinbase.size_bytes - 20)
        effects: Effects = []
        for number in range(command.blocks):
            padding = TransactionOutput(0, b"\x6a" + number.to_bytes(4, "big") + bytes(room))
            padded = replace(coinbase, outputs=(*coinbase.outputs, padding))
            data = replace(tip, transactions=(padded,)).serialize()
            effects += self._to_all(BlockMessage(data))
        return effects
