"""Every block that we make is judged by Bitcoin Core's engine too, and both always agree."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from consensus_lab.live.bitcoin import CoreEngine, EngineVerdict
from consensus_lab.nakamoto.block import Block, parse_block
from consensus_lab.nakamoto.chain import Chain, Delivery
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.script_rules import ScriptFailure
from consensus_lab.node import ProtocolViolation
from consensus_lab.sim.faults import Trouble, install, partition
from tests.nakamoto import test_full_node
from tests.nakamoto.block_world import BlockWorld
from tests.nakamoto.forgeries import FORGERIES, too_new

pytest.importorskip("pbk", reason="pip install 'consensus-lab[live]' for Bitcoin Core's engine")

BASE_BLOCKS = 104
STEPS = 60
SEEDS_QUICK = range(6)
RULES_OF_FORGERIES = {
    "bad-blk-length", "bad-blk-sigops", "bad-cb-amount", "bad-cb-height", "bad-cb-length",
    "bad-cb-missing", "bad-cb-multiple", "bad-diffbits", "bad-txnmrklroot", "bad-txns-duplicate",
    "bad-txns-in-belowout", "bad-txns-inputs-duplicate", "bad-txns-inputs-missingorspent",
    "bad-txns-nonfinal", "bad-txns-premature-spend-of-coinbase", "bad-txns-prevout-null",
    "bad-txns-txouttotal-toolarge", "bad-txns-vout-empty", "bad-txns-vout-negative",
    "bad-txns-vout-toolarge", "bad-version", "bad-witness-merkle-match",
    "bad-witness-nonce-size", "block-script-verify-flag-failed", "high-hash",
    "prev-blk-not-found", "time-too-new", "time-too-old", "unexpected-witness",
}  # fmt: skip
SEEDS_FULL = range(100, 400)


class Judges:
    """Our chain and Core's engine side by side; every delivery is compared."""

    def __init__(self, engine: CoreEngine) -> None:
        self.engine = engine
        self.chain = Chain(REGTEST)
        self.rules: Counter[str] = Counter()
        self.depth_max = 0

    def deliver(self, block: Block, what: str) -> bool:
        """Hand both the same bytes, and compare everything that both say."""
        return self.deliver_bytes(block.serialize(), what)

    def deliver_bytes(self, data: bytes, what: str) -> bool:
        """The same for bytes that may be no block at all."""
        theirs = self.engine.deliver(data)
        rule, done = None, None
        try:
            block = parse_block(data)
        except ProtocolViolation:
            rule = "malformed"
        else:
            try:
                done = self.chain.deliver(block, now_s=self.engine.clock_s())
            except ProtocolViolation as violation:
                rule = violation.rule
        assert rule == theirs.rule, f"{what}: we say {rule}, Core says {theirs.rule}"
        assert self.chain.tip.block_id == theirs.tip_id, what
        assert self.chain.height == theirs.height, what
        self._compare(done, theirs, what)
        self.rules[rule or "accepted"] += 1
        return rule is None

    def _compare(self, done: Delivery | None, theirs: EngineVerdict, what: str) -> None:
        """Which blocks left, joined and failed, in which order and why."""
        left = tuple(block.block_id for block in done.disconnected) if done else ()
        joined = tuple(block.block_id for block in done.connected) if done else ()
        assert left == theirs.disconnected, what
        assert joined == theirs.connected, what
        failures = done.invalid if done else ()
        assert len(failures) == len(theirs.failures), what
        for ours, core in zip(failures, theirs.failures, strict=True):
            violation = ours.violation
            assert (ours.block_id, violation.rule) == (core.block_id, core.rule), what
            if isinstance(violation, ScriptFailure):
                assert violation.detail == core.detail, what
            self.rules[violation.rule] += 1
        self.depth_max = max(self.depth_max, len(left))


def pick_parent(world: BlockWorld, chain: Chain, choice: random.Random) -> bytes:
    """Mostly the tip, often a block a little below, sometimes any recent block of any branch."""
    draw = choice.random()
    if draw < 0.5:
        return chain.tip.block_id
    if draw < 0.75:
        return chain.active[max(0, chain.height - choice.randrange(1, 5))].block_id
    return choice.choice(list(world.blocks)[-15:])


def simulate(seed: int) -> Judges:
    """One random history: honest blocks, forks, forgeries, children of forgeries, repeats."""
    world, choice = BlockWorld(seed), random.Random(seed)
    with CoreEngine() as engine:
        judges = Judges(engine)
        tip = REGTEST.genesis.block_id
        for _ in range(BASE_BLOCKS):
            block = world.honest_block(tip)
            assert judges.deliver(block, "base")
            tip = block.block_id
        for step in range(STEPS):
            one_step(world, judges, choice, f"seed {seed}, step {step}")
        check_supply(judges.chain)
    return judges


def one_step(world: BlockWorld, judges: Judges, choice: random.Random, what: str) -> None:
    """Deliver one block, or a small group of them."""
    parent = pick_parent(world, judges.chain, choice)
    draw = choice.random()
    if draw < 0.45:
        block = world.honest_block(parent, payments=choice.randrange(4))
        if block.coinbase.has_witness and choice.random() < 0.3:  # A damaged copy comes first.
            item = block.coinbase.inputs[0]._replace(witness=())
            stripped = replace(block.coinbase, inputs=(item,))
            copy = replace(block, transactions=(stripped, *block.transactions[1:]))
            judges.deliver(copy, f"{what}, other witness")
        judges.deliver(block, f"{what}, honest")
    elif draw < 0.55:  # A branch of several blocks, delivered at once: reorganisations.
        depth = choice.randrange(1, 5)
        parent = judges.chain.active[judges.chain.height - depth].block_id
        for _ in range(depth + 1):
            parent = world.honest_block(parent, payments=choice.randrange(3)).block_id
            judges.deliver(world.blocks[parent], f"{what}, branch")
    elif draw < 0.6:
        repeated = choice.choice(list(world.blocks.values())[1:])
        if choice.random() < 0.3:  # A damaged copy of a block that is known.
            repeated = replace(repeated, transactions=repeated.transactions * 2)
        judges.deliver(repeated, f"{what}, repeated")
    elif draw < 0.65:
        data = bytearray(world.honest_block(parent, payments=2).serialize())
        del data[choice.randrange(len(data)) :]
        judges.deliver_bytes(bytes(data), f"{what}, cut off")
    elif draw < 0.68:
        judges.deliver(too_new(world, parent, now_s=judges.engine.clock_s()), f"{what}, too new")
    else:
        forge = choice.choice(FORGERIES)
        forged = forge(world, parent)
        if forged is None:
            return
        name = f"{what}, {forge.__name__}"
        was_accepted = judges.deliver(forged, name)
        if not was_accepted or forged.header.previous not in world.blocks:
            return
        parent = world.add(forged).block_id
        if choice.random() < 0.7:
            # Children on top: the branch overtakes, and the forgery is found out at last.
            for _ in range(choice.randrange(1, 4)):
                parent = world.honest_block(parent).block_id
                judges.deliver(world.blocks[parent], f"{name}, child")


def check_supply(chain: Chain) -> None:
    """Nothing exists beyond the subsidies."""
    subsidies = sum(REGTEST.subsidy_satoshi(node.height) for node in chain.active[1:])
    assert chain.utxo.total_satoshi + chain.utxo.burned_satoshi <= subsidies


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS_QUICK)
def test_our_chain_and_core_agree_after_every_delivery(seed):
    """Verdict, rule, tip, and the blocks that left and joined, for one random history."""
    judges = simulate(seed)
    assert judges.chain.statistics.reorganisations > 0


@pytest.mark.slow
def test_what_full_nodes_mined_and_relayed_is_cores_chain_too(monkeypatch):
    """Blocks of a network under faults, forks and all, parents before children."""
    monkeypatch.setattr(test_full_node, "RULES", REGTEST)
    network = test_full_node.Network(4, seed=2)
    hour_ns = 60 * test_full_node.MINUTE_NS
    network.mine_until(22 * hour_ns)
    network.pay_until(22 * hour_ns, begin_ns=18 * hour_ns, count=40)
    install(network.engine, [
        Trouble(at_ns=hour_ns, until_ns=21 * hour_ns, loss=0.1),
        *partition((0, 1), (2, 3), at_ns=19 * hour_ns, until_ns=20 * hour_ns),
    ])  # fmt: skip
    network.engine.run(until_ns=23 * hour_ns)
    node = network.engine.nodes[0]
    heights = {block_id: item.height for block_id, item in node.chain.tree.nodes.items()}
    blocks = sorted(node.chain.blocks.values(), key=lambda block: heights[block.block_id])[1:]
    with CoreEngine() as engine:
        judges = Judges(engine)
        for block in blocks:
            assert judges.deliver(block, "a stored block")
    assert judges.chain.tip.block_id == node.chain.tip.block_id
    assert len(blocks) > node.chain.height > REGTEST.maturity_blocks, "there was a fork"
    assert sum(len(block.transactions) - 1 for block in blocks) > 10


@pytest.mark.full
def test_our_chain_and_core_agree_in_many_histories():
    """The same for hundreds of histories; together they meet nearly every rule there is."""
    rules: Counter[str] = Counter()
    for seed in SEEDS_FULL:
        rules += simulate(seed).rules
    assert len(rules) >= 30, rules


@pytest.mark.slow
def test_each_forgery_is_judged_alike():
    """Every forgery several times on the tip, for the same reason; together most of the rules."""
    world = BlockWorld(11)
    with CoreEngine() as engine:
        judges = Judges(engine)
        tip = REGTEST.genesis.block_id
        for height in range(BASE_BLOCKS):
            tip = world.honest_block(tip, payments=2 if height >= 101 else 0).block_id
            assert judges.deliver(world.blocks[tip], "base")
        for forge in FORGERIES:
            for attempt in range(4):
                forged = forge(world, tip)
                assert forged is not None
                judges.deliver(forged, f"{forge.__name__}, attempt {attempt}")
                if judges.chain.tip.block_id == forged.block_id:
                    tip = world.add(forged).block_id
        forged = too_new(world, tip, now_s=engine.clock_s())
        judges.deliver(forged, "too new")
    assert set(judges.rules) >= RULES_OF_FORGERIES
