"""Headers first: which blocks to ask whom for.

Rules of this file: no messages; it answers "whom to ask for what, now".

Theory of operation (Bitcoin Core 0.10 and later, FindNextBlocksToDownload).  A joining node first
downloads headers, which are small and carry the proof of work, from one locator to the next.
Along the branches that have at least as much work as its own tip it then asks for the missing
blocks, lowest first, several peers at once, each for at most 16 at a time, and only for blocks
that the peer is known to have.  Who does not deliver in time is passed over for the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus_lab.nakamoto.block_tree import BlockNode
from consensus_lab.nakamoto.peer_state import SECOND_NS, Peer
from consensus_lab.node import NodeId

IN_TRANSIT_PER_PEER_MAX = 16
"""Core, MAX_BLOCKS_IN_TRANSIT_PER_PEER."""

WINDOW_BLOCKS = 1024
"""How far ahead of the lowest missing block is asked (Core, BLOCK_DOWNLOAD_WINDOW)."""

TIMEOUT_NS = 60 * SECOND_NS


class BlockDownload:
    """Blocks whose headers are here and whose transactions are not.

    Attributes
    ----------
    missing : dict of bytes to BlockNode
        Parents before children.
    """

    def __init__(self) -> None:
        self.missing: dict[bytes, BlockNode] = {}
        # Whom each block was asked from, and until when to wait.
        self._asked: dict[bytes, tuple[NodeId, int]] = {}
        # Who was asked last and did not deliver.
        self._failed: dict[bytes, NodeId] = {}

    def want(self, node: BlockNode, tip: BlockNode) -> None:
        """A header is here: if its branch is at least as good as the tip, get all of it."""
        if node.chain_work < tip.chain_work:
            return
        branch = []
        current: BlockNode | None = node
        while current is not None and not current.has_data:
            if current.block_id in self.missing or current.violation is not None:
                break
            branch.append(current)
            current = current.parent
        for item in reversed(branch):
            self.missing[item.block_id] = item

    def claim(self, block_id: bytes, peer_id: NodeId, now: int) -> bool:
        """A peer has begun to send a block unasked; False when another one was asked for it."""
        asked, _ = self._asked.setdefault(block_id, (peer_id, now + TIMEOUT_NS))
        return asked == peer_id

    def has_failed(self, block_id: bytes) -> bool:
        """Was somebody asked for it in vain?"""
        return block_id in self._failed

    def is_owed_by(self, peer_id: NodeId) -> bool:
        """Was a peer asked for a block that has not come?"""
        return any(asked == peer_id for asked, _ in self._asked.values())

    def received(self, block_id: bytes) -> bool:
        """Its bytes are here, right or wrong; True when they were asked for."""
        return self._asked.pop(block_id, None) is not None

    def settle(self, block_id: bytes) -> None:
        """It is in the tree, or never will be."""
        self.missing.pop(block_id, None)
        self._asked.pop(block_id, None)
        self._failed.pop(block_id, None)

    def give_up_on(self, peer_id: NodeId) -> None:
        """A peer is gone: ask others for what it owes."""
        for block_id, (asked, _) in list(self._asked.items()):
            if asked == peer_id:
                self.refused(block_id, peer_id)

    def refused(self, block_id: bytes, peer_id: NodeId) -> None:
        """A peer that was asked does not have it after all."""
        if self._asked.get(block_id, (None, 0))[0] == peer_id:
            del self._asked[block_id]
            self._failed[block_id] = peer_id

    def next_requests(self, peers: Iterable[Peer], now: int) -> dict[NodeId, list[bytes]]:
        """Whom to ask for what now.

        Parameters
        ----------
        peers : iterable of Peer
            Those that may be asked.
        now : int
            Nanoseconds.

        Returns
        -------
        dict of int to list of bytes
            Identities by peer, in the order of `peers`; counted as asked from now on.
        """
        for block_id, (peer_id, deadline) in list(self._asked.items()):
            if now >= deadline:
                self.refused(block_id, peer_id)
        ready = list(peers)
        load = {peer.peer_id: 0 for peer in ready}
        for asked, _ in self._asked.values():
            load[asked] = load.get(asked, 0) + 1
        ready = [peer for peer in ready if load[peer.peer_id] < IN_TRANSIT_PER_PEER_MAX]
        requests: dict[NodeId, list[bytes]] = {peer.peer_id: [] for peer in ready}
        for position, (block_id, node) in enumerate(list(self.missing.items())):
            if position >= WINDOW_BLOCKS or not ready:
                break
            if node.has_data or node.violation is not None:
                self.settle(block_id)
                continue
            if block_id in self._asked:
                continue
            able = [peer for peer in ready if peer.has(node)]
            if not able:
                continue
            failed = self._failed.get(block_id)
            chosen = min(able, key=lambda peer: (peer.peer_id == failed, load[peer.peer_id]))
            self._asked[block_id] = (chosen.peer_id, now + TIMEOUT_NS)
            requests[chosen.peer_id].append(block_id)
            load[chosen.peer_id] += 1
            if load[chosen.peer_id] >= IN_TRANSIT_PER_PEER_MAX:
                ready.remove(chosen)
        return {peer_id: items for peer_id, items in requests.items() if items}
