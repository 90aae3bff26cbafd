"""Eclipses: the book that is filled, the door that closes, and what one honest peer is worth."""

from __future__ import annotations

from itertools import permutations

import networkx
import pytest

from consensus_lab.adversaries.double_spend import Defraud
from consensus_lab.adversaries.eclipse import Close, Flood, Gatekeeper, Impostor, Open
from consensus_lab.experiments.eclipses import (
    FIRST_GATEKEEPER,
    HONEST,
    VICTIM,
    deceive,
    eclipse_probability,
    fill_book,
)
from consensus_lab.experiments.full_network import FullNetwork, confirmations
from consensus_lab.nakamoto.discovery import Addr, GetAddr, Ping, Pong, Verack, Version
from consensus_lab.node import ParameterError, Send


@pytest.mark.parametrize(("honest", "attacker", "outbound"), [(3, 2, 1), (3, 3, 2), (2, 4, 3)])
def test_the_chance_is_counted_over_all_orders_of_drawing(
    honest: int, attacker: int, outbound: int
) -> None:
    orders = list(permutations(range(honest + attacker), outbound))
    eclipsed = sum(all(address >= honest for address in order) for order in orders)
    chance = eclipse_probability(honest, attacker, outbound=outbound)
    assert chance == pytest.approx(eclipsed / len(orders))


@pytest.mark.slow
def test_victims_are_eclipsed_as_often_as_their_books_say() -> None:
    """150 victims with 20 of 30 addresses: 2 draws of two thirds; 4 standard errors are 16 %."""
    hits = 0
    for number in range(150):
        victim = fill_book(10, 20, outbound=2, number=number)
        assert (victim.book_honest, victim.book_attacker, victim.outbound) == (10, 20, 2)
        hits += victim.is_complete
    assert abs(hits / 150 - eclipse_probability(10, 20, outbound=2)) < 0.16
    assert not any(fill_book(10, 0, outbound=8, number=n).impostors for n in range(5))


@pytest.mark.slow
def test_more_addresses_than_the_book_holds_push_every_honest_one_out() -> None:
    victim = fill_book(20, 65_600, outbound=8)
    assert victim.book_honest == 0 and victim.is_complete
    assert eclipse_probability(20, 65_600, outbound=8) == 1.0


def test_an_impostor_is_the_perfect_peer() -> None:
    impostor = Impostor(5, told=range(3000))
    assert impostor.receive(1, Version(), 0) == [Send(1, Verack())]
    assert impostor.receive(1, Ping(), 0) == [Send(1, Pong())]
    assert impostor.receive(1, GetAddr(), 0) == [Send(1, Addr(tuple(range(1000))))]
    told = impostor.submit(Flood(1), 0)
    assert [len(send.message.addresses) for send in told] == [1000, 1000, 1000]
    with pytest.raises(ParameterError, match="command"):
        impostor.submit("x", 0)


def test_nothing_passes_a_closed_door_and_everything_an_open_one() -> None:
    """Victim 0 - gatekeeper 1 - miner 2, in a line."""
    network = FullNetwork(
        networkx.path_graph(3), {1: 0.5, 2: 0.5}, seed=1,
        disguises={1: lambda node: Gatekeeper(node, inside=[0])},
    )  # fmt: skip
    network.find(1)
    network.find(2)
    assert network.chain(0).height == 2
    network.engine.submit(1, Close())
    network.engine.submit(1, Defraud(network.address(0), 10**9))
    network.settle()
    gate = network.engine.nodes[1]
    payment, second, _ = gate.conflict
    assert payment.txid in network.node(0).pool and second.txid in network.node(2).pool
    network.find(2, count=2)
    assert network.chain(0).height == 2
    network.find(1)
    assert confirmations(network.chain(0), payment.txid) == 1
    assert network.chain(2).height == 4 and confirmations(network.chain(2), second.txid) == 2
    assert network.chain(0).tip.block_id not in network.chain(2).tree.nodes, "nothing goes out"
    network.engine.submit(1, Open())
    network.find(2)
    assert network.chain(0).height == 5
    assert confirmations(network.chain(0), payment.txid) == 0
    with pytest.raises(ParameterError, match="inside"):
        Gatekeeper(network.node(1), inside=[])


@pytest.mark.slow
def test_one_honest_peer_is_enough() -> None:
    for number in range(3):
        alone = deceive(0.2, confirmations_awaited=2, honest_peers=0, number=number)
        assert alone.is_deceived and alone.is_lost
        helped = deceive(0.2, confirmations_awaited=2, honest_peers=1, number=number)
        assert not helped.is_lost
        tips = {helped.network.chain(i).tip.block_id for i in (VICTIM, *HONEST, FIRST_GATEKEEPER)}
        assert len(tips) == 1
