"""Proof of work: the search for a nonce, and how long it takes a miner of given hash power.

Rules of this file: nonces are really searched; time is drawn from a source that the caller owns.

Theory of operation.  A miner hashes the header with nonce after nonce until the hash meets the
target.  Four bytes of nonce are too few for real targets, so when they are used up it changes the
coinbase script (the *extra nonce*), which changes the Merkle root, and starts again.  Every try
is an independent lottery ticket that wins with probability (target + 1) / 2^256, so the search
has no memory: the time until success is exponential with rate hash power times that probability.

In a simulation the target is easy, so that the nonce which is found is valid for any real node;
how long the search *would have taken* at the simulated hash power is drawn from that exponential.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from consensus_lab.nakamoto.header import BlockHeader, nbits_to_target
from consensus_lab.node import ParameterError

NONCES = 1 << 32
EXTRA_NONCES_MAX = 1 << 32
_U32 = struct.Struct("<I")


class RandomSource(Protocol):
    """What a draw needs of a random source; `random.Random` is one."""

    def random(self) -> float:
        """A number from 0 up to but not including 1."""
        ...


def search_nonce(
    header: BlockHeader, *, first_nonce: int = 0, tries_max: int = NONCES
) -> BlockHeader | None:
    """Try nonces in order until the hash meets the header's own target.

    Parameters
    ----------
    header : BlockHeader
        With the target to meet; its nonce is ignored.
    first_nonce : int
        Where to start.
    tries_max : int
        How many nonces to try; the search never passes the last nonce.

    Returns
    -------
    BlockHeader or None
        The same header with a nonce that works, or None when those tries hold none.
    """
    target = nbits_to_target(header.nbits)
    if target is None:
        raise ParameterError("nbits", f"{header.nbits:08x}", "a possible target")
    data = header.serialize()
    # The first 64 of 80 bytes do not change: hash them once (the miners' "midstate").
    midstate = hashlib.sha256(data[:64])
    tail = data[64:76]
    sha256, pack, from_bytes = hashlib.sha256, _U32.pack, int.from_bytes
    for nonce in range(first_nonce, min(first_nonce + tries_max, NONCES)):
        attempt = midstate.copy()
        attempt.update(tail + pack(nonce))
        if from_bytes(sha256(attempt.digest()).digest(), "little") <= target:
            return replace(header, nonce=nonce)
    return None


def search_extra_nonce(
    make_header: Callable[[int], BlockHeader], *, tries_per_extra_nonce: int = NONCES
) -> tuple[BlockHeader, int]:
    """Search all nonces, with one extra nonce after the other.

    Parameters
    ----------
    make_header : callable
        Builds the header, and so the coinbase and Merkle root, for an extra nonce.
    tries_per_extra_nonce : int
        Nonces to try before the next extra nonce.

    Returns
    -------
    tuple of BlockHeader and int
        The valid header and the extra nonce that it belongs to.
    """
    for extra_nonce in range(EXTRA_NONCES_MAX):
        found = search_nonce(make_header(extra_nonce), tries_max=tries_per_extra_nonce)
        if found is not None:
            return found, extra_nonce
    raise ParameterError("nbits", "this target", "met by one of 2^64 nonces")


def success_probability(nbits: int) -> float:
    """Chance that one hash meets the target.

    >>> success_probability(0x207FFFFF)
    0.49999...
    """
    target = nbits_to_target(nbits)
    if target is None:
        raise ParameterError("nbits", f"{nbits:08x}", "a possible target")
    return math.ldexp(target + 1, -256)


def draw_mining_time_ns(
    source: RandomSource, *, hash_rate_per_s: float, nbits: int, difficulty_scale: float = 1.0
) -> int:
    """Time until a miner of that hash power finds its next block, in nanoseconds.

    Parameters
    ----------
    source : RandomSource
        The miner's own stream of random numbers.
    hash_rate_per_s : float
        Hashes per second; 0 gives a time that never comes (2^63 - 1).
    nbits : int
        The target being mined against.
    difficulty_scale : float
        How many simulated hashes one real hash stands for, so that an easy real target can stand
        for a hard one.

    Returns
    -------
    int
        An exponential draw.  Because it has no memory, a miner that changes its block before it
        succeeded simply draws again.
    """
    if hash_rate_per_s < 0 or not math.isfinite(hash_rate_per_s):
        raise ParameterError("hash_rate_per_s", hash_rate_per_s, "a finite number from 0 on")
    if not difficulty_scale > 0:
        raise ParameterError("difficulty_scale", difficulty_scale, "positive")
    rate_per_s = hash_rate_per_s * success_probability(nbits) / difficulty_scale
    if rate_per_s == 0:
        return (1 << 63) - 1
    time_ns = -math.log1p(-source.random()) / rate_per_s * 1e9
    return min(int(time_ns), (1 << 63) - 1)
