"""Full nodes: a network of wallets and miners under faults, newcomers, liars and floods."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import (
    BlockMessage,
    Found,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    NotFound,
    Pay,
    TransactionMessage,
    Verack,
    Version,
)
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.peer_state import TOKENS_MAX
from consensus_lab.nakamoto.pow import draw_mining_time_ns
from consensus_lab.nakamoto.transaction import Transaction, TransactionOutput
from consensus_lab.nakamoto.validation import ScriptCache
from consensus_lab.nakamoto.wallet import Wallet
from consensus_lab.node import Note, ParameterError, Persist, ProtocolViolation, Reply, Send
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.faults import Crash, Trouble, install, partition
from consensus_lab.sim.links import Bandwidth, Link, Links
from consensus_lab.sim.process import Host

START_S = 1_700_000_000
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
RULES = replace(REGTEST, maturity_blocks=10)
FINAL = 6


def new_wallet(node_id: int) -> Wallet:
    return Wallet(
        b"wallet of node %06d" % node_id,
        maturity_blocks=RULES.maturity_blocks,
        address_format=RULES.address_format,
    )


def ring_with_chords(n: int) -> dict[int, set[int]]:
    """Each knows its neighbours at distance 1 and 3."""
    return {i: {(i + step) % n for step in (1, 3, -1, -3)} - {i} for i in range(n)}


class Network:
    """Nodes, miners and payers; remembers what every wallet was promised."""

    def __init__(self, n: int, *, seed: int, links: Links | None = None, graph=None) -> None:
        self.n, self.source = n, random.Random(seed)
        self.graph = graph or ring_with_chords(n)
        scripts = ScriptCache()

        def make(node_id, disk):
            return FullNode(
                node_id, self.graph[node_id], rules=RULES, wallet=new_wallet(node_id),
                start_s=START_S, disk=disk, scripts=scripts,
            )  # fmt: skip

        links = links or Links(Link(50_000_000, jitter_ns=20_000_000))
        self.engine = Engine(make, range(n), seed=seed, links=links, hosts=Host(fsync_ns=10**7))
        self.addresses = [new_wallet(i).address() for i in range(n)]
        self.replies: dict[int, object] = {}
        # Payments that a node saw under six blocks.
        self.buried: set[bytes] = set()
        self.engine.on_reply = lambda _node, effect, _now: self.replies.__setitem__(
            effect.request_id, effect.result
        )
        self.engine.on_apply = self._applied

    def _applied(self, node_id: int, effect, _now: int) -> None:
        node = self.engine.nodes[node_id]
        height = effect.index - FINAL + 1
        if height > 0 and node.chain.height >= effect.index:
            block = node.chain.blocks[node.chain.active[height].block_id]
            self.buried.update(transaction.txid for transaction in block.transactions[1:])

    def mine_until(self, end_ns: int, *, interval_ns: int = 10 * MINUTE_NS) -> None:
        """Every miner has the same hash power; times are exponential."""
        now = self.engine.now
        rate = 2 * SECOND_NS / interval_ns  # Every second hash succeeds.
        while True:
            now += draw_mining_time_ns(
                self.source, hash_rate_per_s=rate, nbits=RULES.retarget.nbits_max
            )
            if now >= end_ns:
                return
            self.engine.submit(self.source.randrange(self.n), Found(), at_ns=now)

    def pay_until(self, end_ns: int, *, begin_ns: int, count: int) -> None:
        """Anyone pays anyone at any time."""
        for number in range(count):
            at = begin_ns + self.source.randrange(end_ns - begin_ns)
            payer, payee = self.source.sample(range(self.n), 2)
            value = self.source.randrange(10_000, 100_000_000)
            command = Pay(number, self.addresses[payee], value)
            self.engine.submit(payer, command, at_ns=at)

    def check_agreement(self) -> FullNode:
        """One tip, one set of coins, the right supply, all that was final is still there."""
        nodes = [self.engine.nodes[i] for i in range(self.n)]
        first = nodes[0]
        assert {node.chain.tip.block_id for node in nodes} == {first.chain.tip.block_id}
        for node in nodes:
            utxo = node.chain.utxo
            total = sum(coin.value_satoshi for coin in utxo.coins().values())
            subsidies = sum(RULES.subsidy_satoshi(h) for h in range(1, node.chain.height + 1))
            assert total == subsidies
            assert utxo.coins() == first.chain.utxo.coins()
            owned = {i: c for i, c in utxo.coins().items() if c.output.script_pubkey
                     in node.ledger.wallet.scripts}  # fmt: skip
            worth = sum(coin.value_satoshi for coin in owned.values())
            assert node.ledger.wallet.balance_satoshi == worth
        assert self.buried
        assert self.buried <= confirmed_in(first)
        return first


def confirmed_in(node: FullNode) -> set[bytes]:
    """Payments in a node's best chain."""
    blocks = (node.chain.blocks[item.block_id] for item in node.chain.active[1:])
    return {transaction.txid for block in blocks for transaction in block.transactions[1:]}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_wallets_pay_each_other_under_faults_and_all_agree(seed: int) -> None:
    """Loss, a partition, crashes and a slow link: one tip, no coin made or lost."""
    slow = {(0, 1): Link(3 * SECOND_NS), (1, 0): Link(3 * SECOND_NS)}
    links = Links(Link(50_000_000, jitter_ns=20_000_000), pairs=slow,
                  bandwidth={5: Bandwidth(20_000, 20_000)})  # fmt: skip
    network = Network(9, seed=seed, links=links)
    engine = network.engine
    hour = 60 * MINUTE_NS
    network.mine_until(14 * hour)
    network.pay_until(12 * hour, begin_ns=3 * hour, count=150)
    install(engine, [
        Trouble(at_ns=hour, until_ns=13 * hour, loss=0.1, duplicate=0.05),
        *partition(range(4), range(4, 9), at_ns=5 * hour, until_ns=6 * hour),
        Crash(2, at_ns=4 * hour, restart_ns=5 * hour),
        Crash(7, at_ns=7 * hour, restart_ns=7 * hour + MINUTE_NS),
        Crash(0, at_ns=9 * hour, restart_ns=11 * hour),
    ])  # fmt: skip
    engine.run(until_ns=14 * hour + 10 * MINUTE_NS)
    first = network.check_agreement()
    assert sum(node.chain.statistics.reorganisations for node in engine.nodes.values()) > 0
    made = {result for result in network.replies.values() if isinstance(result, bytes)}
    assert len(made) > 50
    # No payment was funded by a lost branch's coinbase here, so each one is in a block.
    pending = made - confirmed_in(first)
    assert all(txid in first.pool for txid in pending)
    assert not any(peer.score for node in engine.nodes.values() for peer in node.peers.values())


def chain_of(length: int, *, node_id: int = 0) -> FullNode:
    """A lone node that mined so many blocks."""
    node = FullNode(node_id, (1, 2, 3), rules=RULES, wallet=new_wallet(node_id), start_s=START_S)
    node.start(0)
    for number in range(length):
        node.submit(Found(), now=(number + 1) * MINUTE_NS)
    return node


@pytest.mark.slow
def test_a_joining_node_downloads_headers_first_from_several_peers() -> None:
    network = Network(4, seed=5, graph={0: {1, 2}, 1: {0, 2, 3}, 2: {0, 1, 3}, 3: {1, 2}})
    engine = network.engine
    engine.crash(3)
    for number in range(120):
        engine.submit(0, Found(), at_ns=(number + 1) * MINUTE_NS)
    engine.run(until_ns=125 * MINUTE_NS)
    before = {i: engine.processes[i].bytes_sent for i in (1, 2)}
    engine.restart(3)
    engine.run(until_ns=127 * MINUTE_NS)
    assert engine.nodes[3].chain.height == 120
    assert engine.nodes[3].chain.tip.block_id == engine.nodes[0].chain.tip.block_id
    for peer in (1, 2):
        assert engine.processes[peer].bytes_sent - before[peer] > 20 * 200, "both served blocks"


def test_a_node_restarts_from_disk_with_blocks_payments_and_bans() -> None:
    node = chain_of(12)
    disk: dict = {}

    def keep(effects):
        for effect in effects:
            if isinstance(effect, Persist):
                disk.update(effect.writes)

    rebuilt = FullNode(0, (1, 2, 3), rules=RULES, wallet=new_wallet(0), start_s=START_S)
    for number in range(12):
        keep(rebuilt.submit(Found(), now=(number + 1) * MINUTE_NS))
    assert rebuilt.chain.tip.block_id == node.chain.tip.block_id
    keep(rebuilt.submit(Pay("a", new_wallet(1).address(), 50_000), now=13 * MINUTE_NS))
    keep(rebuilt.receive(1, BlockMessage(b"garbage"), now=0))
    greet(rebuilt, 1)
    keep(rebuilt.receive(1, BlockMessage(b"garbage"), now=14 * MINUTE_NS))
    again = FullNode(0, (1, 2, 3), rules=RULES, wallet=new_wallet(0), start_s=START_S, disk=disk)
    assert again.chain.tip.block_id == rebuilt.chain.tip.block_id
    assert list(again.pool.entries) == list(rebuilt.pool.entries)
    assert len(again.pool) == 1
    assert again.peers[1].is_banned(15 * MINUTE_NS)
    # The wallet has forgotten which coins the pending payment takes; the pool has not.
    (owned,) = again.ledger.wallet.spendable()[:1]
    (pending,) = again.pool
    assert owned.name == pending.transaction.inputs[0].previous
    for count in (2, 3, 4):
        value = 50_000
        (reply,) = [
            effect
            for effect in again.submit(Pay(count, new_wallet(1).address(), value), 15 * MINUTE_NS)
            if isinstance(effect, Reply)
        ]
        if count < 4:
            assert reply.result in again.pool
            assert len(again.pool) == count
        else:
            # Twelve blocks with a maturity of ten: no fourth coin is old enough.
            assert isinstance(reply.result, ParameterError)


def greet(node: FullNode, peer_id: int, now: int = 0) -> None:
    """Complete the handshake."""
    node.receive(peer_id, Version(7, 0), now)
    node.receive(peer_id, Verack(node.session), now)
    assert node.peers[peer_id].is_connected


def kinds(effects) -> list[tuple[str, object]]:
    return [(effect.kind, effect.detail) for effect in effects if isinstance(effect, Note)]


def test_invalid_blocks_get_their_sender_banned() -> None:
    node = chain_of(3)
    now = 10 * MINUTE_NS
    greedy = block_template(node.chain, script_pubkey=b"\x51", now_s=node.now_s(now))
    block = mine(replace(greedy, reward_satoshi=greedy.reward_satoshi + 1))
    good = mine(greedy)
    cases = {
        1: (block, "bad-cb-amount"),
        2: (replace(good, transactions=good.transactions * 2), "bad-txnmrklroot"),
        3: (replace(good, header=replace(good.header, nonce=good.header.nonce + 1)), "high-hash"),
    }
    while int.from_bytes(cases[3][0].block_id, "little") < 1 << 255:
        header = cases[3][0].header
        cases[3] = (replace(good, header=replace(header, nonce=header.nonce + 1)), "high-hash")
    for peer, (bad, rule) in cases.items():
        greet(node, peer)
        notes = kinds(node.receive(peer, BlockMessage(bad.serialize()), now))
        assert ("refused", (peer, rule)) in notes
        assert ("banned", peer) in notes
        assert node.chain.height == 3
        assert node.receive(peer, GetHeaders(()), now) == [Note("ignored", peer)]
    # The right copy of the block is still welcome, and a ban ends after a day.
    tomorrow = now + 24 * 60 * MINUTE_NS
    greet(node, 1, tomorrow)
    node.receive(1, BlockMessage(good.serialize()), tomorrow)
    assert node.chain.height == 4


def test_orphan_blocks_wait_for_their_parents() -> None:
    miner, node = chain_of(5), chain_of(0, node_id=9)
    greet(node, 1)
    now = 10 * MINUTE_NS
    blocks = [miner.chain.blocks[item.block_id] for item in miner.chain.active[1:]]
    for block in reversed(blocks[1:]):
        effects = node.receive(1, BlockMessage(block.serialize()), now)
        assert [type(effect.message) for effect in effects] == [GetHeaders]
    assert node.chain.height == 0
    node.receive(1, BlockMessage(blocks[0].serialize()), now)
    assert node.chain.height == 5


def test_an_orphan_payment_waits_and_its_parent_is_asked_for() -> None:
    miner = chain_of(12)
    node = chain_of(12)
    greet(node, 1)
    miner.submit(Pay("a", miner.ledger.wallet.address(), 100_000), now=20 * MINUTE_NS)
    parent = next(iter(miner.pool)).transaction
    wallet = miner.ledger.wallet
    coins = [wallet_coin(wallet, miner, parent, index) for index in range(1)]
    child = wallet.sign(coins, (TransactionOutput(90_000, wallet.scripts[0]),))
    now = 20 * MINUTE_NS
    effects = node.receive(1, TransactionMessage(child.serialize()), now)
    assert [e.message for e in effects] == [GetData((parent.txid,))]
    assert len(node.pool) == 0
    node.receive(1, TransactionMessage(parent.serialize()), now)
    assert list(node.pool.entries) == [parent.txid, child.txid]


def wallet_coin(wallet: Wallet, node: FullNode, parent: Transaction, index: int):
    """An unconfirmed coin in the form in which a wallet signs for it."""
    from consensus_lab.nakamoto.wallet import OwnedCoin

    name = parent.out_point(index)
    coin = node.pool.coin(name)
    assert coin is not None
    return OwnedCoin(name, coin, 0)


@pytest.mark.slow
def test_garbage_never_crashes_a_node() -> None:
    """Cut, altered and invented messages of every kind; each sender is heard or banned."""
    source = random.Random(11)
    miner = chain_of(6)
    block = miner.chain.blocks[miner.chain.active[4].block_id].serialize()
    header = miner.chain.tip.header.serialize()
    payment = miner.chain.blocks[miner.chain.tip.block_id].coinbase.serialize()
    seen = set()
    node = chain_of(3, node_id=0)
    for number in range(1500):
        peer = 1 + number % 3
        now = (number + 10) * 25 * 60 * MINUTE_NS // 20
        if not node.peers[peer].is_banned(now) and not node.peers[peer].is_connected:
            greet(node, peer, now)
        kind, data = source.choice(
            ((BlockMessage, block), (TransactionMessage, payment), (Headers, header))
        )
        altered = bytearray(data)
        for _ in range(source.randrange(3)):
            altered[source.randrange(len(data))] = source.randrange(256)
        cut = bytes(altered[: source.choice((len(data), source.randrange(len(data) + 1)))])
        noise = source.choice((cut, None, 5, "text", (cut,), ((),), b"", (cut, 7, None)))
        likely = kind((cut,)) if kind is Headers else kind(cut)
        strange = (kind(noise), Inv(noise, noise), GetData(noise), Version(noise, -1), noise)
        message = source.choice((likely, source.choice((*strange, NotFound(), GetHeaders(noise)))))
        for kind_, detail in kinds(node.receive(peer, message, now)):
            if kind_ == "refused":
                seen.add(detail[1])
    wanted = {"malformed-message", "truncated", "high-hash", "bad-txnmrklroot"}
    assert wanted <= seen, seen
    assert len(seen) >= 7, seen
    node.submit(Found(), now=2000 * 25 * 60 * MINUTE_NS)
    assert node.chain.height >= 4


def test_a_flood_is_cut_off_and_then_banned() -> None:
    node = chain_of(1)
    greet(node, 1)
    now = 5 * MINUTE_NS
    answered = 0
    tries = 0
    for _ in range(TOKENS_MAX + 200):
        effects = node.receive(1, GetHeaders(()), now)
        answered += any(isinstance(e, Send) for e in effects)
        if ("banned", 1) in kinds(effects):
            break
        tries += 1
    assert tries == TOKENS_MAX + 99
    assert answered == TOKENS_MAX
    # Others are not affected, and a slow peer never is.
    greet(node, 2)
    for second in range(50):
        effects = node.receive(2, GetHeaders(()), now + second * SECOND_NS)
        assert any(isinstance(e, Send) for e in effects)


def test_mistakes_of_the_owner_are_answered_or_named() -> None:
    node = chain_of(2)
    (reply,) = node.submit(Pay("poor", new_wallet(1).address(), 10**8), now=5 * MINUTE_NS)
    assert isinstance(reply.result, ParameterError)
    (reply,) = node.submit(Pay("wrong", "not an address", 10**6), now=5 * MINUTE_NS)
    assert isinstance(reply.result, ProtocolViolation)
    with pytest.raises(ParameterError, match="command"):
        node.submit("mine", now=0)


@pytest.mark.slow
def test_one_seed_one_course() -> None:
    def course() -> list[bytes]:
        network = Network(5, seed=8)
        network.mine_until(5 * 60 * MINUTE_NS)
        network.pay_until(5 * 60 * MINUTE_NS, begin_ns=3 * 60 * MINUTE_NS, count=10)
        network.engine.run(until_ns=5 * 60 * MINUTE_NS)
        return [network.engine.nodes[0].chain.tip.block_id, *network.engine.nodes[1].pool.entries]

    assert course() == course()
