"""Chains: recorded decisions of real nodes about forks, and verdicts on single blocks."""

from __future__ import annotations

import time
from typing import Any

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.block import Block, parse_block
from consensus_lab.nakamoto.block_tree import BlockTree, Checkpoint
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.encoding import NULL_ID, display_id, hash160
from consensus_lab.nakamoto.header import BlockHeader, block_work, parse_header
from consensus_lab.nakamoto.miner import BlockTemplate, mine
from consensus_lab.nakamoto.network_rules import REGTEST, SIMNET
from consensus_lab.nakamoto.script import pay_to_public_key_hash
from consensus_lab.nakamoto.script_rules import ScriptFailure
from consensus_lab.node import ProtocolViolation
from tests.conformance.bitcoin.corpus import Corpus, CorpusFile, Judge
from tests.conformance.bitcoin.tally import NotCovered, Tally, expect

FAR_FUTURE_S = 1 << 32
ANYONE_CAN_SPEND = b"\x51"


def _judge_fork_trees(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Recorded decisions, with blocks of our own and, where the folder has them, the recorded."""
    raw = _raw_trees(corpus)
    for scenario in file.content["scenarios"]:
        name = f"{file.name}, tree {scenario['seed']}"
        _replay(scenario, _mined_blocks(scenario), "fork decisions", name, tally)
        if scenario["seed"] in raw:
            kind = "fork decisions, recorded blocks"
            with tally.case(f"{kind}, identities", name):
                _replay(scenario, _raw_blocks(scenario, raw[scenario["seed"]]), kind, name, tally)


def _raw_trees(corpus: Corpus) -> dict[int, dict[str, str]]:
    """Recorded blocks by the seed of their tree."""
    files = corpus.of_kind("raw fork trees")
    return {tree["seed"]: tree["blocks"] for file in files for tree in file.content}


def _judge_raw_trees(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Recorded blocks without decisions cannot be judged."""
    trees = corpus.of_kind("fork trees")
    decided = {scenario["seed"] for item in trees for scenario in item.content["scenarios"]}
    for tree in file.content:
        if tree["seed"] not in decided:
            kind, name = "fork decisions, recorded blocks", f"{file.name}, tree {tree['seed']}"
            tally.leave_out(kind, name, "no decisions for it")


def _mined_blocks(scenario: dict[str, Any]) -> dict[str, Block]:
    """Blocks of our own in the recorded shape; an invalid one pays its miner a satoshi more."""
    blocks: dict[str, Block] = {}
    for facts in scenario["blocks"]:
        if facts["parent"] is None:
            blocks[facts["id"]] = REGTEST.genesis
            continue
        height = int(facts["height"])
        parent = blocks[facts["parent"]].header
        nbits = REGTEST.retarget.nbits_max
        header = BlockHeader(4, parent.block_id, NULL_ID, int(facts["time"]), nbits, 0)
        excess = 0 if facts["valid_on_its_own"] else 1
        reward = REGTEST.subsidy_satoshi(height) + excess
        tag = facts["id"].encode()
        blocks[facts["id"]] = mine(BlockTemplate(header, height, reward, ANYONE_CAN_SPEND, (), tag))
    return blocks


def _raw_blocks(scenario: dict[str, Any], raw: dict[str, str]) -> dict[str, Block]:
    """The recorded blocks themselves."""
    data = {name: bytes.fromhex(text) for name, text in raw.items()}
    genesis = REGTEST.genesis
    blocks = {
        # Of the genesis block some files give the header alone.
        name: genesis if item == genesis.header.serialize() else parse_block(item)
        for name, item in data.items()
    }
    for facts in scenario["blocks"]:
        expect(display_id(blocks[facts["id"]].block_id), facts["block_id"], "identity")
    return blocks


def _replay(
    scenario: dict[str, Any], blocks: dict[str, Block], kind: str, name: str, tally: Tally
) -> None:
    """Deliver in the recorded order and compare after every delivery."""
    chain = Chain(REGTEST)
    names = {block.block_id: label for label, block in blocks.items()}
    for number, event in enumerate(scenario["events"]):
        with tally.case(kind, f"{name}, delivery {number} of {event['deliver']}"):
            accepted, left, joined = True, [], []
            try:
                done = chain.deliver(blocks[event["deliver"]], now_s=FAR_FUTURE_S)
            except ProtocolViolation:
                accepted = False
            else:
                left = [names[block.block_id] for block in done.disconnected]
                joined = [names[block.block_id] for block in done.connected]
            expect(accepted, event["accepted"], "accepted")
            expect(names[chain.tip.block_id], event["tip"], "tip")
            expect(chain.height, event["tip_height"], "height")
            expect(left, event["disconnected"], "disconnected")
            expect(joined, event["connected"], "connected")


def _judge_most_work(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Headers of two branches of different difficulty, in the recorded order of delivery."""
    facts = file.content
    kind, common = "most work beats longest", int(facts["common_height"])
    base = [parse_header(bytes.fromhex(text)) for text in facts["base_last_11_headers"]]
    times = {height: facts["genesis_time"] + height for height in range(common + 1)}
    is_simnet = facts["genesis_block_id"] == display_id(SIMNET.genesis.block_id)
    is_regular = all(header.time_s == times[common - i] for i, header in enumerate(base[::-1]))
    if not is_simnet or not is_regular:
        tally.leave_out(kind, file.name, "another network, or a common chain that is not given")
        return
    start = Checkpoint(
        base[-1],
        common,
        chain_work=(common + 1) * block_work(base[-1].nbits),
        earlier_times_s=tuple(header.time_s for header in base[:-1]),
        times_s=times,
    )
    tree = BlockTree(SIMNET, start=start)
    best, branches = tree.root, {tree.root.block_id: "common"}
    headers = {(row["branch"], row["height"]): row["header_hex"] for row in facts["branch_headers"]}
    for number, event in enumerate(facts["events"]):
        with tally.case(kind, f"{file.name}, delivery {number}"):
            header = parse_header(bytes.fromhex(headers[event["branch"], event["height"]]))
            node = tree.add_header(header, now_s=FAR_FUTURE_S)
            branches[node.block_id] = event["branch"]
            best = node if node.chain_work > best.chain_work else best
            expect(f"{header.nbits:08x}", event["nbits_hex"], "nbits")
            expect(header.time_s, event["time"], "time")
            expect(node.height, event["height"], "height")
            expect(best.height, event["best_height_after"], "best height")
            expect(branches[best.block_id], event["best_branch_after"], "best branch")
            expect(best.chain_work, int(event["best_chainwork_after"]), "chain work")


def _judge_validity(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Single blocks on one chain, with the engine's verdict and its reason."""
    facts = file.content
    for key in facts.get("keys", ()):
        with tally.case("block validity, keys", f"{file.name}, key {key.get('index')}"):
            public_key = keys.public_key(bytes.fromhex(key["private_key_hex"]))
            expect(public_key.hex(), key["pubkey_hex"], "public key")
            script = pay_to_public_key_hash(hash160(public_key))
            expect(script.hex(), key["script_pubkey_hex"], "script")
    base = [parse_block(bytes.fromhex(text)) for text in facts["base_blocks_hex"]]
    for case in facts["cases"]:
        with tally.case("block validity", f"{file.name}, {case['case']}"):
            chain = Chain(REGTEST)
            for block in base:
                chain.deliver(block, now_s=FAR_FUTURE_S)
            expect(chain.height, len(base), "height of the base chain")
            reason = _reject_reason(chain, case["block_hex"], int(time.time()))
            if reason is None and case["reject_reason"] == "time-too-new":
                raise NotCovered("too new by the recording engine's clock, which has gone on")
            expect(reason, case["reject_reason"], "reject reason")
            expect(chain.height == len(base) + 1, case["valid"], "valid")


def _reject_reason(chain: Chain, block_hex: str, now_s: int) -> str | None:
    """Why our chain does not take the block, in Bitcoin Core's words."""
    try:
        done = chain.deliver(parse_block(bytes.fromhex(block_hex)), now_s=now_s)
    except ProtocolViolation as violation:
        return violation.rule
    if not done.invalid:
        return None
    violation = done.invalid[0].violation
    is_script = isinstance(violation, ScriptFailure)
    return f"{violation.rule} ({violation.detail})" if is_script else violation.rule


JUDGES: dict[str, tuple[Judge, ...]] = {
    "fork trees": (_judge_fork_trees,),
    "raw fork trees": (_judge_raw_trees,),
    "most work": (_judge_most_work,),
    "block validity": (_judge_validity,),
}
