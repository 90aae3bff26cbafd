"""Transactions under way: asked for, waiting for a parent, or lately refused.

Rules of this file: bounded memory, no messages.

Theory of operation (Bitcoin Core, txrequest and txorphanage).  A transaction that several peers
announce is asked from the first; if it does not come in time, from the next.  One whose parent is
unknown waits here as an orphan; everything can be made up by a peer, so the oldest goes when there
are too many.  What was refused is not asked for again until the chain moves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from consensus_lab.nakamoto.mempool import Mempool
from consensus_lab.nakamoto.peer_state import SECOND_NS
from consensus_lab.nakamoto.transaction import Transaction
from consensus_lab.node import NodeId, ProtocolViolation

TIMEOUT_NS = 20 * SECOND_NS
ORPHANS_MAX = 100
"""Core, DEFAULT_MAX_ORPHAN_TRANSACTIONS."""

ANNOUNCED_MAX = 5000
REFUSED_MAX = 10_000


class TransactionRequests:
    """Who announced what, and who was asked."""

    def __init__(self) -> None:
        # Announcers that were not asked yet, the first one first.
        self._announcers: dict[bytes, list[NodeId]] = {}
        # Who was asked, and until when to wait.
        self._asked: dict[bytes, tuple[NodeId, int]] = {}
        # Not a plain dict: there the way to the oldest grows with all that were taken out before.
        self._refused: OrderedDict[bytes, None] = OrderedDict()

    def announce(self, txid: bytes, peer_id: NodeId) -> None:
        """A peer has it; beyond the limit announcements are not heard."""
        if txid in self._refused or len(self._announcers) >= ANNOUNCED_MAX:
            return
        announcers = self._announcers.setdefault(txid, [])
        if peer_id not in announcers:
            announcers.append(peer_id)

    def is_owed_by(self, peer_id: NodeId) -> bool:
        """Was a peer asked for something that has not come?"""
        return any(asked == peer_id for asked, _ in self._asked.values())

    def settle(self, txid: bytes) -> None:
        """It is here, in whatever state."""
        self._announcers.pop(txid, None)
        self._asked.pop(txid, None)

    def unavailable(self, txid: bytes) -> None:
        """Who was asked does not have it any more."""
        self._asked.pop(txid, None)

    def refuse(self, txid: bytes) -> None:
        """Do not ask for it again soon."""
        self.settle(txid)
        self._refused[txid] = None
        if len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)

    def chain_moved(self) -> None:
        """What was refused may be right now."""
        self._refused.clear()

    def next_requests(self, now: int) -> dict[NodeId, list[bytes]]:
        """Whom to ask for what now; counted as asked."""
        requests: dict[NodeId, list[bytes]] = {}
        for txid, announcers in list(self._announcers.items()):
            if txid in self._asked and self._asked[txid][1] > now:
                continue
            if not announcers:
                self.settle(txid)
                continue
            peer_id = announcers.pop(0)
            self._asked[txid] = (peer_id, now + TIMEOUT_NS)
            requests.setdefault(peer_id, []).append(txid)
        return requests


class OrphanTransactions:
    """Transactions whose parents are unknown."""

    def __init__(self, *, transactions_max: int = ORPHANS_MAX) -> None:
        self.transactions_max = transactions_max
        self._orphans: dict[bytes, tuple[Transaction, NodeId]] = {}

    def __len__(self) -> int:
        return len(self._orphans)

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._orphans

    def add(self, transaction: Transaction, sender: NodeId) -> None:
        """Keep one, and who sent it."""
        self._orphans[transaction.txid] = (transaction, sender)
        if len(self._orphans) > self.transactions_max:
            del self._orphans[next(iter(self._orphans))]

    def take_children(self, parents: Iterable[bytes]) -> list[tuple[Transaction, NodeId]]:
        """Take those out that spend an output of these, in order of arrival."""
        known = set(parents)
        found = [
            txid
            for txid, (transaction, _) in self._orphans.items()
            if any(item.previous.txid in known for item in transaction.inputs)
        ]
        return [self._orphans.pop(txid) for txid in found]


class RelayOutcome(NamedTuple):
    """What came of new payments: those now in the pool, and whose broke which rule."""

    accepted: tuple[bytes, ...]
    refused: tuple[tuple[NodeId, ProtocolViolation], ...]


class PaymentRelay:
    """Payments from peers: into the pool, into the orphans, or refused.

    Parameters
    ----------
    pool : Mempool
        The node's.
    """

    def __init__(self, pool: Mempool) -> None:
        self.pool = pool
        self.requests = TransactionRequests()
        self.orphans = OrphanTransactions()

    def has(self, txid: bytes) -> bool:
        """Is it here, in the pool or waiting for a parent?"""
        return txid in self.pool or txid in self.orphans

    def heard_of(self, txid: bytes, peer_id: NodeId) -> None:
        """A peer announced it: it will be asked for if it is not here."""
        if not self.has(txid):
            self.requests.announce(txid, peer_id)

    def take(self, transaction: Transaction, sender: NodeId) -> RelayOutcome:
        """A payment is here; so may be those that waited for it."""
        self.requests.settle(transaction.txid)
        return (
            RelayOutcome((), ())
            if self.has(transaction.txid)
            else self._take([(transaction, sender)])
        )

    def in_blocks(self, txids: Iterable[bytes]) -> RelayOutcome:
        """The chain moved: these joined it, so what waited for them can be judged."""
        known = list(txids)
        self.requests.chain_moved()
        for txid in known:
            self.requests.settle(txid)
        return self._take(self.orphans.take_children(known))

    def _take(self, waiting: list[tuple[Transaction, NodeId]]) -> RelayOutcome:
        """One after the other, and the orphans of each that is accepted."""
        accepted: list[bytes] = []
        refused: list[tuple[NodeId, ProtocolViolation]] = []
        for transaction, sender in waiting:
            try:
                self.pool.accept(transaction)
            except ProtocolViolation as violation:
                if violation.rule == "bad-txns-inputs-missingorspent":
                    self._keep_orphan(transaction, sender)
                    continue
                self.requests.refuse(transaction.txid)
                refused.append((sender, violation))
                continue
            accepted.append(transaction.txid)
            waiting += self.orphans.take_children([transaction.txid])
        return RelayOutcome(tuple(accepted), tuple(refused))

    def _keep_orphan(self, transaction: Transaction, sender: NodeId) -> None:
        """Ask its sender for what is missing; what was spent long ago is never found."""
        self.orphans.add(transaction, sender)
        missing = {i.previous.txid for i in transaction.inputs if not self.pool.coin(i.previous)}
        for txid in sorted(missing):
            self.heard_of(txid, sender)
