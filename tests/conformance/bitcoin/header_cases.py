"""Headers: proof of work, links, times, targets, chain work, and which branch headers choose."""

from __future__ import annotations

from dataclasses import replace

from consensus_lab.constants import MEDIAN_TIME_SPAN_BLOCKS
from consensus_lab.nakamoto.block_tree import BlockNode, BlockTree, Checkpoint
from consensus_lab.nakamoto.encoding import display_id
from consensus_lab.nakamoto.header import (
    BlockHeader,
    block_work,
    check_proof_of_work,
    difficulty,
    median_time_past,
    nbits_to_target,
    parse_header,
    target_to_nbits,
)
from consensus_lab.nakamoto.network_rules import MAINNET, NetworkRules
from consensus_lab.nakamoto.retarget import CLAMP_FACTOR, next_nbits
from consensus_lab.node import ParameterError, ProtocolViolation
from tests.conformance.bitcoin.corpus import Corpus, CorpusFile, Judge
from tests.conformance.bitcoin.tally import NotCovered, Tally, expect

FAR_FUTURE_S = 1 << 32
NEVER = 1 << 30
# Times that are not in the folder count as 0: the median can then only be too low, which never
# refuses a right header.
UNKNOWN_TIMES = (0,) * (MEDIAN_TIME_SPAN_BLOCKS - 1)


def _first_height(headers: list[BlockHeader], corpus: Corpus) -> int | None:
    """Height of the first header of a run, when any header of it is known."""
    for position, header in enumerate(headers):
        anchor = corpus.anchors.get(display_id(header.block_id))
        if anchor is not None:
            return anchor.height - position
    return None


def _rules_of_run(headers: list[BlockHeader], height: int | None) -> tuple[NetworkRules, int]:
    """Rules and first height to judge a run by; without a known height only what needs none."""
    if height is not None:
        return MAINNET, height
    undated = replace(MAINNET, bip34_height=NEVER, bip66_height=NEVER, bip65_height=NEVER)
    changes = [i for i in range(1, len(headers)) if headers[i].nbits != headers[i - 1].nbits]
    interval = MAINNET.retarget.interval_blocks
    if changes:  # A target changes only where a period starts.
        return undated, -changes[0] % interval + interval
    return replace(undated, retarget=replace(MAINNET.retarget, is_retargeting_off=True)), 1


def _judge_run(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """A run of headers: each is accepted on top of the one before, as a node would."""
    headers: list[BlockHeader] = file.content
    known_height = _first_height(headers, corpus)
    rules, height = _rules_of_run(headers, known_height)
    times = corpus.times_s if known_height is not None else {}
    kind = "header chains"
    tree, node = _start(headers[0], height, rules, times)
    with tally.case(kind, f"{file.name}, header 0"):
        check_proof_of_work(headers[0], target_max=rules.retarget.target_max)
    for position, header in enumerate(headers[1:], 1):
        at = height + position
        if not tree.is_retarget_known(node):
            name, reason = f"height {at}", "retarget whose period starts outside the folder"
            tally.leave_out("retargets inside header chains", name, reason)
            tree, node = _start(header, at, rules, times, before=headers[:position])
            with tally.case(kind, f"{file.name}, header {position}"):
                expect(header.previous, headers[position - 1].block_id, "previous")
                check_proof_of_work(header, target_max=rules.retarget.target_max)
            continue
        with tally.case(kind, f"{file.name}, header {position}"):
            expect(header.previous, headers[position - 1].block_id, "previous")
            node = tree.add_header(header, now_s=FAR_FUTURE_S)
        if node.header is not header:  # Go on behind a damaged one.
            tree, node = _start(header, at, rules, times, before=headers[:position])
        if rules.retarget.is_boundary(at) and not rules.retarget.is_retargeting_off:
            with tally.case("retargets inside header chains", f"{file.name}, height {at}"):
                assert node.parent is not None
                required = tree.required_nbits(node.parent, time_s=header.time_s)
                expect(f"{required:08x}", f"{header.nbits:08x}", "required nbits")


def _start(
    header: BlockHeader,
    height: int,
    rules: NetworkRules,
    times: dict[int, int],
    *,
    before: list[BlockHeader] | None = None,
) -> tuple[BlockTree, BlockNode]:
    """A tree that starts at this header."""
    if height == 0:
        tree = BlockTree(rules)
        expect(header.block_id, rules.genesis.block_id, "genesis block")
        return tree, tree.root
    earlier = tuple(item.time_s for item in before or ())
    known = dict(times)
    known.update({height - len(earlier) + i: time for i, time in enumerate(earlier)})
    start = Checkpoint(
        header, height, earlier_times_s=(*UNKNOWN_TIMES, *earlier)[-10:], times_s=known
    )
    tree = BlockTree(rules, start=start)
    return tree, tree.root


def _judge_single(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Single headers: every published field is what the 80 bytes say."""
    for row in file.content:
        name = f"{file.name}, {row.get('block_id')}"
        with tally.case("single headers", name):
            if not row.get("header_hex"):
                raise NotCovered("the header is not in the file")
            header = parse_header(bytes.fromhex(row["header_hex"]))
            expect(header.serialize().hex(), row["header_hex"], "bytes")
            check_proof_of_work(header, target_max=MAINNET.retarget.target_max)
            _compare_fields(header, row)


def _compare_fields(header: BlockHeader, row: dict[str, str]) -> None:
    """Compare whatever columns there are."""
    target = nbits_to_target(header.nbits)
    assert target is not None
    ours = {
        "block_id": display_id(header.block_id),
        "version": str(header.version),
        "prev_block_id": display_id(header.previous),
        "last_block_id_of_previous_period": display_id(header.previous),
        "merkle_root": display_id(header.merkle_root),
        "time": str(header.time_s),
        "header_time": str(header.time_s),
        "nbits_hex": f"{header.nbits:08x}",
        "nonce": str(header.nonce),
        "target_hex": f"{target:064x}",
    }
    for column, value in ours.items():
        if row.get(column):
            expect(value, row[column], column)


def _judge_periods(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """First headers of periods: accumulated work, and targets within the clamp."""
    rows = sorted(file.content, key=lambda row: int(row["height"]))
    interval = MAINNET.retarget.interval_blocks
    genesis = MAINNET.genesis.header
    previous = (0, genesis.nbits, block_work(genesis.nbits))
    for row in rows:
        height, nbits = int(row["height"]), int(row["nbits_hex"], 16)
        work = int(row["chainwork_dec"])
        with tally.case("chain work", f"{file.name}, height {height}"):
            if height - previous[0] != interval:
                raise NotCovered("first of its file, and the period before is not there")
            # The period before: its other blocks have the target of its first.
            inside = (interval - 1) * block_work(previous[1])
            expect(previous[2] + inside + block_work(nbits), work, "chain work")
            old, new = nbits_to_target(previous[1]), nbits_to_target(nbits)
            assert old is not None and new is not None
            assert old // CLAMP_FACTOR <= new + (new >> 15), "target fell below a quarter"
            assert new <= old * CLAMP_FACTOR, "target rose above four times"
        previous = (height, nbits, work)


def _judge_forks(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Real forks: which headers are refused, and which are on the branch that a node ends up on."""
    forks: dict[str, list[dict[str, str]]] = {}
    for row in file.content:
        forks.setdefault(row["fork"], []).append(row)
    for name, rows in forks.items():
        # Blocks that lost come first, so that winning takes more work and not luck.
        rows.sort(key=lambda row: (int(row["height"]), row["role"].startswith("main")))
        _judge_fork(f"{file.name}, {name}", rows, corpus, tally)


def _judge_fork(name: str, rows: list[dict[str, str]], corpus: Corpus, tally: Tally) -> None:
    """One fork, delivered on top of a parent of which nothing is known but its identity."""
    first = parse_header(bytes.fromhex(rows[0]["header_hex"]))
    parent = replace(first, time_s=0)
    parent.__dict__["block_id"] = first.previous
    tree, _ = _start(parent, int(rows[0]["height"]) - 1, MAINNET, corpus.times_s)
    refused: dict[str, str] = {}
    for row in rows:
        try:
            tree.add_header(parse_header(bytes.fromhex(row["header_hex"])), now_s=FAR_FUTURE_S)
        except (ProtocolViolation, ParameterError) as error:
            refused[row["block_id"]] = str(error)
    # Nodes are in order of arrival, and the first of equals is taken: first seen.
    best = max(tree.nodes.values(), key=lambda node: node.chain_work)
    chosen = {display_id(node.block_id) for node in best.ancestors()}
    for row in rows:
        with tally.case("real forks", f"{name}, {row['block_id']}"):
            reason, role = refused.get(row["block_id"], ""), row["role"]
            if reason.startswith("times_s"):
                raise NotCovered("its target depends on headers that are not in the folder")
            if role.startswith(("main", "stale")):
                expect(reason, "", "refusal")
                expect(row["block_id"] in chosen, role.startswith("main"), "on the branch")
            elif not reason:
                raise NotCovered("refused for something that the header does not show")


def _judge_retargets(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Single retargets from their exact inputs."""
    for row in file.content:
        name = f"{file.name}, height {row.get('first_height_of_new_period')}"
        with tally.case("retargets", name):
            first, last = int(row["t_first"]), int(row["t_last"])
            ours = next_nbits(
                int(row["old_nbits_hex"], 16),
                first_time_s=first,
                last_time_s=last,
                rule=MAINNET.retarget,
            )
            expect(f"{ours:08x}", row["new_nbits_hex"], "next nbits")
            timespan = MAINNET.retarget.timespan_s
            is_inside = timespan // CLAMP_FACTOR <= last - first <= timespan * CLAMP_FACTOR
            if row.get("clamped"):
                expect("no" if is_inside else "yes", row["clamped"], "clamped")


def _judge_nbits(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Compact targets, the targets that they stand for, and their work."""
    for row in file.content:
        with tally.case("nbits", f"{file.name}, {row['nbits_hex']}"):
            nbits = int(row["nbits_hex"], 16)
            target = nbits_to_target(nbits)
            if target is None:
                expect(0, int(row["block_work_dec"]), "work of an impossible target")
                continue
            expect(f"{target:064x}", row["target_hex"].zfill(64), "target")
            expect(target_to_nbits(target), nbits, "nbits of the target")
            expect(block_work(nbits), int(row["block_work_dec"]), "work")
            if row.get("difficulty"):
                published = float(row["difficulty"])
                error = abs(difficulty(nbits) - published)
                assert error <= 1e-8 + 1e-9 * published, f"difficulty is {difficulty(nbits)}"


def _judge_median_times(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Median times, from the header runs of the folder."""
    column = next(c for c in file.content[0] if c.startswith("median_time_past"))
    times: dict[int, int] = {}
    runs: list[BlockHeader] = []
    for run in corpus.of_kind("headers"):
        first = _first_height(run.content, corpus)
        if first is not None:
            times.update({first + i: header.time_s for i, header in enumerate(run.content)})
        runs += run.content
    for row in file.content:
        height = int(row["height"])
        with tally.case("median times", f"{file.name}, height {height}"):
            heights = range(max(0, height - MEDIAN_TIME_SPAN_BLOCKS + 1), height + 1)
            if not all(at in times for at in heights):
                raise NotCovered("its headers are not in the folder")
            median = median_time_past([times[at] for at in heights])
            expect(str(median), row[column], "median time past")
            if row.get("time_of_next_block"):
                assert int(row["time_of_next_block"]) > median, "the next block is too old"


JUDGES: dict[str, tuple[Judge, ...]] = {
    "headers": (_judge_run,),
    "single headers": (_judge_single,),
    "period headers": (_judge_single, _judge_periods),
    "real forks": (_judge_single, _judge_forks),
    "retargets": (_judge_retargets,),
    "nbits": (_judge_nbits,),
    "median times": (_judge_median_times,),
}
