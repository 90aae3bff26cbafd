"""A relay node whose connections come and go: what it forgets, and how it catches up.

Theory of operation.  Two neighbours are connected or not; whoever runs the node says so (`is_up`),
and tells it when a connection was lost or made.  A node sends to whom it is connected with only.

When a connection is made, or the node is back after a while, it asks its new neighbour what that
one has beyond its own best chain (Bitcoin's `getblocks` or `getheaders` after the handshake).  The
answer lists the blocks from where both chains part, and the node requests those that it lacks,
lowest first, unless the branch has less work than its own.  So after a partition both sides learn
each other's branch, and the shorter one is left.

When a connection is lost, what was asked for over it is forgotten, and the other neighbours are
asked what they have.  A node that was off has kept the blocks that it had accepted, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from consensus_lab.nakamoto.relay import RelayNode
from consensus_lab.nakamoto.relay_messages import (
    HEADER_ENTRY_BYTES,
    INVENTORY_ENTRY_BYTES,
    Branch,
    GetBlocks,
)
from consensus_lab.node import Effects, Message, NodeId, Send


class Lost(NamedTuple):
    """Command: the connection to this neighbour is gone."""

    peer: NodeId


class Met(NamedTuple):
    """Command: there is a connection to this neighbour again."""

    peer: NodeId


class ConnectedNode(RelayNode):
    """A relay node; parameters as for `RelayNode`, and two more.

    Parameters
    ----------
    is_up : callable (peer, now) -> bool
        Whether there is a connection to that neighbour at that time.
    is_back : bool
        The node has been off: it asks its neighbours what it missed.
    """

    def __init__(
        self,
        *arguments: Any,
        is_up: Callable[[NodeId, int], bool] | None = None,
        is_back: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.is_up = is_up or (lambda peer, now: True)
        self.is_back = is_back
        self.now = 0
        self._handlers |= {GetBlocks: self._receive_getblocks, Branch: self._receive_branch}
        self._commands: dict[type, Callable[[Any, int], Effects]] = {
            Lost: self._lose,
            Met: self._meet,
        }

    def start(self, now: int) -> Effects:
        """After a while off, ask everyone."""
        self.now = now
        return self._ask_all() if self.is_back else []

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """As a relay node; what is not through when the connection is lost is lost with it."""
        self.now = now
        if sender in self._peers and not self.is_up(sender, now):
            return []
        return self._sendable(super().receive(sender, message, now))

    def timer(self, name: str, now: int) -> Effects:
        """As a relay node."""
        self.now = now
        return self._sendable(super().timer(name, now))

    def submit(self, command: Any, now: int) -> Effects:
        """A block found here, or news of a connection."""
        self.now = now
        handler = self._commands.get(type(command))
        effects = super().submit(command, now) if handler is None else handler(command, now)
        return self._sendable(effects)

    def _sendable(self, effects: Effects) -> Effects:
        """Without what is for neighbours to whom there is no connection."""
        return [e for e in effects if not isinstance(e, Send) or self.is_up(e.to, self.now)]

    def _reachable(self) -> tuple[NodeId, ...]:
        return tuple(peer for peer in self.peers if self.is_up(peer, self.now))

    def _lose(self, command: Lost, now: int) -> Effects:
        """Forget what that neighbour was asked for; if it was anything, ask the others."""
        peer = command.peer
        asked = [
            number
            for number, other in self.requested.items()
            if other == peer and not self._has(number)
        ]
        for number in asked:
            del self.requested[number]
            self.filling.discard(number)
        self.fast_peers.discard(peer)
        if peer in self.fast_sources:
            self.fast_sources.remove(peer)
        return self._ask_all() if asked else []

    def _meet(self, command: Met, now: int) -> Effects:
        return [Send(command.peer, self._locator())]

    def _ask_all(self) -> Effects:
        return [Send(peer, self._locator()) for peer in self._reachable()]

    def _locator(self) -> GetBlocks:
        return GetBlocks(tuple(block.number for block in self.tree.chain()))

    def _receive_getblocks(self, sender: NodeId, message: GetBlocks, now: int) -> Effects:
        """List what our best chain has beyond the neighbour's, if anything."""
        theirs = set(message.chain)
        branch = []
        for block in self.tree.chain():
            if block.number in theirs:
                break
            branch.append(block)
        is_inventory = self.relay.protocol in ("push", "inv")
        entry_bytes = INVENTORY_ENTRY_BYTES if is_inventory else HEADER_ENTRY_BYTES
        return [Send(sender, Branch(tuple(branch[::-1]), entry_bytes))] if branch else []

    def _receive_branch(self, sender: NodeId, message: Branch, now: int) -> Effects:
        """Request what is not here, lowest first, unless the branch has less work than ours."""
        if self._is_behind(message.blocks[-1]):
            return []
        numbers = [block.number for block in message.blocks]
        return [self._request(number, sender) for number in numbers if self._wants(number)]
