"""A full node: real blocks and payments, told from peer to peer, checked by everyone.

Rules of this file: a Node (see `consensus_lab.node`); who its peers are is handed in, and when it
finds a block too (the command `Found`); everything that a peer sends is checked first.

Theory of operation (Bitcoin Core, net_processing).  Two peers begin with `Version` and `Verack`,
repeated until both are through (see `handshake`).  Then each asks the other for headers
(`GetHeaders` with a locator), downloads the blocks that it lacks (see `block_download`) and hears
which payments wait.  New payments and new tips are announced by identity (`Inv`), tips to some
peers at once as compact blocks (see `compact_relay`); who lacks a payment asks for it, who lacks a
block asks for the headers that lead to it.  A block that comes before its parent is an orphan.

Messages may be lost: requests are repeated at another peer, every minute one peer is asked for
headers, and every ten minutes the node announces its own payments that are not in a block.

Nothing that a peer sends can stop the node: a broken rule is a `ProtocolViolation`, which is
caught in one place, adds to the peer's score and in the end bans it (see `peer_state`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from consensus_lab.nakamoto import compact_handling, handshake
from consensus_lab.nakamoto.block import Block, parse_block
from consensus_lab.nakamoto.block_download import BlockDownload
from consensus_lab.nakamoto.compact_handling import announcement, praise
from consensus_lab.nakamoto.compact_relay import CompactRelay
from consensus_lab.nakamoto.full_node_messages import (
    ANSWERS,
    HEADERS_MAX,
    BlockMessage,
    BlockTransactionsMessage,
    CompactBlockMessage,
    Found,
    GetBlockTransactions,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    NotFound,
    Pay,
    SendCompact,
    TransactionMessage,
    Verack,
    Version,
    check_shape,
    item_count,
)
from consensus_lab.nakamoto.header import parse_header
from consensus_lab.nakamoto.mempool_entry import MempoolOptions
from consensus_lab.nakamoto.network_rules import NetworkRules
from consensus_lab.nakamoto.node_ledger import NodeLedger
from consensus_lab.nakamoto.orphans import OrphanBlocks
from consensus_lab.nakamoto.peer_state import SECOND_NS, Peer
from consensus_lab.nakamoto.serving import answer_getdata, headers_after
from consensus_lab.nakamoto.transaction import parse_transaction
from consensus_lab.nakamoto.transaction_relay import PaymentRelay, RelayOutcome
from consensus_lab.nakamoto.validation import ScriptCache
from consensus_lab.nakamoto.wallet import Wallet
from consensus_lab.node import (
    Disk,
    Effects,
    Message,
    NodeId,
    Note,
    ParameterError,
    Persist,
    ProtocolViolation,
    Reply,
    Send,
    SetTimer,
)

TICK_NS = 10 * SECOND_NS
"""How often requests are looked after and handshakes repeated."""

POLL_EVERY_TICKS, ANNOUNCE_EVERY_TICKS = 6, 60
"""Each minute one peer is asked for headers; every ten, own payments are announced again."""

SOURCES_MAX = 2000


class FullNode:
    """A node of the network with a wallet.

    Parameters
    ----------
    node_id : int
    peers : iterable of int
        Its neighbours; links are used both ways.
    rules : NetworkRules
        The network's numbers.
    wallet : Wallet
        The owner's, fresh.
    start_s : int
        What its clock shows at simulated time 0, Unix seconds.
    disk : mapping, optional
        What survived a crash.
    scripts : ScriptCache, optional
        May be shared between simulated nodes.
    pool_options : MempoolOptions, optional
        Limits of its memory pool.
    """

    def __init__(
        self,
        node_id: NodeId,
        peers: Iterable[NodeId],
        *,
        rules: NetworkRules,
        wallet: Wallet,
        start_s: int,
        disk: Disk | None = None,
        scripts: ScriptCache | None = None,
        pool_options: MempoolOptions | None = None,
    ) -> None:
        self.node_id = node_id
        self.peers = {peer: Peer(peer) for peer in sorted(peers)}
        self.start_s = start_s
        known: Mapping[Any, Any] = disk or {}
        for peer_id, peer in self.peers.items():
            peer.banned_until_ns = known.get(("ban", peer_id), 0)
        books = {key: value for key, value in known.items() if key[0] != "ban"}
        self.ledger = NodeLedger(rules, wallet, disk=books, scripts=scripts, options=pool_options)
        self.chain, self.pool = self.ledger.chain, self.ledger.pool
        self.session = 0
        self.download = BlockDownload()
        self.compact = CompactRelay()
        self.relay = PaymentRelay(self.pool)
        self.orphan_blocks = OrphanBlocks(rules)
        # Who sent a block that may yet turn out invalid.
        self._source: dict[bytes, NodeId] = {}
        self._ticks = 0
        self._handlers: dict[type, Callable[[Peer, Any, int], Effects]] = {
            Version: partial(handshake.on_version, self),
            Verack: partial(handshake.on_verack, self),
            SendCompact: partial(compact_handling.on_send_compact, self),
            CompactBlockMessage: partial(compact_handling.on_compact_block, self),
            GetBlockTransactions: partial(compact_handling.on_get_block_transactions, self),
            BlockTransactionsMessage: partial(compact_handling.on_block_transactions, self),
            Inv: self._on_inv,
            GetData: self._on_getdata,
            NotFound: self._on_notfound,
            GetHeaders: self._on_getheaders,
            Headers: self._on_headers,
            TransactionMessage: self._on_transaction,
            BlockMessage: self._on_block,
        }

    # The Node contract.

    def start(self, now: int) -> Effects:
        """Greet all peers."""
        self.session = max(now, 0)
        return [*handshake.greet(self, now), SetTimer("tick", TICK_NS)]

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Whatever a peer sends; strangers and banned peers are not heard."""
        peer = self.peers.get(sender)
        if peer is None or peer.is_banned(now):
            return [Note("ignored", sender)]
        try:
            check_shape(message)
            is_greeting = isinstance(message, Version | Verack)
            if not (peer.is_connected or is_greeting):
                return []
            # What we asked for may come as fast as it comes.
            downloads = (self.relay.requests, self.download)
            is_owed = any(item.is_owed_by(sender) for item in downloads)
            is_free = is_owed and type(message) in ANSWERS
            if not (is_free or peer.bucket.take(item_count(message), now)):
                raise ProtocolViolation("flood", type(message).__name__)
            return self._handlers[type(message)](peer, message, now)
        except ProtocolViolation as violation:
            return self._punish(peer, violation, now)

    def timer(self, name: str, now: int) -> Effects:
        """Repeat what may have been lost."""
        self._ticks += 1
        effects: Effects = [SetTimer("tick", TICK_NS), *handshake.greet(self, now)]
        effects += self.fetch(now)
        connected = self._connected(now)
        if connected and self._ticks % POLL_EVERY_TICKS == 0:
            peer = connected[self._ticks // POLL_EVERY_TICKS % len(connected)]
            effects.append(self.ask_headers(peer))
        if self._ticks % ANNOUNCE_EVERY_TICKS == 0:
            own = tuple(self.ledger.restore_payments())
            effects += [Send(peer.peer_id, Inv(own)) for peer in connected if own]
        return effects

    def submit(self, command: Any, now: int) -> Effects:
        """The owner pays, or the miner's time has come."""
        if isinstance(command, Found):
            tag = self.node_id.to_bytes(4, "big")
            block = self.ledger.mine(now_s=self.now_s(now), tag=tag)
            return self.take_blocks(block, self.node_id, now)
        if isinstance(command, Pay):
            return self._pay(command, now)
        raise ParameterError("command", command, "Found or Pay")

    def _connected(self, now: int) -> list[Peer]:
        return [p for p in self.peers.values() if p.is_connected and not p.is_banned(now)]

    # Inventory.

    def _on_inv(self, peer: Peer, message: Inv, now: int) -> Effects:
        """Ask for unknown payments; for an unknown block, ask for the headers up to it."""
        for txid in message.transactions:
            peer.learn_transaction(txid)
            self.relay.heard_of(txid, peer.peer_id)
        nodes = [self.chain.tree.nodes.get(block_id) for block_id in message.blocks]
        for node in nodes:
            if node is not None:
                peer.learn_block(node)
                self.download.want(node, self.chain.tip)
        effects = self.fetch(now)
        return [*effects, self.ask_headers(peer)] if None in nodes else effects

    def _on_getdata(self, peer: Peer, message: GetData, now: int) -> Effects:
        """Send what is here, and say what is not."""
        answers = answer_getdata(
            self.pool, peer, message, node_id=self.node_id, session=self.session
        )
        return [Send(peer.peer_id, answer) for answer in answers]

    def _on_notfound(self, peer: Peer, message: NotFound, now: int) -> Effects:
        """Ask somebody else."""
        for txid in message.transactions:
            self.relay.requests.unavailable(txid)
        for block_id in message.blocks:
            self.download.refused(block_id, peer.peer_id)
        return self.fetch(now)

    def fetch(self, now: int) -> Effects:
        """Ask for blocks and payments that are missing; for the next block in compact form."""
        effects: Effects = []
        requests = self.download.next_requests(self._connected(now), now)
        for peer_id, items in requests.items():
            is_able = self.peers[peer_id].knows_compact_blocks
            near = tuple(item for item in items if is_able and self._is_next(item))
            whole = tuple(item for item in items if item not in near)
            effects.append(Send(peer_id, GetData((), whole, near)))
        wanted = self.relay.requests.next_requests(now)
        return effects + [Send(to, GetData(tuple(txids))) for to, txids in wanted.items()]

    def _is_next(self, block_id: bytes) -> bool:
        """Is all we lack a block on the tip, and was it not asked for in vain before?"""
        parent, missing = self.chain.tree.nodes[block_id].parent, self.download.missing
        is_all = parent is self.chain.tip and len(missing) == 1
        return is_all and not self.download.has_failed(block_id)

    # Headers.

    def ask_headers(self, peer: Peer, *first: bytes) -> Send:
        return Send(peer.peer_id, GetHeaders((*first, *self.chain.locator())))

    def _on_getheaders(self, peer: Peer, message: GetHeaders, now: int) -> Effects:
        """What follows the first common block on our best branch, if anything does."""
        headers = headers_after(self.chain, message.locator)
        return [Send(peer.peer_id, Headers(headers))] if headers else []

    def _on_headers(self, peer: Peer, message: Headers, now: int) -> Effects:
        """Hang them into the tree, ask for their blocks, and for more if there may be more."""
        node = None
        for data in message.headers:
            header = parse_header(data)
            if header.previous not in self.chain.tree.nodes:
                raise ProtocolViolation("headers-unconnected")
            node = self.chain.add_header(header, now_s=self.now_s(now))
        if node is None:
            return []
        peer.learn_block(node)
        self.download.want(node, self.chain.tip)
        effects = self.fetch(now)
        if len(message.headers) == HEADERS_MAX:
            effects.append(self.ask_headers(peer, node.block_id))
        return effects

    # Blocks.

    def _on_block(self, peer: Peer, message: BlockMessage, now: int) -> Effects:
        """A block, asked for or not."""
        block = parse_block(message.data)
        self.download.received(block.block_id)
        if block.header.previous not in self.chain.tree.nodes:
            self.orphan_blocks.add(block)
            self._remember_source(block, peer.peer_id)
            return [self.ask_headers(peer)]
        effects = self.take_blocks(block, peer.peer_id, now)
        return effects + praise(self, peer, block)

    def take_blocks(self, block: Block, source: NodeId, now: int) -> Effects:
        """Take a block and the orphans that waited for it; announce a new tip."""
        old_tip = self.chain.tip
        self._remember_source(block, source)
        effects = self._take_block(block, now)
        waiting = self.orphan_blocks.take_children(block.block_id)
        while waiting:
            orphan = waiting.pop()
            culprit = self.peers.get(self._source.get(orphan.block_id, self.node_id))
            try:
                effects += self._take_block(orphan, now)
                waiting += self.orphan_blocks.take_children(orphan.block_id)
            except ProtocolViolation as violation:
                if culprit is not None:
                    effects += self._punish(culprit, violation, now)
        if self.chain.tip is not old_tip:
            for peer in self._connected(now):
                if not peer.has(self.chain.tip):
                    effects.append(Send(peer.peer_id, announcement(self, peer)))
        return [*effects, *self.fetch(now)]

    def _take_block(self, block: Block, now: int) -> Effects:
        """One block into the books; whoever sent what turns out invalid is punished."""
        accepted = self.ledger.take(block, now_s=self.now_s(now))
        node, effects = self.chain.tree.nodes[block.block_id], accepted.effects
        source = self.peers.get(self._source.get(block.block_id, self.node_id))
        self.download.settle(block.block_id)
        self.compact.settle(block.block_id)
        if source is not None and node.violation is None:
            source.learn_block(node)
        for invalid in accepted.invalid:
            culprit = self.peers.get(self._source.get(invalid.block_id, self.node_id))
            if culprit is not None:
                effects += self._punish(culprit, invalid.violation, now)
        if not accepted.joined:
            return effects
        txids = [payment.txid for joined in accepted.joined for payment in joined.transactions]
        return effects + self._follow_up(self.relay.in_blocks(txids), now)

    def _remember_source(self, block: Block, peer_id: NodeId) -> None:
        if block.block_id not in self._source:
            self._source[block.block_id] = peer_id
            if len(self._source) > SOURCES_MAX:
                del self._source[next(iter(self._source))]

    # Payments.

    def _on_transaction(self, peer: Peer, message: TransactionMessage, now: int) -> Effects:
        """A payment, asked for or not."""
        payment = parse_transaction(message.data)
        peer.learn_transaction(payment.txid)
        outcome = self.relay.take(payment, peer.peer_id)
        return [*self._follow_up(outcome, now), *self.fetch(now)]

    def _follow_up(self, outcome: RelayOutcome, now: int) -> Effects:
        """Tell of new payments, punish for impossible ones."""
        effects: Effects = []
        for txid in outcome.accepted:
            effects += self._announce(txid, now)
        present = ((self.peers.get(peer_id), fault) for peer_id, fault in outcome.refused)
        for peer, violation in present:  # An orphan's sender may be gone.
            effects += self._punish(peer, violation, now) if peer is not None else []
        return effects

    def _announce(self, txid: bytes, now: int) -> Effects:
        """Tell all who may not have it."""
        fresh = [peer for peer in self._connected(now) if not peer.knows(txid)]
        for peer in fresh:
            peer.learn_transaction(txid)
        return [Send(peer.peer_id, Inv((txid,))) for peer in fresh]

    def _pay(self, command: Pay, now: int) -> Effects:
        """A payment of the owner's: to disk, then to the peers."""
        rate = command.fee_rate_satoshi_per_byte
        try:
            payment = self.ledger.pay(
                command.payee, command.value_satoshi, fee_rate_satoshi_per_byte=rate
            )
        except (ParameterError, ProtocolViolation) as error:
            return [Reply(command.request_id, error)]
        write = (("payment", payment.txid), payment.serialize())
        return [
            Persist((write,), payment.size_bytes),
            Reply(command.request_id, payment.txid),
            *self._announce(payment.txid, now),
        ]

    # Misbehaviour.

    def _punish(self, peer: Peer, violation: ProtocolViolation, now: int) -> Effects:
        """Count it; a ban is kept on disk, and what the peer owed is asked from others."""
        effects: Effects = [Note("refused", (peer.peer_id, violation.rule))]
        if peer.punish(violation.rule, now):
            self.give_up_on(peer)
            ban = (("ban", peer.peer_id), peer.banned_until_ns)
            effects += [Persist((ban,)), Note("banned", peer.peer_id)]
        return [*effects, *self.fetch(now)]

    def give_up_on(self, peer: Peer) -> None:
        """A peer is gone: what it owes is asked from others."""
        self.download.give_up_on(peer.peer_id)
        self.compact.forget(peer.peer_id)

    def now_s(self, now: int) -> int:
        """The node's clock, Unix seconds."""
        return self.start_s + now // SECOND_NS
