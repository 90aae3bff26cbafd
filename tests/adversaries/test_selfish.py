"""A selfish miner among full nodes, with real blocks, against the same draws counted."""

from __future__ import annotations

import networkx
import pytest

from consensus_lab.adversaries.selfish import SelfishMiner
from consensus_lab.experiments.full_network import FullNetwork, blocks_by_miner
from consensus_lab.nakamoto.relay_withholding import Strategy
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import stream
from consensus_lab.theory.selfish import selfish_mining_revenue

SELFISH = 3


def town(share: float, *, seed: int = 1, strategy: Strategy | None = None) -> FullNetwork:
    """Three honest miners (0 to 2) and the selfish one, all equally far from each other."""
    shares = dict.fromkeys(range(SELFISH), (1.0 - share) / SELFISH)
    return FullNetwork(
        networkx.complete_graph(SELFISH + 1), {**shares, SELFISH: share}, seed=seed,
        disguises={SELFISH: lambda node: SelfishMiner(node, strategy=strategy)},
    )  # fmt: skip


def tips(network: FullNetwork) -> set[bytes]:
    """The tips of the honest nodes."""
    return {network.chain(i).tip.block_id for i in range(SELFISH)}


def test_a_lead_of_two_overrides_and_a_lead_of_one_races() -> None:
    network = town(0.4)
    network.find(SELFISH, count=2)
    assert network.chain(0).height == 0, "told to nobody"
    network.find(0)
    assert network.chain(0).height == 2 and blocks_by_miner(network.chain(0), [SELFISH]) == 2
    assert network.chain(0).statistics.reorganisation_depth_max == 1
    network.find(SELFISH)
    network.find(0)
    assert network.chain(1).height == 3
    assert len(network.chain(1).stale_nodes()) == 2, "the matched block is there, and not followed"
    network.find(SELFISH)
    assert network.chain(1).height == 4, "the next own block ends the race"
    assert blocks_by_miner(network.chain(1), [SELFISH]) == 4
    assert len(tips(network)) == 1


def test_a_stubborn_miner_keeps_the_block_that_would_win_the_race() -> None:
    network = town(0.4, strategy=Strategy(equal_fork=True))
    network.find(SELFISH)
    network.find(0)
    network.find(SELFISH)
    assert network.chain(1).height == 1, "one ahead in a race, and silent"
    network.find(0)
    assert network.chain(1).height == 2 and blocks_by_miner(network.chain(1), [SELFISH]) == 0
    assert len(network.chain(1).stale_nodes()) == 2, "the race goes on at the next height"


def test_a_race_that_others_win_is_given_up() -> None:
    network = town(0.4)
    network.find(SELFISH)
    network.find(0)
    network.find(1)
    assert network.chain(2).height == 2 and blocks_by_miner(network.chain(2), [SELFISH]) == 0
    network.find(SELFISH)
    network.find(0)
    network.find(0)
    assert blocks_by_miner(network.chain(2), [SELFISH]) == 0
    assert network.node(0).peers[SELFISH].score == 0, "no rule was broken"
    with pytest.raises(ParameterError, match="trail"):
        SelfishMiner(network.node(SELFISH), strategy=Strategy(trail=-1))


def counted(seed: int, share: float, blocks: int) -> tuple[int, int, int]:
    """SM1 with nobody on its side (gamma 0), by counting: own and others' blocks, draws."""
    source = stream(seed, "experiment", "lottery")
    own = others = lead = draws = 0
    racing = False
    while draws < blocks or lead or racing:
        draws += 1
        source.expovariate(1.0)
        shares = [(1.0 - share) / SELFISH] * SELFISH + [share]
        is_own = source.choices(range(SELFISH + 1), shares)[0] == SELFISH
        if racing:
            racing, own, others = False, own + 2 * is_own, others + 2 * (not is_own)
        elif is_own:
            lead += 1
        elif lead == 0:
            others += 1
        elif lead == 1:
            lead, racing = 0, True
        else:
            # Two ahead: both blocks win.  More: the oldest one will.
            own, lead = own + (2 if lead == 2 else 1), 0 if lead == 2 else lead - 1
    return own, others, draws


@pytest.mark.slow
@pytest.mark.parametrize(("share", "seed"), [(0.3, 1), (0.45, 2)])
def test_real_blocks_end_as_counted(share: float, seed: int) -> None:
    own, others, draws = counted(seed, share, 80)
    network = town(share, seed=seed)
    for _ in range(draws):
        network.mine_next()
    network.settle()
    chain = network.chain(0)
    assert len(tips(network)) == 1
    assert blocks_by_miner(chain, [SELFISH]) == own
    assert chain.height - own == others


def test_the_count_is_that_of_the_closed_form() -> None:
    """Four standard errors of 40,000 blocks are about 2 %."""
    own, others, _ = counted(3, 0.4, 40_000)
    assert abs(own / (own + others) - selfish_mining_revenue(0.4, gamma=0.0)) < 0.02
