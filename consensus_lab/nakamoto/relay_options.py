"""What a relay node is told: its protocol, its validation costs, and that it has found a block."""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab.node import ParameterError

PROTOCOLS = ("push", "inv", "headers", "compact_low", "compact_high")
HIGH_BANDWIDTH_SOURCES = 3
"""Neighbours that a node asks for unasked compact blocks (BIP 152; Core, lNodesAnnouncing...)."""

NANOSECONDS_PER_SECOND = 1_000_000_000
MILLION = 1_000_000


class Found(NamedTuple):
    """Client command: this node finds the next block, with that number and size, now."""

    number: int
    size_bytes: int


class Validation(NamedTuple):
    """Time to validate a block: a fixed part, and one that grows with its size.

    Attributes
    ----------
    fixed_ns : int
    bytes_per_s : int
        0 means that bytes take no time.
    """

    fixed_ns: int = 0
    bytes_per_s: int = 0

    def time_ns(self, size_bytes: int) -> int:
        """How long that many bytes take, nanoseconds, rounded down."""
        if not self.bytes_per_s:
            return self.fixed_ns
        return self.fixed_ns + size_bytes * NANOSECONDS_PER_SECOND // self.bytes_per_s


class Relay(NamedTuple):
    """The relay protocol of a network.

    Attributes
    ----------
    protocol : str
        One of `PROTOCOLS`.
    transaction_bytes : int
        Mean size of a transaction: how many short ids a compact block has.
    missing_chance : float
        Chance that a node lacks transactions of a compact block.
    missing_per_million : int
        Bytes that are then lacking, in millionths of the block.
    """

    protocol: str = "inv"
    transaction_bytes: int = 500
    missing_chance: float = 0.0
    missing_per_million: int = 10_000

    def validated(self) -> Relay:
        """This relay protocol, or a `ParameterError` naming what is wrong with it."""
        if self.protocol not in PROTOCOLS:
            raise ParameterError("relay", self.protocol, f"one of {', '.join(PROTOCOLS)}")
        if self.transaction_bytes < 1:
            raise ParameterError("transaction_bytes", self.transaction_bytes, "at least 1")
        if not 0.0 <= self.missing_chance <= 1.0:
            raise ParameterError("missing_chance", self.missing_chance, "from 0 to 1")
        if not 0 <= self.missing_per_million <= MILLION:
            raise ParameterError("missing_per_million", self.missing_per_million, "0 to 1000000")
        return self

    def missing_bytes(self, size_bytes: int) -> int:
        """Bytes of transactions that a node lacks, when it lacks any."""
        return size_bytes * self.missing_per_million // MILLION
