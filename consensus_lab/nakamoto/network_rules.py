"""Network rules: what makes mainnet, regtest or a laboratory network of our own.

Rules of this file: numbers only, each with its source; a network is one frozen value.

Theory of operation.  All Bitcoin networks run the same rules with other numbers: first block,
easiest target, halving interval, and the heights from which each soft fork holds.  A soft fork's
start was voted by miners; the heights here are where that ended up ("buried deployments", BIP 90).
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus_lab.nakamoto.address import MAINNET_FORMAT, REGTEST_FORMAT, AddressFormat
from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.encoding import NULL_ID, parse_id
from consensus_lab.nakamoto.header import BlockHeader
from consensus_lab.nakamoto.merkle import merkle_root
from consensus_lab.nakamoto.retarget import RetargetRule
from consensus_lab.nakamoto.script import pay_to_public_key, push
from consensus_lab.nakamoto.script_rules import ScriptFlags
from consensus_lab.nakamoto.subsidy import HALVING_INTERVAL_BLOCKS, INITIAL_SUBSIDY_SATOSHI
from consensus_lab.nakamoto.subsidy import block_subsidy as subsidy_at
from consensus_lab.nakamoto.transaction import (
    NULL_INDEX,
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from consensus_lab.node import ParameterError

COINBASE_MATURITY_BLOCKS = 100
"""Blocks before a coinbase may be spent, since a reorganisation could make it vanish."""

_GENESIS_KEY = bytes.fromhex(
    "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
    "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f"
)
_GENESIS_HEADLINE = b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks"


def genesis_block(*, time_s: int, nbits: int, nonce: int) -> Block:
    """The first block: the same coinbase on every network, with a newspaper's headline in it.

    Parameters
    ----------
    time_s, nbits, nonce : int
        Of its header.
    """
    script_sig = push(bytes.fromhex("ffff001d")) + push(b"\x04") + push(_GENESIS_HEADLINE)
    coinbase = Transaction(
        inputs=(TransactionInput(OutPoint(NULL_ID, NULL_INDEX), script_sig),),
        outputs=(TransactionOutput(INITIAL_SUBSIDY_SATOSHI, pay_to_public_key(_GENESIS_KEY)),),
        version=1,
    )
    root = merkle_root([coinbase.txid]).root
    return Block(BlockHeader(1, NULL_ID, root, time_s, nbits, nonce), (coinbase,))


@dataclass(frozen=True)
class NetworkRules:
    """The numbers of one network.

    Parameters
    ----------
    name : str
        For people.
    genesis : Block
        The first block, accepted without checks.
    retarget : RetargetRule
        How targets are set.
    address_format : AddressFormat
        How addresses start.
    halving_interval_blocks : int
        Blocks between halvings of the subsidy.
    maturity_blocks : int
        Blocks before a coinbase may be spent.
    bip34_height, bip66_height, bip65_height, csv_height, segwit_height, taproot_height : int
        First height of: height in the coinbase, strict DER, absolute lock times in scripts,
        relative lock times, witnesses, Taproot.
    script_exceptions : tuple of (bytes, ScriptFlags)
        Blocks that broke a rule later applied to all of history, with the flags that they keep.
    duplicate_coinbases : tuple of bytes
        Blocks that repeated an unspent coinbase before BIP 30.
    """

    name: str
    genesis: Block
    retarget: RetargetRule
    address_format: AddressFormat = REGTEST_FORMAT
    halving_interval_blocks: int = HALVING_INTERVAL_BLOCKS
    maturity_blocks: int = COINBASE_MATURITY_BLOCKS
    bip34_height: int = 1
    bip66_height: int = 1
    bip65_height: int = 1
    csv_height: int = 1
    segwit_height: int = 0
    taproot_height: int = 0
    script_exceptions: tuple[tuple[bytes, ScriptFlags], ...] = ()
    duplicate_coinbases: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.halving_interval_blocks < 1:
            value = self.halving_interval_blocks
            raise ParameterError("halving_interval_blocks", value, "at least 1")
        if self.maturity_blocks < 0:
            raise ParameterError("maturity_blocks", self.maturity_blocks, "0 or more")

    def subsidy_satoshi(self, height: int) -> int:
        """New coins that the block at `height` may make."""
        return subsidy_at(height, halving_interval_blocks=self.halving_interval_blocks)

    def version_min(self, height: int) -> int:
        """Lowest block version: each of three soft forks retired the versions before it."""
        heights = (self.bip34_height, self.bip66_height, self.bip65_height)
        return 1 + sum(height >= first for first in heights)

    def script_flags(self, height: int, block_id: bytes) -> ScriptFlags:
        """Rules for the scripts of the block at `height`.

        Script hashes, witnesses and Taproot are applied to all of history (no block before their
        start breaks them but the exceptions), as Bitcoin Core does.
        """
        flags = ScriptFlags.P2SH | ScriptFlags.WITNESS | ScriptFlags.TAPROOT
        if height < self.segwit_height:
            flags &= ~ScriptFlags.WITNESS
        if height < self.taproot_height:
            flags &= ~ScriptFlags.TAPROOT
        for exception, exception_flags in self.script_exceptions:
            if block_id == exception:
                flags = exception_flags
        if height >= self.bip66_height:
            flags |= ScriptFlags.DERSIG
        if height >= self.bip65_height:
            flags |= ScriptFlags.CHECKLOCKTIMEVERIFY
        if height >= self.csv_height:
            flags |= ScriptFlags.CHECKSEQUENCEVERIFY
        if height >= self.segwit_height:
            flags |= ScriptFlags.NULLDUMMY
        return flags


MAINNET = NetworkRules(
    name="mainnet",
    genesis=genesis_block(time_s=1231006505, nbits=0x1D00FFFF, nonce=2083236893),
    # Bitcoin Core states the limit as 2^224 - 1; every target is compared in compact form, where
    # that is 0xffff << 208.
    retarget=RetargetRule(target_max=(1 << 224) - 1),
    address_format=MAINNET_FORMAT,
    bip34_height=227_931,
    bip66_height=363_725,
    bip65_height=388_381,
    csv_height=419_328,
    segwit_height=481_824,
    taproot_height=709_632,
    script_exceptions=(
        # Spent a script hash without its script, 2012-04.
        (
            parse_id("00000000000002dc756eebf4f49723ed8d30cc28a5f108eb94b1ba88ac4f9c22"),
            ScriptFlags.NONE,
        ),
    ),
    duplicate_coinbases=(
        parse_id("00000000000a4d0a398161ffc163c503763b1f4360639393e0e4c8e300e0caec"),
        parse_id("00000000000743f190a18c5577a3c2d2a1f610ae9601ac046a38084ccb7cd721"),
    ),
)
"""The real chain (Bitcoin Core, kernel/chainparams.cpp)."""

_EASIEST = RetargetRule(
    target_max=(1 << 255) - 1, is_retargeting_off=True, has_easy_blocks_after_pause=True
)

REGTEST = NetworkRules(
    name="regtest",
    genesis=genesis_block(time_s=1296688602, nbits=0x207FFFFF, nonce=2),
    retarget=_EASIEST,
    halving_interval_blocks=150,
)
"""Bitcoin Core's regression test network: two hashes per block, every soft fork from the start."""

SIMNET = NetworkRules(
    name="simnet",
    genesis=genesis_block(time_s=1401292357, nbits=0x207FFFFF, nonce=2),
    retarget=RetargetRule(target_max=(1 << 255) - 1, has_easy_blocks_after_pause=True),
)
"""btcd's and bcoin's simulation network: easy, but with retargeting."""
