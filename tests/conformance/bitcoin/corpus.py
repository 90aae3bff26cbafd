"""Corpus: every file of a folder, read and recognised by what is in it, never by its name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from consensus_lab.constants import HEADER_SIZE_BYTES
from consensus_lab.nakamoto.block import Block, parse_block
from consensus_lab.nakamoto.encoding import display_id
from consensus_lab.nakamoto.header import BlockHeader, check_proof_of_work, parse_header
from consensus_lab.nakamoto.network_rules import MAINNET, REGTEST, SIMNET
from consensus_lab.node import ProtocolViolation
from tests.conformance.bitcoin.tally import Tally

TEXT_SUFFIXES = (".md", ".txt", ".rst")


class CorpusFile(NamedTuple):
    """A file, what kind of thing it is, and its content as read."""

    kind: str
    name: str
    content: Any


class Anchor(NamedTuple):
    """A block whose height some file of the folder states."""

    height: int
    time_s: int | None


class Corpus:
    """All files of a folder, and the facts that they share.

    Attributes
    ----------
    anchors : dict of str to Anchor
        Known heights by displayed block identity.
    times_s : dict of int to int
        Times of mainnet blocks by height, Unix seconds.
    """

    def __init__(self, folder: Path) -> None:
        top, found = folder, sorted(path for path in folder.rglob("*") if path.is_file())
        if folder.is_file():
            top, found = folder.parent, [folder]
        self.files = [
            _read(path, path.relative_to(top).as_posix())
            for path in found
            if path.suffix not in TEXT_SUFFIXES
        ]
        genesis = MAINNET.genesis.header
        self.anchors = {display_id(genesis.block_id): Anchor(0, genesis.time_s)}
        for file in self.files:
            _find_anchors(file.content, self.anchors)
        self.times_s = {
            anchor.height: anchor.time_s
            for anchor in self.anchors.values()
            if anchor.time_s is not None
        }

    def of_kind(self, kind: str) -> list[CorpusFile]:
        """The files of one kind, by name."""
        return [file for file in self.files if file.kind == kind]


Judge = Callable[[CorpusFile, Corpus, Tally], None]
"""Judges one file, with the whole folder at hand."""


def _read(path: Path, name: str) -> CorpusFile:
    """Read one file and say what it is; what cannot be read is damaged, whatever it was."""
    data = path.read_bytes()
    try:
        return _recognise(data, name, is_json=path.suffix == ".json")
    except (ProtocolViolation, ValueError, RecursionError, csv.Error) as error:
        return CorpusFile("damaged", name, f"{type(error).__name__}: {error}")


def _recognise(data: bytes, name: str, *, is_json: bool) -> CorpusFile:
    """By its bytes: JSON, a table, headers or a block."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _read_binary(data, name)
    try:
        content = json.loads(text)
    except ValueError:
        if is_json or text.lstrip().startswith(("{", "[")):
            raise
        rows = list(csv.DictReader(text.splitlines()))
        if rows:
            return CorpusFile(_table_kind(set(rows[0])), name, rows)
        return _read_binary(data, name)
    return CorpusFile(_json_kind(content), name, content)


def _read_binary(data: bytes, name: str) -> CorpusFile:
    """Headers back to back, or one block, or nothing that we know.

    Raises
    ------
    ProtocolViolation
        When it begins as one of them does, with a header that has its work, and goes on otherwise.
    """
    if data and len(data) % HEADER_SIZE_BYTES == 0:
        starts = range(0, len(data), HEADER_SIZE_BYTES)
        headers = [parse_header(data[at : at + HEADER_SIZE_BYTES]) for at in starts]
        # One damaged header must not make the file unrecognised: most have to be plausible.
        if 2 * sum(_has_work(header) for header in headers) > len(headers):
            return CorpusFile("headers", name, headers)
    try:
        return CorpusFile("block", name, (data, parse_block(data)))
    except ProtocolViolation as violation:
        begins_right = len(data) >= HEADER_SIZE_BYTES and _has_work(
            parse_header(data[:HEADER_SIZE_BYTES])
        )
        if begins_right:
            raise
        return CorpusFile("unknown", name, f"neither headers nor a block: {violation}")


def _has_work(header: BlockHeader) -> bool:
    """Does any network's header look like this?"""
    for rules in (MAINNET, REGTEST, SIMNET):
        try:
            check_proof_of_work(header, target_max=rules.retarget.target_max)
        except ProtocolViolation:
            continue
        return True
    return False


def _table_kind(columns: set[str]) -> str:
    """What a table is, by its columns; the first pattern that fits."""
    patterns: tuple[tuple[str, set[str]], ...] = (
        ("retargets", {"t_first", "t_last", "old_nbits_hex", "new_nbits_hex"}),
        ("nbits", {"nbits_hex", "target_hex", "block_work_dec"}),
        ("schnorr", {"public key", "message", "signature", "verification result"}),
        ("real forks", {"fork", "role", "height", "header_hex"}),
        ("period headers", {"height", "chainwork_dec", "header_hex"}),
        ("single headers", {"block_id", "header_hex"}),
        ("manifest", {"file", "sha256"}),
    )
    for kind, needed in patterns:
        if needed <= columns:
            return kind
    if "height" in columns and any(c.startswith("median_time_past") for c in columns):
        return "median times"
    return "measurements"


def _has(*keys: str) -> Callable[[Any], bool]:
    """Is it an object with these keys?"""
    return lambda content: isinstance(content, dict) and set(keys) <= set(content)


def _each_has(*keys: str) -> Callable[[Any], bool]:
    """Is it a list of objects with these keys?"""
    check = _has(*keys)
    return lambda content: isinstance(content, list) and bool(content) and check(content[0])


def _vectors_have(*keys: str) -> Callable[[Any], bool]:
    """Is it a list of vectors with these keys, perhaps inside an object?"""
    check = _each_has(*keys)
    return lambda content: check(_vectors(content))


def _vectors(content: Any) -> Any:
    """The list of vectors, wherever it is."""
    return content.get("vectors") if isinstance(content, dict) else content


def _are_sighashes(content: Any) -> bool:
    """Lists of transaction, script, input, hash type and digest?"""
    vectors = _vectors(content)
    is_list = isinstance(vectors, list) and bool(vectors) and isinstance(vectors[-1], list)
    return is_list and len(vectors[-1]) == 5 and isinstance(vectors[-1][2], int)


_JSON_KINDS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("fork trees", _has("scenarios")),
    ("raw fork trees", _each_has("seed", "blocks")),
    ("most work", _has("branch_headers", "events", "common_height")),
    ("block validity", _has("base_blocks_hex", "cases")),
    ("spent outputs", _has("prevouts", "height")),
    ("merkle blocks", _each_has("merkle_root", "txids")),
    ("signatures", _vectors_have("der_sig_hex", "msg_hex", "result")),
    ("deterministic signatures", _vectors_have("private_key_hex", "der_sig_hex")),
    ("segwit addresses", _has("valid_address_to_script_pubkey")),
    ("base58 addresses", _has("base58")),
    ("base58 addresses", _has("address_to_script_pubkey")),
    ("key hash spends", _vectors_have("prevout_script_hex", "tx_hex", "expected_valid")),
    ("transactions", _vectors_have("prevouts", "tx_hex", "flags")),
    ("single spend", _has("tx_hex", "prev_script_pubkey_hex")),
    ("signature hashes", _are_sighashes),
)


def _json_kind(content: Any) -> str:
    """What a JSON document is, by its keys; the first pattern that fits."""
    return next((kind for kind, fits in _JSON_KINDS if fits(content)), "measurements")


def _find_anchors(content: Any, anchors: dict[str, Anchor]) -> None:
    """Collect every height that stands beside an identity of a mainnet block."""
    for row in content if isinstance(content, list) else []:
        # A row that says nonsense is no anchor; the judge of its kind says what is wrong with it.
        with suppress(ProtocolViolation, TypeError, ValueError):
            if isinstance(row, dict) and row.get("block_id") and row.get("height"):
                _find_anchor(row, anchors)


def _find_anchor(row: dict[str, Any], anchors: dict[str, Anchor]) -> None:
    time_text = row.get("time") or row.get("header_time")
    header_hex = row.get("header_hex")
    time_s = int(time_text) if time_text else None
    if time_s is None and header_hex:
        time_s = parse_header(bytes.fromhex(header_hex)).time_s
    if str(row.get("role", "main")) == "main" and "excluded_because" not in row:
        anchors[row["block_id"]] = Anchor(int(row["height"]), time_s)


def find_block(corpus: Corpus, block_id: str) -> Block | None:
    """A whole block of the folder by its displayed identity."""
    for file in corpus.of_kind("block"):
        block: Block = file.content[1]
        if display_id(block.block_id) == block_id:
            return block
    return None
