"""Floods: what the flooder tells, which protection stops it, and what each is worth."""

from __future__ import annotations

from dataclasses import replace

import networkx
import pytest

from consensus_lab.adversaries.flood import (
    PAYMENT_SIZE_BYTES,
    Announce,
    Flooder,
    Prepare,
    Rubbish,
    Spam,
)
from consensus_lab.experiments import floods
from consensus_lab.experiments.flood import SETTINGS, Parameters, flooded
from consensus_lab.experiments.full_network import FullNetwork
from consensus_lab.nakamoto.block import parse_block
from consensus_lab.nakamoto.full_node_messages import BlockMessage, Inv, TransactionMessage
from consensus_lab.nakamoto.mempool_entry import MempoolOptions
from consensus_lab.nakamoto.peer_state import TOKENS_MAX
from consensus_lab.nakamoto.transaction import parse_transaction
from consensus_lab.node import Note, ParameterError


def town(**limits: int) -> tuple[FullNetwork, Flooder]:
    """An honest miner (0) and the flooder (1) with ten ripe coins."""
    network = FullNetwork(
        networkx.path_graph(2), {0: 1.0}, seed=1, disguises={1: Flooder},
        pool_options=MempoolOptions(**limits),
    )  # fmt: skip
    network.find(1)
    network.find(0)
    network.engine.submit(1, Prepare(10))
    network.settle()
    network.find(0)
    return network, network.engine.nodes[1]


def test_every_payment_of_a_flood_is_valid_and_spends_its_own_coin() -> None:
    network, flooder = town()
    sent = flooder.submit(Spam(6, 2), 0)
    payments = [parse_transaction(effect.message.data) for effect in sent]
    assert len({item.previous for payment in payments for item in payment.inputs}) == 6
    for effect, payment in zip(sent, payments, strict=True):
        assert isinstance(effect.message, TransactionMessage)
        assert PAYMENT_SIZE_BYTES - 2 <= payment.size_bytes <= PAYMENT_SIZE_BYTES
        network.engine.inject(1, 0, effect.message)
    network.settle()
    assert all(payment.txid in network.node(0).pool for payment in payments)
    assert (flooder.payments_told, flooder.fees_satoshi) == (6, 12 * PAYMENT_SIZE_BYTES)
    assert len(flooder.submit(Spam(100, 2), 0)) == 4, "four coins are left"
    assert flooder.submit(Spam(1, 2), 0) == [Note("spent out")]
    with pytest.raises(ParameterError, match="coins"):
        flooder.submit(Prepare(10**9), 0)


def test_the_relay_fee_stops_a_free_flood_and_the_limit_keeps_the_dearest() -> None:
    network, _ = town()
    network.engine.submit(1, Spam(3, 0))
    network.settle()
    assert len(network.node(0).pool) == 0
    assert network.node(0).peers[1].score == 0, "cheap is not forbidden"
    network, _ = town(size_bytes_max=4 * PAYMENT_SIZE_BYTES)
    for fee_rate in (1, 5, 9):
        network.engine.submit(1, Spam(3, fee_rate))
        network.settle()
    pool = network.node(0).pool
    assert pool.size_bytes <= 4 * PAYMENT_SIZE_BYTES
    fees = sorted(entry.fee_satoshi // PAYMENT_SIZE_BYTES for entry in pool)
    assert fees[-3:] == [9, 9, 9] and 1 not in fees


@pytest.mark.slow
def test_made_up_announcements_are_never_the_same_and_are_bounded_by_the_rate_limit() -> None:
    _, flooder = town()
    sent = flooder.submit(Announce(2, 300), 0)
    names = [name for effect in sent for name in effect.message.transactions]
    assert isinstance(sent[0].message, Inv)
    assert len(set(names)) == 600
    limited = floods.send_nothing(messages=6, items=TOKENS_MAX // 2, has_rate_limit=True, seed=1)
    free = floods.send_nothing(messages=6, items=TOKENS_MAX // 2, has_rate_limit=False, seed=1)
    assert limited.sent_bytes < free.sent_bytes
    # A message that costs more than the bucket holds is refused; a hundred of those are a ban.
    loud = floods.send_nothing(messages=103, items=TOKENS_MAX, has_rate_limit=True, seed=1)
    assert loud.is_banned and not limited.is_banned
    assert loud.heard_bytes < 101 * Inv((bytes(32),) * TOKENS_MAX).size_bytes + 10_000


@pytest.mark.slow
def test_the_first_invalid_block_is_the_last_that_is_heard() -> None:
    network, flooder = town()
    (sent,) = flooder.submit(Rubbish(1, 50_000), 0)
    assert isinstance(sent.message, BlockMessage)
    assert abs(sent.message.size_bytes - 50_000) < 100
    block = parse_block(sent.message.data)
    assert block.header == network.chain(0).blocks[network.chain(0).tip.block_id].header
    banned = floods.send_rubbish(blocks=5, size_bytes=50_000, has_bans=True, seed=1)
    heard = floods.send_rubbish(blocks=5, size_bytes=50_000, has_bans=False, seed=1)
    assert banned.is_banned and not heard.is_banned
    assert 4.9 < heard.heard_bytes / banned.heard_bytes < 5.1


@pytest.mark.slow
def test_a_flood_delays_honest_payments_only_when_it_pays_more_than_they_do() -> None:
    parameters = replace(Parameters(), flood_min=20, honest_payments=5)
    done = {setting.name: flooded(parameters, setting) for setting in SETTINGS}
    calm, free, refused, told, limited, dear = done.values()
    assert refused.pool_bytes_max == calm.pool_bytes_max and refused.sent_bytes == calm.sent_bytes
    assert free.fees_satoshi == 0 and free.sent_bytes > 2 * calm.sent_bytes
    assert told.pool_bytes_max > parameters.pool_size_bytes_max >= limited.pool_bytes_max
    for same in (free, refused, told, limited):
        assert same.delays_min == calm.delays_min and same.unconfirmed == 0
    assert dear.unconfirmed or sum(dear.delays_min) > 2 * sum(calm.delays_min)
    assert dear.fees_satoshi == 20 * 120 * PAYMENT_SIZE_BYTES


@pytest.mark.slow
def test_a_pool_smaller_than_the_payment_that_makes_the_flooder_s_coins_is_still_flooded() -> None:
    parameters = replace(
        Parameters(), flood_min=20, honest_payments=5, pool_size_bytes_max=1000
    )  # fmt: skip
    done = {setting.name: flooded(parameters, setting) for setting in SETTINGS}
    limited = done["relay fee paid, pool limit"]
    assert limited.payments_told == 120 and limited.pool_bytes_max <= 1000
