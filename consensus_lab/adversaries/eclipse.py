"""Eclipse: a node whose peers are all one person's sees the world that this person shows it.

Rules of this file: `Impostor` and `AddressFlooder` speak the discovery protocol, `Gatekeeper` is a
full node with a door; all of them keep to the messages of the real thing.

Theory of operation (Heilman, Kendler, Zohar, Goldberg 2015).  A node opens its outbound connections
to addresses that it draws from its book, and anybody may tell it addresses.  The attacker fills the
book with his own and waits for a restart.  With a share p of the book, all of 8 draws are his with
probability p^8 or so (without replacement a little less): the number of outbound connections is
the protection, and the size of the book what it costs.

Once all peers are his he closes the door: nothing comes in from outside, and nothing goes out.  He
shows the victim a chain of his own, slower than the real one, with a payment that the real network
never sees; it refuses that, for the coin was spent otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from consensus_lab.adversaries.double_spend import Conflict, Defraud, conflicting_pair, tell
from consensus_lab.nakamoto.discovery import (
    ADDRESSES_PER_MESSAGE_MAX,
    Addr,
    GetAddr,
    Ping,
    Pong,
    Verack,
    Version,
)
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.node import Effects, Message, NodeId, Note, ParameterError, Send


class Flood(NamedTuple):
    """Command: fill that node's address book."""

    victim: NodeId


class Close(NamedTuple):
    """Command: from now on nothing passes between the victim and the network."""


class Open(NamedTuple):
    """Command: the door is open again."""


class Impostor:
    """Accepts every connection, and knows nobody but its own kind.

    Parameters
    ----------
    node_id : int
    told : iterable of int
        What it answers when asked for addresses, in this order.
    """

    def __init__(self, node_id: NodeId, *, told: Iterable[NodeId]) -> None:
        self.node_id = node_id
        # Impostors share one tuple; a copy for each of 65,536 would not fit into memory.
        self.told = tuple(told)

    def start(self, now: int) -> Effects:
        """Wait to be called."""
        return []

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Be the perfect peer."""
        if isinstance(message, Version):
            return [Send(sender, Verack())]
        if isinstance(message, Ping):
            return [Send(sender, Pong())]
        if isinstance(message, GetAddr):
            return [Send(sender, Addr(self.told[:ADDRESSES_PER_MESSAGE_MAX]))]
        return []

    def timer(self, name: str, now: int) -> Effects:
        """It sets none."""
        return []

    def submit(self, command: Any, now: int) -> Effects:
        """Fill somebody's book with all addresses that it tells, as many as fit in a message."""
        if not isinstance(command, Flood):
            raise ParameterError("command", command, "a Flood")
        step = ADDRESSES_PER_MESSAGE_MAX
        return [
            Send(command.victim, Addr(self.told[begin : begin + step]))
            for begin in range(0, len(self.told), step)
        ]


class Gatekeeper:
    """A full node between a victim and the network, with a door that its owner can close.

    Parameters
    ----------
    node : FullNode
        Connected to the victim, to accomplices, and perhaps to the network.
    inside : iterable of int
        Victim and accomplices: who is heard and spoken to while the door is closed.
    """

    def __init__(self, node: FullNode, *, inside: Iterable[NodeId]) -> None:
        self.node, self.node_id = node, node.node_id
        self.inside = frozenset(inside)
        if not self.inside:
            raise ParameterError("inside", sorted(self.inside), "at least the victim")
        self.is_closed = False
        self.conflict: Conflict | None = None

    def start(self, now: int) -> Effects:
        """As the honest node."""
        return self.node.start(now)

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """While the door is closed nobody outside is heard."""
        if self.is_closed and sender not in self.inside:
            return []
        return self._within(self.node.receive(sender, message, now))

    def timer(self, name: str, now: int) -> Effects:
        """As the honest node."""
        return self._within(self.node.timer(name, now))

    def submit(self, command: Any, now: int) -> Effects:
        """Open or close the door, or pay inside what is spent otherwise outside."""
        if isinstance(command, Close | Open):
            self.is_closed = isinstance(command, Close)
            return [Note("closed" if self.is_closed else "open")]
        if isinstance(command, Defraud):
            return self._defraud(command)
        return self._within(self.node.submit(command, now))

    def _defraud(self, command: Defraud) -> Effects:
        """The payment goes in, the second spend goes out; its own blocks hold the payment."""
        self.conflict = conflict = conflicting_pair(self.node.ledger.wallet, command)
        self.node.pool.accept(conflict.payment)
        outside = self.node.peers.keys() - self.inside
        inside = self.node.peers.keys() & self.inside
        effects = tell(conflict.payment, inside) + tell(conflict.second, outside)
        return [*effects, Note("paid", conflict.payment.txid)]

    def _within(self, effects: Effects) -> Effects:
        """Without what would go out through a closed door."""
        if not self.is_closed:
            return effects
        return [one for one in effects if not isinstance(one, Send) or one.to in self.inside]
