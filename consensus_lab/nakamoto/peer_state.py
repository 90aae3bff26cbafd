"""What a full node remembers of one peer: handshake, misbehaviour, rate, and what the peer knows.

Rules of this file: no effects; the node decides what to send.

Theory of operation (Bitcoin Core, net_processing).  A peer is *connected* when both versions and
both acknowledgements are through.  Each broken rule adds to its score; at 100 it is banned for a
day.  Rules that an honest node can seem to break, because its view of the chain or of the pool
differs, cost nothing.  A *token bucket* bounds how much a peer may ask and tell: it fills at a
steady rate up to a limit, and each thing takes a token; what we asked for is free.
"""

from __future__ import annotations

from collections import OrderedDict

from consensus_lab.nakamoto.block_tree import BlockNode
from consensus_lab.node import NodeId

SECOND_NS = 1_000_000_000
BAN_SCORE = 100
BAN_NS = 24 * 3600 * SECOND_NS
"""A day (Core, DEFAULT_MISBEHAVING_BANTIME)."""

KNOWN_MAX = 50_000
"""Transactions remembered as known to a peer (Core, m_tx_inventory_known_filter)."""

TOKENS_PER_S = 100
TOKENS_MAX = 2000

SCORES = {"flood": 1, "headers-unconnected": 10}
"""What costs less than an immediate ban."""

HONEST_RULES = frozenset(
    {"bad-txns-inputs-missingorspent", "bad-txns-premature-spend-of-coinbase", "coinbase"}
    | {"mempool full", "mempool min fee not met", "min relay fee not met", "non-BIP68-final"}
    | {"non-final", "time-too-new", "too-long-mempool-chain", "txn-already-in-mempool"}
    | {"txn-mempool-conflict", "bad-txns-too-many-sigops"}
)
"""Refusals that depend on the node's own view or policy: nobody is to blame."""


def score_of(rule: str) -> int:
    """What breaking a rule adds to a peer's score."""
    return 0 if rule in HONEST_RULES else SCORES.get(rule, BAN_SCORE)


class TokenBucket:
    """A rate limit with room for bursts, in whole nanoseconds.

    Parameters
    ----------
    tokens_per_s : int
        How fast it fills.
    tokens_max : int
        How much it holds; it begins full.
    """

    def __init__(self, *, tokens_per_s: int = TOKENS_PER_S, tokens_max: int = TOKENS_MAX) -> None:
        self._token_ns = SECOND_NS // tokens_per_s
        self._limit_ns = tokens_max * self._token_ns
        self._level_ns = self._limit_ns
        self._last_ns = 0

    def take(self, tokens: int, now: int) -> bool:
        """Take so many tokens, or none when there are too few."""
        # A clock that was set back does not empty the bucket.
        elapsed = max(0, now - self._last_ns)
        self._last_ns = now
        self._level_ns = min(self._limit_ns, self._level_ns + elapsed)
        cost = tokens * self._token_ns
        if cost > self._level_ns:
            return False
        self._level_ns -= cost
        assert self._level_ns >= 0
        return True


class Peer:
    """One peer as its neighbour sees it.

    Attributes
    ----------
    session : int or None
        The peer's own, from its version; None before it.
    is_acknowledged : bool
        Has it acknowledged our version?
    best : BlockNode or None
        The block with the most work that it is known to have.
    knows_compact_blocks, wants_high_bandwidth : bool
        What it said of compact blocks.
    """

    def __init__(self, peer_id: NodeId) -> None:
        self.peer_id = peer_id
        self.banned_until_ns = 0
        self.score = 0
        self.bucket = TokenBucket()
        self.forget()

    def forget(self) -> None:
        """The peer started anew: the handshake begins again, and it knows nothing."""
        self.session: int | None = None
        self.is_acknowledged = False
        self.best: BlockNode | None = None
        # Not a plain dict: its first key is found by walking over all that were deleted before it,
        # so a peer that announces on and on would cost ever more.
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self.knows_compact_blocks = False
        self.wants_high_bandwidth = False

    @property
    def is_connected(self) -> bool:
        """Is the handshake complete?"""
        return self.session is not None and self.is_acknowledged

    def is_banned(self, now: int) -> bool:
        """Is it still banned?"""
        return now < self.banned_until_ns

    def punish(self, rule: str, now: int) -> bool:
        """Count a broken rule; True when that gets it banned."""
        self.score += score_of(rule)
        if self.score < BAN_SCORE:
            return False
        self.banned_until_ns = now + BAN_NS
        self.score = 0
        self.forget()
        return True

    def has(self, node: BlockNode) -> bool:
        """Is it known to have a block?"""
        best = self.best
        return (
            best is not None
            and best.height >= node.height
            and (best is node or best.ancestor(node.height) is node)
        )

    def learn_block(self, node: BlockNode) -> None:
        """It has this block, and so all ancestors; of equal branches the latest told counts."""
        # Core, UpdateBlockAvailability: with "more work" only, the second branch of a tie could
        # not be asked for.
        if self.best is None or node.chain_work >= self.best.chain_work:
            self.best = node

    def knows(self, txid: bytes) -> bool:
        """Has it this transaction, as far as we know?"""
        return txid in self._known

    def learn_transaction(self, txid: bytes) -> None:
        """It has this transaction, or was told of it."""
        self._known[txid] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
