"""A full node that finds its peers itself: discovery decides whom it talks to, and talks of blocks.

Rules of this file: it holds a `DiscoveryNode` and a `FullNode` together and has no rules of its own
but those between them.

Theory of operation (Bitcoin Core, net.cpp and net_processing).  A connection that discovery opens
or accepts becomes a peer of the full node, which greets it; one that is lost is forgotten there,
and what it owed is asked from others.  A peer that the full node bans is disconnected and not let
in again while the ban lasts; its score outlives a connection, so that nobody starts afresh by
coming back.  Timers and messages belong to the part that knows their name or kind.
"""

from __future__ import annotations

from typing import Any

from consensus_lab.nakamoto import handshake
from consensus_lab.nakamoto.discovery import (
    BOOK_MAX,
    Addr,
    DiscoveryNode,
    DnsAnswer,
    GetAddr,
    Ping,
    Pong,
    Refusal,
    Verack,
    Version,
)
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.peer_state import Peer
from consensus_lab.node import Disk, Effects, Message, NodeId, Note, Send

DISCOVERY_KINDS = (Addr, DnsAnswer, GetAddr, Ping, Pong, Refusal, Verack, Version)
FULL_TIMER = "tick"


class ConnectedNode:
    """A full node with a wallet that knows nobody but a DNS seed when it starts.

    Parameters
    ----------
    full : FullNode
        Without peers.
    discovery : DiscoveryNode
        Of the same identity.
    disk : mapping
        What survived a crash; the bans are read from it.

    Attributes
    ----------
    away : dict of int to Peer
        Peers that are not connected and have a score or a ban.
    """

    def __init__(self, full: FullNode, discovery: DiscoveryNode, *, disk: Disk) -> None:
        assert full.node_id == discovery.node_id and not full.peers
        self.node_id = full.node_id
        self.full, self.discovery = full, discovery
        self.away: dict[NodeId, Peer] = {}
        for key, until_ns in disk.items():
            if isinstance(key, tuple) and key[0] == "ban":
                self.away[key[1]] = Peer(key[1])
                self.away[key[1]].banned_until_ns = until_ns

    def start(self, now: int) -> Effects:
        """Both parts begin."""
        return [*self.discovery.start(now), *self.full.start(now)]

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """To the part that the message is for; a banned stranger is refused."""
        away = self.away.get(sender)
        if away is not None and away.is_banned(now):
            is_knock = isinstance(message, Version)
            return [Send(sender, Refusal())] if is_knock else [Note("ignored", sender)]
        if not isinstance(message, DISCOVERY_KINDS):
            return [*self.full.receive(sender, message, now), *self._dismiss(sender, now)]
        if isinstance(message, Addr | DnsAnswer) and not _are_addresses(message.addresses):
            return [Note("refused", (sender, "malformed-message"))]
        return [*self.discovery.receive(sender, message, now), *self._follow(now)]

    def timer(self, name: str, now: int) -> Effects:
        """To the part whose timer it is."""
        if name == FULL_TIMER:
            return self.full.timer(name, now)
        return [*self.discovery.timer(name, now), *self._follow(now)]

    def submit(self, command: Any, now: int) -> Effects:
        """Commands are the full node's."""
        return self.full.submit(command, now)

    def _follow(self, now: int) -> Effects:
        """Bring the full node's peers in line with the connections."""
        effects: Effects = []
        connected = self.discovery.peers
        for peer_id in [peer_id for peer_id in self.full.peers if peer_id not in connected]:
            self._remember(handshake.disconnect(self.full, peer_id))
        for peer_id in connected:
            if peer_id not in self.full.peers:
                peer = self.away.pop(peer_id, None) or Peer(peer_id)
                effects += handshake.connect(self.full, peer)
        return effects

    def _dismiss(self, peer_id: NodeId, now: int) -> Effects:
        """A peer that has just been banned is disconnected."""
        peer = self.full.peers.get(peer_id)
        if peer is None or not peer.is_banned(now):
            return []
        effects = self.discovery.drop(peer_id)
        return [*effects, *self._follow(now)]

    def _remember(self, peer: Peer) -> None:
        if not (peer.score or peer.banned_until_ns):
            return
        self.away[peer.peer_id] = peer
        if len(self.away) > BOOK_MAX:
            del self.away[next(iter(self.away))]


def _are_addresses(addresses: Any) -> bool:
    """Could a parser have read them?"""
    if type(addresses) is not tuple:
        return False
    return all(type(item) is int and item >= 0 for item in addresses)
