"""Targets, retargeting, the search for nonces, and how long it takes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from scipy import stats

from consensus_lab.nakamoto.block import parse_block
from consensus_lab.nakamoto.block_tree import BlockTree, Checkpoint
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.header import (
    BlockHeader,
    block_work,
    check_proof_of_work,
    check_time,
    median_time_past,
    nbits_to_target,
    target_to_nbits,
)
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import MAINNET, REGTEST, SIMNET
from consensus_lab.nakamoto.pow import (
    draw_mining_time_ns,
    search_extra_nonce,
    search_nonce,
    success_probability,
)
from consensus_lab.nakamoto.retarget import RetargetRule, next_nbits
from consensus_lab.nakamoto.subsidy import MONEY_SATOSHI_MAX, block_subsidy, total_subsidy
from consensus_lab.node import ParameterError, ProtocolViolation

EASY = (1 << 255) - 1
TWO_WEEKS_S = 14 * 24 * 3600
RULE = MAINNET.retarget
NBITS = 0x1B0404CB


def retarget(timespan_s: int, nbits: int = NBITS) -> int:
    """Next nbits when the 2015 intervals of a period took so long."""
    return next_nbits(nbits, first_time_s=1_000, last_time_s=1_000 + timespan_s, rule=RULE)


def test_a_period_of_exactly_two_weeks_changes_nothing():
    """Measured over 2015 intervals: blocks every 600 s sharp are therefore judged too fast."""
    assert retarget(TWO_WEEKS_S) == NBITS
    target, harder = nbits_to_target(NBITS), nbits_to_target(retarget(2015 * 600))
    assert target is not None and harder is not None
    assert harder / target == pytest.approx(2015 / 2016, rel=1e-4)


def test_the_factor_is_held_between_a_quarter_and_four():
    """However fast or slow the blocks came, and also when clocks ran backwards."""
    quarter, fourfold = retarget(TWO_WEEKS_S // 4), retarget(TWO_WEEKS_S * 4)
    assert retarget(1) == retarget(-10_000) == quarter
    assert retarget(TWO_WEEKS_S * 40) == fourfold
    target = nbits_to_target(NBITS)
    assert target is not None
    assert quarter == target_to_nbits(target // 4)
    assert fourfold == target_to_nbits(target * 4)


def test_the_target_never_gets_easier_than_the_networks_limit():
    """Difficulty 1 is the floor on mainnet."""
    assert retarget(TWO_WEEKS_S * 4, 0x1D00FFFF) == 0x1D00FFFF


@pytest.mark.parametrize(
    ("nbits", "target"),
    [
        (0x01003456, None),
        (0x01123456, 0x12),
        (0x02008000, 0x80),
        (0x04923456, None),
        (0x05009234, 0x92340000),
        (0x20123456, 0x123456 << 232),
        (0xFF123456, None),
        (0, None),
    ],
)
def test_compact_targets_have_corners(nbits, target):
    """Negative, zero, overflowing and tiny ones (Bitcoin Core, arith_uint256 tests)."""
    assert nbits_to_target(nbits) == target
    assert block_work(nbits) == (0 if target is None else (1 << 256) // (target + 1))


def test_the_search_finds_the_first_nonce_that_works():
    """Every nonce before it fails, and the search gives up when told to."""
    header = BlockHeader(4, bytes(32), b"\x01" * 32, 7, 0x1F7FFFFF, 0)
    found = search_nonce(header)
    assert found is not None and found.nonce > 0
    check_proof_of_work(found, target_max=EASY)
    for nonce in range(found.nonce):
        with pytest.raises(ProtocolViolation, match="high-hash"):
            check_proof_of_work(replace(header, nonce=nonce), target_max=EASY)
    assert search_nonce(header, tries_max=found.nonce) is None
    assert search_nonce(header, first_nonce=found.nonce) == found
    with pytest.raises(ParameterError, match="nbits"):
        search_nonce(replace(header, nbits=0))


def test_nonces_used_up_lead_to_the_extra_nonce():
    """With one nonce allowed per header, the coinbase changes until its one nonce works."""
    template = block_template(Chain(REGTEST), script_pubkey=b"\x51", now_s=1_700_000_000)
    template = replace(template, header=replace(template.header, nbits=0x201FFFFF))
    header, extra = search_extra_nonce(
        lambda extra: template.block(extra).header, tries_per_extra_nonce=1
    )
    assert extra > 0 and header.nonce == 0
    assert header.merkle_root == template.block(extra).merkle.root
    block = mine(template, tries_per_extra_nonce=1)
    assert parse_block(block.serialize()) == block
    assert block.header == header


def test_a_nonce_wins_as_often_as_the_target_says():
    """Successes among many tries are binomial with probability (target + 1) / 2^256."""
    probability = success_probability(0x200FFFFF)
    assert probability == pytest.approx(1 / 16, rel=1e-5)
    header, wins, tries = BlockHeader(4, bytes(32), bytes(32), 7, 0x200FFFFF, 0), 0, 8_000
    nonce = 0
    while True:
        found = search_nonce(header, first_nonce=nonce, tries_max=tries - nonce)
        if found is None:
            break
        wins, nonce = wins + 1, found.nonce + 1
    assert stats.binomtest(wins, tries, probability).pvalue > 1e-4


def test_mining_time_is_exponential_at_hash_power_times_probability():
    """Kolmogorov-Smirnov against the closed form; twice the power, half the time."""
    source = random.Random(3)
    draws = [
        draw_mining_time_ns(source, hash_rate_per_s=4.0, nbits=0x207FFFFF, difficulty_scale=1_200)
        for _ in range(3_000)
    ]
    mean_s = 1_200 / (4.0 * success_probability(0x207FFFFF))
    assert mean_s == pytest.approx(600, rel=1e-4)
    assert stats.kstest([draw / 1e9 for draw in draws], "expon", args=(0, mean_s)).pvalue > 1e-3
    fast, slow = (
        draw_mining_time_ns(random.Random(3), hash_rate_per_s=rate, nbits=0x207FFFFF)
        for rate in (2.0, 1.0)
    )
    assert slow == pytest.approx(2 * fast, abs=2)


def test_no_hash_power_never_finds_a_block_and_nonsense_is_refused():
    """Zero is allowed, less is not."""
    source = random.Random(1)
    never = draw_mining_time_ns(source, hash_rate_per_s=0, nbits=0x207FFFFF)
    assert never == (1 << 63) - 1
    for arguments in ({"hash_rate_per_s": -1.0}, {"hash_rate_per_s": float("inf")}):
        with pytest.raises(ParameterError, match="hash_rate_per_s"):
            draw_mining_time_ns(source, nbits=0x207FFFFF, **arguments)
    with pytest.raises(ParameterError, match="difficulty_scale"):
        draw_mining_time_ns(source, hash_rate_per_s=1, nbits=0x207FFFFF, difficulty_scale=0)
    with pytest.raises(ParameterError, match="nbits"):
        success_probability(0)


def test_median_time_of_eleven_and_two_hours_ahead():
    """Later than the median, not than the parent; two hours ahead and not a second more."""
    times = [100, 90, 130, 80, 120, 110, 70, 140, 60, 150, 160]
    median = median_time_past(times)
    assert median == 110
    # Near the genesis block there are fewer; of an even count the upper one is taken.
    assert median_time_past([1, 2]) == 2 and median_time_past([4, 1, 3, 2]) == 3
    header = BlockHeader(4, bytes(32), bytes(32), 111, 0x207FFFFF, 0)
    check_time(header, median_time_s=median, now_s=111 - 7_200)
    for time_s, now_s, rule in ((110, 110, "time-too-old"), (111, 110 - 7_200, "time-too-new")):
        with pytest.raises(ProtocolViolation, match=rule):
            check_time(replace(header, time_s=time_s), median_time_s=median, now_s=now_s)


def test_a_chain_retargets_itself():
    """Four-block periods at half the wanted spacing: the target halves, less the off-by-one."""
    rule = RetargetRule(target_max=EASY, interval_blocks=4, spacing_s=600)
    chain = Chain(replace(REGTEST, retarget=rule))
    for _ in range(8):
        time_s = chain.tip.header.time_s + 300
        block = mine(block_template(chain, script_pubkey=b"\x51", now_s=time_s))
        chain.deliver(block, now_s=time_s)
    targets = [nbits_to_target(node.header.nbits) for node in chain.active]
    assert targets[0] == targets[3]
    assert targets[4] / targets[3] == pytest.approx(900 / 2400, rel=1e-4)
    assert targets[8] / targets[7] == pytest.approx(900 / 2400, rel=1e-4)
    wrong = mine(block_template(chain, script_pubkey=b"\x51", now_s=chain.tip.header.time_s + 1))
    header = search_nonce(replace(wrong.header, nbits=0x207FFFFF))
    with pytest.raises(ProtocolViolation, match="bad-diffbits"):
        chain.deliver(replace(wrong, header=header), now_s=1 << 32)


def test_an_easy_block_after_a_pause_is_an_exception():
    """Simnet's rule: late blocks may be easy, and the next in time is as hard as before."""
    easy = replace(SIMNET.retarget, interval_blocks=4)
    rules = replace(SIMNET, retarget=easy)
    hard = BlockHeader(4, bytes(32), bytes(32), 10_000, 0x200FFFFF, 0)
    tree = BlockTree(rules, start=Checkpoint(hard, 4, times_s={4: 10_000}))

    def extend(time_s, nbits):
        parent = max(tree.nodes.values(), key=lambda node: node.height)
        header = BlockHeader(4, parent.block_id, bytes(32), time_s, nbits, 0)
        found = search_nonce(header)
        assert found is not None
        return tree.add_header(found, now_s=1 << 32)

    extend(11_201, 0x207FFFFF)
    extend(12_402, 0x207FFFFF)
    with pytest.raises(ProtocolViolation, match="bad-diffbits"):
        extend(12_500, 0x207FFFFF)
    assert extend(12_500, 0x200FFFFF).height == 7
    with pytest.raises(ProtocolViolation, match="bad-diffbits"):
        extend(13_700, 0x207FFFFF)


def test_a_miner_whose_clock_is_behind_stays_above_the_median():
    """Its blocks are valid all the same, one second after the median each."""
    chain = Chain(REGTEST)
    for _ in range(30):
        block = mine(block_template(chain, script_pubkey=b"\x51", now_s=0))
        assert block.header.time_s == chain.tip.median_time_s + 1
        assert chain.deliver(block, now_s=1 << 32).connected == (block,)


def test_a_tree_from_the_middle_asks_for_the_times_that_it_needs():
    """A retarget that looks back before the start is a mistake of who started there."""
    rule = RetargetRule(target_max=EASY, interval_blocks=4, spacing_s=600)
    rules = replace(REGTEST, retarget=rule)
    header = BlockHeader(4, bytes(32), bytes(32), 5_000, 0x207FFFFF, 0)
    blind = BlockTree(rules, start=Checkpoint(header, 7))
    assert not blind.is_retarget_known(blind.root)
    with pytest.raises(ParameterError, match="times_s"):
        blind.required_nbits(blind.root, time_s=5_600)
    seeing = BlockTree(rules, start=Checkpoint(header, 7, times_s={4: 4_100}))
    required = nbits_to_target(seeing.required_nbits(seeing.root, time_s=5_600))
    assert required == pytest.approx(EASY * 900 / 2400, rel=1e-4)


def test_retarget_rules_that_make_no_sense_are_refused():
    """Named, with the allowed range."""
    for wrong in ({"interval_blocks": 0}, {"spacing_s": 0}, {"target_max": 0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            RetargetRule(**{"target_max": EASY, **wrong})


def test_the_subsidy_halves_and_ends_below_21_million():
    """33 halvings, 20,999,999.9769 coins, and never one above the limit."""
    by_hand = sum(block_subsidy(era * 210_000) * 210_000 for era in range(64))
    assert total_subsidy(10**9) == by_hand == 2_099_999_997_690_000 < MONEY_SATOSHI_MAX
    assert total_subsidy(210_001) == 210_000 * 50 * 10**8 + 25 * 10**8
    assert block_subsidy(150, halving_interval_blocks=150) == 25 * 10**8
    assert [block_subsidy(h, halving_interval_blocks=1) for h in (32, 33, 64)] == [1, 0, 0]
