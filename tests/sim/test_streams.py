"""Streams and keyed draws: fixed for ever, independent of each other."""

from __future__ import annotations

from consensus_lab.sim.streams import (
    U64,
    array_stream,
    derive_seed,
    keyed_draw,
    kind_code,
    mix64,
    stream,
)


def test_mix64_is_splitmix64() -> None:
    """First outputs of SplitMix64 from state 0, as published with java.util.SplittableRandom."""
    golden = 0x9E3779B97F4A7C15
    outputs = [mix64((n * golden) & U64) for n in range(3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_streams_of_one_seed_do_not_shift_each_other() -> None:
    first = stream(7, "mining").random()
    other = stream(7, "topology")
    other.random()
    assert stream(7, "mining").random() == first != other.random()
    assert stream(7, "node", 1).random() != stream(7, "node", "1").random()
    assert array_stream(7, "mining").random() == array_stream(7, "mining").random()


def test_a_keyed_draw_depends_on_every_part_of_its_key() -> None:
    key = derive_seed(1, "loss") & U64
    base = {"sender": 1, "receiver": 2, "kind": kind_code("inv"), "identity": 3, "attempt": 0}
    draws = {keyed_draw(key, **base), keyed_draw(key + 1, **base)}
    draws |= {keyed_draw(key, **{**base, name: value + 1}) for name, value in base.items()}
    assert len(draws) == 7


def test_keyed_draws_are_uniform() -> None:
    """Chi-square of 20,000 draws in 16 bins stays under its 99.99 % quantile, 44.3."""
    bins = [0] * 16
    for n in range(20_000):
        draw = keyed_draw(9, sender=n % 7, receiver=n % 11, kind=1, identity=n)
        bins[draw >> 60] += 1
    expected = 20_000 / 16
    assert sum((count - expected) ** 2 / expected for count in bins) < 44.3
