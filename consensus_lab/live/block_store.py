"""Block store: blocks on disk, for chains that outgrow memory or must survive a crash.

Rules of this file: the only place of the ledger that touches a file; the chain sees a mapping.

Theory of operation.  `BlockStore` is a dictionary from identity to block, kept in one SQLite
file.  A block is written in a transaction of its own before the chain goes on, so what a crash
leaves behind is a prefix of what was stored: no half block, no block without those that came
before it.  Rows keep their order of arrival, which decides ties between branches; `restore_chain`
delivers them to a new chain in that order and so arrives at the same tip.  With
`is_durable=False` the operating system decides when to write: a crash of the process loses
nothing, one of the machine may lose the last blocks, and the file still stays whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from consensus_lab.nakamoto.block import Block, parse_block
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.encoding import display_id
from consensus_lab.nakamoto.header import BlockHeader
from consensus_lab.nakamoto.network_rules import NetworkRules
from consensus_lab.nakamoto.validation import ScriptCache
from consensus_lab.node import ParameterError, ProtocolViolation

RECENT_BLOCKS_MAX = 64
"""Blocks kept in memory as well, since a chain reads what it has just stored."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    block_id BLOB NOT NULL UNIQUE,
    data BLOB NOT NULL
)
"""


class BlockStore(MutableMapping[bytes, Block]):
    """Blocks by identity, in a file.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.
    is_durable : bool
        Wait for the disk after each block.

    Raises
    ------
    ParameterError
        When the file is something else.
    """

    def __init__(self, path: Path, *, is_durable: bool = True) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            level = "FULL" if is_durable else "NORMAL"
            self._connection.execute(f"PRAGMA synchronous={level}")
            self._connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise ParameterError("path", str(path), f"a block store ({error})") from error
        self._recent: dict[bytes, Block] = {}

    def __enter__(self) -> BlockStore:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def __setitem__(self, block_id: bytes, block: Block) -> None:
        if block_id != block.block_id:
            raise ParameterError("block_id", display_id(block_id), "the block's own identity")
        self._connection.execute(
            "INSERT OR IGNORE INTO blocks (block_id, data) VALUES (?, ?)",
            (block_id, block.serialize()),
        )
        self._recent[block_id] = block
        if len(self._recent) > RECENT_BLOCKS_MAX:
            del self._recent[next(iter(self._recent))]

    def __getitem__(self, block_id: bytes) -> Block:
        recent = self._recent.get(block_id)
        if recent is not None:
            return recent
        row = self._connection.execute(
            "SELECT data FROM blocks WHERE block_id = ?", (block_id,)
        ).fetchone()
        if row is None:
            raise KeyError(display_id(block_id))
        return self._read(row[0])

    def _read(self, data: bytes) -> Block:
        """A block as it was stored; a file that was tampered with is a user's problem."""
        try:
            return parse_block(data)
        except ProtocolViolation as violation:
            raise ParameterError("path", str(self.path), f"undamaged ({violation})") from violation

    def __delitem__(self, block_id: bytes) -> None:
        cursor = self._connection.execute("DELETE FROM blocks WHERE block_id = ?", (block_id,))
        if not cursor.rowcount:
            raise KeyError(display_id(block_id))
        self._recent.pop(block_id, None)

    def __iter__(self) -> Iterator[bytes]:
        """Identities in order of arrival."""
        rows = self._connection.execute("SELECT block_id FROM blocks ORDER BY arrival")
        return (row[0] for row in rows)

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM blocks").fetchone()[0])

    def __contains__(self, block_id: object) -> bool:
        if block_id in self._recent:
            return True
        found = self._connection.execute("SELECT 1 FROM blocks WHERE block_id = ?", (block_id,))
        return found.fetchone() is not None

    def in_order_of_arrival(self) -> Iterator[Block]:
        """All blocks, oldest first."""
        rows = self._connection.execute("SELECT data FROM blocks ORDER BY arrival")
        return (self._read(row[0]) for row in rows)


def restore_chain(
    rules: NetworkRules, store: BlockStore, *, now_s: int, scripts: ScriptCache | None = None
) -> Chain:
    """A chain with everything that a store holds, at the tip where it was left.

    Parameters
    ----------
    rules : NetworkRules
        The network's numbers.
    store : BlockStore
        From an earlier run; the chain goes on storing there.
    now_s : int
        The clock, Unix seconds.
    scripts : ScriptCache, optional
        Verdicts on scripts that are known.

    Raises
    ------
    ParameterError
        When the store belongs to another network.
    """
    first = next(store.in_order_of_arrival(), None)
    if first is not None and first.block_id != rules.genesis.block_id:
        raise ParameterError("store", str(store.path), f"one of {rules.name}")
    stored = list(store)
    chain = Chain(rules, blocks=store, scripts=scripts)
    _add_headers(chain, store, now_s=now_s)
    for block_id in stored[1:]:
        try:
            chain.deliver(store[block_id], now_s=now_s)
        except ProtocolViolation as violation:
            # Refused when it came, too: it was stored before a parent turned out invalid.
            if violation.rule not in ("bad-prevblk", "duplicate-invalid"):
                raise
    return chain


def _add_headers(chain: Chain, store: BlockStore, *, now_s: int) -> None:
    """All headers, parents first: a node that had headers first may store a child before."""
    waiting: dict[bytes, list[BlockHeader]] = {}
    for block in store.in_order_of_arrival():
        waiting.setdefault(block.header.previous, []).append(block.header)
    parents = [chain.tree.root.block_id]
    for parent in parents:
        for header in waiting.pop(parent, ()):
            chain.add_header(header, now_s=now_s)
            parents.append(header.block_id)
