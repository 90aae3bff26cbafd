"""How a full node and a peer begin: `Version`, `Verack`, and what each then asks of the other.

Rules of this file: functions of the node, registered by it; state is the node's and its peers'.

Theory of operation.  Both sides send their version until it is acknowledged.  A version carries
when its sender started: a peer with another start than before has crashed and forgotten us, so
everything begins again.  An acknowledgement of a session before our own crash means nothing.  Once
both versions are through each asks for headers, hears which payments wait, and says that it knows
compact blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.nakamoto.full_node_messages import Inv, SendCompact, Verack, Version
from consensus_lab.nakamoto.peer_state import Peer
from consensus_lab.node import Effects, NodeId, Send

if TYPE_CHECKING:
    from consensus_lab.nakamoto.full_node import FullNode

INVENTORY_AT_CONNECT_MAX = 1000


def connect(node: FullNode, peer: Peer) -> Effects:
    """A connection was opened or accepted: the peer is greeted."""
    assert peer.peer_id not in node.peers
    node.peers[peer.peer_id] = peer
    return [Send(peer.peer_id, Version(node.session, node.chain.height))]


def disconnect(node: FullNode, peer_id: NodeId) -> Peer:
    """A connection is gone; the peer with its score comes back, in case that it returns."""
    peer = node.peers.pop(peer_id)
    peer.forget()
    node.give_up_on(peer)
    return peer


def greet(node: FullNode, now: int) -> Effects:
    """Our version to all who have not acknowledged it, or sent none."""
    waiting = (p for p in node.peers.values() if not (p.is_connected or p.is_banned(now)))
    version = Version(node.session, node.chain.height)
    return [Send(peer.peer_id, version) for peer in waiting]


def on_version(node: FullNode, peer: Peer, message: Version, now: int) -> Effects:
    """Acknowledge; a new session means that the peer has forgotten us."""
    effects: Effects = [Send(peer.peer_id, Verack(message.session))]
    if peer.session != message.session:
        if peer.session is not None:
            peer.forget()
            node.give_up_on(peer)
            effects.append(Send(peer.peer_id, Version(node.session, node.chain.height)))
        peer.session = message.session
        if peer.is_connected:
            effects += _on_connected(node, peer)
    return effects


def on_verack(node: FullNode, peer: Peer, message: Verack, now: int) -> Effects:
    """Our version is through."""
    if message.session != node.session or peer.is_acknowledged:
        return []
    peer.is_acknowledged = True
    return _on_connected(node, peer) if peer.is_connected else []


def _on_connected(node: FullNode, peer: Peer) -> Effects:
    """Ask what it has, and tell which payments wait."""
    waiting = tuple(node.pool.entries)[:INVENTORY_AT_CONNECT_MAX]
    messages = (SendCompact(is_high_bandwidth=False), Inv(waiting))
    return [node.ask_headers(peer), *(Send(peer.peer_id, message) for message in messages)]
