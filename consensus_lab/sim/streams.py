"""Named random streams: one seed gives everything, and a new consumer shifts no other's draws.

Two kinds of randomness serve two needs.  A *stream* is an ordinary generator with a name of its
own ("topology", "mining", "node" 3): its owner draws in its own order.  A *keyed draw* is a pure
function of what the draw is about (which message on which link); it comes out the same in
whatever order events are handled, so that the message-level engine and the compiled gossip path
draw equal numbers.
"""

from __future__ import annotations

import hashlib
import random
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

U64 = (1 << 64) - 1

# Odd constants of SplitMix64 (Steele, Lea, Flood 2014), a bijective mixer of 64-bit words.
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def derive_seed(seed: int, *name: object) -> int:
    """A 128-bit seed for the stream of that name; the same on every machine and Python.

    Parameters
    ----------
    seed : int
        The run's one seed.
    *name : str or int
        The consumer's name, as many parts as it needs.

    Examples
    --------
    >>> derive_seed(1, "node", 2) == derive_seed(1, "node", 2)
    True
    >>> derive_seed(1, "node", 2) == derive_seed(1, "node", 3)
    False
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(part).__name__}:{part}" for part in name)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def stream(seed: int, *name: object) -> random.Random:
    """The standard-library generator of that name; see `derive_seed`."""
    return random.Random(derive_seed(seed, *name))


def array_stream(seed: int, *name: object) -> numpy.random.Generator:
    """The numpy generator of that name, for drawing whole arrays; see `derive_seed`."""
    import numpy

    return numpy.random.Generator(numpy.random.PCG64(derive_seed(seed, *name)))


def mix64(word: int) -> int:
    """SplitMix64's finaliser: every bit of the result depends on every bit of the word."""
    word = (word + _GOLDEN) & U64
    word = ((word ^ (word >> 30)) * _MIX_1) & U64
    word = ((word ^ (word >> 27)) * _MIX_2) & U64
    return word ^ (word >> 31)


@cache
def kind_code(kind: str) -> int:
    """A 64-bit number for a message kind, from its name alone."""
    return int.from_bytes(hashlib.sha256(kind.encode()).digest()[:8], "big")


def keyed_draw(
    key: int, *, sender: int, receiver: int, kind: int, identity: int, attempt: int = 0
) -> int:
    """A uniform 64-bit integer that depends on what the draw is about and on nothing else.

    Parameters
    ----------
    key : int
        64-bit key of the purpose ("jitter", "loss"), from `derive_seed`.
    sender, receiver : int
        The directed link.
    kind : int
        The message kind's number, see `kind_code`.
    identity : int
        What the message is about: a block's or command's number, or the message's number on
        its link.
    attempt : int
        0 for the first such message on the link, then 1, 2, ...
    """
    word = mix64((key ^ kind) & U64)
    word = mix64((word ^ (sender << 32) ^ receiver) & U64)
    word = mix64((word ^ identity) & U64)
    return mix64((word ^ attempt) & U64)
