"""Bitcoin Core's own consensus engine (libbitcoinkernel), as a referee for our blocks.

Rules of this file: it translates, it does not judge; bytes go in, verdicts come out in our words.

Theory of operation.  The package py-bitcoinkernel wraps the part of Bitcoin Core that decides
which blocks are valid and which chain is best: no network, no wallet.  `CoreEngine` runs one on
regtest with its databases in memory and its block files in a temporary folder.  The engine tells
through callbacks which blocks it connected and disconnected, and writes to its log *why* it
refused one; both are collected for each delivery.  It reads the real clock: a block more than two
hours ahead of it is refused.
"""

from __future__ import annotations

import re
import tempfile
import time
from typing import Any, NamedTuple

from consensus_lab.nakamoto.script_rules import ScriptFlags
from consensus_lab.node import ParameterError

# "[error] ProcessNewBlock: AcceptBlock FAILED (bad-cb-length, more words)"
_REFUSED = re.compile(r"AcceptBlock FAILED \(([^,()]+)(?:, (.*))?\)\s*$", re.DOTALL)
# "[error] ConnectTip: ConnectBlock 2f7d... failed, bad-txns-in-belowout, more words"
_FAILED = re.compile(r"ConnectBlock ([0-9a-f]{64}) failed, (.*)", re.DOTALL)
_SCRIPT_RULE = re.compile(r"(block-script-verify-flag-failed) \(([^)]*(?:\([^)]*\)[^)]*)*)\)")


class EngineFailure(NamedTuple):
    """A block that the engine could not connect: its identity, the rule, and Core's words."""

    block_id: bytes
    rule: str
    detail: str


class EngineVerdict(NamedTuple):
    """What one delivery did to the engine.

    `is_accepted` says that the block entered the engine's tree, which is not to say that it
    became part of the chain; otherwise `rule` names what it broke.
    """

    is_accepted: bool
    rule: str | None
    tip_id: bytes
    height: int
    disconnected: tuple[bytes, ...]
    connected: tuple[bytes, ...]
    failures: tuple[EngineFailure, ...]


def load_kernel() -> Any:
    """The module `pbk`.

    Raises
    ------
    ParameterError
        When the optional extra `live` is not installed.
    """
    try:
        import pbk
    except ImportError as error:
        allowed = "installed for this (pip install 'consensus-lab[live]')"
        raise ParameterError("py-bitcoinkernel", "no such module", allowed) from error
    return pbk


class CoreEngine:
    """A running engine on regtest; a context manager.

    Examples
    --------
    >>> with CoreEngine() as engine:                                        # doctest: +SKIP
    ...     verdict = engine.deliver(block.serialize())
    """

    def __init__(self) -> None:
        self._pbk = load_kernel()
        self._folder = tempfile.TemporaryDirectory(prefix="consensus-lab-core-")
        self._log: list[str] = []
        self._connected: list[bytes] = []
        self._disconnected: list[bytes] = []
        self._pbk.logging_set_options(self._pbk.LoggingOptions(log_timestamps=False))
        self._log_connection: Any = self._pbk.LoggingConnection(cb=self._log.append)
        callbacks = self._pbk.ValidationInterfaceCallbacks(
            block_connected=lambda _, block, entry: self._note(self._connected, block),
            block_disconnected=lambda _, block, entry: self._note(self._disconnected, block),
        )
        context = self._pbk.make_context(self._pbk.ChainType.REGTEST, callbacks)
        options = self._pbk.ChainstateManagerOptions(
            context, self._folder.name, self._folder.name + "/blocks"
        )
        options.update_block_tree_db_in_memory(True)
        options.update_chainstate_db_in_memory(True)
        self._manager: Any = self._pbk.ChainstateManager(options)

    @staticmethod
    def _note(blocks: list[bytes], block: Any) -> None:
        """Remember a block's identity."""
        blocks.append(bytes(block.block_hash))

    def __enter__(self) -> CoreEngine:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the engine and remove its files."""
        self._manager = None
        self._log_connection = None
        self._folder.cleanup()

    @property
    def height(self) -> int:
        """Height of the engine's tip."""
        return int(self._manager.get_active_chain().height)

    @property
    def tip_id(self) -> bytes:
        """Identity of the engine's tip, 32 bytes in wire order."""
        entries = self._manager.get_active_chain().block_tree_entries
        return bytes(entries[self.height].block_hash)

    def clock_s(self) -> int:
        """What the engine takes for now, Unix seconds."""
        return int(time.time())

    def deliver(self, block_bytes: bytes) -> EngineVerdict:
        """Hand the engine a block, as a peer would.

        Parameters
        ----------
        block_bytes : bytes
            The block on the wire.

        Returns
        -------
        EngineVerdict
            Malformed bytes are refused under the rule `malformed`.
        """
        for collected in (self._log, self._connected, self._disconnected):
            collected.clear()
        rule: str | None = None
        try:
            self._manager.process_block(self._pbk.Block(block_bytes))
        except self._pbk.ProcessBlockException:
            rule = self._refusal()
        except RuntimeError:
            rule = "malformed"
        return EngineVerdict(
            is_accepted=rule is None,
            rule=rule,
            tip_id=self.tip_id,
            height=self.height,
            disconnected=tuple(self._disconnected),
            connected=tuple(self._connected),
            failures=tuple(self._failures()),
        )

    def _refusal(self) -> str:
        """The rule that the log gives for the last refusal."""
        for line in reversed(self._log):
            match = _REFUSED.search(line)
            if match:
                # "bad-version(0x00000001)" names the version in its own brackets.
                return match.group(1).partition("(")[0].strip()
            if "AcceptBlock FAILED" in line:
                return line.partition("AcceptBlock FAILED (")[2].partition("(")[0].strip()
        return "unknown"

    def _failures(self) -> list[EngineFailure]:
        """Blocks that could not be connected, as the log tells."""
        failures = []
        for line in self._log:
            match = _FAILED.search(line)
            if match is None:
                continue
            words = match.group(2).strip()
            script = _SCRIPT_RULE.match(words)
            rule, _, detail = words.partition(", ")
            if script is not None:
                rule, detail = script.groups()
            failures.append(EngineFailure(bytes.fromhex(match.group(1))[::-1], rule, detail))
        return failures


_FLAG_NAMES = (
    "P2SH",
    "DERSIG",
    "NULLDUMMY",
    "CHECKLOCKTIMEVERIFY",
    "CHECKSEQUENCEVERIFY",
    "WITNESS",
    "TAPROOT",
)


def verify_input_by_core(
    transaction_bytes: bytes,
    input_index: int,
    *,
    script_pubkey: bytes,
    value_satoshi: int,
    flags: ScriptFlags,
) -> bool:
    """Bitcoin Core's verdict on one input.

    Parameters
    ----------
    transaction_bytes : bytes
        The spending transaction on the wire.
    input_index : int
        Which input.
    script_pubkey : bytes
        The condition of the coin that it spends.
    value_satoshi : int
        The amount of that coin.
    flags : ScriptFlags
        Consensus flags without TAPROOT, which would need all spent coins.

    Returns
    -------
    bool
        May it be spent?
    """
    pbk = load_kernel()
    core_flags = pbk.ScriptVerificationFlags.NONE
    for name in _FLAG_NAMES:
        if flags & ScriptFlags[name]:
            core_flags |= pbk.ScriptVerificationFlags[name]
    return bool(
        pbk.ScriptPubkey(script_pubkey).verify(
            value_satoshi, pbk.Transaction(transaction_bytes), None, input_index, core_flags
        )
    )
