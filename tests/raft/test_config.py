"""Settings: etcd's defaults, and a clear word on every mistake."""

from dataclasses import FrozenInstanceError

import pytest

from consensus_lab.node import ParameterError
from consensus_lab.raft.config import RaftConfig, ReadMode


def test_defaults_are_etcds():
    """100 ms heartbeats, one second of election timeout, both switches on."""
    config = RaftConfig()
    assert config.tick_ns == config.heartbeat_ns == 100_000_000
    assert config.election_tick == 10
    assert config.pre_vote
    assert config.check_quorum
    assert config.applying_bytes_max == config.append_size_bytes_max == 1 << 20


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"election_tick": 1}, "election_tick"),
        ({"heartbeat_tick": 0}, "heartbeat_tick"),
        ({"heartbeat_tick": 10}, "election_tick"),
        ({"tick_ns": 0}, "tick_ns"),
        ({"tick_ns": 1.5}, "tick_ns"),
        ({"inflight_messages_max": 0}, "inflight_messages_max"),
        ({"inflight_bytes_max": 10}, "inflight_bytes_max"),
        ({"append_size_bytes_max": -1}, "append_size_bytes_max"),
        ({"snapshot_entries": 0}, "snapshot_entries"),
        ({"election_timeout_range_ns": (300, 150)}, "election_timeout_range_ns"),
        ({"election_timeout_range_ns": (0, 150)}, "election_timeout_range_ns"),
        (
            {"election_timeout_range_ns": (150, 300), "heartbeat_interval_ns": 150},
            "heartbeat_interval_ns",
        ),
        ({"heartbeat_interval_ns": 50}, "heartbeat_interval_ns"),
        ({"read_mode": ReadMode.LEASE, "check_quorum": False}, "check_quorum"),
    ],
)
def test_mistakes_name_the_parameter(changes, named):
    """And the value, and what is allowed."""
    with pytest.raises(ParameterError) as caught:
        RaftConfig(**changes)
    assert caught.value.parameter == named


def test_heartbeats_of_a_continuous_range():
    """Half the least timeout, unless stated."""
    assert RaftConfig(election_timeout_range_ns=(150, 300)).heartbeat_ns == 75
    config = RaftConfig(election_timeout_range_ns=(150, 300), heartbeat_interval_ns=20)
    assert config.heartbeat_ns == 20


def test_settings_do_not_change():
    """Frozen: a run's manifest can trust them."""
    with pytest.raises(FrozenInstanceError):
        RaftConfig().election_tick = 3  # type: ignore[misc]
