"""Sybil identities: when they break agreement, and that weight cannot be split into more."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from consensus_lab.adversaries.sybil import TwoFacedAcceptor, TwoFacedVoter, can_break_agreement
from consensus_lab.experiments import sybil_runs
from consensus_lab.experiments.sybil_runs import (
    PAXOS,
    RAFT,
    lottery_agreement,
    slots_led,
    split_decisions,
    tickets_won,
)
from consensus_lab.node import ParameterError, Send
from consensus_lab.paxos.acceptor import Acceptor
from consensus_lab.paxos.messages import NO_PROPOSAL, Accept, Prepare, Promise
from consensus_lab.raft.messages import MsgApp, MsgAppResp, MsgVote, MsgVoteResp


@pytest.mark.parametrize("honest", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("identities", [0, 1, 2, 3, 4])
def test_the_condition_is_that_two_quorums_share_liars_alone(honest: int, identities: int) -> None:
    """Against every pair of majorities of the members."""
    members = range(honest + identities)
    quorums = list(combinations(members, len(members) // 2 + 1))
    found = any(
        all(member >= honest for member in set(one) & set(other))
        for one in quorums
        for other in quorums
    )
    assert can_break_agreement(honest, identities) == found


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [PAXOS, RAFT])
@pytest.mark.parametrize("honest", [2, 3, 4])
def test_agreement_is_broken_exactly_when_the_condition_holds(protocol: str, honest: int) -> None:
    for identities in range(4):
        decided = split_decisions(protocol, honest=honest, identities=identities, seed=7)
        assert decided.is_broken == can_break_agreement(honest, identities), identities


class _Truthful:
    """A member that hears both halves and keeps to the rules."""

    def __init__(self, node_id: int, disk: Any) -> None:
        self.node_id, self.acceptor = node_id, Acceptor(disk)

    def start(self, now: int) -> list:
        return []

    def timer(self, name: str, now: int) -> list:
        return []

    def receive(self, sender: int, message: Any, now: int) -> list:
        if isinstance(message, Prepare):
            return self.acceptor.on_prepare(sender, message)
        if isinstance(message, Accept):
            return self.acceptor.on_accept(message, proposer=sender, tell=[sender])
        return []


def test_members_that_keep_to_the_rules_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sybil_runs, "TwoFacedAcceptor", _Truthful)
    for seed in range(5):
        decided = split_decisions(PAXOS, honest=3, identities=2, seed=seed)
        assert decided.by_index and not decided.is_broken


def test_an_identity_says_yes_to_both_and_mentions_neither() -> None:
    acceptor, voter = TwoFacedAcceptor(9), TwoFacedVoter(9)
    acceptor.receive(1, Accept(4, "A"), 0)
    # Phase 1b asks for what was accepted, and for a refusal of lower numbers.
    assert acceptor.receive(2, Prepare(3), 0) == [Send(2, Promise(3, NO_PROPOSAL, None))]
    for candidate in (1, 2):
        vote = voter.receive(candidate, MsgVote(candidate, 5, 0, 0), 0)
        assert vote == [Send(candidate, MsgVoteResp(9, 5))]
    told = voter.receive(1, MsgApp(1, 5, 0, 7, 0, ()), 0)
    assert told == [Send(1, MsgAppResp(9, 5, 7))]
    assert voter.receive(1, "nonsense", 0) == []
    with pytest.raises(ParameterError, match="command"):
        voter.submit("anything", 0)
    for honest, identities in ((0, 1), (1, -1)):
        with pytest.raises(ParameterError, match=r"honest|identities"):
            can_break_agreement(honest, identities)


@pytest.mark.parametrize("identities", [1, 7, 1000])
def test_stake_counts_the_same_however_it_is_split(identities: int) -> None:
    slots, active, stake = 200_000, 0.3, 0.2
    led = slots_led(identities, stake=stake, active_share=active, n_slots=slots, seed=4)
    expected = 1.0 - (1.0 - active) ** stake
    error = (expected * (1.0 - expected) / slots) ** 0.5
    assert abs(led / slots - expected) < 4 * error
    # A chance in proportion to stake, which is what one would think of first, can be split up.
    linear = 1.0 - (1.0 - active * stake / 1000) ** 1000
    assert abs(linear - active * stake) / error > 3
    won = tickets_won(identities, others=100, n_slots=slots, seed=4) / slots
    assert abs(won - identities / (identities + 100)) < 0.005


@pytest.mark.slow
def test_the_same_lottery_agrees_with_the_longest_chain_rule_and_not_without() -> None:
    size: dict[str, Any] = {"n_nodes": 20, "n_blocks": 60, "block_interval_s": 5.0}
    groups = []
    for seed in range(4):
        longest = lottery_agreement(has_longest_chain_rule=True, seed=seed, **size)
        assert longest.holders == longest.nodes
        alone = lottery_agreement(has_longest_chain_rule=False, seed=seed, **size)
        assert alone.height_min <= longest.height_min
        groups.append(alone.holders)
    assert min(groups) < 20
    # Blocks that come more slowly than they travel leave nothing to choose.
    calm = lottery_agreement(has_longest_chain_rule=False, seed=1, **{
        **size, "block_interval_s": 10_000.0,
    })  # fmt: skip
    assert calm.holders == calm.nodes
